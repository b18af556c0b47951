"""Graphs as they are built and compiled: what is wrong with one is said at once, by name."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import END, START, Command, RetryPolicy, StateGraph
from durable_graph.errors import (
    ConfigError,
    GraphDefinitionError,
    IncompatibleGraphError,
    UnreachableNodeWarning,
)
from durable_graph.graph.compiled import CompiledGraph
from tests.pure.definitions import Free, define, graph, idle, schema_of


async def generator(state: Any) -> Any:
    yield {}


async def needy(state: Any, database: Any) -> None:
    pass


class Private(TypedDict):
    a: Any
    secret: Annotated[list[Any], operator.add]


async def reads(state: Private) -> None:
    pass


def outer(name: str) -> Any:
    """A dataclass of this name that is not the one of the same name elsewhere."""

    @dataclass
    class Local:
        a: int

    return Local


ONCE = RetryPolicy(max_attempts=1)
Building = Callable[[StateGraph], Any]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g: g.add_node("a", idle), "There is a node 'a' already"),
        (lambda g: g.add_node(START, idle), "The name '__start__' is reserved"),
        (lambda g: g.add_node(END, idle), "The name '__end__' is reserved"),
        (lambda g: g.add_node("", idle), "'' cannot be a node's name"),
        (lambda g: g.add_node("a|b", idle), r"'a\|b' cannot be a node's name"),
        (lambda g: g.add_node("a:b", idle), "'a:b' cannot be a node's name"),
        (lambda g: g.add_node("c"), "Node 'c' needs a function"),
        (lambda g: g.add_node("c", 7), "Node 'c' must be a function or callable, not 7"),
        (lambda g: g.add_node("c", generator), "Node 'c' is a generator"),
        (lambda g: g.add_node("c", needy), "Node 'c' has a parameter 'database'"),
        (lambda g: g.add_node(lambda state: None), "has no name; give one"),
        (lambda g: g.add_node(idle, idle), "a name and a function, or a function"),
        (lambda g: g.add_edge("a", START), "No edge can lead to START"),
        (lambda g: g.add_edge(END, "a"), "No edge can lead from END"),
        (lambda g: g.add_edge([], "b"), "The edge to 'b' has an empty list"),
        (lambda g: g.add_edge(["a", "zzz"], "b"), "add them before: 'zzz'"),
        (lambda g: g.add_edge([START, "a"], "b"), "add them before: '__start__'"),
        (lambda g: g.add_conditional_edges("a", 7), "'condition' of 'a' must be a function"),
        (
            lambda g: g.add_conditional_edges("a", needy),
            "'needy' of 'a' has a parameter 'database'",
        ),
        (lambda g: g.add_conditional_edges(END, idle), "No edge can lead from END"),
        (lambda g: g.add_sequence([]), "at least one node"),
        (lambda g: g.add_sequence([("a", idle)]), "There is a node 'a' already"),
    ],
)
def test_a_mistake_while_building_is_named(build: Building, message: str) -> None:
    """What can be seen when something is added is refused then, and the culprit is named."""
    with pytest.raises(GraphDefinitionError, match=message):
        build(graph("ab"))


def test_two_branches_of_one_name_are_refused() -> None:
    """A conditional edge is known by its node and its function's name."""
    made = graph("ab").add_conditional_edges("a", idle)
    with pytest.raises(GraphDefinitionError, match="'a' has a conditional edge 'idle' already"):
        made.add_conditional_edges("a", idle)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda g: g.add_edge("a", "zzz"), "no node 'zzz', where the edge from 'a' leads"),
        (lambda g: g.add_edge(START, "zzz"), "no node 'zzz', where the edge from '__start__'"),
        (lambda g: g.add_edge("zzz", "a"), "An edge leads from 'zzz', which is no node"),
        (lambda g: g.add_edge(["a", "b"], "zzz"), r"no node 'zzz', where the edge from \['a', 'b'"),
        (lambda g: g.add_edge("a", "a1"), "Did you mean 'a'"),
        (
            lambda g: g.add_conditional_edges("a", idle, ["b", "zzz"]),
            "no node 'zzz', where the conditional edge 'idle' of 'a' leads",
        ),
        (
            lambda g: g.add_conditional_edges("a", idle, {True: "zzz", False: "b"}),
            "no node 'zzz', where the conditional edge 'idle' of 'a' leads",
        ),
        (
            lambda g: g.add_node("c", idle, destinations=["zzz"]).add_edge("a", "c"),
            "no node 'zzz', where a command of 'c' leads",
        ),
    ],
)
def test_a_mistake_in_the_graph_is_named_when_it_is_compiled(build: Building, message: str) -> None:
    """What only the whole graph shows is refused by `compile`, and the culprit is named."""
    made = graph("ab", [(START, "a"), ("a", "b")])
    build(made)
    with pytest.raises(GraphDefinitionError, match=message):
        made.compile()


