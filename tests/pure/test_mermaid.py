"""A graph as Mermaid text, read by Mermaid itself."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import mermaidx
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from durable_graph.drawing import Edge, Graph, Node, NodeStyles
from durable_graph.types import END, START


def graph_of(*edges: Edge, **metadata: Any) -> Graph:
    """A graph of the nodes that its edges name."""
    ids = dict.fromkeys(id for edge in edges for id in (edge.source, edge.target))
    return Graph({id: Node(id, id, None, metadata.get(id)) for id in ids}, edges)


def read_by_mermaid(svg: str) -> list[str]:
    """What the picture's nodes, edges and frames are labelled with, as Mermaid shows it."""
    labels = [
        "".join(part.itertext()).strip()
        for part in ET.fromstring(svg).iter()
        if {"nodeLabel", "edgeLabel"} & set(part.get("class", "").split())
    ]
    return [label for label in labels if label]


NAMES = [
    *("end", "End", "graph", "subgraph", "style", "class", "click", "default", "o", "x", "call"),
    *("constructor", "__proto__", "toString", "hasOwnProperty", "null", "true"),
    *("a b", "a_b", "a-b", "n_a_b", "my_node", "it's", "...", "/", "=", "!", "--> b", "@{shape}"),
    *('"q"', "<b>hi</b>", "<script>x</script>", "a<br>b", "&lt;", "#35;", "a;b", "a&b;", "%% c"),
    *("`md`", "**bold**", "_it_", "__x__", "~~s~~", "[l](u)", "$$x^2$$", "a\\b", "\\n"),
    *("1. one", "10. ten", "1) z", "- item", "* it", "+ p", "# h", "> q", "---", "___"),
    *("漢字", "émoji 🎉"),
]


def test_the_text_is_as_expected() -> None:
    """Nodes, edges, looks; every line of it."""
    graph = graph_of(
        Edge(START, "a"),
        Edge("a", "b", "if so", conditional=True),
        Edge("b", END),
        b={"by": "ada", "defer": True, "__interrupt": "before,after"},
    )
    notes = "".join(
        f"<br/><small><em>{note}</em></small>"
        for note in ("by = ada", "deferred", "interrupt before and after")
    )
    assert graph.draw_mermaid() == (
        "---\n"
        "config:\n"
        "  flowchart:\n"
        '    curve: "linear"\n'
        "---\n"
        "graph TD;\n"
        '\t__start__(["#95;#95;start#95;#95;"]):::first\n'
        '\ta("a")\n'
        f'\tb("b{notes}")\n'
        '\t__end__(["#95;#95;end#95;#95;"]):::last\n'
        "\t__start__ --> a;\n"
        '\ta -.->|"if so"| b;\n'
        "\tb --> __end__;\n"
        "\tclassDef default fill:#eeebff,stroke:#8f83d8,color:#241f3d,line-height:1.2\n"
        "\tclassDef first fill:#ffffff,stroke:#8f83d8,color:#241f3d\n"
        "\tclassDef last fill:#bfb6fc,stroke:#8f83d8,color:#241f3d\n"
        "\tlinkStyle default stroke:#8a8aa3\n"
    )


def test_without_styles_the_nodes_are_still_there() -> None:
    """Structure and labels, and nothing about looks."""
    text = graph_of(Edge(START, "my node")).draw_mermaid(with_styles=False)
    assert text == (
        "graph TD;\n"
        '\t__start__(["#95;#95;start#95;#95;"])\n'
        '\tn_my_node("my node")\n'
        "\t__start__ --> n_my_node;\n"
    )


def test_options_are_put_into_the_text() -> None:
    """Curve, colours, configuration; labels go on in a new line after so many words."""
    graph = graph_of(Edge("a", "b", "one two three four five"))
    text = graph.draw_mermaid(
        curve_style="basis",
        node_colors=NodeStyles(default="fill:red"),
        wrap_label_n_words=2,
        frontmatter_config={"config": {"theme": "dark", "flowchart": {"x": [1]}}, "my key": {}},
    )
    assert '  flowchart:\n    curve: "basis"\n    x: [1]\n  theme: "dark"\n' in text
    assert '"my key": {}\n' in text
    assert "classDef default fill:red\n" in text
    assert '"one two<br/>three four<br/>five"' in text
    assert mermaidx.render(text).svg()


def test_mermaid_shows_hostile_names_as_they_are() -> None:
    """Mermaid's, Markdown's, HTML's and JavaScript's words and signs, as nodes and as labels."""
    pairs = zip(NAMES[::2], NAMES[1::2], strict=False)
    edges = [Edge(one, other, f"to {other}", conditional=True) for one, other in pairs]
    svg = mermaidx.render(graph_of(*edges).draw_mermaid()).svg()
    shown = read_by_mermaid(svg)
    expected = [text for edge in edges for text in (edge.source, edge.target, edge.data)]
    assert [text for text in expected if text not in shown] == []
    assert "<script" not in svg


def test_mermaid_shows_graphs_within_graphs() -> None:
    """A frame has its node's name, also where a node within it has the same one."""
    graph = Graph(
        {id: Node(id, id.rpartition(":")[2]) for id in ("a", "sub:a", "sub:end:sub")},
        (Edge("a", "sub:a"), Edge("sub:a", "sub:end:sub")),
        {"sub": Node("sub", "sub", None, {"by": "ada"}), "sub:end": Node("sub:end", "end")},
    )
    text = graph.draw_mermaid()
    assert '\tsubgraph n_sub ["sub, by = ada"]\n' in text
    assert '\t\tsubgraph n_sub_end ["end"]\n' in text
    assert sorted(read_by_mermaid(mermaidx.render(text).svg())) == [
        "a",
        "a",
        "end",
        "sub",
        "sub, by = ada",
    ]


names_of_nodes = st.text(st.characters(exclude_characters=":|"), min_size=1, max_size=12)


@given(st.lists(names_of_nodes, min_size=2, max_size=12, unique=True))
def test_no_two_nodes_are_taken_for_one(names: list[str]) -> None:
    """Whatever they are called: each line of the text that declares a node has its own name."""
    graph = graph_of(*(Edge(names[0], name, name) for name in names[1:]))
    text = graph.draw_mermaid(with_styles=False)
    assert text == graph.draw_mermaid(with_styles=False)
    begin, *lines = text.splitlines()
    declared = [line.partition("(")[0].strip() for line in lines[: len(names)]]
    assert begin == "graph TD;"
    assert len(set(declared)) == len(names)
    assert len(lines) == 2 * len(names) - 1
    assert all(name.replace("_", "").isascii() for name in declared)


# A picture takes a second, so a failing one is not made smaller.
@settings(max_examples=3, deadline=None, phases=[Phase.generate])
@given(st.lists(names_of_nodes, min_size=12, max_size=12, unique=True))
def test_mermaid_reads_whatever_names_there_are(names: list[str]) -> None:
    """No name breaks the text: the picture has all nodes."""
    graph = graph_of(*(Edge(one, names[0], one) for one in names))
    picture = ET.fromstring(mermaidx.render(graph.draw_mermaid()).svg())
    nodes = [part for part in picture.iter() if part.get("class", "").startswith("node ")]
    assert len(nodes) == len(names)


@pytest.mark.parametrize("words", [0, -1])
def test_a_label_has_at_least_a_word_in_a_line(words: int) -> None:
    """No number of words makes labels disappear."""
    text = graph_of(Edge("a", "b", "one two")).draw_mermaid(wrap_label_n_words=words)
    assert '"one<br/>two"' in text
