"""Whether a graph can go on with what an earlier version of it has stored.

What can always go on: nodes and keys that are new, edges that lead elsewhere, a type that the
stored value fits as well, a value that nobody reads. What cannot: work that is due in a node that
is gone, a value whose key is gone or whose type it does not fit any more, a finished result that
waits to be combined by another reducer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from durable_graph.decisions.plan import deferred_in
from durable_graph.definition.description import Described
from durable_graph.definition.graph import GraphDefinition
from durable_graph.errors import IncompatibleGraphError
from durable_graph.log.delta import Encoded
from durable_graph.log.fold import Scope
from durable_graph.state.fits import fits
from durable_graph.types import END, START

__all__ = ["Misfit", "incompatible", "misfits", "misfits_within"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """Something stored that a graph cannot go on with.

    Attributes:
        node: the node that it is about, if it is about one.
        key: the key of the state that it is about, if it is about one.
        reason: what is wrong, as the end of a sentence.
    """

    node: str | None
    key: str | None
    reason: str

    def __str__(self) -> str:
        what = f"node {self.node!r}" if self.key is None else f"key {self.key!r}"
        return f"{what} {self.reason}"


def misfits(
    definition: GraphDefinition,
    scope: Scope,
    writer: Described | None,
    thaw: Callable[[Encoded], Any],
    *,
    due: bool = True,
) -> list[Misfit]:
    """What of a stored state a graph cannot go on with.

    Args:
        definition: the graph.
        scope: the state, after the graph's migrations.
        writer: the graph that wrote it, likewise; ``None`` if its description is not there.
        thaw: decodes values.
        due: whether what is due is to be gone on with; else only its finished results and the
            values are.
    """
    found = [*_of_tasks(definition, scope, thaw)] if due else []
    found += _of_values(definition, scope, writer, thaw)
    found += _of_results(definition, scope, writer)
    return list(dict.fromkeys(found))


def misfits_within(definition: GraphDefinition, root: Scope) -> list[Misfit]:
    """What is due in graphs within a thread, and their present versions do not have.

    Only graphs that are nodes are looked at: which graph a node's code will call is not known
    before it does.
    """
    others = [
        (now, ns, scope)
        for ns, scope in root.nested.items()
        if (now := _node_at(definition, ns)) is not None and now.fingerprint != scope.graph
    ]
    if not others:
        return []
    # What keeps its state may have been left in the middle by a task that is over.
    calling = {s.executed(i) for s in (root, *root.nested.values()) for i in s.unfinished()}
    found: list[Misfit] = []
    for now, ns, scope in others:
        if scope.caller is None or scope.caller.due not in calling:
            continue
        waiting = [scope.due[index].node for index in scope.unfinished()]
        for node in (*waiting, *deferred_in(scope.joins)):
            if node != START and node not in now.nodes:
                reason = f"is due in the graph at {ns!r}, which has no such node any more"
                found.append(Misfit(node, None, reason))
    return list(dict.fromkeys(found))


def _node_at(definition: GraphDefinition, ns: str) -> GraphDefinition | None:
    """The graph that is a node at a namespace; ``None`` for one that is called by a node."""
    graph = definition
    for part in ns.split("|"):
        node = graph.nodes.get(part.partition(":")[0])
        if node is None or node.graph is None:
            return None
        graph = node.graph.definition
    return graph


def incompatible(
    found: Sequence[Misfit], definition: GraphDefinition, thread: str
) -> IncompatibleGraphError:
    """The error that says so."""
    return IncompatibleGraphError(
        f"Thread {thread!r} cannot go on with this version of the graph {definition.name!r}: "
        f"{'; '.join(map(str, found))}. Nothing was run or written. Go on with a version that has "
        f"what it needs, or say what has become of it: compile(migrations=[...])."
    )


def _of_tasks(
    definition: GraphDefinition, scope: Scope, thaw: Callable[[Encoded], Any]
) -> Iterator[Misfit]:
    for node in deferred_in(scope.joins):
        if node not in definition.nodes:
            yield Misfit(node, None, "waits for all others, and the graph has no such node")
    for index, entry in enumerate(scope.due):
        if entry.node != START and entry.node not in definition.nodes:
            yield Misfit(entry.node, None, "is due, and the graph has no such node")
        elif entry.arg is not None and (wrong := _unreadable(entry.arg, thaw)):
            yield Misfit(entry.node, None, f"was sent what cannot be read any more: {wrong}")
        outcome = scope.outcomes.get(index)
        if outcome is None:
            continue
        for target in (*outcome.goto, *(packet.node for packet in outcome.sends)):
            if target != END and target not in definition.nodes:
                reason = "comes after a result that is stored, and the graph has no such node"
                yield Misfit(target, None, reason)


def _of_values(
    definition: GraphDefinition,
    scope: Scope,
    writer: Described | None,
    thaw: Callable[[Encoded], Any],
) -> Iterator[Misfit]:
    now = definition.described
    same_types = writer is not None and writer.types == now.types
    used = _used(definition)
    for key, value in scope.values.items():
        channel = definition.channels.get(key)
        if channel is None:
            yield Misfit(None, key, "has a value, and the state has no such key")
            continue
        before = None if writer is None else writer.keys.get(key)
        if same_types and before is not None and before.type == now.keys[key].type:
            continue
        if key not in used:  # then nobody is held up by it
            continue
        if wrong := _unreadable(value, thaw):
            yield Misfit(None, key, f"has a value that cannot be read any more: {wrong}")
        elif not fits(thaw(value), channel.annotation):
            was = f" of type {before.type}" if before is not None and before.type else ""
            yield Misfit(None, key, f"has a value{was} that is no {now.keys[key].type}")


def _used(definition: GraphDefinition) -> set[str]:
    """The keys whose values a run of the graph decodes."""
    nodes = list(definition.nodes.values())
    if definition.start.branches:
        nodes.append(definition.start)
    schemas = [definition.output, *(node.input for node in nodes)]
    schemas += [b.input for node in nodes for b in node.branches if b.input is not None]
    reduced = {key for key, channel in definition.channels.items() if channel.reducer is not None}
    return reduced.union(*(schema.channels for schema in schemas))


def _of_results(
    definition: GraphDefinition, scope: Scope, writer: Described | None
) -> Iterator[Misfit]:
    now = definition.described
    for index, outcome in scope.outcomes.items():
        node = scope.due[index].node if 0 <= index < len(scope.due) else START
        for key in {key: None for update in outcome.writes for key in update}:
            if key not in definition.channels:
                yield Misfit(node, key, f"has a result of {node!r}, and the state has no such key")
                continue
            before = None if writer is None else writer.keys.get(key)
            if before is None or before.type is None or not outcome.done:
                continue
            if before.reducer != now.keys[key].reducer:
                was, is_ = before.reducer or "none", now.keys[key].reducer or "none"
                reason = f"has a result of {node!r} for the reducer {was}, and now has {is_}"
                yield Misfit(node, key, reason)


def _unreadable(value: Encoded, thaw: Callable[[Encoded], Any]) -> str | None:
    try:
        thaw(value)
    except Exception as error:  # an application's own types may fail in any way
        return f"{type(error).__name__}: {error}".rstrip(".")
    return None
