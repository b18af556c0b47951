"""A clock that tests turn by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools

__all__ = ["FakeClock"]


class FakeClock:
    """Time that passes only when a test says so.

    Args:
        start: Unix time to begin at.
        jump: let every `sleep` pass at once, moving time on by as much. Without it, sleepers
            wait for `advance`.
    """

    def __init__(self, start: float = 1_700_000_000.0, *, jump: bool = False) -> None:
        self._wall = start
        self._elapsed = 0.0
        self._jump = jump
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._arrived: list[asyncio.Future[None]] = []
        self.slept: list[float] = []
        """How long each sleep was meant to take, in order."""

    def __repr__(self) -> str:
        return f"<FakeClock at {self._elapsed} s, {len(self._sleepers)} sleep>"

    @property
    def sleepers(self) -> int:
        """How many wait for time to pass."""
        return sum(not future.done() for _, _, future in self._sleepers)

    def time(self) -> float:
        """Unix time in seconds."""
        return self._wall + self._elapsed

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    def set_wall(self, time: float) -> None:
        """Change the time of day, as an administrator or a time server does."""
        self._wall = time - self._elapsed

    async def sleep(self, seconds: float) -> None:
        """Wait until so much time has passed."""
        self.slept.append(seconds)
        if self._jump:
            self._elapsed += max(0.0, seconds)
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), future))
        arrived, self._arrived = self._arrived, []
        for waiting in arrived:
            if not waiting.done():
                waiting.set_result(None)
        await future

    async def until_sleeping(self, count: int = 1) -> None:
        """Wait until at least so many sleep."""
        while self.sleepers < count:
            waiting = asyncio.get_running_loop().create_future()
            self._arrived.append(waiting)
            await waiting

    async def advance(self, seconds: float) -> None:
        """Let time pass; whoever has slept long enough wakes up, in order, and runs on."""
        until = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, future = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, due)
            if not future.done():
                future.set_result(None)
            for _ in range(10):  # what wakes up may sleep again, for less than what is left
                await asyncio.sleep(0)
        self._elapsed = until
        await asyncio.sleep(0)
