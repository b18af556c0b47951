"""What is drawn of a graph: its nodes, its edges, and what lies within a node."""

from __future__ import annotations

import json
import operator
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import END, START, Command, Send, StateGraph
from durable_graph.drawing import Edge, Graph
from durable_graph.graph import CompiledGraph


class State(TypedDict, total=False):
    items: Annotated[list[int], operator.add]


def idle(state: State) -> State:
    return {}


def graph_of(*names: str) -> StateGraph:
    """Nodes without edges, but for the one to the first."""
    graph = StateGraph(State).add_edge(START, names[0])
    for name in names:
        graph.add_node(name, idle)
    return graph


def drawn(graph: Graph) -> list[str]:
    """Each edge in a line: ``a -> b``, or ``a .> b`` if it is conditional; then its label."""
    return [
        f"{edge.source} {'.' if edge.conditional else '-'}> {edge.target}"
        + (f" [{edge.data}]" if edge.data else "")
        for edge in graph.edges
    ]


def edges_of(graph: StateGraph) -> list[str]:
    return drawn(graph.compile().get_graph())


def test_nodes_are_in_the_order_in_which_they_were_added() -> None:
    """Start and end around them; each with its function."""
    graph = graph_of("b", "a").add_edge("b", "a").compile().get_graph()
    assert list(graph.nodes) == [START, "b", "a", END]
    assert graph.nodes["a"].data is idle
    assert graph.nodes[START].data is None
    assert graph.edges[0] == Edge(START, "b")


def test_a_node_that_nothing_follows_leads_to_the_end() -> None:
    """Whether or not an edge says so."""
    assert edges_of(graph_of("a")) == ["__start__ -> a", "a -> __end__"]
    assert edges_of(graph_of("a").add_edge("a", END)) == ["__start__ -> a", "a -> __end__"]


def test_without_a_way_to_the_end_there_is_none() -> None:
    """A loop that only an error or a limit ends."""
    graph = graph_of("a").add_edge("a", "a").compile().get_graph()
    assert list(graph.nodes) == [START, "a"]
    assert drawn(graph) == ["__start__ -> a", "a -> a"]


def test_a_router_leads_where_its_annotation_says() -> None:
    """What it returns is the node's name, so the edge needs no label."""

    def route(state: State) -> Literal["b", "__end__"]:
        return "b"

    graph = graph_of("a", "b").add_conditional_edges("a", route)
    assert edges_of(graph) == ["__start__ -> a", "a .> b", "a .> __end__", "b -> __end__"]


def test_a_router_has_labels_where_it_returns_something_else() -> None:
    """Several results that lead to one node share its edge."""
    ends: dict[Any, str] = {"more": "b", 2: "b", "b": "b", False: END}
    graph = graph_of("a", "b").add_conditional_edges("a", lambda _: 2, ends)
    assert edges_of(graph)[1:3] == ["a .> b [more, 2]", "a .> __end__ [False]"]


def test_a_router_that_does_not_say_may_lead_anywhere() -> None:
    """Every node and the end: as many as it can really name."""
    graph = graph_of("a", "b").add_conditional_edges("a", lambda _: "b")
    assert edges_of(graph)[1:4] == ["a .> a", "a .> b", "a .> __end__"]


def test_a_router_at_the_start() -> None:
    """The start can branch as any node can."""
    graph = StateGraph(State).add_node("a", idle).add_node("b", idle)
    graph.add_conditional_edges(START, lambda _: "a", {"x": "a", "y": "b"})
    assert edges_of(graph)[:2] == ["__start__ .> a [x]", "__start__ .> b [y]"]


def test_a_plain_edge_stands_beside_a_conditional_one() -> None:
    """One is always taken and the other is not: both are there."""
    graph = graph_of("a", "b").add_edge("a", "b")
    graph.add_conditional_edges("a", lambda _: "x", {"x": "b"})
    assert edges_of(graph)[1:3] == ["a -> b", "a .> b [x]"]


