"""Which graphs a node calls, as far as its function shows it, and which of them a namespace means.

Reading a thread needs the schemas of the graphs within it. A graph that is a node is known; one
that a node's code calls is looked for in what the function refers to: its closure, its module's
names, its object, and what stands in lists and dicts there.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.node import CompiledNode, Node

__all__ = ["definition_at", "graphs_of", "subgraphs_of", "subgraphs_within"]

_DEPTH: Final = 4
"""How many functions and containers away from the node's own function a graph is looked for."""


def graphs_of(node: Node) -> list[GraphDefinition]:
    """The graphs that a node runs or calls, each once."""
    return list({id(g.definition): g.definition for g in subgraphs_of(node)}.values())


def subgraphs_of(node: Node) -> list[CompiledNode]:
    """The same, as they were compiled."""
    if node.graph is not None:
        return [node.graph]
    return list({id(graph): graph for graph in _search(node.function.call, _DEPTH, set())}.values())


def subgraphs_within(
    definition: GraphDefinition, recurse: bool, _around: tuple[int, ...] = ()
) -> Iterator[tuple[str, CompiledNode]]:
    """The graphs within a graph, each with the names of the nodes that lead to it; with
    `recurse` on all levels, but not one within itself."""
    around = (*_around, id(definition))
    for name, node in definition.nodes.items():
        for graph in subgraphs_of(node):
            yield name, graph
            if recurse and id(graph.definition) not in around:
                for place, inner in subgraphs_within(graph.definition, recurse, around):
                    yield f"{name}|{place}", inner


def definition_at(
    definition: GraphDefinition, ns: str, graph: Callable[[str], str | None]
) -> GraphDefinition | None:
    """The graph that a namespace means; ``None`` if it is not found.

    Args:
        definition: the root graph.
        ns: the namespace.
        graph: the fingerprint of the graph that was run at a namespace, if it is on record.
    """
    segments = ns.split("|")
    place: list[str] = []
    current: GraphDefinition | None = definition
    while segments and current is not None:
        place.append(segments.pop(0))
        node = current.nodes.get(place[-1].partition(":")[0])
        if node is None:
            return None
        graphs = graphs_of(node)
        # Behind a task's id, digits are the number of a call; else only if no node has the name.
        if segments and segments[0].isdigit():
            numbered = ":" in place[-1] or not any(segments[0] in g.nodes for g in graphs)
            place += [segments.pop(0)] if numbered else []
        current = _chosen(graphs, graph("|".join(place)))
    return current


def _chosen(graphs: list[GraphDefinition], fingerprint: str | None) -> GraphDefinition | None:
    for graph in graphs:
        if graph.fingerprint == fingerprint:
            return graph
    return graphs[0] if len(graphs) == 1 else None


def _search(thing: Any, depth: int, seen: set[int]) -> Iterator[CompiledNode]:
    if depth < 0 or id(thing) in seen:
        return
    seen.add(id(thing))
    definition = inspect.getattr_static(thing, "__dict__", None) and vars(thing).get("definition")
    if isinstance(definition, GraphDefinition):
        yield thing
        return
    for part in _parts(thing):
        yield from _search(part, depth - 1, seen)


def _parts(thing: Any) -> Iterable[Any]:
    """What a function or container refers to."""
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if isinstance(thing, (list, tuple, set, frozenset)):
        return thing
    if isinstance(thing, Mapping):
        return thing.values()
    if inspect.ismethod(thing):
        return [thing.__func__, *vars(thing.__self__).values()] if _has_dict(thing.__self__) else []
    if inspect.isfunction(thing):
        return _names_of(thing)
    wrapped = getattr(thing, "func", None) if _has_dict(thing) else None  # as a tool has
    call = vars(type(thing)).get("__call__")
    if wrapped is not None or inspect.isfunction(call):
        return [wrapped, call, *vars(thing).values()] if _has_dict(thing) else [call]
    return []


def _names_of(function: Any) -> list[Any]:
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not filled yet
            continue
    names = {*function.__code__.co_names}
    inner = [c for c in function.__code__.co_consts if inspect.iscode(c)]
    while inner:
        code = inner.pop()
        names |= {*code.co_names}
        inner += [c for c in code.co_consts if inspect.iscode(c)]
    found += [function.__globals__[name] for name in names if name in function.__globals__]
    return [*found, getattr(function, "__wrapped__", None), *(function.__defaults__ or ())]


def _has_dict(thing: Any) -> bool:
    return isinstance(getattr(thing, "__dict__", None), dict)
