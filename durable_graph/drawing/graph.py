"""A graph to look at: what `get_graph` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from durable_graph.drawing import graphviz, text
from durable_graph.drawing.extra import needed
from durable_graph.drawing.mermaid import NodeStyles, mermaid
from durable_graph.drawing.model import Edge, Node

__all__ = ["Edge", "Graph", "Node"]


@dataclass(frozen=True, slots=True, repr=False)
class Graph:
    """Nodes and edges, with the methods that draw them. Shows itself in notebooks.

    `draw_mermaid` needs nothing; the others need the extra `draw`: ``pip install
    'durable-graph[draw]'``. Nothing is ever sent to a web service.

    Attributes:
        nodes: by id, the start first and the end last.
        edges: in the order in which the graph was built.
        subgraphs: by id, the nodes that were opened (`xray`), outer ones first: instead of each
            there are the nodes within it.
    """

    nodes: Mapping[str, Node]
    edges: tuple[Edge, ...]
    subgraphs: Mapping[str, Node] = field(default_factory=dict)

    def __repr__(self) -> str:
        inside = f", {len(self.subgraphs)} subgraphs" if self.subgraphs else ""
        return f"<Graph: {len(self.nodes)} nodes, {len(self.edges)} edges{inside}>"

    def draw_mermaid(
        self,
        *,
        with_styles: bool = True,
        curve_style: str = "linear",
        node_colors: NodeStyles | None = None,
        wrap_label_n_words: int = 9,
        frontmatter_config: Mapping[str, Any] | None = None,
    ) -> str:
        """The graph as Mermaid text; the same graph always gives the same text.

        Args:
            with_styles: whether it says what nodes and lines look like.
            curve_style: how lines run, such as "linear", "basis" or "stepAfter".
            node_colors: what nodes look like.
            wrap_label_n_words: after how many words an edge's label goes on in a new line.
            frontmatter_config: Mermaid's configuration, such as
                ``{"config": {"theme": "neutral", "look": "handDrawn"}}``.
        """
        return mermaid(
            tuple(self.nodes.values()),
            self.edges,
            self.subgraphs,
            with_styles=with_styles,
            curve_style=curve_style,
            node_colors=node_colors or NodeStyles(),
            wrap_label_n_words=max(wrap_label_n_words, 1),
            frontmatter_config=frontmatter_config,
        )

    def draw_mermaid_png(
        self,
        *,
        curve_style: str = "linear",
        node_colors: NodeStyles | None = None,
        wrap_label_n_words: int = 9,
        output_file_path: str | Path | None = None,
        background_color: str | None = "white",
        frontmatter_config: Mapping[str, Any] | None = None,
        scale: float = 2.0,
        **unused: Any,
    ) -> bytes:
        """The Mermaid text as a PNG, drawn by Mermaid itself within this process. Takes about a
        second; `draw_png` takes a hundredth of it.

        Args:
            curve_style: see `draw_mermaid`.
            node_colors: see `draw_mermaid`.
            wrap_label_n_words: see `draw_mermaid`.
            output_file_path: a file to write it to as well.
            background_color: as CSS; ``None`` for none.
            frontmatter_config: see `draw_mermaid`.
            scale: pixels for each of Mermaid's.
            unused: `draw_method`, `padding`, `max_retries`, `retry_delay`, `base_url` and
                `proxies`, which LangGraph needs for its web service, are taken and mean nothing.

        Raises:
            MissingExtraError: the extra `draw` is not installed.
            TypeError: there is no such option.
        """
        unknown = unused.keys() - _OF_THE_WEB_SERVICE
        if unknown:
            raise TypeError(f"draw_mermaid_png() has no option {min(unknown)!r}.")
        mermaidx = needed("mermaidx", "Mermaid's own picture")
        source = self.draw_mermaid(
            curve_style=curve_style,
            node_colors=node_colors,
            wrap_label_n_words=wrap_label_n_words,
            frontmatter_config=frontmatter_config,
        )
        picture: bytes = mermaidx.render(source).png(scale=scale, background=background_color)
        return _written(picture, output_file_path)

    def draw_png(
        self, output_file_path: str | Path | None = None, fontname: str | None = None
    ) -> bytes:
        """The graph as a PNG with a transparent background, for light and dark pages.

        Args:
            output_file_path: a file to write it to as well.
            fontname: a font of this system.

        Raises:
            MissingExtraError: the extra `draw` is not installed.
        """
        return _written(self._draw("png", fontname), output_file_path)

    def draw_svg(
        self, output_file_path: str | Path | None = None, fontname: str | None = None
    ) -> str:
        """The same picture as `draw_png`, as SVG.

        Args:
            output_file_path: a file to write it to as well.
            fontname: a font of the system that will show it.

        Raises:
            MissingExtraError: the extra `draw` is not installed.
        """
        return _written(self._draw("svg", fontname), output_file_path).decode()

    def draw_ascii(self) -> str:
        """The graph as text for a terminal, drawn with Unicode's lines.

        Raises:
            MissingExtraError: the extra `draw` is not installed.
        """
        return text.draw(tuple(self.nodes.values()), self.edges, self.subgraphs)

    def print_ascii(self) -> None:
        """Print `draw_ascii`.

        Raises:
            MissingExtraError: the extra `draw` is not installed.
        """
        print(self.draw_ascii())

    def to_json(self) -> dict[str, list[dict[str, Any]]]:
        """The graph as plain data that `json.dumps` takes: ``{"nodes": [{"id", "type", "data",
        "metadata"}], "edges": [{"source", "target", "data", "conditional"}]}``, without the keys
        that say nothing."""
        return {
            "nodes": [_node_as_json(node) for node in self.nodes.values()],
            "edges": [_edge_as_json(edge) for edge in self.edges],
        }

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        # A notebook shows the best it can. Whatever goes wrong must not be in the user's way.
        bundle = {"text/plain": repr(self)}
        try:
            source = self.draw_mermaid()
            bundle["text/vnd.mermaid"] = source
            bundle["image/svg+xml"] = self.draw_svg()
        except Exception:
            if "text/vnd.mermaid" in bundle:
                bundle["text/markdown"] = f"```mermaid\n{source}```\n"
        return bundle

    def _draw(self, format: Any, font: str | None) -> bytes:
        return graphviz.draw(tuple(self.nodes.values()), self.edges, self.subgraphs, format, font)


_OF_THE_WEB_SERVICE = frozenset(
    ("base_url", "draw_method", "max_retries", "padding", "proxies", "retry_delay")
)


def _written(picture: bytes, path: str | Path | None) -> bytes:
    if path is not None:
        Path(path).write_bytes(picture)
    return picture


def _node_as_json(node: Node) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": node.id}
    if node.data is not None:
        module = getattr(node.data, "__module__", None) or type(node.data).__module__
        name = getattr(node.data, "__qualname__", None) or type(node.data).__qualname__
        shown["type"] = "runnable"
        shown["data"] = {"id": [*module.split("."), name], "name": node.name}
    if node.metadata:
        shown["metadata"] = _plain(node.metadata)
    return shown


def _edge_as_json(edge: Edge) -> dict[str, Any]:
    shown: dict[str, Any] = {"source": edge.source, "target": edge.target}
    if edge.data is not None:
        shown["data"] = edge.data
    if edge.conditional:
        shown["conditional"] = True
    return shown


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return repr(value)
