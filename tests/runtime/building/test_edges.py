"""Where edges lead: plain ones, joins, conditional ones, sequences, entry and finish points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypedDict

import pytest

from durable_graph import END, START, Command, Send, StateGraph
from durable_graph.errors import InvalidUpdateError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, key_of, says


def nodes(*names: str) -> StateGraph:
    graph = StateGraph(Items)
    for name in names:
        graph.add_node(name, says(name))
    return graph


async def test_two_edges_to_a_node_run_it_once_if_both_are_due_at_once(
    saver: Saver, config: RunnableConfig
) -> None:
    """Predecessors that finish in one superstep make their successor due once."""
    graph = nodes("a", "b", "c").add_edge(START, "a").add_edge(START, "b")
    compiled = graph.add_edge("a", "c").add_edge("b", "c").compile(saver)
    assert (await compiled.ainvoke({}, config))["items"] == ["a", "b", "c"]


async def test_two_edges_to_a_node_run_it_each_time_one_is_due(
    saver: Saver, config: RunnableConfig
) -> None:
    """Predecessors that finish in different supersteps make their successor due twice."""
    graph = nodes("a", "b", "c").add_edge(START, "a").add_edge("a", "b")
    compiled = graph.add_edge("a", "c").add_edge("b", "c").compile(saver)
    assert (await compiled.ainvoke({}, config))["items"] == ["a", "b", "c", "c"]


async def test_a_join_waits_for_all_of_its_sources(saver: Saver, config: RunnableConfig) -> None:
    """A list as source makes the target due once, after the last of them, over supersteps."""
    graph = nodes("long", "longer", "short", "end").add_edge(START, "long").add_edge(START, "short")
    compiled = graph.add_edge("long", "longer").add_edge(["longer", "short"], "end").compile(saver)
    result = await compiled.ainvoke({}, config)
    assert result["items"] == ["long", "short", "longer", "end"]


async def test_a_waiting_join_survives_the_end_of_the_process_memory(
    saver: Saver, config: RunnableConfig
) -> None:
    """What a join has seen so far is part of the thread, not of the run."""
    graph = nodes("long", "longer", "short", "end").add_edge(START, "long").add_edge(START, "short")
    graph.add_edge("long", "longer").add_edge(["longer", "short"], "end")
    stopped = graph.compile(saver, interrupt_before=["longer"])
    assert (await stopped.ainvoke({}, config))["items"] == ["long", "short"]
    saver.hot.take(key_of(config))
    assert (await graph.compile(saver).ainvoke(None, config))["items"][-2:] == ["longer", "end"]


async def test_a_join_starts_afresh_after_it_has_fired(
    saver: Saver, config: RunnableConfig
) -> None:
    """In a loop, a join waits for all of its sources once more."""

    async def again(state: Items) -> Command[Any]:
        return Command(
            update={"items": ["again"], "count": 1}, goto=["a", "b"] if not state["count"] else []
        )

    graph = nodes("a", "b").add_node("again", again, destinations=("a", "b"))
    graph.add_edge(START, "a").add_edge(START, "b").add_edge(["a", "b"], "again")
    result = await graph.compile(saver).ainvoke({}, config)
    assert result["items"] == ["a", "b", "again", "a", "b", "again"]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
async def test_a_join_counts_a_superstep_as_a_whole(
    names: tuple[str, str], saver: Saver, config: RunnableConfig
) -> None:
    """A source that runs again in the superstep that completes the join counts for that round.

    The first source runs in steps 1 and 2, the second in steps 2 and 3: the join fires once,
    after step 2, and then waits for the first one again, whatever the two are called.
    """
    first, second = names

    async def repeat(state: Items) -> Command[Any]:
        return Command(
            update={"items": [first], "count": 1},
            goto=[first, second] if not state["count"] else [],
        )

    async def follow(state: Items) -> Command[Any]:
        return Command(update={"items": [second]}, goto=second if state["count"] == 1 else [])

    graph = nodes("end").add_node(first, repeat, destinations=(first, second))
    graph.add_node(second, follow, destinations=(second,)).add_edge(START, first)
    result = await graph.add_edge([first, second], "end").compile(saver).ainvoke({}, config)
    assert result["items"].count("end") == 1


async def test_a_join_of_one_source_is_a_plain_edge(saver: Saver, config: RunnableConfig) -> None:
    """A list with one node, or with the same node twice, waits for that node."""
    graph = nodes("a", "b", "c").add_edge(START, "a").add_edge(["a"], "b").add_edge(["b", "b"], "c")
    result = await graph.compile(saver).ainvoke({}, config)
    assert result["items"] == ["a", "b", "c"]


def is_even(state: Items) -> str:
    return "even" if state["count"] % 2 == 0 else "odd"


async def is_even_async(state: Items) -> str:
    return is_even(state)


def is_even_annotated(state: Items) -> Literal["even", "odd"]:
    return "even" if state["count"] % 2 == 0 else "odd"


def yes_or_no(state: Items) -> bool:
    return state["count"] % 2 == 0


@pytest.mark.parametrize(
    ("router", "path_map"),
    [
        (is_even, None),
        (is_even_async, None),
        (is_even_annotated, None),
        (is_even, ["even", "odd"]),
        (yes_or_no, {True: "even", False: "odd"}),
        (lambda s: [is_even(s)], None),
        (lambda s: (is_even(s),), ["even", "odd"]),
    ],
    ids=["sync", "async", "Literal", "list", "dict", "returns list", "returns tuple"],
)
@pytest.mark.parametrize(("count", "leads_to"), [(1, "even"), (2, "odd")])
async def test_a_conditional_edge_leads_where_its_router_says(
    router: Callable[..., Any],
    path_map: Any,
    count: int,
    leads_to: str,
    saver: Saver,
    config: RunnableConfig,
) -> None:
    """The router sees the state with its own node's update in it, and names what runs next."""

    async def add(state: Items) -> Items:
        return {"items": ["add"], "count": 1}

    graph = nodes("even", "odd").add_node("add", add).add_edge(START, "add")
    compiled = graph.add_conditional_edges("add", router, path_map).compile(saver)
    assert (await compiled.ainvoke({"count": count}, config))["items"] == ["add", leads_to]


