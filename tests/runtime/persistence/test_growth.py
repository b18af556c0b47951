"""Storage grows with what nodes write, not with steps times state; so does the work of a turn."""

from __future__ import annotations

import itertools
from typing import Any, TypedDict

import pytest

from durable_graph import START, Command, MessagesState, Send, StateGraph
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.backends import counted
from tests.runtime.kit import Items, bytes_of, chain, history, key_of

TEXT = "What was said in this turn, at some length, as people and models do. " * 3


def chat(saver: Saver) -> CompiledGraph:
    async def reply(state: MessagesState) -> Any:
        return {"messages": [("ai", f"{len(state['messages'])}: {TEXT}")]}

    return StateGraph(MessagesState).add_node(reply).add_edge(START, "reply").compile(saver)


async def talk(graph: CompiledGraph, config: RunnableConfig, turns: int) -> None:
    for turn in range(turns):
        await graph.ainvoke({"messages": [("user", f"{turn}: {TEXT}")]}, config)


async def test_a_chat_of_long_messages_takes_little_more_than_what_was_said(
    saver: Saver, config: RunnableConfig
) -> None:
    """With messages of some kilobytes, the thread is at most three times its payload."""

    async def reply(state: MessagesState) -> Any:
        return {"messages": [("ai", TEXT * 10)]}

    graph = StateGraph(MessagesState).add_node(reply).add_edge(START, "reply").compile(saver)
    for _ in range(100):
        await graph.ainvoke({"messages": [("user", TEXT * 10)]}, config)
    assert await bytes_of(saver, config) <= 3 * 100 * 2 * len(TEXT * 10)


async def test_twice_as_long_a_chat_takes_twice_the_space(saver: Saver) -> None:
    """Bytes of 2 N turns over bytes of N turns stay at about 2."""
    graph = chat(saver)
    taken = {}
    for turns in (30, 60, 120):
        config: RunnableConfig = {"configurable": {"thread_id": str(turns)}}
        await talk(graph, config, turns)
        taken[turns] = await bytes_of(saver, config)
    assert taken[60] / taken[30] <= 2.2
    assert taken[120] / taken[60] <= 2.2


class Kept(TypedDict, total=False):
    large: Any
    count: int


@pytest.mark.parametrize(
    ("large", "times"),
    [("x" * 2**20, 1), ([{"text": "y" * 1000} for _ in range(1000)], 2)],
    ids=["one text", "a list of small parts"],
)
@pytest.mark.parametrize("returned", ["only the count", "everything"])
async def test_a_large_value_that_stays_is_stored_once(
    large: Any, times: int, returned: str, saver: Saver, config: RunnableConfig
) -> None:
    """100 steps over a megabyte take a megabyte; a list of small parts once more, in a snapshot."""

    async def step(state: Kept) -> Any:
        update: dict[str, Any] = {"count": state["count"] + 1}
        if returned == "everything":
            update = {**state, **update}
        return Command(update=update, goto="step" if update["count"] < 100 else [])

    graph = StateGraph(Kept).add_node("step", step, destinations=("step",)).add_edge(START, "step")
    compiled = graph.compile(saver)
    result = await compiled.ainvoke({"large": large, "count": 0}, config)
    assert (result["count"], result["large"] == large) == (100, True)
    assert await bytes_of(saver, config) < (times + 0.3) * 2**20
    oldest = (await history(compiled, config, limit=1, filter={"step": 1}))[0]
    assert oldest.values["large"] == large


async def test_returning_the_whole_list_costs_what_returning_its_end_does(saver: Saver) -> None:
    """A node may return everything with something added; only what was added is stored."""

    class Plain(TypedDict, total=False):
        items: list[str]

    taken = {}
    for kind in ("whole list", "with a reducer"):

        async def add(state: Any, kind: str = kind) -> Any:
            new = f"{len(state.get('items', []))}: {TEXT}"
            return {"items": [*state.get("items", []), new] if kind == "whole list" else [new]}

        schema: Any = Plain if kind == "whole list" else Items
        graph = StateGraph(schema).add_node("add", _one_argument(add))
        compiled = graph.add_edge(START, "add").compile(saver)
        config: RunnableConfig = {"configurable": {"thread_id": kind}}
        for _ in range(100):
            await compiled.ainvoke({}, config)
        assert len((await compiled.aget_state(config)).values["items"]) == 100
        taken[kind] = await bytes_of(saver, config)
    assert taken["whole list"] <= 1.5 * taken["with a reducer"]


