"""Several lives of one program in one process, on storage that outlives each of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from durable_graph.ports.backend import Backend
from durable_graph.ports.clock import Clock
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.saver import Lease, Saver
from durable_graph.testing.crash import Crash, CrashingBackend, When

__all__ = [
    "HEARTBEAT",
    "Lives",
    "MakeSaver",
    "QuietClock",
    "only_crashes",
    "quiet",
    "still",
    "survives",
]

MakeSaver: TypeAlias = Callable[[Path], Saver]

HEARTBEAT: Final = 3.0625
"""Seconds between two beats, told by them from all other waits."""


class QuietClock:
    """The machine's clock, on which the heart never beats, so that it makes no calls of its own.

    Waits take their time. If they passed at once, so would the time that a node may take.
    """

    def time(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        if seconds == HEARTBEAT:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(seconds)


def still(backend: Backend, clock: Clock) -> Saver:
    """A saver whose heart does not beat, if its clock never lets `HEARTBEAT` pass."""
    return Saver(backend, clock=clock, lease=Lease(interval=HEARTBEAT))


class Lives:
    """A storage, and the lives of those who use it one after the other.

    Args:
        make_saver: opens the storage, given an empty folder; by default it is in memory.
        folder: that folder.
    """

    def __init__(self, make_saver: MakeSaver | None, folder: Path) -> None:
        self.clock: Clock = QuietClock()
        self._make = make_saver
        self._folder = folder
        self._memory = InMemoryBackend(self.clock)

    @contextlib.asynccontextmanager
    async def life(
        self, at: int | None = None, when: When = "before"
    ) -> AsyncIterator[tuple[Saver, CrashingBackend]]:
        """One life: its saver, and the backend it dies at. Dying ends it without an error.

        Args:
            at: the storage call to die at, from 1; ``None`` to live.
            when: before or after that call.
        """
        backend = self._memory if self._make is None else self._make(self._folder).backend
        dying = CrashingBackend(backend, at, when)
        saver = still(dying, self.clock)
        try:
            with survives():
                yield saver, dying
        finally:
            with contextlib.suppress(Crash):
                await saver.aclose()
            if self._make is not None:
                await backend.aclose()


@contextlib.contextmanager
def survives() -> Iterator[None]:
    """Whoever makes a process die goes on."""
    try:
        yield
    except BaseException as error:
        if not only_crashes(error):
            raise


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nobody has to hear of tasks that ended because their process is dead."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if only_crashes(context.get("exception")):
            return
        if before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        gc.collect()  # it is when they are collected that the loop would tell
        loop.set_exception_handler(before)


def only_crashes(error: BaseException | None) -> bool:
    """Whether an error is a crash, or several that have nothing else among them."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(only_crashes, error.exceptions))
    return isinstance(error, Crash)