async def test_a_router_at_the_start_sees_the_input(saver: Saver, config: RunnableConfig) -> None:
    """A conditional entry point routes by the state with the input in it."""
    graph = nodes("even", "odd").set_conditional_entry_point(is_even, {"even": "even", "odd": END})
    compiled = graph.add_edge("even", "odd").compile(saver)
    assert (await compiled.ainvoke({"count": 2}, config))["items"] == ["even", "odd"]
    assert (await compiled.ainvoke({"count": 1}, config))["items"] == ["even", "odd"]


async def test_several_routers_of_a_node_all_count(saver: Saver, config: RunnableConfig) -> None:
    """Routers and plain edges of one node add up, and each target runs once."""
    graph = nodes("a", "b", "c", "d").add_edge(START, "a").add_edge("a", "d")
    graph.add_conditional_edges("a", lambda s: ["b", "c"], ["b", "c"])
    graph.add_conditional_edges("a", is_even, {"even": "c", "odd": "d"})
    result = await graph.compile(saver).ainvoke({}, config)
    assert result["items"] == ["a", "b", "c", "d"]


async def test_a_router_reads_what_its_parameter_is_annotated_with(
    saver: Saver, config: RunnableConfig
) -> None:
    """A router with a schema of its own gets that schema's keys, private ones included."""
    seen: list[Any] = []

    def router(state: Hidden) -> str:
        seen.append(state)
        return "b"

    async def a(state: Items) -> dict[str, Any]:
        return {"hidden": 1, "items": ["a"]}

    graph = nodes("b").add_node("a", a).add_edge(START, "a")
    compiled = graph.add_conditional_edges("a", router, ["b"]).compile(saver)
    assert (await compiled.ainvoke({}, config))["items"] == ["a", "b"]
    assert seen == [{"hidden": 1}]


class Hidden(TypedDict):
    hidden: int


async def test_a_router_may_send(saver: Saver, config: RunnableConfig) -> None:
    """A router's list mixes names and packets; a packet's argument is the node's whole input."""
    seen: list[Any] = []

    async def take(state: Any) -> Items:
        seen.append(state)
        return {"items": [state.get("n")]}

    graph = nodes("a").add_node("take", take).add_edge(START, "a")
    graph.add_conditional_edges("a", lambda s: [Send("take", {"n": 1}), "take", Send("take", 2)])
    with pytest.raises(AttributeError):
        await graph.compile(saver).ainvoke({}, config)
    assert sorted(map(str, seen)) == ["2", "{'items': ['a'], 'count': 0}", "{'n': 1}"]


async def test_an_edge_to_the_end_leads_nowhere(saver: Saver, config: RunnableConfig) -> None:
    """END ends its own branch of the run, not the others."""
    graph = nodes("a", "b", "c").add_edge(START, "a").add_edge(START, "b").add_edge("a", END)
    result = await graph.add_edge("b", "c").compile(saver).ainvoke({}, config)
    assert result["items"] == ["a", "b", "c"]


async def test_a_sequence_runs_in_order(saver: Saver, config: RunnableConfig) -> None:
    """`add_sequence` adds nodes, named by function or by pair, and the edges between them."""

    async def first(state: Items) -> Items:
        return {"items": ["first"]}

    graph = StateGraph(Items).add_sequence([first, ("second", says("second"))])
    compiled = graph.set_entry_point("first").set_finish_point("second").compile(saver)
    assert (await compiled.ainvoke({}, config))["items"] == ["first", "second"]


@pytest.mark.parametrize(
    ("router", "path_map", "error", "says_what"),
    [
        (lambda s: "nowhere", None, InvalidUpdateError, "leads to 'nowhere', which is no node"),
        (lambda s: None, None, ValueError, "returned None; return a node's name"),
        (lambda s: "c", ["b"], ValueError, r"returned 'c', which is not among \['b'\]"),
        (lambda s: Send(END, {}), None, InvalidUpdateError, "sends to END"),
        (lambda s: [Send("no", 1)], None, InvalidUpdateError, "leads to 'no', which is no node"),
        (lambda s: 3, None, InvalidUpdateError, "leads to 3, which is no node"),
    ],
)
async def test_a_router_that_leads_nowhere_fails_the_run(
    router: Callable[..., Any],
    path_map: Any,
    error: type[Exception],
    says_what: str,
    saver: Saver,
    config: RunnableConfig,
) -> None:
    """An unknown target is an error that names router and node; the update is not stored."""
    graph = nodes("a", "b", "c").add_edge(START, "a").add_edge("b", "c")
    compiled = graph.add_conditional_edges("a", router, path_map).compile(saver)
    with pytest.raises(error, match=says_what) as caught:
        await compiled.ainvoke({}, config)
    assert "of 'a'" in str(caught.value)
    state = await compiled.aget_state(config)
    assert (state.values["items"], state.next) == ([], ("a",))