def test_sends_are_conditional_edges() -> None:
    """How many tasks there will be, only the run knows."""

    def each(state: State) -> list[Send]:
        return [Send("b", {})]

    graph = graph_of("a", "b").add_conditional_edges("a", each, ["b"])
    assert edges_of(graph)[1:] == ["a .> b", "b -> __end__"]


def test_a_join_has_an_edge_from_each_source() -> None:
    """It is drawn as plain edges."""
    graph = graph_of("a", "b", "c").add_edge(START, "b").add_edge(["a", "b"], "c")
    assert edges_of(graph)[2:] == ["a -> c", "b -> c", "c -> __end__"]


def test_a_command_leads_where_its_annotation_says() -> None:
    """As a router's does; an edge of the same node stays."""

    def boss(state: State) -> Command[Literal["b", "__end__"]]:
        return Command(goto="b")

    graph = StateGraph(State).add_node(boss).add_node("b", idle).add_edge(START, "boss")
    assert edges_of(graph.add_edge("b", "boss"))[1:] == [
        "boss .> b",
        "boss .> __end__",
        "b -> boss",
    ]


@pytest.mark.parametrize(
    ("destinations", "expected"),
    [(["b"], "a .> b"), ("b", "a .> b"), ({"b": "if it must"}, "a .> b [if it must]")],
)
def test_destinations_are_drawn(destinations: Any, expected: str) -> None:
    """A dict says what is written at the edge."""
    graph = StateGraph(State).add_node("a", idle, destinations=destinations).add_node("b", idle)
    assert edges_of(graph.add_edge(START, "a"))[1] == expected


@pytest.mark.parametrize(
    ("breakpoints", "expected"),
    [
        ({"interrupt_before": ["a"]}, {"a": "before", "b": None}),
        ({"interrupt_after": ["b"]}, {"a": None, "b": "after"}),
        ({"interrupt_before": "*", "interrupt_after": ["a"]}, {"a": "before,after", "b": "before"}),
    ],
)
def test_breakpoints_are_marked(breakpoints: Any, expected: dict[str, str | None]) -> None:
    """In the metadata, as `__interrupt`."""
    nodes = graph_of("a", "b").add_edge("a", "b").compile(**breakpoints).get_graph().nodes
    found = {name: (nodes[name].metadata or {}).get("__interrupt") for name in ("a", "b")}
    assert found == expected


def test_metadata_of_a_node_is_there() -> None:
    """What the user wrote, untouched."""
    graph = StateGraph(State).add_node("a", idle, metadata={"by": "ada"}).add_edge(START, "a")
    assert graph.compile().get_graph().nodes["a"].metadata == {"by": "ada"}


async def test_the_async_name_gives_the_same() -> None:
    """Nothing is awaited; LangGraph has both."""
    compiled = graph_of("a").compile()
    assert await compiled.aget_graph() == compiled.get_graph()


def test_json_is_plain_data() -> None:
    """Also with metadata that is not; keys that would say nothing are left out."""
    graph = StateGraph(State).add_node("a", idle, metadata={"of": {1: (idle.__class__, 2.5)}})
    graph.add_edge(START, "a").add_conditional_edges("a", lambda _: 1, {"stop": END})
    shown = json.loads(json.dumps(graph.compile().get_graph().to_json()))
    assert shown["nodes"] == [
        {"id": START},
        {
            "id": "a",
            "type": "runnable",
            "data": {"id": [*__name__.split("."), "idle"], "name": "a"},
            "metadata": {"of": {"1": ["<class 'function'>", 2.5]}},
        },
        {"id": END},
    ]
    assert shown["edges"] == [
        {"source": START, "target": "a"},
        {"source": "a", "target": END, "data": "stop", "conditional": True},
    ]


class Child:
    """A node's function that is a graph."""

    def __init__(self, graph: CompiledGraph) -> None:
        self.get_graph = graph.get_graph

    def __call__(self, state: State) -> State:
        return {}


