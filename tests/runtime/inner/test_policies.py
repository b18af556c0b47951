"""Policies of nodes, steps and calls, where the node is a graph or calls one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import (
    START,
    Command,
    InMemorySaver,
    NodeError,
    RunControl,
    Send,
    StateGraph,
    entrypoint,
    interrupt,
    step,
)
from durable_graph.errors import GraphDrained, NodeTimeoutError
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig
from tests.runtime.inner.nests import Count, nest
from tests.runtime.kit import Items, chain, says


async def test_a_timeout_ends_what_runs_within(config: RunnableConfig) -> None:
    """The innermost node is cancelled; what had finished before stays finished."""
    clock, count, ended = FakeClock(), Count(), []

    async def hangs(state: Items) -> Items:
        count["hangs"] += 1
        if count["hangs"] == 2:
            return {"items": ["at last"]}
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hangs")
        return {}

    graph = StateGraph(Items).add_edge(START, "inner")
    graph.add_node("inner", nest(1, [count.node("a"), ("hangs", hangs)]), timeout=60)
    compiled = graph.compile(InMemorySaver(clock=clock))
    run = asyncio.create_task(compiled.ainvoke({}, config))
    while not count["hangs"]:
        await asyncio.sleep(0)
    await clock.advance(61)
    with pytest.raises(NodeTimeoutError):
        await run
    assert ended == ["hangs"]
    assert (await compiled.ainvoke(None, config))["items"] == ["a", "at last"]
    assert count["a"] == 1


async def test_an_error_handler_handles_what_a_graph_raises(
    saver: Saver, config: RunnableConfig
) -> None:
    """As any node's error."""

    def fails(state: Items) -> Items:
        raise ConnectionError("from within")

    async def handler(state: Items, error: NodeError) -> Items:
        return {"items": [error.text]}

    graph = StateGraph(Items).add_edge(START, "inner")
    graph.add_node("inner", nest(2, [("fails", fails)]), error_handler=handler)
    result = await graph.compile(saver).ainvoke({}, config)
    assert result["items"] == ["ConnectionError: from within"]


async def test_so_many_run_at_once_on_each_level(saver: Saver, config: RunnableConfig) -> None:
    """A graph within has a limit of its own, or it would wait for the node that waits for it."""
    running, most = 0, 0

    async def work(packet: Items) -> Items:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return {"count": 1}

    inner = StateGraph(Items).add_node("work", work)
    inner.add_conditional_edges(
        START, lambda state: [Send("work", {"last": n}) for n in range(6)], ["work"]
    )
    graph = chain(("inner", inner.compile()), saver=saver)
    result = await graph.ainvoke({}, {**config, "max_concurrency": 2})
    assert (result["count"], most) == (6, 2)


async def test_draining_stops_a_graph_within_between_its_supersteps(
    saver: Saver, config: RunnableConfig
) -> None:
    """And the thread goes on there."""
    count, control = Count(), RunControl()

    def drains(state: Items) -> Items:
        control.request_drain("deploy")
        return {"items": ["drains"]}

    graph = nest(2, [count.node("drains", drains), count.node("b")], saver)
    with pytest.raises(GraphDrained, match="deploy"):
        await graph.ainvoke({}, config, control=control)
    (info,) = [info async for info in saver.alist_threads()]
    assert (info.status, info.reason) == ("stopped", "drained")
    assert (await graph.ainvoke(None, config))["items"] == ["drains", "b"]
    assert count == {"drains": 1, "b": 1}


async def test_a_step_may_call_a_graph(saver: Saver, config: RunnableConfig) -> None:
    """What it has called is the step's; what the node calls besides is not mistaken for it."""
    count = Count()
    inner = chain(count.node("a"), count.node("ask", lambda s: {"items": [interrupt("?")]}))

    async def node(state: Items) -> Items:
        stepped = await step("call", lambda: inner.ainvoke({"items": ["same"]}), idempotent=True)
        besides = await inner.ainvoke({"items": ["same"]})
        return {"items": [stepped["items"], besides["items"]]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke(Command(resume="one"), config)
    result = await graph.ainvoke(Command(resume="two"), config)
    assert result["items"] == [["same", "a", "one"], ["same", "a", "two"]]
    assert count["a"] == 2


async def test_a_function_as_a_graph_is_a_graph_within(
    saver: Saver, config: RunnableConfig
) -> None:
    """An entrypoint calls graphs, and nodes call entrypoints."""
    count = Count()
    inner = chain(count.node("a"), count.node("ask", lambda s: {"items": [interrupt("?")]}))

    @entrypoint()
    async def flow(word: str) -> Any:
        return (await inner.ainvoke({"items": [word]}))["items"]

    async def node(state: Items) -> Items:
        return {"items": await flow.ainvoke("word")}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["items"] == ["word", "a", "yes"]
    assert count["a"] == 1


async def test_large_values_of_a_graph_within_come_back(
    saver: Saver, config: RunnableConfig
) -> None:
    """They are stored once for all graphs of the thread, and kept as long as one needs them."""
    large = "x" * 10_000

    async def check(state: Items) -> Items:
        assert state["items"] == [large]
        return {"last": interrupt("?")}

    graph = nest(2, [("make", says(large)), ("check", check)], saver)
    await graph.ainvoke({}, config)
    saver.hot.take(next(iter(saver.hot._entries)))
    result = await graph.ainvoke(Command(resume=large), config)
    assert (result["items"], result["last"]) == ([large], large)
    assert await saver.averify(config["configurable"]["thread_id"]) == []
