"""Collecting what changes have left behind whose makers have died.

Each has an intent, so they are found without looking through the table. An intent that has been
there for some minutes is nobody's any more; being wrong about that is safe, see `Changes.collect`.
"""

from __future__ import annotations

from typing import Final

from durable_graph.errors import StorageError
from durable_graph.ports.clock import Clock
from durable_graph_dynamodb.changes import Changes
from durable_graph_dynamodb.keys import INTENTS
from durable_graph_dynamodb.table import Table
from durable_graph_dynamodb.values import Item

__all__ = ["Collector"]

_EVERY: Final = 60.0
# Observed by one's own clock; or written so long ago that no two clocks differ by as much.
_OLD: Final = 600.0
_VERY_OLD: Final = 86_400.0
_INTENTS: Final = 50
_ITEMS: Final = 250
_REMEMBERED: Final = 10_000


class Collector:
    """Collects, a little at a time, as signs of life are given.

    Args:
        table: where.
        changes: knows how.
        clock: what time it is.
    """

    def __init__(self, table: Table, changes: Changes, clock: Clock) -> None:
        self._table = table
        self._changes = changes
        self._clock = clock
        self._last = clock.monotonic()
        self._seen: dict[str, float] = {}
        self._after = "0"

    async def some(self) -> None:
        """Collect what is old, if it is time; a failure is the next one's work."""
        now = self._clock.monotonic()
        if now - self._last < _EVERY:
            return
        self._last = now
        try:
            await self._collect(now)
        except StorageError:
            return

    async def _collect(self, now: float) -> None:
        """Look at some intents, going on where it was left off; collect those that are old."""
        intents: list[Item] = []
        async for page in self._table.range(INTENTS, self._after, "~", limit=_INTENTS):
            intents += page
            break
        self._after = intents[-1]["sk"] + "0" if len(intents) == _INTENTS else "0"
        if len(self._seen) > _REMEMBERED:
            self._seen.clear()
        left = _ITEMS
        for intent in intents:
            self._seen.setdefault(intent["sk"], now)
            if left > 0 and self._is_old(intent, now):
                left -= await self._changes.collect(intent, left)
        if left <= 0:
            self._last = float("-inf")  # go on at the next sign of life

    def _is_old(self, intent: Item, now: float) -> bool:
        written = self._clock.time() - int(intent.get("time", 0))
        return now - self._seen[intent["sk"]] >= _OLD or written >= _VERY_OLD
