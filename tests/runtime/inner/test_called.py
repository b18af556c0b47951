"""Graphs that a node's code calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from durable_graph import START, InMemorySaver, StateGraph, get_config, interrupt
from durable_graph.engine.storage import runlog
from durable_graph.errors import ConfigError, EmptyInputError
from durable_graph.saver import Saver
from durable_graph.types import Command, RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.backends import held
from tests.runtime.inner.nests import Count, nest
from tests.runtime.kit import Items, chain, reached, says


async def test_a_node_can_call_a_graph(saver: Saver, config: RunnableConfig) -> None:
    """It is a part of the node's run, and returns what it has come to."""
    inner = chain(("a", says("a")), ("b", says("b")))

    async def node(state: Items) -> Items:
        first = await inner.ainvoke({"items": ["one"]})
        second = await inner.ainvoke({"items": ["two"]}, get_config())
        return {"items": [first["items"], second["items"]]}

    result = await chain(("node", node), saver=saver).ainvoke({}, config)
    assert result["items"] == [["one", "a", "b"], ["two", "a", "b"]]


async def test_a_synchronous_node_can_call_a_graph(saver: Saver, config: RunnableConfig) -> None:
    """The graph runs where the node's own graph does, and the node's thread waits for it."""
    count = Count()
    inner = chain(count.node("a"), count.node("b"))

    def node(state: Items) -> Items:
        *_, last = inner.stream({"items": ["one"]}, stream_mode="values")
        answer = interrupt("go on?")
        return {"items": [last["items"], answer, inner.invoke({})["items"]]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["items"] == [["one", "a", "b"], "yes", ["a", "b"]]
    assert count == {"a": 2, "b": 2}


def test_a_synchronous_node_of_a_synchronous_call_can_call_a_graph(config: RunnableConfig) -> None:
    """There, too."""
    inner = chain(("a", says("a")))

    def node(state: Items) -> Items:
        return {"items": [inner.invoke({})["items"]]}

    assert chain(("node", node), saver=InMemorySaver()).invoke({}, config)["items"] == [["a"]]


async def test_calls_side_by_side_are_apart(saver: Saver, config: RunnableConfig) -> None:
    """One graph, called many times at once."""

    async def double(state: Items) -> Items:
        return {"count": state["count"]}

    inner = chain(("double", double), ("again", double))

    async def node(state: Items) -> Items:
        results = await asyncio.gather(*(inner.ainvoke({"count": n}) for n in range(20)))
        return {"items": [result["count"] for result in results]}

    result = await chain(("node", node), saver=saver).ainvoke({}, config)
    assert result["items"] == [4 * n for n in range(20)]


async def test_what_graphs_have_appended_holds_up_nobody_who_waits_for_storage(
    tmp_path: Path, config: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sibling's result is being written while graphs ask: their questions wait for the run's
    end, and the sibling does not wait for them."""
    monkeypatch.setattr(runlog, "_AHEAD", 1)
    async with SqliteSaver(tmp_path / "t.db") as saver:
        backend, asked = held(saver), asyncio.Event()
        begun: list[int] = []

        async def sibling(state: Items) -> Items:
            backend.open.clear()
            begun.append(backend.appends)
            return {"items": ["sibling"]}

        async def asks(state: Items) -> Items:
            while begun in ([], [backend.appends]):
                await asyncio.sleep(0)
            asked.set()
            return {"items": [interrupt("?")]}

        graph = StateGraph(Items).add_node("inner", nest(2, [("asks", asks)]))
        graph.add_node("sibling", sibling).add_edge(START, "inner").add_edge(START, "sibling")
        run = asyncio.create_task(graph.compile(saver).ainvoke({}, config))
        await reached(asked, run)
        for _ in range(20):
            await asyncio.sleep(0)
        backend.open.set()
        async with asyncio.timeout(20):
            assert len((await run)["__interrupt__"]) == 1


async def test_what_it_has_called_is_found_again(saver: Saver, config: RunnableConfig) -> None:
    """When the node runs again, each call gets its own graph's state, whatever their order."""
    count = Count()
    inner = chain(count.node("a"), count.node("b"))
    runs: list[int] = []

    async def node(state: Items) -> Items:
        runs.append(1)
        inputs = [f"input {n}" for n in range(4)]
        if len(runs) == 2:
            inputs.reverse()
        results = [await inner.ainvoke({"items": [given]}) for given in inputs]
        interrupt("?")
        return {"items": sorted(result["items"] for result in results)}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    result = await graph.ainvoke(Command(resume=0), config)
    assert result["items"] == [[f"input {n}", "a", "b"] for n in range(4)]
    assert count == {"a": 4, "b": 4}


async def test_an_input_that_is_never_the_same_is_known_by_its_place(
    saver: Saver, config: RunnableConfig
) -> None:
    """What has a time or a random id in it is the same call by order."""
    count = Count()
    inner = chain(count.node("a"), count.node("ask", lambda s: {"items": [interrupt("?")]}))

    async def node(state: Items) -> Items:
        count["node"] += 1
        return {"items": (await inner.ainvoke({"items": [count["node"]]}))["items"]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["items"] == [1, "a", "yes"]
    assert count == {"node": 2, "a": 1, "ask": 2}


async def test_what_a_node_leaves_running_ends_with_it(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nobody waits for it any more; nothing runs on behind the node's back."""
    begun, never = asyncio.Event(), asyncio.Event()

    async def wait(state: Items) -> None:
        begun.set()
        await never.wait()

    inner = chain(("wait", wait))
    left: list[asyncio.Task[Any]] = []

    async def node(state: Items) -> Items:
        left.append(asyncio.create_task(inner.ainvoke({})))
        await begun.wait()
        return {"items": ["done"]}

    assert (await chain(("node", node), saver=saver).ainvoke({}, config))["items"] == ["done"]
    await asyncio.wait(left)
    assert left[0].cancelled()


async def test_a_node_that_is_over_calls_nothing(saver: Saver, config: RunnableConfig) -> None:
    """Its thread has gone on without it."""
    inner, over = chain(("a", says("a"))), asyncio.Event()
    left: list[asyncio.Task[Any]] = []

    async def late() -> Any:
        await over.wait()
        return await inner.ainvoke({})

    async def node(state: Items) -> Items:
        left.append(asyncio.create_task(late()))
        return {}

    await chain(("node", node), saver=saver).ainvoke({}, config)
    over.set()
    with pytest.raises(RuntimeError, match="is over"):
        await left[0]


async def test_a_saver_and_a_thread_of_its_own_make_it_a_run_of_its_own(
    saver: Saver, config: RunnableConfig
) -> None:
    """Then it is in no other graph's thread; without the thread it is a part of its caller's."""
    own = InMemorySaver()
    inner = chain(("a", says("a")), saver=own)

    async def node(state: Items) -> Items:
        apart: RunnableConfig = {"configurable": {"thread_id": "apart"}}
        await inner.ainvoke({}, apart)
        result = await inner.ainvoke({}, apart)
        part = await inner.ainvoke({})
        return {"items": [result["items"], part["items"]]}

    result = await chain(("node", node), saver=saver).ainvoke({}, config)
    assert result["items"] == [["a", "a"], ["a"]]
    assert [info.thread_id async for info in own.alist_threads()] == ["apart"]


@pytest.mark.parametrize(
    ("given", "asked", "error", "words"),
    [
        ({}, {"configurable": {"thread_id": "other"}}, ConfigError, "part of its caller's thread"),
        (Command(resume=1), None, ConfigError, "outermost"),
        (None, None, EmptyInputError, "without an input"),
    ],
)
async def test_a_call_that_makes_no_sense_is_refused(
    saver: Saver, config: RunnableConfig, given: Any, asked: Any, error: Any, words: str
) -> None:
    """The node gets an error that says what to do instead, and may go on."""
    inner = chain(("a", says("a")))

    async def node(state: Items) -> Items:
        with pytest.raises(error, match=words):
            await inner.ainvoke(given, asked)
        return {"items": ["went on"]}

    assert (await chain(("node", node), saver=saver).ainvoke({}, config))["items"] == ["went on"]
