"""All due tasks run at once, unless the caller bounds how many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import START, Command, Send, StateGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, collect, fan, says


async def test_all_due_nodes_run_at_once(saver: Saver, config: RunnableConfig) -> None:
    """Twenty nodes meet at a barrier that none passes before all have arrived."""
    barrier = asyncio.Barrier(20)

    async def meet(state: Items) -> Items:
        await barrier.wait()
        return {"count": 1}

    graph = fan(*((f"n{index:02}", meet) for index in range(20)), saver=saver)
    assert (await graph.ainvoke({}, config))["count"] == 20


async def test_all_packets_run_at_once(saver: Saver, config: RunnableConfig) -> None:
    """Tasks of `Send` and of edges are due together and run together."""
    barrier = asyncio.Barrier(4)

    async def meet(state: Any) -> Items:
        await barrier.wait()
        return {"items": [state.get("n", "edge")]}

    graph = StateGraph(Items).add_node("start", says()).add_node("meet", meet)
    graph.add_edge(START, "start")
    graph.add_conditional_edges(
        "start", lambda s: ["meet", *(Send("meet", {"n": n}) for n in "ab")]
    )
    graph.add_node("also", meet).add_edge("start", "also")
    result = await graph.compile(saver).ainvoke({}, config)
    assert result["items"] == ["edge", "edge", "a", "b"]


@pytest.mark.parametrize("limit", [1, 3])
async def test_max_concurrency_bounds_how_many_nodes_run(
    limit: int, saver: Saver, config: RunnableConfig
) -> None:
    """Never more than so many at once, and as many as that where there is work."""
    running, most = 0, 0

    async def node(state: Items) -> Items:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(10):
            await asyncio.sleep(0)
        running -= 1
        return {"count": 1}

    graph = fan(*((f"n{index}", node) for index in range(9)), saver=saver)
    result = await graph.ainvoke({}, {**config, "max_concurrency": limit})
    assert (result["count"], most) == (9, limit)


async def test_max_concurrency_does_not_hold_up_storage(
    saver: Saver, config: RunnableConfig
) -> None:
    """With one node at a time, a node that waits does not keep finished results from storage.

    The second node waits until it sees the first one's result in the stored thread.
    """
    other: RunnableConfig = {**config}

    async def second(state: Items) -> Items:
        async with asyncio.timeout(20):
            while not (await graph.aget_state(other)).values.get("items"):
                await asyncio.sleep(0)
        return {"items": ["second"]}

    graph = fan(("first", says("first")), ("second", second), saver=saver)
    result = await graph.ainvoke({}, {**config, "max_concurrency": 1})
    assert result["items"] == ["first", "second"]


async def test_a_bound_run_stops_at_the_first_failure(saver: Saver, config: RunnableConfig) -> None:
    """Tasks that have not begun when a sibling fails do not begin."""
    begun: list[str] = []

    def node(name: str) -> Any:
        async def run(state: Items) -> None:
            begun.append(name)
            if name == "b":
                raise RuntimeError(name)

        return run

    graph = fan(*((name, node(name)) for name in "abcd"), saver=saver)
    with pytest.raises(RuntimeError, match="b"):
        await graph.ainvoke({}, {**config, "max_concurrency": 1})
    assert begun == ["a", "b"]


async def test_ten_thousand_packets_run_in_one_superstep(
    saver: Saver, config: RunnableConfig
) -> None:
    """A fan-out over 10,000 items is one superstep, each item done once, in order."""
    many = 10_000
    done = [0] * many

    async def work(state: dict[str, int]) -> Items:
        done[state["n"]] += 1
        return {"items": [state["n"]]}

    graph = StateGraph(Items).add_node("work", work)
    graph.add_conditional_edges(START, lambda s: [Send("work", {"n": n}) for n in range(many)])
    compiled = graph.compile(saver)
    async with asyncio.timeout(30):
        result = await compiled.ainvoke({}, config)
    assert result["items"] == list(range(many))
    assert done == [1] * many
    state = await compiled.aget_state(config)
    assert state.metadata is not None
    assert state.metadata["step"] == 1


async def test_a_large_fan_out_lets_others_have_the_loop(
    saver: Saver, config: RunnableConfig
) -> None:
    """While 5,000 tasks are planned, run and committed, the loop turns in between."""
    turns, over = 0, False

    async def count_turns() -> None:
        nonlocal turns
        while not over:
            turns += 1
            await asyncio.sleep(0)

    async def work(state: Any) -> None: ...

    graph = StateGraph(Items).add_node("work", work)
    graph.add_conditional_edges(START, lambda s: [Send("work", {"n": n}) for n in range(5000)])
    counting = asyncio.create_task(count_turns())
    await graph.compile(saver).ainvoke({}, config)
    over = True
    await counting
    assert turns > 5


async def test_results_count_in_the_order_of_the_tasks_not_of_their_ends(
    saver: Saver, config: RunnableConfig
) -> None:
    """The state is the same whichever node is first to finish; the events tell who was."""
    a_may_end = asyncio.Event()

    async def a(state: Items) -> Items:
        await a_may_end.wait()
        return {"items": ["a"]}

    async def b(state: Items) -> Any:
        a_may_end.set()
        return Command(update={"items": ["b"]})

    graph = fan(("a", a), ("b", b), saver=saver)
    events = await collect(graph.astream({}, config, stream_mode="updates"))
    assert events == [{"b": {"items": ["b"]}}, {"a": {"items": ["a"]}}]
    assert (await graph.aget_state(config)).values["items"] == ["a", "b"]
