"""Time and chance, as ports: a test or a simulation brings its own."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from typing import Protocol

import uuid_utils

__all__ = ["Chance", "Clock", "SystemChance", "SystemClock"]


class Clock(Protocol):
    """Where time comes from."""

    def time(self) -> float:
        """Unix time in seconds: for people, never for order."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes backwards. The same for all processes of a
        host, as far as they compare leases."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Chance(Protocol):
    """Where ids and random numbers come from."""

    def id(self) -> str:
        """A new time-ordered UUID, as text."""
        ...

    def secret(self) -> bytes:
        """16 random bytes that nobody can guess."""
        ...

    def uniform(self) -> float:
        """A number from 0 up to 1."""
        ...


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SystemChance:
    """The machine's randomness; ids are UUIDs of version 7."""

    def id(self) -> str:
        return str(uuid_utils.uuid7())

    def secret(self) -> bytes:
        return secrets.token_bytes(16)

    def uniform(self) -> float:
        return random.random()  # noqa: S311 - jitter, not a secret
