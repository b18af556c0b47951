"""`Command` and `Send` from nodes, and `Command` as an input."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import END, START, Command, Send, StateGraph
from durable_graph.errors import InvalidUpdateError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, history, says


def graph_with(first: Any, *others: str) -> StateGraph:
    graph = StateGraph(Items).add_node("first", first, destinations=others).add_edge(START, "first")
    for name in others:
        graph.add_node(name, says(name))
    return graph


@pytest.mark.parametrize(
    ("goto", "ran"),
    [
        ("b", ["b"]),
        (["c", "b"], ["b", "c"]),
        (("b", "b"), ["b"]),
        ([], []),
        (END, []),
        ([END, "c"], ["c"]),
        (Send("b", {}), ["b"]),
        ([Send("b", {}), Send("b", {}), "b"], ["b", "b", "b"]),
    ],
)
async def test_a_command_leads_where_it_says(
    goto: Any, ran: list[str], saver: Saver, config: RunnableConfig
) -> None:
    """A name, several, packets, or the end: each name once, each packet once."""

    async def first(state: Items) -> Any:
        return Command(update={"items": ["first"]}, goto=goto)

    graph = graph_with(first, "b", "c").compile(saver)
    assert (await graph.ainvoke({}, config))["items"] == ["first", *ran]


async def test_a_command_adds_to_the_edges_of_its_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """Plain edges and routers apply beside `goto`."""

    async def first(state: Items) -> Any:
        return Command(goto="b")

    graph = graph_with(first, "b", "c", "d").add_edge("first", "c")
    graph.add_conditional_edges("first", lambda s: "d", ["d"])
    assert (await graph.compile(saver).ainvoke({}, config))["items"] == ["b", "c", "d"]


async def test_several_commands_add_up(saver: Saver, config: RunnableConfig) -> None:
    """A list of commands and updates is all of them, in order."""

    async def first(state: Items) -> Any:
        return [Command(update={"items": [1]}, goto="b"), {"items": [2]}, Command(goto="c")]

    result = await graph_with(first, "b", "c").compile(saver).ainvoke({}, config)
    assert result["items"] == [1, 2, "b", "c"]


async def test_a_packet_is_the_whole_input_of_its_task(
    saver: Saver, config: RunnableConfig
) -> None:
    """The node gets the packet's argument and nothing of the state; its update goes there."""
    seen: list[Any] = []

    async def first(state: Items) -> Any:
        return Command(goto=[Send("take", n) for n in (1, "two", {"three": 3}, None, [4])])

    async def take(state: Any) -> Items:
        seen.append(state)
        return {"count": 1}

    graph = StateGraph(Items).add_node("first", first, destinations=("take",))
    compiled = graph.add_node("take", take).add_edge(START, "first").compile(saver)
    result = await compiled.ainvoke({"items": ["in"]}, config)
    assert (result["count"], seen) == (5, [1, "two", {"three": 3}, None, [4]])


async def test_a_packet_is_taken_when_it_is_sent(saver: Saver, config: RunnableConfig) -> None:
    """Changing the object afterwards changes nothing; every task has a copy of its own."""
    shared = {"n": [0]}
    seen: list[Any] = []

    async def first(state: Items) -> Any:
        return Command(goto=[Send("take", shared), Send("take", shared)])

    async def take(state: Any) -> None:
        state["n"].append(1)
        shared["n"].append(2)
        seen.append(state)

    graph = StateGraph(Items).add_node("first", first, destinations=("take",))
    compiled = graph.add_node("take", take).add_edge(START, "first").compile(saver)
    await compiled.ainvoke({}, config)
    assert seen == [{"n": [0, 1]}, {"n": [0, 1]}]


@pytest.mark.parametrize("goto", ["no", ["b", "no"], Send("no", {}), Send(END, {})])
async def test_a_command_to_nowhere_fails_the_run(
    goto: Any, saver: Saver, config: RunnableConfig
) -> None:
    """The error names the node that is not there; the update beside it is not taken."""

    async def first(state: Items) -> Any:
        return Command(update={"items": ["lost"]}, goto=goto)

    graph = graph_with(first, "b").compile(saver)
    with pytest.raises(InvalidUpdateError, match="A command of 'first'"):
        await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == ([], ("first",))


async def test_a_packet_that_cannot_be_stored_fails_the_run(
    saver: Saver, config: RunnableConfig
) -> None:
    """The error names sender and receiver."""

    async def first(state: Items) -> Any:
        return Command(goto=Send("b", object()))

    with pytest.raises(InvalidUpdateError, match="What 'first' sends to 'b' cannot be stored"):
        await graph_with(first, "b").compile(saver).ainvoke({}, config)


async def test_a_command_as_input_writes_and_goes(saver: Saver, config: RunnableConfig) -> None:
    """`update` goes through the reducers, `goto` begins there instead of at the entry."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.ainvoke({"items": ["in"]}, config)
    result = await graph.ainvoke(Command(update={"items": ["new"]}, goto="b"), config)
    assert result["items"] == ["in", "a", "b", "new", "b"]
    sources = [(s.metadata or {})["source"] for s in await history(graph, config)]
    assert sources == ["loop", "input", "loop", "loop", "loop", "input"]


async def test_a_command_can_be_the_first_input(saver: Saver, config: RunnableConfig) -> None:
    """Also on a thread that does not exist yet."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    result = await graph.ainvoke(Command(update={"items": ["in"]}, goto="b"), config)
    assert result["items"] == ["in", "b"]


async def test_a_command_with_an_update_alone_runs_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """The state changes, and nothing is due."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    assert (await graph.ainvoke(Command(update={"last": 1}), config))["last"] == 1
    assert (await graph.aget_state(config)).next == ()


@pytest.mark.parametrize(
    "command",
    [
        Command(goto="no"),
        pytest.param(Command(graph="__parent__", goto="a")),
    ],
)
async def test_a_command_as_input_to_nowhere_changes_nothing(
    command: Command[Any], saver: Saver, config: RunnableConfig
) -> None:
    """It is refused before anything is written."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    before = await history(graph, config)
    with pytest.raises(InvalidUpdateError):
        await graph.ainvoke(command, config)
    assert await history(graph, config) == before