def nested() -> CompiledGraph:
    """a -> sub -> b, where sub is: mid -> z, where mid is: x, and y if need be."""
    inner = graph_of("x", "y").add_edge("y", END)
    inner.add_conditional_edges("x", lambda _: "y", {"go on": "y", "stop": END})
    middle = StateGraph(State).add_node("z", idle).add_edge(START, "mid").add_edge("mid", "z")
    middle.add_node("mid", Child(inner.compile(interrupt_before=["y"])))
    outer = graph_of("a", "b").add_edge("a", "sub").add_edge("sub", "b")
    outer.add_node("sub", Child(middle.compile()), metadata={"by": "ada"})
    return outer.compile()


def test_a_graph_within_is_closed_unless_it_is_asked_for() -> None:
    """It looks like any node."""
    graph = nested().get_graph()
    assert list(graph.nodes) == [START, "a", "b", "sub", END]
    assert graph.subgraphs == {}


def test_xray_opens_graphs_to_a_depth() -> None:
    """Their start and end are left out where they only pass on."""
    graph = nested().get_graph(xray=1)
    assert list(graph.nodes) == [START, "a", "b", "sub:z", "sub:mid", END]
    assert set(drawn(graph)) == {
        "__start__ -> a",
        "a -> sub:mid",
        "sub:mid -> sub:z",
        "sub:z -> b",
        "b -> __end__",
    }
    assert graph.subgraphs["sub"].metadata == {"by": "ada"}


def test_xray_opens_all() -> None:
    """An end that several edges lead to stays, and is what one leaves by."""
    graph = nested().get_graph(xray=True)
    assert list(graph.subgraphs) == ["sub", "sub:mid"]
    assert set(drawn(graph)) == {
        "__start__ -> a",
        "a -> sub:mid:x",
        "sub:mid:x .> sub:mid:y [go on]",
        "sub:mid:x .> sub:mid:__end__ [stop]",
        "sub:mid:y -> sub:mid:__end__",
        "sub:mid:__end__ -> sub:z",
        "sub:z -> b",
        "b -> __end__",
    }
    assert graph.nodes["sub:mid:y"].metadata == {"__interrupt": "before"}
    assert drawn(nested().get_graph(xray=2)) == drawn(graph)


def test_a_graph_within_that_never_ends_can_still_be_left() -> None:
    """A command may leave it: the edge that follows has somewhere to begin."""
    loop = graph_of("x").add_edge("x", "x").compile()
    outer = StateGraph(State).add_node("sub", Child(loop)).add_edge(START, "sub")
    graph = outer.compile().get_graph(xray=True)
    assert drawn(graph) == ["__start__ -> sub:x", "sub:__end__ -> __end__", "sub:x -> sub:x"]
    assert {edge.source for edge in graph.edges} <= graph.nodes.keys()


def test_a_conditional_way_out_is_not_made_a_plain_one() -> None:
    """The end stays, since the edge to it says something."""
    inner = graph_of("x").add_conditional_edges("x", lambda _: 1, {"again": "x", "stop": END})
    outer = StateGraph(State).add_node("sub", Child(inner.compile())).add_edge(START, "sub")
    assert drawn(outer.compile().get_graph(xray=True)) == [
        "__start__ -> sub:x",
        "sub:__end__ -> __end__",
        "sub:x .> sub:x [again]",
        "sub:x .> sub:__end__ [stop]",
    ]


def test_a_conditional_way_in_is_not_made_a_plain_one() -> None:
    """The start stays, since the edge from it says something."""
    inner = StateGraph(State).add_node("x", idle)
    inner.add_conditional_edges(START, lambda _: 1, {"first": "x"})
    outer = StateGraph(State).add_node("sub", Child(inner.compile())).add_edge(START, "sub")
    assert drawn(outer.compile().get_graph(xray=True)) == [
        "__start__ -> sub:__start__",
        "sub:x -> __end__",
        "sub:__start__ .> sub:x [first]",
    ]
