"""Steps, tasks and entrypoints that take too long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from durable_graph import (
    InMemorySaver,
    RetryPolicy,
    TimeoutPolicy,
    entrypoint,
    get_runtime,
    step,
    task,
)
from durable_graph.errors import GraphDefinitionError, NodeTimeoutError, StepOutcomeUnknownError
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig
from tests.runtime.functional.kit import steps_of


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test turns."""
    return FakeClock()


@pytest_asyncio.fixture
async def timed(clock: FakeClock) -> AsyncIterator[Saver]:
    """A saver whose time is the test's."""
    made = InMemorySaver(clock=clock)
    yield made
    await made.aclose()


class Slow:
    """Takes for ever, as often as it is told; then returns at once."""

    def __init__(self, times: int = 1) -> None:
        self.left = times
        self.calls = 0
        self.cancelled = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.left <= 0:
            return "done"
        self.left -= 1
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError("it waits for ever")


async def timing_out(run: Any, clock: FakeClock, seconds: float) -> Any:
    """Wait for a run, in which so much time passes."""
    running = asyncio.create_task(run)
    await clock.until_sleeping()
    await clock.advance(seconds)
    return await running


async def test_a_step_that_takes_too_long_may_have_happened(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """It is cancelled, its claim stays, and it is not simply tried again."""
    slow = Slow()
    policy = RetryPolicy(initial_interval=0, jitter=False)

    @entrypoint(timed)
    async def flow(_: Any) -> str:
        return await step("slow", slow.__call__, timeout=5, retry_policy=policy)

    with pytest.raises(NodeTimeoutError, match="'slow' has not finished after 5 s"):
        await timing_out(flow.ainvoke("go", config), clock, 5)
    assert (slow.calls, slow.cancelled) == (1, 1)
    assert [entry.state for entry in await steps_of(timed, config)] == ["claimed"]
    with pytest.raises(StepOutcomeUnknownError):
        await flow.ainvoke(None, config)


async def test_an_idempotent_one_is_tried_again(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """By its own policy: twice does no harm."""
    slow = Slow()
    policy = RetryPolicy(initial_interval=0, jitter=False)

    @task(timeout=TimeoutPolicy(run_timeout=5), retry_policy=policy)
    async def work() -> str:
        return await slow()

    @entrypoint(timed)
    async def flow(_: Any) -> str:
        return await work()

    running = asyncio.create_task(flow.ainvoke("go", config))
    await clock.until_sleeping()
    await clock.advance(5)
    while not running.done():
        await asyncio.sleep(0)
        await clock.advance(0)
    assert (await running, slow.calls) == ("done", 2)


async def test_signs_of_life_are_the_steps_own(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """`heartbeat()` within a task keeps that task going."""
    beats = asyncio.Queue[None]()

    @task(timeout=TimeoutPolicy(idle_timeout=5))
    async def work() -> str:
        for _ in range(3):
            await beats.get()
            get_runtime().heartbeat()
        return "done"

    @entrypoint(timed)
    async def flow(_: Any) -> str:
        return await work()

    running = asyncio.create_task(flow.ainvoke("go", config))
    for _ in range(3):
        await clock.until_sleeping()
        await clock.advance(4)
        beats.put_nowait(None)
        for _ in range(10):
            await asyncio.sleep(0)
    assert await running == "done"


async def test_what_runs_in_a_thread_is_given_up(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """Its late result is dropped."""
    gate = threading.Event()

    @task(timeout=5)
    def work() -> str:
        gate.wait(60)
        return "late"

    @entrypoint(timed)
    async def flow(_: Any) -> str:
        return await work()

    with pytest.raises(NodeTimeoutError, match="'work'"):
        await timing_out(flow.ainvoke("go", config), clock, 5)
    gate.set()
    assert await steps_of(timed, config) == []


async def test_an_entrypoint_that_takes_too_long(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """Is given up, and with it the steps that it waits for."""
    slow = Slow()

    @entrypoint(timed, timeout=5)
    async def flow(_: Any) -> str:
        return await step("slow", slow.__call__, idempotent=True)

    with pytest.raises(NodeTimeoutError, match="'flow'"):
        await timing_out(flow.ainvoke("go", config), clock, 5)
    assert slow.cancelled == 1
    assert await flow.ainvoke(None, config) == "done"


async def test_calling_a_step_is_progress(
    timed: Saver, clock: FakeClock, config: RunnableConfig
) -> None:
    """A function that gets on with its steps is not idle."""
    turns = asyncio.Queue[None]()

    @entrypoint(timed, timeout=TimeoutPolicy(idle_timeout=5))
    async def flow(_: Any) -> str:
        for number in range(3):
            await step(f"s{number}", turns.get, idempotent=True)
        return "done"

    running = asyncio.create_task(flow.ainvoke("go", config))
    for _ in range(3):
        await clock.until_sleeping()
        await clock.advance(4)
        turns.put_nowait(None)
        for _ in range(10):
            await asyncio.sleep(0)
    assert await running == "done"


def test_what_is_no_timeout_is_refused() -> None:
    """Where it is given."""
    with pytest.raises(GraphDefinitionError, match="task 'print'"):
        task(timeout=-1)(print)
    with pytest.raises(GraphDefinitionError, match="entrypoint 'print'"):
        entrypoint(timeout="5")(print)  # type: ignore[arg-type]
