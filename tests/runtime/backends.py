"""Backends that misbehave on purpose, around one that works."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from durable_graph.errors import StorageFullError
from durable_graph.ports.backend import Append, Backend, Capabilities, Outcome, Process
from durable_graph.saver import Saver

__all__ = ["Around", "counted", "failing", "held"]


class Around:
    """Passes every call on to a real backend, and sees the appends first.

    Attributes:
        appends: how many batches have been asked for.
        records: how many records they held.
        reads: how many records were read or scanned.
    """

    def __init__(self, inner: Backend) -> None:
        self._inner = inner
        self.appends = 0
        self.records = 0
        self.reads = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    if TYPE_CHECKING:  # passed on by `__getattr__`
        blobs: Any
        heads: Any
        post: Any
        beat: Any
        remove: Any
        changed: Any
        aclose: Any

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        self.appends += 1
        self.records += sum(len(append.records) for append in batch)
        await self.before(batch)
        return await self._inner.append(batch, beat)

    async def read(self, *args: Any, **options: Any) -> Any:
        reading = await self._inner.read(*args, **options)
        self.reads += len(reading.records) if reading is not None else 0
        return reading

    async def scan(self, *args: Any, **options: Any) -> Any:
        found = await self._inner.scan(*args, **options)
        self.reads += len(found)
        return found

    async def before(self, batch: Sequence[Append]) -> None:
        """What happens before a batch is passed on."""


class _Failing(Around):
    def __init__(self, inner: Backend, good: int) -> None:
        super().__init__(inner)
        self.good = good

    async def before(self, batch: Sequence[Append]) -> None:
        if self.appends > self.good:
            raise StorageFullError("The disk is full.")


class _Held(Around):
    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.open = asyncio.Event()
        self.open.set()

    async def before(self, batch: Sequence[Append]) -> None:
        await self.open.wait()


def failing(saver: Saver, good: int) -> _Failing:
    """Let so many batches of a saver through, and refuse the others: its disk is full."""
    around = _Failing(saver.backend, good)
    saver.backend = around
    return around


def held(saver: Saver) -> _Held:
    """Let a saver's batches wait while `open` is cleared."""
    around = _Held(saver.backend)
    saver.backend = around
    return around


def counted(saver: Saver) -> Around:
    """Count what a saver writes and reads."""
    around = Around(saver.backend)
    saver.backend = around
    return around
