"""Pictures of a graph: as files, in a terminal, in a notebook, and without the extra."""

from __future__ import annotations

import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict

import pytest

from durable_graph import END, START, StateGraph
from durable_graph.drawing import Edge, Graph, Node
from durable_graph.errors import MissingExtraError
from durable_graph.graph import CompiledGraph

PNG = b"\x89PNG\r\n\x1a\n"


class State(TypedDict, total=False):
    count: int


def idle(state: State) -> State:
    return {}


@pytest.fixture
def graph() -> CompiledGraph:
    """a -> b, which goes back to a or ends."""
    built = StateGraph(State).add_node("a", idle).add_node('b <&> "b"', idle)
    built.add_edge(START, "a").add_edge("a", 'b <&> "b"')
    built.add_conditional_edges('b <&> "b"', lambda _: 1, {"once more": "a", "stop": END})
    return built.compile(interrupt_before=["a"])


def texts(svg: str) -> list[str]:
    """What is written in an SVG."""
    found = [part.text or "" for part in ET.fromstring(svg).iter() if part.tag.endswith("}text")]
    return [text.replace("\N{NO-BREAK SPACE}", " ").strip() for text in found]


def test_an_svg_has_everything(graph: CompiledGraph) -> None:
    """Names, labels and marks, as they are; it is the same each time."""
    svg = graph.get_graph().draw_svg()
    expected = {"__start__", "a", "interrupt before", 'b <&> "b"', "once more", "stop", "__end__"}
    assert set(texts(svg)) == expected
    assert svg == graph.get_graph().draw_svg()


def test_an_svg_frames_what_lies_within(graph: CompiledGraph) -> None:
    """Each subgraph is a frame with a title."""
    nodes = {id: Node(id, id.rpartition(":")[2]) for id in ("a", 'x"\\:b', 'x"\\:y:c')}
    subgraphs = {'x"\\': Node('x"\\', 'x"\\'), 'x"\\:y': Node('x"\\:y', "y")}
    picture = Graph(nodes, (Edge("a", 'x"\\:b'),), subgraphs)
    svg = picture.draw_svg()
    assert sorted(texts(svg)) == ["a", "b", "c", 'x"\\', "y"]
    assert svg.count('class="cluster"') == 2


def test_a_png_is_returned_and_written(graph: CompiledGraph, tmp_path: Path) -> None:
    """Both of Graphviz and of Mermaid; the file is what is returned."""
    picture = graph.get_graph()
    for name, draw in (("one.png", picture.draw_png), ("two.png", picture.draw_mermaid_png)):
        data = draw(output_file_path=tmp_path / name)
        assert data.startswith(PNG)
        assert (tmp_path / name).read_bytes() == data
    assert picture.draw_svg(tmp_path / "one.svg") == (tmp_path / "one.svg").read_text()


def test_options_of_a_web_service_mean_nothing(graph: CompiledGraph) -> None:
    """They are taken, since programs have them; others are mistakes."""
    picture = graph.get_graph()
    assert picture.draw_mermaid_png(draw_method="api", max_retries=5, padding=3).startswith(PNG)
    with pytest.raises(TypeError, match="no option 'colour'"):
        picture.draw_mermaid_png(colour="red")


def test_a_terminal_shows_boxes(graph: CompiledGraph, capsys: pytest.CaptureFixture[str]) -> None:
    """Every name in it, every label; printing it prints it."""
    picture = graph.get_graph()
    text = picture.draw_ascii()
    for part in ("__start__", "a", "interrupt before", 'b <&> "b"', "once more", "__end__"):
        assert part in text
    assert "▼" in text
    picture.print_ascii()
    assert capsys.readouterr().out == text + "\n"


def test_a_terminal_shows_frames(graph: CompiledGraph) -> None:
    """A subgraph is a frame around its nodes, with its name."""
    nodes = {id: Node(id, id.rpartition(":")[2]) for id in ("a", "sub:b", "sub:in:c")}
    edges = (Edge("a", "sub:b"), Edge("sub:b", "sub:in:c"))
    subgraphs = {"sub": Node("sub", "sub"), "sub:in": Node("sub:in", "inner")}
    text = Graph(nodes, edges, subgraphs).draw_ascii()
    assert "sub" in text
    assert "inner" in text
    assert text.count("┌") == 2


def test_threads_may_draw_at_once() -> None:
    """Graphviz by itself is not made for it, and takes the process down."""
    edges = [Edge(str(one), str(one + step)) for one in range(30) for step in (1, 3)]
    picture = Graph({str(id): Node(str(id), str(id)) for id in range(33)}, tuple(edges))
    expected = picture.draw_svg()
    drawn: list[str] = []

    def draw() -> None:
        drawn.extend(picture.draw_svg() for _ in range(10))

    several = [threading.Thread(target=draw) for _ in range(8)]
    for thread in several:
        thread.start()
    for thread in several:
        thread.join()
    assert drawn == [expected] * 80


def test_a_notebook_shows_the_picture(graph: CompiledGraph) -> None:
    """Of a graph, and of what is drawn of it."""
    shown = graph._repr_mimebundle_()
    assert shown["text/plain"] == repr(graph)
    assert shown["text/vnd.mermaid"] == graph.get_graph().draw_mermaid()
    assert shown["image/svg+xml"] == graph.get_graph().draw_svg()
    assert "text/markdown" not in shown
    assert graph.get_graph()._repr_mimebundle_()["text/plain"] == "<Graph: 4 nodes, 4 edges>"


def test_a_notebook_without_the_extra_shows_mermaid(
    graph: CompiledGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notebooks draw Mermaid within Markdown by themselves."""
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    shown = graph._repr_mimebundle_()
    assert shown.keys() == {"text/plain", "text/vnd.mermaid", "text/markdown"}
    assert shown["text/markdown"] == f"```mermaid\n{graph.get_graph().draw_mermaid()}```\n"


def test_a_notebook_shows_something_whatever_goes_wrong(
    graph: CompiledGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking at a value never raises."""

    def broken(*_: Any, **__: Any) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(Graph, "draw_mermaid", broken)
    assert graph._repr_mimebundle_() == {"text/plain": repr(graph)}
    monkeypatch.setattr(CompiledGraph, "get_graph", broken)
    assert graph._repr_mimebundle_() == {"text/plain": repr(graph)}


@pytest.mark.parametrize(
    ("package", "draw"),
    [
        ("pygraphviz", Graph.draw_png),
        ("pygraphviz", Graph.draw_svg),
        ("mermaidx", Graph.draw_mermaid_png),
        ("termaid", Graph.draw_ascii),
        ("termaid", Graph.print_ascii),
    ],
)
def test_without_the_extra_the_error_names_it(
    graph: CompiledGraph,
    package: str,
    draw: Callable[[Graph], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It says which package is missing and what to install."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as caught:
        draw(graph.get_graph())
    assert f"'{package}'" in str(caught.value)
    assert "pip install 'durable-graph[draw]'" in str(caught.value)
    assert isinstance(caught.value, ImportError)
