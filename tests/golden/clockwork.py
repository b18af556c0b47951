"""Time and chance that are the same each time a story is told, on every machine.

Neither draws on anything that another version of Python or of this project may do differently:
ids are hashes of the story's name and a count.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final

from durable_graph.testing import FakeClock

__all__ = ["BEGIN", "HEARTBEAT", "Clockwork", "StoryChance"]

BEGIN: Final = 1_750_000_000.0
"""When stories begin, Unix time."""

HEARTBEAT: Final = 3.0
"""Seconds between two signs of life; no other wait is as long as this."""


class Clockwork(FakeClock):
    """Waits pass at once and move the time on, but for the heart's: it beats when told to."""

    def __init__(self) -> None:
        super().__init__(BEGIN, jump=True)
        self._heart: asyncio.Future[None] | None = None

    async def sleep(self, seconds: float) -> None:
        """Wait, in name only; the heart really does."""
        if seconds != HEARTBEAT:
            await super().sleep(seconds)
            return
        self._heart = asyncio.get_running_loop().create_future()
        await self._heart

    def beat(self) -> None:
        """Let the heart beat once."""
        if self._heart is not None and not self._heart.done():
            self._heart.set_result(None)


class StoryChance:
    """Ids and numbers made of a seed and a count; ids are of UUID version 7.

    Args:
        seed: whatever has another one gets other ids.
        clock: says what time an id names.
    """

    def __init__(self, seed: str, clock: Clockwork) -> None:
        self._seed = seed
        self._clock = clock
        self._count = 0
        self._last = 0

    def id(self) -> str:
        """A new time-ordered UUID, as text."""
        self._last = max(self._last + 1, int(self._clock.time() * 1000) << 12)
        noise = self._bytes(8).hex()
        stamp, order = f"{self._last >> 12:012x}", f"{self._last & 0xFFF:03x}"
        return f"{stamp[:8]}-{stamp[8:]}-7{order}-8{noise[:3]}-{noise[3:15]}"

    def secret(self) -> bytes:
        """16 bytes, which everybody can guess."""
        return self._bytes(16)

    def uniform(self) -> float:
        """A number from 0 up to 1, in eighths."""
        return (self._bytes(1)[0] & 7) / 8

    def _bytes(self, size: int) -> bytes:
        self._count += 1
        text = f"{self._seed}\0{self._count}"
        return hashlib.blake2b(text.encode(), digest_size=size).digest()
