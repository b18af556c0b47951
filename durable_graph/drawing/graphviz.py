"""A graph as a picture, laid out by Graphviz; `pygraphviz` brings it along."""

from __future__ import annotations

import html
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal

from durable_graph.drawing.extra import needed
from durable_graph.drawing.model import Edge, Group, Node, grouped, notes_of

__all__ = ["dot", "draw"]

# Lines and labels are of a grey that a white and a black page show alike; nodes bring their own
# background.
_LOOKS: Final = """\
digraph {
graph [bgcolor=transparent pad=0.15 nodesep=0.35 ranksep=0.45 fontsize=12 fontname="%(font)s"
  color="#8f83d8" fontcolor="#7b7b94"]
node [shape=box style="rounded,filled" margin="0.18,0.08" fontsize=13 fontname="%(font)s"
  penwidth=1.2 color="#8f83d8" fillcolor="#eeebff" fontcolor="#241f3d"]
edge [fontsize=11 fontname="%(font)s" penwidth=1.2 arrowsize=0.75
  color="#8a8aa3" fontcolor="#7b7b94"]
"""
_FILLS: Final = {"first": "#ffffff", "last": "#bfb6fc"}

_FONT: Final = "Helvetica"

# Graphviz keeps what it is doing in global variables.
_lock = threading.Lock()


def draw(
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    subgraphs: Mapping[str, Node],
    format: Literal["svg", "png"],
    font: str | None,
) -> bytes:
    """Draw it.

    Raises:
        MissingExtraError: `pygraphviz` is not installed.
    """
    pygraphviz = needed("pygraphviz", f"A picture as {format.upper()}")
    text = dot(nodes, edges, subgraphs, font or _FONT)
    # Twice as many dots as an inch of a screen has: dense screens show PNGs unsharp otherwise.
    arguments = "-Gdpi=192" if format == "png" else ""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about fonts that lack a letter
        picture: bytes = pygraphviz.AGraph(string=text).draw(
            format=format, prog="dot", args=arguments
        )
    return picture


def dot(
    nodes: Sequence[Node], edges: Sequence[Edge], subgraphs: Mapping[str, Node], font: str
) -> str:
    """The picture in Graphviz's language."""
    numbers = {node.id: f"n{number}" for number, node in enumerate(nodes)}
    lines = [_LOOKS % {"font": _quoted(font)}]
    lines += _group(grouped(nodes, subgraphs), numbers)
    for edge in edges:
        looks = ["style=dashed"] if edge.conditional else []
        looks += [f"label=<&#160;{_text(edge.data)}&#160;>"] if edge.data else []
        lines.append(f"{numbers[edge.source]} -> {numbers[edge.target]} [{' '.join(looks)}]")
    return "\n".join([*lines, "}", ""])


def _group(group: Group, numbers: Mapping[str, str]) -> Iterator[str]:
    for node in group.nodes:
        fill = f' fillcolor="{_FILLS[node.kind]}"' if node.kind in _FILLS else ""
        yield f"{numbers[node.id]} [label={_label(node)}{fill}]"
    for inner in group.groups:
        assert inner.node is not None  # noqa: S101 - for type checkers
        # A name of that beginning makes a subgraph a box. It says no more than a node's does.
        yield f'subgraph "cluster {_quoted(inner.node.id)}" {{'
        yield f'label={_label(inner.node)} style="rounded,dashed,filled" fillcolor="#8f83d814"'
        yield from _group(inner, numbers)
        yield "}"


def _label(node: Node) -> str:
    notes = [f'<BR/><FONT POINT-SIZE="10">{_text(note)}</FONT>' for note in notes_of(node)]
    return f"<{_text(node.name)}{''.join(notes)}>"


def _text(text: str) -> str:
    clean = "".join(char if char.isprintable() else " " for char in text)
    return html.escape(clean) or " "


def _quoted(text: str) -> str:
    clean = "".join(char if char.isprintable() else " " for char in text)
    return clean.replace("\\", "\\\\").replace('"', '\\"')
