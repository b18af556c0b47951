"""A graph as Mermaid text. The same graph always gives the same text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from durable_graph.drawing.model import Edge, Group, Node, grouped, notes_of

__all__ = ["NodeStyles", "mermaid"]

# Words that mean something to Mermaid, or to the JavaScript that it is written in.
_RESERVED: Final = frozenset(
    (
        "call",
        "class",
        "classdef",
        "click",
        "default",
        "direction",
        "end",
        "flowchart",
        "graph",
        "href",
        "interpolate",
        "linkstyle",
        "style",
        "subgraph",
        "constructor",
        "prototype",
        "tostring",
        "valueof",
        "hasownproperty",
    )
)
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*|__(?:start|end)__")

# What Mermaid would take for its own syntax, for HTML or for Markdown, inside quotes too. An
# underscore is harmless between letters, a number is a list only at the beginning.
_SPECIAL: Final = re.compile(
    r"""["#<>&`\\*~\[\]|$:]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"""
    r"""|^[-+=/]|(?<=^\d)[.)]|(?<=^\d\d)[.)]"""
)

_FRAME: Final = "fill:#8f83d812,stroke:#8f83d8,stroke-dasharray:4 3,color:#7b7b94"


@dataclass(frozen=True, slots=True)
class NodeStyles:
    """The looks of nodes, as CSS. Text and fill go together, so that both a light and a dark
    page can show them.

    Attributes:
        default: most nodes.
        first: where a graph begins.
        last: where it ends.
    """

    default: str = "fill:#eeebff,stroke:#8f83d8,color:#241f3d,line-height:1.2"
    first: str = "fill:#ffffff,stroke:#8f83d8,color:#241f3d"
    last: str = "fill:#bfb6fc,stroke:#8f83d8,color:#241f3d"


def mermaid(
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    subgraphs: Mapping[str, Node],
    *,
    with_styles: bool,
    curve_style: str,
    node_colors: NodeStyles,
    wrap_label_n_words: int,
    frontmatter_config: Mapping[str, Any] | None,
) -> str:
    """Write the text; see `Graph.draw_mermaid`."""
    names = _names(nodes, subgraphs)
    lines = list(_frontmatter(curve_style, frontmatter_config)) if with_styles else []
    lines.append("graph TD;")
    lines += _group(grouped(nodes, subgraphs), names, "\t", with_styles=with_styles)
    lines += [f"\t{_edge(edge, names, wrap_label_n_words)}" for edge in edges]
    if with_styles:
        for kind in ("default", "first", "last"):
            lines.append(f"\tclassDef {kind} {getattr(node_colors, kind)}")
        if edges:
            lines.append("\tlinkStyle default stroke:#8a8aa3")  # seen on white and on black
        if subgraphs:
            lines.append(f"\tclassDef frame {_FRAME}")
            lines += [f"\tclass {names[_within(id)]} frame" for id in subgraphs]
    return "\n".join(lines) + "\n"


def _names(nodes: Sequence[Node], subgraphs: Mapping[str, Node]) -> dict[str, str]:
    """A name that Mermaid understands for each id, no two alike."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    ids = [node.id for node in nodes] + [_within(id) for id in subgraphs]
    # Plain ones first: they keep their names, whatever others are turned into.
    for id in sorted(ids, key=lambda name: _PLAIN.fullmatch(name) is None):
        if _PLAIN.fullmatch(id) and id.lower() not in _RESERVED:
            name = id
        else:
            name = "n_" + re.sub(r"[^A-Za-z0-9]+", "_", id).strip("_")
        number, free = 2, name
        while free in taken:
            number, free = number + 1, f"{name}_{number}"
        names[id] = free
        taken.add(free)
    return names


def _within(id: str) -> str:
    # No node's id ends in a colon, so a frame's never is one.
    return f"{id}:"


def _group(
    group: Group, names: Mapping[str, str], indent: str, *, with_styles: bool
) -> Iterator[str]:
    for node in group.nodes:
        begin, end = ("(", ")") if node.kind == "default" else ("([", "])")
        style = f":::{node.kind}" if with_styles and node.kind != "default" else ""
        yield f"{indent}{names[node.id]}{begin}{_label(node)}{end}{style}"
    for inner in group.groups:
        assert inner.node is not None  # noqa: S101 - for type checkers
        # Mermaid leaves room for one line above what lies within.
        title = _escape(", ".join([inner.node.name, *notes_of(inner.node)]))
        yield f'{indent}subgraph {names[_within(inner.node.id)]} ["{title}"]'
        yield from _group(inner, names, indent + "\t", with_styles=with_styles)
        yield f"{indent}end"


def _label(node: Node) -> str:
    notes = [f"<br/><small><em>{_escape(note)}</em></small>" for note in notes_of(node)]
    return f'"{_escape(node.name)}{"".join(notes)}"'


def _edge(edge: Edge, names: Mapping[str, str], words: int) -> str:
    source, target = names[edge.source], names[edge.target]
    arrow = "-.->" if edge.conditional else "-->"
    label = _wrapped(edge.data or "", words)
    return f'{source} {arrow}|"{label}"| {target};' if label else f"{source} {arrow} {target};"


def _wrapped(label: str, words: int) -> str:
    parts = "".join(char if char.isprintable() else " " for char in label).split()
    lines = [" ".join(parts[at : at + words]) for at in range(0, len(parts), words)]
    return "<br/>".join(map(_escape, lines))


def _escape(text: str) -> str:
    clean = "".join(char if char.isprintable() else " " for char in text)
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", clean) or "#32;"


def _frontmatter(curve_style: str, given: Mapping[str, Any] | None) -> Iterator[str]:
    config = {"config": {"flowchart": {"curve": str(getattr(curve_style, "value", curve_style))}}}
    yield "---"
    yield from _yaml(_merged(config, given or {}), "")
    yield "---"


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(one)
    for key, value in other.items():
        both = isinstance(merged.get(key), Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _yaml(config: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in config.items():
        name = key if re.fullmatch(r"[A-Za-z]\w*", key) else json.dumps(key)
        if isinstance(value, Mapping) and value:
            yield f"{indent}{name}:"
            yield from _yaml(value, indent + "  ")
        else:  # every JSON is YAML
            yield f"{indent}{name}: {json.dumps(value)}"