def _one_argument(function: Any) -> Any:
    async def node(state: Any) -> Any:
        return await function(state)

    return node


@pytest.mark.parametrize("memory", ["hot", "cold"])
async def test_a_late_turn_writes_what_an_early_one_does(
    memory: str, saver: Saver, config: RunnableConfig
) -> None:
    """Writes, records and bytes of a turn do not grow, but for a snapshot now and then."""
    turns = 400 if saver.backend.capabilities.immediate and memory == "hot" else 80
    backend = counted(saver)
    graph = chat(saver)
    writes: set[tuple[int, int]] = set()
    sizes = [0]
    for turn in range(turns):
        if memory == "cold":
            saver.hot.take(key_of(config))
        before = (backend.appends, backend.records)
        await talk(graph, config, 1)
        writes.add((backend.appends - before[0], backend.records - before[1]))
        if turn < 12 or turn >= turns - 4:
            sizes.append(await bytes_of(saver, config))
    assert len(writes) == 1
    grown = [after - before for before, after in itertools.pairwise(sizes)]
    assert min(grown[-3:]) <= 1.2 * grown[9]


async def test_a_hot_turn_reads_nothing(saver: Saver, config: RunnableConfig) -> None:
    """A thread that this process used last is not read again."""
    graph = chat(saver)
    await talk(graph, config, 50)
    backend = counted(saver)
    await talk(graph, config, 10)
    assert backend.reads == 0


async def test_a_cold_read_takes_the_state_not_the_history(
    saver: Saver, config: RunnableConfig
) -> None:
    """The records to fold for a small state stay few, however many steps there were."""

    async def step(state: Kept) -> Any:
        count = state["count"] + 1
        return Command(update={"count": count}, goto="step" if count % 100 else [])

    graph = StateGraph(Kept).add_node("step", step, destinations=("step",)).add_edge(START, "step")
    compiled = graph.compile(saver)
    reads = []
    for turn in range(6):
        await compiled.ainvoke({"count": turn * 100}, config)
        saver.hot.take(key_of(config))
        backend = counted(saver)
        await compiled.aget_state(config)
        reads.append(backend.reads)
    assert max(reads) <= 150
    assert len(await history(compiled, config)) == 6 * 102


async def test_the_size_of_the_graph_does_not_show_in_storage(saver: Saver) -> None:
    """A step of a graph of 200 nodes takes as many bytes as one of a graph of 2."""
    taken = {}
    for nodes in (2, 200):
        graph = StateGraph(Items)

        async def node(state: Items) -> Items:
            return {"count": 1}

        names = [f"node{index:03}" for index in range(nodes)]
        for name in names:
            graph.add_node(name, node)
        graph.add_conditional_edges(START, lambda state: f"node00{state['count'] % 2}", names)
        compiled = graph.compile(saver)
        config: RunnableConfig = {"configurable": {"thread_id": str(nodes)}}
        await compiled.ainvoke({}, config)
        before = await bytes_of(saver, config)
        for _ in range(20):
            await compiled.ainvoke({}, config)
        taken[nodes] = await bytes_of(saver, config) - before
    assert taken[200] <= 1.1 * taken[2]


async def test_packets_share_what_is_large_in_them(saver: Saver, config: RunnableConfig) -> None:
    """A hundred packets with the same document store it once."""
    document = "long " * 20_000

    async def take(state: Any) -> Items:
        return {"items": [len(state["document"])]}

    graph = StateGraph(Items).add_node("take", take)
    packets = [Send("take", {"document": document, "n": n}) for n in range(100)]
    graph.add_conditional_edges(START, lambda state: packets)
    compiled = graph.compile(saver)
    result = await compiled.ainvoke({}, config)
    assert result["items"] == [len(document)] * 100
    assert await bytes_of(saver, config) < 2 * len(document)


async def test_a_list_that_grows_in_one_run_is_linear_too(saver: Saver) -> None:
    """Bytes of a loop of 200 appending steps are about twice those of 100."""

    async def append(state: Items) -> Any:
        update = {"items": [f"{state['count']}: {TEXT}"], "count": 1}
        return Command(update=update, goto="append" if state["count"] + 1 < state["last"] else [])

    graph = chain(("append", append), saver=saver)
    taken = {}
    for steps in (100, 200):
        own: RunnableConfig = {"configurable": {"thread_id": str(steps)}}
        await graph.ainvoke({"last": steps}, own)
        taken[steps] = await bytes_of(saver, own)
    assert taken[200] / taken[100] <= 2.2
