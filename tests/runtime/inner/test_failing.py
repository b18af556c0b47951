"""Errors, cancellation, limits and breakpoints reach through all levels."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import START, RetryPolicy, StateGraph
from durable_graph.errors import GraphRecursionError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.inner.nests import Count, nest
from tests.runtime.kit import Items, chain, reached, says


def fails(count: Count, times: int) -> Any:
    """What fails so many times, and works then."""

    def then(state: Items) -> Items:
        if count["flaky"] <= times:
            raise ConnectionError("not yet")
        return {"items": ["flaky"]}

    return then


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_an_error_ends_the_run_and_none_goes_on(
    depth: int, durability: Any, saver: Saver, config: RunnableConfig
) -> None:
    """The caller gets the node's own error; going on runs that node again and no other."""
    count = Count()
    nodes = [count.node("a"), count.node("flaky", fails(count, 1)), count.node("b")]
    graph = nest(depth, nodes, saver)
    with pytest.raises(ConnectionError, match="not yet"):
        await graph.ainvoke({}, config, durability=durability)
    result = await graph.ainvoke(None, config, durability=durability)
    assert result["items"] == ["a", "flaky", "b"]
    assert count == {"a": 1, "flaky": 2, "b": 1}


async def test_a_retry_around_goes_on_within(saver: Saver, config: RunnableConfig) -> None:
    """The node that is tried again is a graph, which goes on where it has failed."""
    count = Count()
    inner = chain(count.node("a"), count.node("flaky", fails(count, 2)))
    graph = StateGraph(Items).add_edge(START, "inner")
    policy = RetryPolicy(initial_interval=0, jitter=False)
    graph.add_node("inner", inner, retry_policy=policy)
    result = await graph.compile(saver).ainvoke({}, config)
    assert result["items"] == ["a", "flaky"]
    assert count == {"a": 1, "flaky": 3}


async def test_a_node_may_catch_what_a_graph_raises(saver: Saver, config: RunnableConfig) -> None:
    """It is an error like any other."""
    count = Count()
    inner = chain(count.node("a"), count.node("flaky", fails(count, 9)))

    async def node(state: Items) -> Items:
        try:
            return {"items": (await inner.ainvoke({}))["items"]}
        except ConnectionError as error:
            return {"items": [str(error)]}

    graph = chain(("node", node), ("after", says("after")), saver=saver)
    assert (await graph.ainvoke({}, config))["items"] == ["not yet", "after"]
    assert (await graph.aget_state(config)).next == ()


async def test_a_sibling_that_fails_stops_what_runs_within(
    saver: Saver, config: RunnableConfig
) -> None:
    """And what had finished there does not run again."""
    count, waits = Count(), asyncio.Event()
    ended: list[str] = []

    async def wait(state: Items) -> Items:
        count["wait"] += 1
        if count["wait"] == 2:
            return {"items": ["waited"]}
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("wait")
        return {}

    async def fail(state: Items) -> Items:
        await waits.wait()
        if not ended:
            raise KeyError("sibling")
        return {"items": ["fail"]}

    graph = StateGraph(Items).add_node("inner", nest(1, [count.node("a"), ("wait", wait)]))
    graph.add_node("fail", fail).add_edge(START, "inner").add_edge(START, "fail")
    compiled = graph.compile(saver)
    with pytest.raises(KeyError, match="sibling"):
        await compiled.ainvoke({}, config)
    assert ended == ["wait"]
    result = await compiled.ainvoke(None, config)
    assert sorted(result["items"]) == ["a", "fail", "waited"]
    assert count["a"] == 1


async def test_cancelling_reaches_the_innermost_node(saver: Saver, config: RunnableConfig) -> None:
    """The call returns when all of it has ended, and what has finished there stays."""
    count, waits = Count(), asyncio.Event()
    ended: list[str] = []

    async def wait(state: Items) -> Items:
        if waits.is_set():
            return {"items": ["waited"]}
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("wait")
        return {}

    graph = nest(3, [count.node("a"), ("wait", wait)], saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(waits, run)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended == ["wait"]
    assert (await graph.ainvoke(None, config))["items"] == ["a", "waited"]
    assert count["a"] == 1


@pytest.mark.parametrize("where", [1, 2])
async def test_leaving_the_stream_stops_what_runs_within(
    where: int, saver: Saver, config: RunnableConfig
) -> None:
    """No superstep begins that nobody has asked to see."""
    count = Count()
    graph = nest(2, [count.node("a"), count.node("b"), count.node("c")], saver)
    seen = 0
    stream = graph.astream({}, config, stream_mode="updates", subgraphs=True)
    async for _ in stream:
        seen += 1
        if seen == where:
            break
    await stream.aclose()
    assert count == dict.fromkeys("abc"[:where], 1)
    assert (await graph.ainvoke(None, config))["items"] == ["a", "b", "c"]
    assert count == {"a": 1, "b": 1, "c": 1}


async def test_the_recursion_limit_holds_on_each_level(
    saver: Saver, config: RunnableConfig
) -> None:
    """A graph within may take as many supersteps as the one around it; then all stop, and going
    on goes on."""
    graph = nest(2, [(name, says(name)) for name in "abcde"], saver)
    assert (await graph.ainvoke({}, {**config, "recursion_limit": 5}))["items"] == list("abcde")
    with pytest.raises(GraphRecursionError, match="2 supersteps"):
        await graph.ainvoke({}, {**config, "recursion_limit": 2})
    result = await graph.ainvoke(None, {**config, "recursion_limit": 3})
    assert result["items"][-5:] == list("abcde")


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_a_breakpoint_within_stops_the_thread(
    depth: int, durability: Any, saver: Saver, config: RunnableConfig
) -> None:
    """The run stops there, and goes on from there."""
    count = Count()
    inner = chain(count.node("a"), count.node("b"), count.node("c"), interrupt_before=["b"])
    graph = nest(depth - 1, [("inner", inner), ("after", says("after"))], saver)
    await graph.ainvoke({}, config, durability=durability)
    assert count == {"a": 1}
    (info,) = [info async for info in saver.alist_threads()]
    assert (info.status, info.reason) == ("stopped", "breakpoint")
    result = await graph.ainvoke(None, config, durability=durability)
    assert result["items"] == ["a", "b", "c", "after"]
    assert count == {"a": 1, "b": 1, "c": 1}


async def test_a_breakpoint_within_waits_for_siblings(saver: Saver, config: RunnableConfig) -> None:
    """They finish, and do not run again."""
    count, open_ = Count(), asyncio.Event()

    async def slow(state: Items) -> Items:
        count["slow"] += 1
        await open_.wait()
        return {"items": ["slow"]}

    def opens(state: Items) -> Items:
        open_.set()
        return {}

    inner = chain(("opens", opens), count.node("b"), interrupt_after=["opens"])
    graph = StateGraph(Items).add_node("inner", inner).add_node("slow", slow)
    compiled = graph.add_edge(START, "inner").add_edge(START, "slow").compile(saver)
    await compiled.ainvoke({}, config)
    assert (await compiled.aget_state(config)).next == ("inner",)
    assert (await compiled.ainvoke(None, config))["items"] == ["b", "slow"]
    assert count == {"slow": 1, "b": 1}
