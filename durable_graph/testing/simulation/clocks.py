"""Time and chance of a simulated process."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable

__all__ = ["SeededChance", "VirtualClock"]

_EPOCH = 1_700_000_000.0


class VirtualClock:
    """A clock of the machine that a simulated process runs on.

    Args:
        elapsed: the simulation's time in seconds.
        skew: by how many seconds the time of day is wrong.
        booted: how many seconds before the simulation's begin the machine was started.
    """

    def __init__(
        self, elapsed: Callable[[], float], *, skew: float = 0.0, booted: float = 0.0
    ) -> None:
        self._elapsed = elapsed
        self._booted = booted
        self.skew = skew

    def __repr__(self) -> str:
        return f"<VirtualClock at {self._elapsed():.6f} s, {self.skew} s off>"

    def time(self) -> float:
        """Unix time in seconds, as far as this machine knows."""
        return _EPOCH + self._elapsed() + self.skew

    def monotonic(self) -> float:
        """Seconds since the machine was started."""
        return self._elapsed() + self._booted

    async def sleep(self, seconds: float) -> None:
        """Wait so long in virtual time."""
        await asyncio.sleep(seconds)


class SeededChance:
    """Ids and random numbers from a seed; ids are of UUID version 7, by the machine's clock."""

    def __init__(self, numbers: random.Random, clock: VirtualClock) -> None:
        self._numbers = numbers
        self._clock = clock
        self._last = 0

    def id(self) -> str:
        """A new time-ordered UUID, as text."""
        milliseconds = int(self._clock.time() * 1000)
        # Within a millisecond the ids of one process still ascend.
        self._last = max(self._last + 1, milliseconds << 12)
        high = (self._last >> 12) & (1 << 48) - 1
        value = high << 80 | 7 << 76 | (self._last & 0xFFF) << 64 | 2 << 62
        return str(uuid.UUID(int=value | self._numbers.getrandbits(62)))

    def secret(self) -> bytes:
        """16 bytes."""
        return self._numbers.randbytes(16)

    def uniform(self) -> float:
        """A number from 0 up to 1."""
        return self._numbers.random()
