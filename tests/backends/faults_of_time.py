"""Backends that are wrong only sometimes: when calls meet, are cancelled, or end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from durable_graph.ports.backend import (
    Append,
    Capabilities,
    Outcome,
    Process,
)
from tests.backends.faulty import Faulty

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED


# -- at the same time, cancelled, closed -----------------------------------------------------------


class ComparesBeforeItWaits(Faulty):
    """Compares, waits, and writes."""

    found_by = "races"
    capabilities = Capabilities(durable=False, shared=False, groups=False)

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        good = [append for append in batch if self.at(append.head.key) == append.expected]
        await asyncio.sleep(0)
        moved = [replace(append, expected=self.at(append.head.key)) for append in good]
        await super().append(moved)
        return [APPLIED if append in good else REFUSED for append in batch]


class TornByCancelling(Faulty):
    """Writes records, waits, and writes large values and verdicts."""

    found_by = "cancel"
    capabilities = Capabilities(durable=False, shared=False, groups=False)

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        outcomes = await super().append([replace(a, blobs={}, settled={}) for a in batch], beat)
        await asyncio.sleep(0)
        for append in batch:
            self._threads[append.head.key].blobs.update(append.blobs)
            for name, verdict in append.settled.items():
                messages = self._threads[append.head.key].messages
                messages[name] = replace(messages[name], verdict=verdict)
        return outcomes


class LockedByCancelling(Faulty):
    """Keeps a lock that it was cancelled under."""

    found_by = "cancel"
    capabilities = Capabilities(durable=False, shared=False, groups=False)

    def __init__(self) -> None:
        super().__init__()
        self._one = asyncio.Lock()

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        await self._one.acquire()
        await asyncio.sleep(0)
        outcomes = await super().append(batch, beat)
        self._one.release()
        return outcomes


class ClosesOnce(Faulty):
    """Cannot be closed twice."""

    found_by = "close"

    async def aclose(self) -> None:
        if self._closed:
            raise RuntimeError("closed already")
        await super().aclose()


class LeavesWaiters(Faulty):
    """Closes without a word to those who wait."""

    found_by = "close"

    async def aclose(self) -> None:
        self._closed = True


# -- storage ---------------------------------------------------------------------------------------


class ForgetsAtTheEnd(Faulty):
    """Declares itself durable, and is not."""

    found_by = "durable"
    capabilities = Capabilities(durable=True, shared=False, groups=False)


class ByItself(Faulty):
    """Declares itself shared, and sees its own writes only."""

    found_by = "shared"
    capabilities = Capabilities(durable=False, shared=True, groups=False)
