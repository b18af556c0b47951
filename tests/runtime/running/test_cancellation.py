"""A cancelled run leaves no task behind, and a thread that can be gone on with."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest

from durable_graph.saver import Saver
from durable_graph.types import Durability, RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.backends import held
from tests.runtime.kit import Items, chain, collect, fan, history, reached, records_of, says


class Waits:
    """A node that waits for ever the first time, and is done the second."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.cleaned = 0
        self.runs = 0

    async def __call__(self, state: Items) -> Items:
        self.runs += 1
        if self.runs == 1:
            try:
                self.entered.set()
                await asyncio.Event().wait()
            finally:
                self.cleaned += 1
        return {"items": ["waited"]}


async def cancelled(run: asyncio.Task[Any]) -> None:
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_a_cancelled_call_cancels_its_nodes_and_waits_for_them(
    saver: Saver, config: RunnableConfig
) -> None:
    """When the call has ended, every node has cleaned up and no task is left."""
    nodes = [Waits() for _ in range(5)]
    graph = fan(*((f"n{i}", node) for i, node in enumerate(nodes)), saver=saver)
    before = asyncio.all_tasks()
    run = asyncio.create_task(graph.ainvoke({}, config))
    for node in nodes:
        await reached(node.entered, run)
    await cancelled(run)
    assert [node.cleaned for node in nodes] == [1] * 5
    assert {task.get_name() for task in asyncio.all_tasks() - before} <= {"durable_graph heart"}


class CleansUp:
    """A node that waits for ever, and has something to await when it is cancelled."""

    def __init__(self) -> None:
        self.entered, self.may_end = asyncio.Event(), asyncio.Event()
        self.cancelled = 0
        self.cleaned = False

    async def __call__(self, state: Items) -> Items:
        try:
            self.entered.set()
            await asyncio.Event().wait()
        finally:
            while not self.may_end.is_set():
                try:
                    await self.may_end.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
            self.cleaned = True
        return {}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("how", ["cancelled", "a sibling fails"])
async def test_what_nodes_await_to_clean_up_is_awaited(
    how: str, count: int, saver: Saver, config: RunnableConfig
) -> None:
    """They are cancelled once, however many they are, and not again at each `await`."""
    nodes = [CleansUp() for _ in range(count)]

    async def fails(state: Items) -> Items:
        for node in nodes:
            await node.entered.wait()
        raise ValueError("no")

    others = [("fails", fails)] if how == "a sibling fails" else []
    graph = fan(*((f"n{i}", node) for i, node in enumerate(nodes)), *others, saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    for node in nodes:
        await reached(node.entered, run)
    if how == "cancelled":
        run.cancel()
    for _ in range(20):
        await asyncio.sleep(0)
    assert not run.done()
    for node in nodes:
        node.may_end.set()
    with pytest.raises((asyncio.CancelledError, ValueError)):
        await run
    assert [(node.cleaned, node.cancelled) for node in nodes] == [(True, 0)] * count


async def test_a_cancelled_thread_goes_on_where_it_was(
    saver: Saver, config: RunnableConfig
) -> None:
    """Finished nodes do not run again, the cancelled one does."""
    waits, runs = Waits(), []

    async def first(state: Items) -> Items:
        runs.append("first")
        return {"items": ["first"]}

    graph = chain(("first", first), ("waits", waits), saver=saver)
    run = asyncio.create_task(graph.ainvoke({"items": ["in"]}, config))
    await reached(waits.entered, run)
    await cancelled(run)
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["in", "first"], ("waits",))
    (info,) = await collect(saver.alist_threads())
    assert (info.status, info.reason) == ("stopped", "cancelled")
    assert (await graph.ainvoke(None, config))["items"] == ["in", "first", "waited"]
    assert runs == ["first"]


