"""From a graph that runs to what is drawn of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

from durable_graph.definition import node as definition_node
from durable_graph.definition.graph import GraphDefinition
from durable_graph.drawing.graph import Graph
from durable_graph.drawing.model import Edge, Node
from durable_graph.types import END, START

__all__ = ["describe"]


@runtime_checkable
class Opened(Protocol):
    """A node's function that is a graph itself."""

    def get_graph(self, config: Any = None, *, xray: int | bool = False) -> Graph:
        """That graph."""


def describe(
    definition: GraphDefinition,
    *,
    before: Collection[str],
    after: Collection[str],
    xray: int | bool,
) -> Graph:
    """What is drawn of a graph.

    Args:
        definition: the graph.
        before: nodes that a run stops before.
        after: nodes that a run stops after.
        xray: whether nodes that are graphs are opened; a number says how deep.
    """
    nodes = {START: Node(START, START)}
    nodes |= {
        name: Node(name, name, node.graph or node.function.call, _metadata(node, before, after))
        for name, node in definition.nodes.items()
    }
    nodes[END] = Node(END, END)
    edges = tuple(_edges(definition))
    if not any(edge.target == END for edge in edges):
        del nodes[END]
    graph = Graph(nodes, edges)
    # A bool is an int: `True` is without an end, a number counts down.
    within = xray if isinstance(xray, bool) else xray - 1
    if xray:
        for name, node in list(nodes.items()):
            if isinstance(node.data, Opened):
                graph = _open(graph, name, node.data.get_graph(xray=within))
    return graph


def _metadata(
    node: definition_node.Node, before: Collection[str], after: Collection[str]
) -> Mapping[str, Any] | None:
    metadata = dict(node.metadata or {})
    if getattr(node, "defer", False):
        metadata["defer"] = True
    sides = (("before", before), ("after", after))
    stops = [when for when, names in sides if "*" in names or node.name in names]
    if stops:
        metadata["__interrupt"] = ",".join(stops)
    return metadata or None


def _edges(definition: GraphDefinition) -> Iterator[Edge]:
    for node in (definition.start, *definition.nodes.values()):
        labels: dict[tuple[str, bool], list[str]] = {}
        for target, label, conditional in _leaving(node, definition):
            known = labels.setdefault((target, conditional), [])
            if label is not None and label not in known:
                known.append(label)
        if not labels:
            labels[END, False] = []  # nothing follows it
        for (target, conditional), several in labels.items():
            yield Edge(node.name, target, ", ".join(several) or None, conditional)


def _leaving(
    node: definition_node.Node, definition: GraphDefinition
) -> Iterator[tuple[str, str | None, bool]]:
    for target in node.targets:
        yield target, None, False
    for join in node.joins:
        yield join.target, None, False
    for branch in node.branches:
        if branch.ends is None:  # it may name any node
            for name in definition.nodes:
                yield name, None, True
            yield END, None, True
            continue
        for result, target in branch.ends.items():
            yield target, None if str(result) == target else str(result), True
    for target, label in (node.destinations or {}).items():
        yield target, label, True


def _open(graph: Graph, name: str, inner: Graph) -> Graph:
    """Put a graph in the place of the node that runs it."""
    inner, first, last = _trimmed(inner)
    ids = {id: f"{name}:{id}" for id in (*inner.nodes, *inner.subgraphs)}
    nodes: dict[str, Node] = {}
    for id, node in graph.nodes.items():
        if id == name:
            nodes |= {ids[key]: replace(part, id=ids[key]) for key, part in inner.nodes.items()}
        else:
            nodes[id] = node
    edges = [
        replace(
            edge,
            source=ids[last] if edge.source == name else edge.source,
            target=ids[first] if edge.target == name else edge.target,
        )
        for edge in graph.edges
    ]
    edges += [
        replace(edge, source=ids[edge.source], target=ids[edge.target]) for edge in inner.edges
    ]
    subgraphs = {**graph.subgraphs, name: graph.nodes[name]}
    subgraphs |= {ids[key]: replace(node, id=ids[key]) for key, node in inner.subgraphs.items()}
    return Graph(nodes, tuple(edges), subgraphs)


def _trimmed(graph: Graph) -> tuple[Graph, str, str]:
    """A graph to be put into another, and which of its nodes one enters and leaves by.

    Its start and end are left out where they have one plain edge, which says nothing.
    """
    nodes, edges = dict(graph.nodes), list(graph.edges)
    nodes.setdefault(END, Node(END, END))  # one must be able to leave, if by a command
    first, last = START, END
    begin = [edge for edge in edges if edge.source == START]
    if len(begin) == 1 and not begin[0].conditional and begin[0].target != END:
        edges.remove(begin[0])
        del nodes[START]
        first = begin[0].target
    end = [edge for edge in edges if edge.target == END]
    if len(end) == 1 and not end[0].conditional and end[0].source != START:
        edges.remove(end[0])
        del nodes[END]
        last = end[0].source
    return Graph(nodes, tuple(edges), graph.subgraphs), first, last