def test_a_graph_needs_an_entry() -> None:
    """Without an edge from START nothing would ever run."""
    with pytest.raises(GraphDefinitionError, match="no entry point: add an edge from START"):
        graph("a", []).compile()


def test_schemas_must_agree_on_a_reducer() -> None:
    """Two schemas that share a key cannot reduce it differently; the key is named."""
    made = StateGraph(
        schema_of(k=Annotated[list, operator.add]),
        input_schema=schema_of(k=Annotated[list, operator.iadd]),
    )
    made.add_node("a", idle).add_edge(START, "a")
    with pytest.raises(GraphDefinitionError, match="The key 'k' has two different reducers"):
        made.compile()


def test_one_schema_may_leave_a_reducer_to_another() -> None:
    """A key that is reduced in one schema and plain in another is reduced."""
    made = StateGraph(schema_of(k=list), input_schema=schema_of(k=Annotated[list, operator.add]))
    definition = made.add_node("a", idle).add_edge(START, "a").compile().definition
    assert definition.channels["k"].reducer is operator.add


def test_two_types_of_one_name_are_refused_when_compiled() -> None:
    """Values of both would be stored under one name."""
    with pytest.raises(GraphDefinitionError, match="Two types want the stored name"):
        define(schema=schema_of(a=outer("one"), b=outer("two")))


@pytest.mark.parametrize("what", ["interrupt_before", "interrupt_after"])
def test_a_breakpoint_at_no_node_is_refused(what: Any) -> None:
    """A misspelt breakpoint would never stop anything."""
    with pytest.raises(ConfigError, match=f"{what} names 'zzz', which is no node"):
        graph().compile(**{what: ["zzz"]})  # type: ignore[arg-type]


def test_a_checkpointer_is_a_saver() -> None:
    """A path or a connection is not one; the error shows how to make one."""
    with pytest.raises(TypeError, match=r"not 'state\.db'"):
        graph().compile("state.db")  # type: ignore[arg-type]


# -- reachability -----------------------------------------------------------------------------


def _compiled(made: StateGraph) -> CompiledGraph:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return made.compile()


def test_nodes_that_nothing_leads_to_are_named() -> None:
    """The warning names them, and says how to declare what a command leads to."""
    made = graph("abcd", [(START, "a"), ("c", "d"), ("b", "b")])
    with pytest.warns(UnreachableNodeWarning, match=r"leads to 'b', 'c', 'd'\. If a command"):
        made.compile()


def test_the_warning_points_to_where_the_graph_was_compiled() -> None:
    """Its place is the caller's line, not one of the library's."""
    with pytest.warns(UnreachableNodeWarning) as caught:
        graph("ab").compile()
    assert caught[0].filename == __file__


def route(state: Any) -> Literal["b", "__end__"]:
    return "b"


def somewhere(state: Any) -> str:
    return "b"


async def commanding(state: Any) -> Command[Literal["b"]]:
    return Command(goto="b")


