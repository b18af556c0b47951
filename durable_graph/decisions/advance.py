"""One superstep's results to the commit that closes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from durable_graph.decisions.plan import Plan
from durable_graph.decisions.reduce import Reducers
from durable_graph.definition.graph import GraphDefinition
from durable_graph.errors import InvalidUpdateError
from durable_graph.log.delta import SAME, Encoded, Op, Written, flat
from durable_graph.log.fold import Scope
from durable_graph.log.records import Commit, Outcome

__all__ = ["advance", "changes", "faded", "with_results"]


def changes(
    definition: GraphDefinition,
    reducers: Reducers,
    values: Mapping[str, Encoded],
    outcomes: Iterable[tuple[str, Outcome]],
) -> tuple[dict[str, Op], dict[str, Encoded | None]]:
    """What the results of nodes do to the state: operations and new values by key.

    Args:
        definition: the graph.
        reducers: the thread's reducers.
        values: the state that the nodes started from.
        outcomes: nodes and their results, in the order in which they count.

    Raises:
        InvalidUpdateError: they exclude each other, or a reducer failed.
    """
    writes: dict[str, list[tuple[int, str, Written]]] = {}
    for node, outcome in outcomes:
        for update in outcome.writes:
            for key, written in update.items():
                entry = (outcome.index, node, written)
                known = writes.get(key)
                if known is None:
                    writes[key] = [entry]
                else:
                    known.append(entry)
    delta: dict[str, Op] = {}
    after: dict[str, Encoded | None] = {}
    for key, entries in writes.items():
        channel = definition.channels.get(key)
        if channel is None:  # written by a version of the graph that had the key
            continue
        op, value = reducers.combine(channel, values.get(key), entries)
        if op is not SAME:
            delta[key] = op
            after[key] = value
    return delta, after


def faded(
    definition: GraphDefinition,
    values: Mapping[str, Encoded],
    delta: Mapping[str, Op],
    after: Mapping[str, Encoded | None],
) -> tuple[dict[str, Op], dict[str, Encoded | None]]:
    """What closes a superstep, with all gone that lasts one superstep and was not written anew."""
    gone = [key for key in definition.fading if key in values and key not in delta]
    return {**delta, **dict.fromkeys(gone, ("-",))}, {**after, **dict.fromkeys(gone)}


def with_results(
    definition: GraphDefinition, reducers: Reducers, scope: Scope
) -> Mapping[str, Encoded]:
    """The state with the results of finished tasks in it, as people want to see it."""
    done = [
        (due.node, outcome)
        for index, due in enumerate(scope.due)
        if (outcome := scope.outcomes.get(index)) is not None and outcome.done
    ]
    try:
        _, after = changes(definition, reducers, scope.values, done)
    except InvalidUpdateError:  # they exclude each other: going on will say so
        return scope.values
    merged = {**scope.values, **after}
    return {key: value for key, value in merged.items() if value is not None}


def advance(
    delta: Mapping[str, Op],
    after: Mapping[str, Encoded | None],
    scope: Scope,
    plan: Plan,
    riders: Sequence[Outcome],
    *,
    snapshot: bool,
) -> Commit:
    """The commit that closes a superstep.

    Args:
        delta: the operations on the state.
        after: the values they lead to.
        scope: the state before.
        plan: what is due next.
        riders: results that have no record of their own.
        snapshot: whether it is to hold the whole state.
    """
    whole = None
    if snapshot:
        merged = {**scope.values, **after}
        whole = {key: flat(value) for key, value in merged.items() if value is not None}
    return Commit(
        outcomes=riders,
        delta=None if snapshot else delta,
        values=whole,
        joins=plan.joins,
        due=plan.due,
    )