async def test_results_of_finished_siblings_survive_a_cancellation(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node that had finished when the run was cancelled is not run again."""
    waits, runs = Waits(), []

    async def good(state: Items) -> Items:
        runs.append("good")
        return {"items": ["good"]}

    graph = fan(("good", good), ("waits", waits), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(waits.entered, run)
    await cancelled(run)
    assert (await graph.ainvoke(None, config))["items"] == ["good", "waited"]
    assert runs == ["good"]


async def test_a_timeout_around_a_call_is_a_cancellation(
    saver: Saver, config: RunnableConfig
) -> None:
    """`asyncio.timeout` ends the call with TimeoutError and leaves the thread in order."""
    waits = Waits()
    graph = chain(("waits", waits), saver=saver)

    async def bounded() -> None:
        async with asyncio.timeout(None) as limit:
            entered = asyncio.create_task(waits.entered.wait())
            now = asyncio.get_running_loop().time
            entered.add_done_callback(lambda _: limit.reschedule(now()))
            await graph.ainvoke({}, config)

    with pytest.raises(TimeoutError):
        await bounded()
    assert (await graph.ainvoke(None, config))["items"] == ["waited"]


async def test_cancelling_again_and_again_does_not_tear_the_end(
    saver: Saver, config: RunnableConfig
) -> None:
    """A caller that cancels at every turn of the loop still gets a stored, stopped thread."""
    waits = Waits()
    graph = chain(("waits", waits), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(waits.entered, run)
    while not run.done():
        run.cancel()
        await asyncio.sleep(0)
    assert run.cancelled()
    (info,) = await collect(saver.alist_threads())
    assert info.status == "stopped"
    assert (await graph.ainvoke(None, config))["items"] == ["waited"]


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_a_run_can_be_cancelled_at_any_moment(
    turns: int, saver: Saver, config: RunnableConfig
) -> None:
    """After a cancellation at whatever turn of the loop, every node's result counts once."""
    graph = chain(*((name, says(name)) for name in "abcd"), saver=saver)
    run = asyncio.create_task(graph.ainvoke({"items": ["in"]}, config))
    for _ in range(turns):
        await asyncio.sleep(0)
    run.cancel()
    await asyncio.wait([run])
    again = None if await records_of(saver, config) else {"items": ["in"]}
    assert (await graph.ainvoke(again, config))["items"] == ["in", "a", "b", "c", "d"]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_a_node_that_resists_holds_the_end_of_its_run_back(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node that cleans up slowly is waited for, also by what is to become of its thread next."""
    entered, cleaning, leave = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow_to_end(state: Items) -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await leave.wait()

    graph = chain(("slow", slow_to_end), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(entered, run)
    run.cancel()
    await cleaning.wait()
    deleting = asyncio.create_task(saver.adelete_thread(config["configurable"]["thread_id"]))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not deleting.done()
    assert not run.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    await deleting
    assert (await graph.aget_state(config)).values == {}


async def test_a_cancelled_run_does_not_wait_for_its_sync_nodes(
    saver: Saver, config: RunnableConfig
) -> None:
    """A thread that cannot be cancelled is left behind; its node runs again later."""
    entered, leave = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    runs: list[int] = []

    def block(state: Items) -> Items:
        runs.append(len(runs))
        if len(runs) == 1:
            loop.call_soon_threadsafe(entered.set)
            leave.wait(20)
        return {"items": [len(runs)]}

    graph = chain(("block", block), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(entered, run)
    await cancelled(run)
    assert (await graph.ainvoke(None, config))["items"] == [2]
    leave.set()


async def test_one_cancelled_run_does_not_touch_another(
    saver: Saver, config: RunnableConfig
) -> None:
    """Runs of one saver share a writer, not their fate."""
    waits, other_waits, go = Waits(), asyncio.Event(), asyncio.Event()

    async def until_told(state: Items) -> Items:
        other_waits.set()
        await go.wait()
        return {"items": ["told"]}

    run = asyncio.create_task(chain(("w", waits), saver=saver).ainvoke({}, config))
    other = asyncio.create_task(
        chain(("o", until_told), saver=saver).ainvoke({}, {"configurable": {"thread_id": "other"}})
    )
    await reached(waits.entered, run)
    await reached(other_waits, other)
    await cancelled(run)
    go.set()
    assert (await other)["items"] == ["told"]


async def test_a_cancelled_run_without_a_checkpointer_leaves_nothing_running() -> None:
    """Nothing is stored, and the node has cleaned up."""
    waits = Waits()
    run = asyncio.create_task(chain(("waits", waits)).ainvoke({}))
    await reached(waits.entered, run)
    await cancelled(run)
    assert waits.cleaned == 1


async def test_a_node_that_swallows_its_cancellation_is_the_last_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """The run ends with that superstep, not with its graph."""
    entered = asyncio.Event()

    async def stubborn(state: Items) -> Items:
        with contextlib.suppress(asyncio.CancelledError):
            entered.set()
            await asyncio.Event().wait()
        return {"items": ["stubborn"]}

    graph = chain(("stubborn", stubborn), ("next", says("next")), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(entered, run)
    await cancelled(run)
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["stubborn"], ("next",))
    (info,) = await collect(saver.alist_threads())
    assert (info.status, info.reason) == ("stopped", "cancelled")
    assert (await graph.ainvoke(None, config))["items"] == ["stubborn", "next"]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_branch_whose_call_is_cancelled_while_it_claims_the_thread_is_let_go_of(
    durability: Durability, tmp_path: Path, config: RunnableConfig
) -> None:
    """Under "exit", too, a branch begins with a write; that it has stopped is written then."""
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        backend = held(saver)
        graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
        await graph.ainvoke({}, config)
        first = next(s for s in await history(graph, config) if s.next == ("a",))
        backend.open.clear()
        before = backend.appends
        run = asyncio.create_task(graph.ainvoke(None, first.config, durability=durability))
        while backend.appends == before and not run.done():
            await asyncio.sleep(0)
        run.cancel()
        await asyncio.sleep(0)
        backend.open.set()
        await asyncio.wait([run])
        assert run.cancelled()
        (info,) = await collect(saver.alist_threads())
        assert info.status == "stopped"
        assert (await graph.ainvoke(None, config))["items"] == ["a", "b"]
