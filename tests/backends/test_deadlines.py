"""Limits of time for many calls with one timer, on a loop whose time is virtual."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from durable_graph.ports.deadlines import Deadlines
from durable_graph.testing.simulation.loop import VirtualLoop

T = TypeVar("T")


def on_virtual_time(work: Callable[[Deadlines], Coroutine[Any, Any, T]]) -> T:
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(work(Deadlines()))
    finally:
        loop.close()


def now() -> float:
    return round(asyncio.get_running_loop().time(), 2)


async def call(deadlines: Deadlines, seconds: float, takes: float) -> tuple[str, float]:
    """How a call ended that may take so long, and takes so long, and when."""
    try:
        with deadlines.within(seconds):
            await asyncio.sleep(takes)
    except TimeoutError:
        return "too long", now()
    return "ended", now()


def test_a_call_that_takes_too_long_is_given_up() -> None:
    """At its very time, and no other with it."""

    async def work(deadlines: Deadlines) -> list[tuple[str, float]]:
        calls = [(30, 1), (5, 100), (40, 100), (5, 3), (2, 100)]
        return list(await asyncio.gather(*(call(deadlines, *each) for each in calls)))

    assert on_virtual_time(work) == [
        ("ended", 1.0),
        ("too long", 5.0),
        ("too long", 40.0),
        ("ended", 3.0),
        ("too long", 2.0),
    ]


def test_those_that_come_later_have_their_time_from_then() -> None:
    """The timer that looks after the first is there for the next; each has its own end."""

    async def work(deadlines: Deadlines) -> list[tuple[str, float]]:
        return [await call(deadlines, 30, takes) for takes in (1, 2, 100, 1, 100)]

    assert on_virtual_time(work) == [
        ("ended", 1.0),
        ("ended", 3.0),
        ("too long", 33.0),
        ("ended", 34.0),
        ("too long", 64.0),
    ]


def test_many_calls_make_few_timers() -> None:
    """One for each time that the longest of them may take."""
    made = []

    class Counting(VirtualLoop):
        def call_at(self, *args: Any, **options: Any) -> asyncio.TimerHandle:  # type: ignore[override]
            made.append(args[0])
            return super().call_at(*args, **options)

    async def work(deadlines: Deadlines) -> None:
        for _ in range(1000):
            with deadlines.within(30):
                await asyncio.sleep(0)

    loop = Counting()
    loop.run_until_complete(work(Deadlines()))
    loop.close()
    assert len(made) == 1


def test_a_timer_that_cannot_say_when() -> None:
    """As uvloop's for what is due at once: another call may begin before it has run."""

    class Rounding(VirtualLoop):
        def call_at(self, when: float, *args: Any, **options: Any) -> Any:  # type: ignore[override]
            if when - self.time() < 0.0005:
                return self.call_soon(*args, **options)
            return super().call_at(when, *args, **options)

    async def work(deadlines: Deadlines) -> list[tuple[str, float]]:
        calls = [(0.0001, 100), (30, 1), (0.0002, 0)]
        return list(await asyncio.gather(*(call(deadlines, *each) for each in calls)))

    loop = Rounding()
    assert [how for how, _ in loop.run_until_complete(work(Deadlines()))] == [
        "too long",
        "ended",
        "ended",
    ]
    loop.close()


def test_who_is_cancelled_at_the_same_time_is_cancelled() -> None:
    """A limit that has run out does not hide that somebody else wants the end."""

    async def work(deadlines: Deadlines) -> tuple[bool, int]:
        async def both() -> None:
            with deadlines.within(5):
                try:
                    await asyncio.sleep(100)
                finally:
                    task.cancel()

        task = asyncio.ensure_future(both())
        await asyncio.wait([task])
        return task.cancelled(), task.cancelling()

    assert on_virtual_time(work) == (True, 1)


def test_an_error_of_its_own_is_told() -> None:
    """Whatever comes of what was cancelled for its time; and it can be cancelled again."""

    async def work(deadlines: Deadlines) -> int:
        async def fails() -> None:
            try:
                await asyncio.sleep(100)
            finally:
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"), deadlines.within(5):
            await fails()
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert on_virtual_time(work) == 0


def test_a_limit_is_for_a_task() -> None:
    """Nobody else can be cancelled."""
    loop = asyncio.new_event_loop()

    def outside() -> None:
        with pytest.raises(RuntimeError, match="in a task"), Deadlines().within(1):
            pytest.fail("It was entered.")
        loop.stop()

    loop.call_soon(outside)
    loop.run_forever()
    loop.close()
