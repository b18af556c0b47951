"""Timeouts: an attempt that takes too long is given up, and nothing of it counts any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from durable_graph import (
    START,
    InMemorySaver,
    NodeTimeoutError,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    TimeoutPolicy,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig, StreamWriter
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items, collect, fan, reached, records_of, says

ONCE_MORE = RetryPolicy(initial_interval=0.0, jitter=False, max_attempts=2)


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes only when a test says so."""
    return FakeClock()


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def timed(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[Saver]:
    """A saver of each kind whose time is the test's."""
    made: Saver = (
        InMemorySaver(clock=clock)
        if request.param == "memory"
        else SqliteSaver(tmp_path / "threads.db", clock=clock)
    )
    yield made
    await made.aclose()


def lone(action: Any, saver: Saver | None, **options: Any) -> CompiledGraph:
    """A graph of this one node."""
    graph = StateGraph(Items).add_node("node", action, **options)
    return graph.add_edge(START, "node").compile(saver)


async def until_slept(clock: FakeClock, seconds: float) -> None:
    """Wait until somebody has begun to sleep for so long, which is not how long hearts sleep."""
    async with asyncio.timeout(20):
        while seconds not in clock.slept:
            await asyncio.sleep(0)


async def forever(state: Items) -> Items:
    await asyncio.get_running_loop().create_future()
    return {}


@pytest.mark.parametrize("limit", [1.5, TimeoutPolicy(run_timeout=1.5), timedelta(seconds=1.5)])
async def test_an_attempt_that_takes_too_long_is_given_up(
    timed: Saver, clock: FakeClock, config: RunnableConfig, limit: Any
) -> None:
    """A number of seconds, a policy or a timedelta; the error says which node and for how long."""
    graph = lone(forever, timed, timeout=limit)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_slept(clock, 1.5)
    await clock.advance(1.4)
    assert not run.done()
    await clock.advance(0.1)
    with pytest.raises(NodeTimeoutError, match=r"'node' has not finished after 1\.5 s") as caught:
        await run
    error = caught.value
    assert (error.node, error.kind, error.timeout, error.elapsed) == ("node", "run", 1.5, 1.5)
    assert (error.run_timeout, error.idle_timeout) == (1.5, None)
    state = await graph.aget_state(config)
    assert state.next == ("node",)
    assert state.tasks[0].error is not None
    assert state.tasks[0].error.startswith("NodeTimeoutError: ")


async def test_no_task_is_left_of_an_attempt_that_was_given_up(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """Neither the node's own task, nor those of its groups, nor the timer's."""
    ended: list[str] = []

    async def child(name: str) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(name)

    async def node(state: Items) -> Items:
        async with asyncio.TaskGroup() as group:
            group.create_task(child("one"))
            group.create_task(child("two"))
        return {}

    before = asyncio.all_tasks()
    run = asyncio.create_task(lone(node, timed, timeout=1.0).ainvoke({}, config))
    await until_slept(clock, 1.0)
    await clock.advance(1.0)
    with pytest.raises(NodeTimeoutError):
        await run
    assert sorted(ended) == ["one", "two"]
    left = asyncio.all_tasks() - before
    assert not {task for task in left if "Heart" not in repr(task)}  # the saver's own


async def test_a_node_in_time_is_not_disturbed(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """And its timer is gone with it."""
    graph = lone(says("quick"), timed, timeout=1.0)
    assert (await graph.ainvoke({}, config))["items"] == ["quick"]
    assert not [t for t in asyncio.all_tasks() if "passing" in repr(t.get_coro())]


async def test_a_timeout_is_tried_again(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """By the default policy as well: a timeout looks passing. Each attempt has the whole time."""
    seen: list[int] = []

    async def node(state: Items, runtime: Runtime) -> Items:
        seen.append(runtime.attempt)
        if runtime.attempt == 1:
            await asyncio.get_running_loop().create_future()
        return {"items": ["second"]}

    graph = lone(node, timed, timeout=2.5, retry_policy=ONCE_MORE)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_slept(clock, 2.5)
    await clock.advance(2.5)
    await until_slept(clock, 0.0)
    await clock.advance(0.0)
    assert (await run)["items"] == ["second"]
    assert seen == [1, 2]


async def test_a_late_result_of_a_synchronous_node_is_dropped(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """Its thread cannot be stopped; what it returns and emits after its time counts for nothing."""
    go, ended = threading.Event(), threading.Event()

    def node(state: Items, writer: StreamWriter, runtime: Runtime) -> Items:
        if runtime.attempt == 1:
            writer("before")
            go.wait(20)
            writer("late")
            ended.set()
            return {"items": ["late"]}
        return {"items": ["second"]}

    graph = lone(node, timed, timeout=1.0, retry_policy=ONCE_MORE)
    stream = graph.astream({}, config, stream_mode=["custom", "updates"])
    assert await anext(stream) == ("custom", "before")
    rest = asyncio.create_task(collect(stream))
    await until_slept(clock, 1.0)
    await clock.advance(1.0)
    await until_slept(clock, 0.0)
    go.set()
    assert await asyncio.to_thread(ended.wait, 20)
    await clock.advance(0.0)
    assert await rest == [("updates", {"node": {"items": ["second"]}})]
    assert (await graph.aget_state(config)).values["items"] == ["second"]


async def test_what_a_node_emits_or_returns_once_it_was_given_up_is_dropped(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """Also if it catches its cancellation and returns as if nothing had happened."""

    async def node(state: Items, writer: StreamWriter) -> Items:
        writer("before")
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            writer("late")
            return {"items": ["late"]}
        return {}

    graph = lone(node, timed, timeout=1.0)
    stream = graph.astream({}, config, stream_mode="custom")
    assert await anext(stream) == "before"
    rest = asyncio.create_task(anext(stream, "end"))
    await until_slept(clock, 1.0)
    await clock.advance(1.0)
    with pytest.raises(NodeTimeoutError):
        await rest
    assert (await graph.aget_state(config)).values["items"] == []


async def test_a_node_that_swallows_its_cancellation_does_not_survive(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """It may clean up for some seconds; then it is not gone on with."""
    swallowed: list[int] = []
    closed: list[bool] = []

    async def node(state: Items) -> Items:
        try:
            while True:
                try:
                    await asyncio.get_running_loop().create_future()
                except asyncio.CancelledError:
                    swallowed.append(1)
        finally:
            closed.append(True)

    run = asyncio.create_task(lone(node, timed, timeout=1.0).ainvoke({}, config))
    await until_slept(clock, 1.0)
    await clock.advance(1.0)
    await until_slept(clock, 5.0)
    assert not run.done()
    await clock.advance(5.0)
    with pytest.raises(NodeTimeoutError):
        await run
    assert (swallowed, closed) == ([1], [True])


async def test_a_node_may_clean_up(timed: Saver, clock: FakeClock, config: RunnableConfig) -> None:
    """What its `finally` awaits is waited for, and what fails there is the error's cause."""
    cleaned: list[bool] = []

    async def node(state: Items) -> Items:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await clock.sleep(3.0)
            cleaned.append(True)
            raise ValueError("while cleaning up")

    run = asyncio.create_task(lone(node, timed, timeout=1.0).ainvoke({}, config))
    await until_slept(clock, 1.0)
    await clock.advance(1.0)
    await until_slept(clock, 3.0)
    await clock.advance(3.0)
    with pytest.raises(NodeTimeoutError) as caught:
        await run
    assert cleaned == [True]
    assert isinstance(caught.value.__cause__, ValueError)


async def test_an_idle_node_is_given_up(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """What it emits and its heartbeats are signs of progress; from the last one its time runs."""
    beat, step = asyncio.Event(), asyncio.Event()

    async def node(state: Items, runtime: Runtime) -> Items:
        for sign in (runtime.stream_writer, lambda _: runtime.heartbeat()):
            await beat.wait()
            beat.clear()
            sign("a sign")
            step.set()
        await asyncio.get_running_loop().create_future()
        return {}

    graph = lone(node, timed, timeout=TimeoutPolicy(idle_timeout=2.5))
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_slept(clock, 2.5)
    for _ in range(2):
        await clock.advance(1.5)
        beat.set()
        await step.wait()
        step.clear()
    await clock.advance(1.5)
    assert not run.done()
    await clock.advance(1.0)
    with pytest.raises(NodeTimeoutError, match=r"has shown no progress for 2\.5 s") as caught:
        await run
    assert (caught.value.kind, caught.value.elapsed) == ("idle", 5.5)


async def test_with_heartbeats_alone_what_is_emitted_is_no_progress(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """`refresh_on="heartbeat"`: a node that only chatters is idle."""
    go = asyncio.Event()

    async def node(state: Items, runtime: Runtime) -> Items:
        await go.wait()
        runtime.stream_writer("chatter")
        runtime.emit_message("chatter")
        await asyncio.get_running_loop().create_future()
        return {}

    limit = TimeoutPolicy(idle_timeout=2.5, refresh_on="heartbeat")
    run = asyncio.create_task(lone(node, timed, timeout=limit).ainvoke({}, config))
    await until_slept(clock, 2.5)
    await clock.advance(1.5)
    go.set()
    await clock.advance(1.0)
    with pytest.raises(NodeTimeoutError):
        await run


async def test_progress_does_not_extend_the_whole_time(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """The run timeout is never moved."""
    beats: list[Runtime] = []

    async def node(state: Items, runtime: Runtime) -> Items:
        beats.append(runtime)
        await asyncio.get_running_loop().create_future()
        return {}

    limit = TimeoutPolicy(run_timeout=3.0, idle_timeout=2.5)
    run = asyncio.create_task(lone(node, timed, timeout=limit).ainvoke({}, config))
    await until_slept(clock, 2.5)
    await clock.advance(1.5)
    beats[0].heartbeat()
    await clock.advance(1.5)
    with pytest.raises(NodeTimeoutError) as caught:
        await run
    assert caught.value.kind == "run"


async def test_a_node_that_kept_the_event_loop_too_long_is_late_as_well(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """Nobody could interrupt it; what it returns is late all the same."""

    async def node(state: Items) -> Items:
        clock._elapsed += 2.0  # as if it had computed for so long
        return {"items": ["late"]}

    with pytest.raises(NodeTimeoutError):
        await lone(node, timed, timeout=1.0).ainvoke({}, config)


async def test_a_send_can_say_how_long_its_task_may_take(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """In the place of what the node says; it is on record, so it counts after a crash as well."""

    async def node(part: str) -> Items:
        if part == "slow":
            await asyncio.get_running_loop().create_future()
        return {"items": [part]}

    def split(state: Items) -> list[Send]:
        return [Send("node", "quick"), Send("node", "slow", timeout=0.5)]

    graph = StateGraph(Items).add_node("node", node, timeout=60)
    compiled = graph.add_conditional_edges(START, split, ["node"]).compile(timed)
    for _ in range(2):
        begun = len(clock.slept)
        run = asyncio.create_task(
            compiled.ainvoke({} if not begun else None, config), name="the run"
        )
        async with asyncio.timeout(20):
            while 0.5 not in clock.slept[begun:]:
                await asyncio.sleep(0)
        await clock.advance(0.5)
        with pytest.raises(NodeTimeoutError) as caught:
            await run
        assert caught.value.timeout == 0.5


async def test_siblings_of_a_node_that_was_given_up_are_cancelled_or_tried(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """A timeout is a failure like any other: without retries it ends the superstep."""
    graph = fan(("slow", forever), ("node", says("node")), saver=timed)
    limited = StateGraph(Items).add_node("slow", forever, timeout=1.0).add_node("hold", forever)
    limited.add_edge(START, "slow").add_edge(START, "hold")
    run = asyncio.create_task(limited.compile(timed).ainvoke({}, config))
    await until_slept(clock, 1.0)
    await clock.advance(1.0)
    with pytest.raises(NodeTimeoutError):
        await run
    assert (await graph.aget_state(config)).next == ("hold", "slow")


async def test_cancelling_the_run_cancels_a_timed_node(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """Its own task ends with the run, which is stopped and has not failed."""
    ended: list[bool] = []

    async def node(state: Items) -> Items:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)
        return {}

    graph = lone(node, timed, timeout=10.0)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_slept(clock, 10.0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended == [True]
    assert (await graph.aget_state(config)).tasks[0].error is None


async def test_a_node_is_not_charged_for_a_slow_watcher(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """While it is held up because its watcher does not keep up, its time stands still."""

    async def node(state: Items, writer: StreamWriter) -> Items:
        for number in range(300):  # more than may wait
            writer(number)
            await asyncio.sleep(0)
        return {"items": ["done"]}

    graph = lone(node, timed, timeout=1.0)
    stream = graph.astream({}, config, stream_mode="custom")
    assert await anext(stream) == 0
    await until_slept(clock, 1.0)
    for _ in range(600):
        await asyncio.sleep(0)
    await clock.advance(60.0)
    assert await collect(stream) == list(range(1, 300))
    assert (await graph.aget_state(config)).values["items"] == ["done"]


async def test_a_timeout_works_without_a_checkpointer() -> None:
    """On the machine's own clock."""
    with pytest.raises(NodeTimeoutError):
        await lone(forever, None, timeout=0.01).ainvoke({})


async def test_a_graph_without_timeouts_writes_nothing_of_them(
    timed: Saver, config: RunnableConfig
) -> None:
    """Nor does one whose timeouts were not needed: they are the code's, not the thread's."""
    await lone(says("a"), timed, timeout=1.0).ainvoke({}, config)
    assert all(b"auto" not in (record.body or b"") for record in await records_of(timed, config))


@pytest.mark.parametrize("sign", ["heartbeat", "event", "superstep"])
async def test_what_happens_in_a_graph_within_is_progress_of_its_node(
    sign: str, timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """A node that waits for a graph goes on as long as that does."""
    go, there = asyncio.Event(), asyncio.Event()

    async def first(state: Items, runtime: Runtime) -> Items:
        await go.wait()
        if sign == "heartbeat":
            runtime.heartbeat()
        elif sign == "event":
            runtime.stream_writer("a sign")
        else:
            return {"items": ["first"]}
        there.set()
        return await forever(state)

    async def second(state: Items) -> Items:
        there.set()
        return await forever(state)

    within = StateGraph(Items).add_sequence([("first", first), ("second", second)])
    inner = within.add_edge(START, "first").compile()
    graph = lone(inner, timed, timeout=TimeoutPolicy(idle_timeout=2.5))
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_slept(clock, 2.5)
    await clock.advance(2.0)
    go.set()
    await reached(there, run)
    await clock.advance(2.0)
    assert not run.done()
    await clock.advance(0.5)
    with pytest.raises(NodeTimeoutError) as caught:
        await run
    assert caught.value.elapsed == 4.5
