"""A watcher that leaves ends its run, that run alone, and leaves a thread to go on with."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from durable_graph.errors import ThreadBusyError
from durable_graph.graph.compiled import RunStream
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig
from tests.conftest import thread
from tests.runtime.kit import Items, chain, collect, reached, says

NODES = [(name, says(name)) for name in "abcd"]


async def by_break(stream: RunStream) -> None:
    async for _ in stream:
        break


async def by_aclose(stream: RunStream) -> None:
    await anext(stream)
    await stream.aclose()


async def by_aclosing(stream: RunStream) -> None:
    async with contextlib.aclosing(stream):
        await anext(stream)


async def by_error(stream: RunStream) -> None:
    with contextlib.suppress(KeyError):
        async for _ in stream:
            raise KeyError


async def by_dropping(stream: RunStream) -> None:
    await anext(stream)


@pytest.mark.parametrize(
    "leave",
    [
        by_aclose,
        by_aclosing,
        pytest.param(by_break),
        pytest.param(by_error),
        pytest.param(by_dropping),
    ],
)
async def test_leaving_early_stops_the_run_at_its_last_step(
    leave: Any, saver: Saver, config: RunnableConfig
) -> None:
    """After one event of a chain, only the first node has been begun; None does the rest.

    The clock stands still, so that the run gives nobody else a turn out of politeness.
    """
    saver.clock = FakeClock()
    begun: list[str] = []

    def node(name: str) -> Any:
        async def note(state: Items) -> Items:
            begun.append(name)
            return {"items": [name]}

        return note

    graph = chain(*((name, node(name)) for name in "abcd"), saver=saver)
    await leave(graph.astream({}, config))
    state = await graph.ainvoke(None, config, interrupt_before="*")
    assert (state["items"], begun) == (["a", "b"], ["a", "b"])
    assert (await graph.ainvoke(None, config))["items"] == ["a", "b", "c", "d"]
    assert begun == ["a", "b", "c", "d"]


async def test_the_next_call_waits_for_the_run_that_is_ending(
    saver: Saver, config: RunnableConfig
) -> None:
    """A call right after `break` is not refused: it comes after the run that was left."""
    entered, cleaning, leave = asyncio.Event(), asyncio.Event(), asyncio.Event()
    runs: list[int] = []

    async def slow_to_end(state: Items, writer: Any) -> Items:
        runs.append(1)
        if len(runs) > 1:
            return {"items": ["done"]}
        writer("in it")
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await leave.wait()
        return {}

    graph = chain(("slow", slow_to_end), saver=saver)
    async for event in graph.astream({}, config, stream_mode="custom"):
        assert event == "in it"
        await entered.wait()
        break
    following = asyncio.create_task(graph.ainvoke(None, config))
    await cleaning.wait()
    assert not following.done()
    assert runs == [1]
    leave.set()
    assert (await following)["items"] == ["done"]


async def test_closing_waits_until_the_thread_is_in_order(
    saver: Saver, config: RunnableConfig
) -> None:
    """When `aclose` has returned, the thread is stopped and nothing is left running."""
    entered = asyncio.Event()
    cleaned: list[bool] = []

    async def node(state: Items, writer: Any) -> None:
        writer("in it")
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    stream = chain(("node", node), saver=saver).astream({}, config, stream_mode="custom")
    await anext(stream)
    await entered.wait()
    await stream.aclose()
    assert cleaned == [True]
    (info,) = await collect(saver.alist_threads())
    assert (info.status, info.reason) == ("stopped", "cancelled")
    with pytest.raises(StopAsyncIteration):
        await anext(stream)
    await stream.aclose()


async def test_being_cancelled_while_closing_is_not_forgotten(
    saver: Saver, config: RunnableConfig
) -> None:
    """A timeout that is over while a stream is closed ends the wait once the run has ended."""
    cleaning, cleaned = asyncio.Event(), asyncio.Event()

    async def node(state: Items, writer: Any) -> None:
        writer("in it")
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await asyncio.sleep(0.02)
            cleaned.set()

    stream = chain(("node", node), saver=saver).astream({}, config, stream_mode="custom")
    await anext(stream)
    closing = asyncio.create_task(stream.aclose())
    await cleaning.wait()
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    assert cleaned.is_set()
    (info,) = await collect(saver.alist_threads())
    assert (info.status, info.reason) == ("stopped", "cancelled")


async def test_cancelling_the_watcher_cancels_its_run(saver: Saver, config: RunnableConfig) -> None:
    """A task that waits for an event and is cancelled takes its run with it."""
    entered = asyncio.Event()
    cleaned: list[bool] = []

    async def node(state: Items) -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    async def watch() -> None:
        await collect(chain(("node", node), saver=saver).astream({}, config))

    watching = asyncio.create_task(watch())
    await reached(entered, watching)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert cleaned == [True]
    (info,) = await collect(saver.alist_threads())
    assert info.status == "stopped"


async def test_leaving_one_run_leaves_the_others_alone(
    saver: Saver, config: RunnableConfig
) -> None:
    """Another run of the same graph and saver goes on to its end."""
    graph = chain(*NODES, saver=saver)
    other = graph.astream({}, {"configurable": {"thread_id": "other"}})
    assert await anext(other) == {"a": {"items": ["a"]}}
    await by_aclose(graph.astream({}, config))
    assert [next(iter(event)) async for event in other] == ["b", "c", "d"]


async def test_a_timeout_around_the_watching_leaves_a_valid_thread(
    saver: Saver, config: RunnableConfig
) -> None:
    """`asyncio.timeout` around the loop ends it with TimeoutError and stops the run."""

    async def for_ever(state: Items) -> None:
        limits[0].reschedule(0)
        await asyncio.Event().wait()

    limits: list[asyncio.Timeout] = []

    async def watch() -> None:
        async with asyncio.timeout(None) as limit:
            limits.append(limit)
            await collect(chain(("a", says("a")), ("b", for_ever), saver=saver).astream({}, config))

    with pytest.raises(TimeoutError):
        await watch()
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    assert (await graph.ainvoke(None, config))["items"] == ["a", "b"]


async def test_a_stream_that_nobody_reads_runs_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """The run begins with the first event that is asked for."""
    stream = chain(*NODES, saver=saver).astream({}, config)
    await asyncio.sleep(0)
    assert await collect(saver.alist_threads()) == []
    await stream.aclose()
    assert await collect(saver.alist_threads()) == []


async def test_a_second_watcher_of_a_watched_thread_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """A thread has one run at a time, and the first one does not notice."""
    graph = chain(*NODES, saver=saver)
    first = graph.astream({}, config)
    await anext(first)
    with pytest.raises(ThreadBusyError):
        await anext(graph.astream({}, config))
    assert [next(iter(event)) async for event in first] == ["b", "c", "d"]


async def test_what_was_delivered_before_leaving_is_stored(
    saver: Saver, config: RunnableConfig
) -> None:
    """An update that the watcher has seen is in the state, however soon it leaves."""
    graph = chain(*NODES, saver=saver)
    for seen in range(1, 4):
        given: Any = {} if seen == 1 else None
        stream = graph.astream(given, config)
        await anext(stream)
        await stream.aclose()
        assert len((await graph.aget_state(config)).values["items"]) == seen


async def test_two_tasks_cannot_share_a_stream(saver: Saver, config: RunnableConfig) -> None:
    """The second is told so at once, instead of waiting for what the first one gets."""
    leave = asyncio.Event()

    async def node(state: Items) -> Items:
        await leave.wait()
        return {"items": ["node"]}

    events = chain(("node", node), saver=saver).astream({}, config)
    first = asyncio.create_task(collect(events))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="Iterate over it in one task"):
        await anext(events)
    leave.set()
    assert await first == [{"node": {"items": ["node"]}}]


@pytest.mark.parametrize("what", ["edit", "prune", "copy", "delete"])
async def test_whatever_comes_next_waits_for_the_run_that_is_ending(
    what: str, saver: Saver, config: RunnableConfig
) -> None:
    """A watcher that leaves and then edits its thread is not told that the thread is busy."""
    graph, name = chain(*NODES, saver=saver), config["configurable"]["thread_id"]
    async for _ in graph.astream({}, config):
        break
    match what:
        case "edit":
            await graph.aupdate_state(config, {"items": ["edited"]}, as_node="d")
            assert (await graph.aget_state(config)).values["items"] == ["a", "edited"]
        case "prune":
            await saver.aprune([name])
        case "copy":
            await saver.acopy_thread(name, "copy")
            assert (await graph.aget_state(thread("copy"))).values["items"] == ["a"]
        case _:
            await saver.adelete_thread(name)
            assert (await graph.aget_state(config)).created_at is None


async def test_a_node_that_cleans_up_does_not_wait_for_itself(
    saver: Saver, config: RunnableConfig
) -> None:
    """What it does to its own thread meanwhile is refused, and not for ever waited for."""
    entered = asyncio.Event()
    told: list[str] = []

    async def node(state: Items) -> None:
        try:
            entered.set()
            await asyncio.Event().wait()
        finally:
            for call in (graph.ainvoke(None, config), graph.aupdate_state(config, {})):
                with pytest.raises(ThreadBusyError):
                    await call
                told.append("busy")

    graph = chain(("node", node), saver=saver)
    events = graph.astream({}, config)
    first = asyncio.create_task(anext(events))
    await reached(entered, first)
    async with asyncio.timeout(20):
        await events.aclose()
        await asyncio.wait([first])
    assert told == ["busy", "busy"]
