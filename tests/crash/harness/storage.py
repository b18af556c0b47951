"""Storage that outlives those who die on it, and how one process plays several lives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeAlias

from durable_graph.engine.ownership import owner
from durable_graph.ports.backend import Backend
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.saver import Saver
from durable_graph.testing.clock import FakeClock
from durable_graph.testing.crash import Crash, CrashingBackend, When
from durable_graph.testing.lives import HEARTBEAT, only_crashes, still, survives
from tests.crash.harness.places import EMULATED, place
from tests.services import aws

__all__ = ["Storage", "StillClock", "StorageKind", "only_crashes", "still", "survives"]

StorageKind: TypeAlias = str
"""What keeps the threads: \"memory\", or the kind of a place."""


class StillClock(FakeClock):
    """Waits pass at once; but the heart's never do, so that it makes no calls of its own."""

    def __init__(self) -> None:
        super().__init__(jump=True)

    async def sleep(self, seconds: float) -> None:
        """Wait, in name only."""
        if seconds == HEARTBEAT:
            await asyncio.get_running_loop().create_future()
        await super().sleep(seconds)


class Storage:
    """What is left when a process dies.

    Args:
        kind: which backend.
        folder: where a file may be.
    """

    def __init__(self, kind: StorageKind, folder: Path) -> None:
        self.kind = kind
        self.place = place(kind, folder) if kind != "memory" else None
        self.clock = StillClock()
        self._memory = InMemoryBackend(self.clock)

    def handle(self) -> Backend:
        """A way to reach it."""
        if self.place is None:
            return self._memory
        options: dict[str, Any] = {}
        if self.kind == "sqlite":
            # No power is cut here, so nothing has to wait for the disk.
            options["synchronous"] = "normal"
        elif self.kind in EMULATED:
            # What AWS's services are is read once, and not anew in each life.
            options["session"] = aws.session()
        return self.place.backend(self.clock, **options)

    def check(self) -> None:
        """I7: nobody is held up who wants to write now.

        Raises:
            AssertionError: it does not hold.
        """
        if self.place is not None:
            self.place.check()

    @contextlib.asynccontextmanager
    async def life(
        self, at: int | None = None, when: When = "before", clock: StillClock | None = None
    ) -> AsyncIterator[tuple[Saver, CrashingBackend]]:
        """One process's life on it: its saver, and the backend it dies at.

        Nothing of an earlier life is known to the next, and dying ends it without an error.
        """
        handle = self.handle()
        dying = CrashingBackend(handle, at, when)
        saver = still(dying, clock or self.clock)
        owner._owners.clear()
        try:
            with survives():
                yield saver, dying
        finally:
            with contextlib.suppress(Crash):
                await saver.aclose()
            if self.place is not None:
                await handle.aclose()
