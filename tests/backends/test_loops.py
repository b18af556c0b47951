"""What belongs to one event loop each: made on first use, closed with its loop."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest

from durable_graph.errors import StorageClosedError
from durable_graph.ports.loops import PerLoop


class Made:
    """Something of one loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.closed = 0
        self.abandoned = False

    async def close(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        self.closed += 1
        await asyncio.sleep(0)

    def abandon(self) -> None:
        self.abandoned = True


def things() -> PerLoop[Made]:
    """Nothing made yet."""
    return PerLoop("The storage", Made, Made.close, Made.abandon)


def test_each_loop_has_its_own() -> None:
    """A loop gets the same one again, and no other loop's."""
    held = things()

    async def twice() -> Made:
        first = await held.get()
        assert await held.get() is first
        assert held.every() == [first]
        return first

    one, other = asyncio.run(twice()), asyncio.run(twice())
    assert one is not other


def test_a_loop_that_ends_closes_its_own() -> None:
    """`asyncio.run` closes what was made on its loop, which is then held no more."""
    held = things()
    made = asyncio.run(held.get())
    assert made.closed == 1
    assert len(held) == 0


def test_what_a_closed_loop_left_is_let_go() -> None:
    """Of a loop that was closed without being shut down, nothing is closed, and nothing kept."""
    held = things()
    loop = asyncio.new_event_loop()
    made = loop.run_until_complete(held.get())
    loop.close()
    asyncio.run(held.get())
    assert made.abandoned
    assert made.closed == 0
    assert len(held) == 0


async def test_closing_ends_it_for_the_running_loop() -> None:
    """After a close there is nothing to be had; closing again is harmless."""
    held = things()
    made = await held.get()
    await held.aclose()
    await held.aclose()
    assert made.closed >= 1
    assert len(held) == 0
    with pytest.raises(StorageClosedError, match="The storage was closed"):
        await held.get()


async def test_a_cancelled_close_can_be_finished() -> None:
    """Whatever was not closed because the close was cancelled is closed by the next."""
    held = things()
    made = await held.get()
    closing = asyncio.ensure_future(held.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    assert len(held) == 1
    await held.aclose()
    assert made.closed >= 2
    assert len(held) == 0


async def test_closing_reaches_other_loops_that_run() -> None:
    """What another loop holds is closed there, before the close returns."""
    held = things()
    ready, over = threading.Event(), threading.Event()
    found: list[Made] = []

    async def elsewhere() -> None:
        found.append(await held.get())
        ready.set()
        while not over.is_set():
            await asyncio.sleep(0.001)

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    try:
        await asyncio.to_thread(ready.wait, 10)
        await held.aclose()
        assert found[0].closed == 1
    finally:
        over.set()
        thread.join(10)
    assert found[0].closed == 1


async def test_what_nobody_closes_is_closed_when_it_is_collected() -> None:
    """A backend that is dropped while its loop runs leaves nothing open."""
    held = things()
    made = await held.get()
    del held
    gc.collect()
    for _ in range(10):
        await asyncio.sleep(0)
    assert made.closed == 1


def test_a_child_does_not_use_what_its_parent_made() -> None:
    """After a fork, the child is told to make its own."""
    held = things()

    async def use() -> int:
        await held.get()
        child = os.fork()
        if child == 0:
            try:
                await held.get()
            except StorageClosedError as error:
                os._exit(0 if "before this process was forked" in str(error) else 1)
            os._exit(2)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert asyncio.run(use()) == 0
