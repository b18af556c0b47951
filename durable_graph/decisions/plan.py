"""What runs next: from the results of one superstep to the tasks of the next.

A deferred node that an edge has led to waits until nothing else is due. It is kept among the
joins, as one that waits for no node in particular: ``":node"``, a name that no other join has.
So it goes wherever they go: into each checkpoint, into forks and edits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.node import Join
from durable_graph.log.records import DueTask, Outcome
from durable_graph.types import END, START

__all__ = ["Joins", "Plan", "deferred_in", "plan", "plan_goto", "without_deferred"]

Joins = Mapping[str, tuple[str, ...]]
"""Names seen so far by each waiting join, and the deferred nodes that wait."""


@dataclass(slots=True)
class Plan:
    """What is due next.

    Attributes:
        due: nodes that an edge leads to, each once and by name; then the sends, in the order in
            which they were made.
        joins: what goes on waiting.
    """

    due: list[DueTask]
    joins: Joins


def plan(
    definition: GraphDefinition,
    waiting: Joins,
    outcomes: Iterable[tuple[str, Outcome]],
    *,
    busy: bool = False,
) -> Plan:
    """What these results make due.

    Args:
        definition: the graph.
        waiting: the joins, and deferred nodes, that wait.
        outcomes: nodes and their results, in the order of the tasks.
        busy: whether something else stays due, so that deferred nodes go on waiting.
    """
    targets: set[str] = set()
    sends: list[DueTask] = []
    joins = dict(waiting)
    touched: dict[str, Join] = {}
    for name, outcome in outcomes:
        if outcome.goto:
            targets.update(outcome.goto)
        if outcome.sends:
            sends += [DueTask(to, arg, timeout=timeout) for to, arg, timeout in outcome.sends]
        if outcome.caught is not None:  # the node itself has no result that could lead on
            continue
        node = definition.start if name == START else definition.nodes[name]
        if node.targets:
            targets.update(node.targets)
        for join in node.joins:
            touched[join.name] = join
            seen = joins.get(join.name, ())
            if name not in seen:
                joins[join.name] = (*seen, name)
    for join in touched.values():  # only now: all that ran in one superstep ran at once
        if len(joins[join.name]) == len(join.sources):
            targets.add(join.target)
            joins.pop(join.name)
    return _settled(definition, targets, sends, joins, busy=busy)


def plan_goto(
    definition: GraphDefinition, waiting: Joins, outcome: Outcome, *, busy: bool = False
) -> Plan:
    """What a caller's command makes due: where it goes, and no edges.

    Args:
        definition: the graph.
        waiting: see `plan`.
        outcome: the command, as a result.
        busy: see `plan`.
    """
    sends = [DueTask(node, arg, timeout=timeout) for node, arg, timeout in outcome.sends]
    return _settled(definition, set(outcome.goto), sends, dict(waiting), busy=busy)


def deferred_in(waiting: Joins) -> list[str]:
    """The deferred nodes that wait."""
    return sorted(name[1:] for name in waiting if name.startswith(":"))


def without_deferred(waiting: Joins) -> Joins:
    """What is left where deferred nodes are dropped, as other tasks are that have not run."""
    return {name: seen for name, seen in waiting.items() if not name.startswith(":")}


def _settled(
    definition: GraphDefinition,
    targets: set[str],
    sends: list[DueTask],
    joins: dict[str, tuple[str, ...]],
    *,
    busy: bool,
) -> Plan:
    """The plan, with deferred nodes put off, or due once nothing else is.

    A `Send` is not put off: it is a task of its own, and nothing that could be waited for.
    """
    targets.discard(END)
    if definition.deferred:
        for name in targets & definition.deferred:
            targets.discard(name)
            joins[f":{name}"] = ()
    if joins and not (targets or sends or busy):
        # Also those of an earlier version of the graph, which does not defer them any more.
        targets.update(deferred_in(joins))
        joins = {name: seen for name, seen in joins.items() if not name.startswith(":")}
    return Plan([*map(DueTask, sorted(targets)), *sends], joins)
