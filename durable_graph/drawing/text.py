"""A graph as text for a terminal, laid out by `termaid`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from durable_graph.drawing.extra import needed
from durable_graph.drawing.model import Edge, Group, Node, grouped, notes_of

__all__ = ["draw"]


def draw(nodes: Sequence[Node], edges: Sequence[Edge], subgraphs: Mapping[str, Node]) -> str:
    """Draw it.

    Raises:
        MissingExtraError: `termaid` is not installed.
    """
    model = needed("termaid.graph.model", "A picture as text")
    shapes = needed("termaid.graph.shapes", "A picture as text").NodeShape
    renderer = needed("termaid.renderer", "A picture as text")
    # Its model is filled directly: as Mermaid text, names would have to be escaped, and termaid
    # shows them as they are.
    numbers = {node.id: f"n{number}" for number, node in enumerate(nodes)}
    picture = model.Graph()
    for node in nodes:
        shape = shapes.ROUNDED if node.kind == "default" else shapes.STADIUM
        picture.add_node(model.Node(numbers[node.id], _label(node, "\n"), shape))
    for edge in edges:
        style = model.EdgeStyle.DOTTED if edge.conditional else model.EdgeStyle.SOLID
        label = _clean(edge.data) if edge.data else ""
        picture.add_edge(model.Edge(numbers[edge.source], numbers[edge.target], label, style))
    picture.subgraphs = _subgraphs(grouped(nodes, subgraphs), numbers, model, None)
    text: str = renderer.render_graph(picture, padding_x=2)
    return "\n".join(line.rstrip() for line in text.splitlines())


def _subgraphs(group: Group, numbers: Mapping[str, str], model: Any, parent: Any) -> list[Any]:
    frames = []
    for inner in group.groups:
        assert inner.node is not None  # noqa: S101 - for type checkers
        frame = model.Subgraph(
            id=f"within {inner.node.id}",
            label=_label(inner.node, ", "),
            node_ids=[numbers[node.id] for node in inner.nodes],
            parent=parent,
        )
        frame.children = _subgraphs(inner, numbers, model, frame)
        frames.append(frame)
    return frames


def _label(node: Node, between: str) -> str:
    return between.join([_clean(node.name), *map(_clean, notes_of(node))])


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