@pytest.mark.parametrize(
    "build",
    [
        lambda g: g.add_edge("a", "b"),
        lambda g: g.add_edge(["a"], "b"),
        lambda g: g.add_conditional_edges("a", somewhere, ["b"]),
        lambda g: g.add_conditional_edges("a", somewhere, {"yes": "b", "no": END}),
        lambda g: g.add_conditional_edges("a", route),
        lambda g: g.add_conditional_edges("a", somewhere),
        lambda g: g.add_conditional_edges(START, route),
        lambda g: g.add_node("c", commanding).add_edge("a", "c"),
        lambda g: g.add_node("c", idle, destinations=["b"]).add_edge("a", "c"),
        lambda g: g.add_node("c", idle, destinations={"b": "label"}).add_edge("a", "c"),
    ],
)
def test_whatever_says_where_it_leads_reaches(build: Building) -> None:
    """Edges, joins, routers and commands reach what they say, a silent router everything."""
    made = graph("ab")
    build(made)
    _compiled(made)


# -- what a definition is ---------------------------------------------------------------------


def test_a_compiled_graph_is_frozen() -> None:
    """What is added later does not reach a graph that was compiled before."""
    made = graph("ab", [(START, "a"), ("a", "b")])
    before = made.compile().definition
    made.add_node("c", idle).add_edge("b", "c")
    assert list(before.nodes) == ["a", "b"]
    assert before.nodes["b"].targets == ()
    assert list(made.compile().definition.nodes) == ["a", "b", "c"]


def test_a_nodes_own_keys_are_private_keys_of_the_state() -> None:
    """Keys that only a node's schema declares are channels, but neither input nor output."""
    definition = graph().add_node("b", reads).add_edge("a", "b").compile().definition
    assert list(definition.channels) == ["a", "b", "secret"]
    assert definition.nodes["b"].input.type is Private
    assert "secret" not in definition.output.channels
    assert definition.initial == {"secret": b"[]"}


def test_an_initial_value_that_cannot_be_stored_is_none() -> None:
    """Such a key begins without a value."""
    assert define(schema=schema_of(a=Annotated[object, max])).initial == {}


@pytest.mark.parametrize(
    ("policy", "policies"),
    [
        (None, ()),
        (RetryPolicy(), (RetryPolicy(),)),
        (
            [RetryPolicy(max_attempts=1), RetryPolicy()],
            (RetryPolicy(max_attempts=1), RetryPolicy()),
        ),
    ],
)
def test_retry_policies_are_one_or_several(policy: Any, policies: Any) -> None:
    """A single policy is a list of one."""
    made = StateGraph(Free).add_node("a", idle, retry_policy=policy).add_edge(START, "a")
    assert made.compile().definition.nodes["a"].retry == policies


def test_shortcuts_are_edges() -> None:
    """Entry and finish points and sequences are other words for edges."""
    made = StateGraph(Free).add_sequence([("a", idle), ("b", idle)])
    made.set_entry_point("a").set_finish_point("b")
    long = graph("ab", [(START, "a"), ("a", "b"), ("b", END)])
    assert made.compile().definition.fingerprint == long.compile().definition.fingerprint
    entered = graph("ab", []).set_conditional_entry_point(somewhere, ["a", "b"])
    assert entered.compile().definition.start.branches[0].name == "somewhere"


def test_the_nearest_key_is_a_hint() -> None:
    """A misspelt key is answered with the one that was probably meant, if there is one."""
    definition = define(schema=schema_of(messages=list, count=int))
    assert definition.nearest("mesages") == " Did you mean 'messages'?"
    assert definition.nearest("zzz") == ""


def test_a_stored_run_that_needs_other_nodes_is_refused() -> None:
    """Going on with nodes that the graph does not have names thread and nodes."""
    definition = define("ab", [(START, "a"), ("a", "b")])
    definition.check_due(["a", START, "b"], "t")
    with pytest.raises(IncompatibleGraphError, match=r"'t' .* with 'x', 'z', which .*them"):
        definition.check_due(["z", "a", "x", "z"], "t")
