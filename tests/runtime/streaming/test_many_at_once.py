"""Very many graphs that are watched side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from durable_graph.engine.streams.stream import Event, Stream


class _Resumed:
    """Awaits something, and counts how often it is resumed."""

    count = 0

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work

    def __await__(self) -> Generator[Any, None, None]:
        steps = self._work.__await__()
        while True:
            _Resumed.count += 1
            try:
                awaited = next(steps)
            except StopIteration:
                return
            yield awaited


async def test_who_waits_for_its_turn_is_woken_when_it_is() -> None:
    """Not each time that another one has told something."""
    stream, runs, rounds = Stream(["updates"]), 100, 3
    _Resumed.count = 0

    async def run(number: int) -> None:
        for step in range(rounds):
            await stream.turn()
            if number % 3:  # not all have something to tell
                stream.emit(Event("updates", (number, step)))

    async def run_counted(number: int) -> None:
        await _Resumed(run(number))

    tasks = [asyncio.create_task(run_counted(number)) for number in range(runs)]
    told: list[Any] = []
    expected = rounds * sum(1 for number in range(runs) if number % 3)
    async with asyncio.timeout(10):
        while len(told) < expected:
            event = await stream.next()
            assert event is not None
            told.append(event.data)
        # Whoever told nothing in the end waits no longer than the watcher does.
        waiting = asyncio.create_task(stream.next())
        await asyncio.wait(tasks)
        stream.close()
        assert await waiting is None
    assert sorted(told) == [(n, step) for n in range(runs) if n % 3 for step in range(rounds)]
    assert _Resumed.count <= 3 * runs * rounds


async def test_a_turn_is_handed_on_by_who_is_cancelled() -> None:
    """Though it had been its turn; else all others would wait for ever."""
    stream, passed = Stream(["updates"]), list[int]()

    async def run(number: int) -> None:
        await stream.turn()
        passed.append(number)

    async with asyncio.timeout(10):
        tasks = [asyncio.create_task(run(number)) for number in range(3)]
        await asyncio.sleep(0)  # all wait
        watching = asyncio.create_task(stream.next())
        await asyncio.sleep(0)  # the first has been woken, and has not gone on yet
        tasks[0].cancel()
        await asyncio.wait(tasks)
        stream.close()
        assert await watching is None
    assert passed == [1, 2]
    assert tasks[0].cancelled()
