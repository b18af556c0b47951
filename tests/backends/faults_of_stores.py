"""Stores with one fault each, which the contract of stores has to find."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from durable_graph.ports.items import Entry, ItemsCapabilities, Namespace, Place, Write
from durable_graph.ports.memory_items import InMemoryItems

__all__ = ["FaultyItems"]


class FaultyItems(InMemoryItems):
    """Good storage of items, to be spoilt.

    Attributes:
        found_by: the chapter of the contract that is to notice.
    """

    found_by: ClassVar[str]
    capabilities = ItemsCapabilities(durable=False, shared=False)

    def every(self) -> list[Entry]:
        """All that is kept."""
        return [entry for within in self._entries.values() for entry in within.values()]


class KeepsRemoved(FaultyItems):
    """Removes nothing."""

    found_by = "items"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        return await super().apply([write for write in writes if write.entry is not None], now)


class ForgetsFirstPut(FaultyItems):
    """Creates an item anew with each put."""

    found_by = "items"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        return await super().apply([replace(write, fresh=True) for write in writes], now)


class RemembersRemoved(FaultyItems):
    """Takes what was removed in the same batch for the item's past."""

    found_by = "items"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        return await super().apply([replace(write, fresh=False) for write in writes], now)


class IgnoresConditions(FaultyItems):
    """Writes over whatever is there."""

    found_by = "versions"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        return await super().apply([replace(write, expects=None) for write in writes], now)


class WritesTheRest(FaultyItems):
    """Writes what of a batch meets no conflict."""

    found_by = "versions"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        refused = await super().apply(writes, now)
        if refused:
            await super().apply([write for write in writes if write.place not in refused], now)
        return refused


class CountsVersions(FaultyItems):
    """Counts each item's versions from one on."""

    found_by = "versions"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        found = await self.fetch([write.place for write in writes], now)
        counted = [
            replace(
                write,
                entry=None
                if write.entry is None
                else replace(write.entry, version=1 if before is None else before.version + 1),
            )
            for write, before in zip(writes, found, strict=True)
        ]
        return await super().apply(counted, now)


class SaysNothingOfConflicts(FaultyItems):
    """Writes nothing of a batch with a conflict, and does not tell."""

    found_by = "batches"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        await super().apply(writes, now)
        return ()


class SearchesLetters(FaultyItems):
    """Takes a word for the beginning of a longer one."""

    found_by = "searching"

    async def scan(self, prefix: Namespace, now: float, **options: Any) -> Sequence[Entry]:
        text = ":".join(prefix)
        found = await super().scan((), now, limit=10_000)
        return [entry for entry in found if ":".join(entry.namespace).startswith(text)]


class OldestFirst(FaultyItems):
    """Turns the order around."""

    found_by = "searching"

    async def scan(
        self,
        prefix: Namespace,
        now: float,
        *,
        limit: int,
        after: Entry | None = None,
        vectors: bool = False,
    ) -> Sequence[Entry]:
        found = list(await super().scan(prefix, now, limit=100_000))[::-1]
        return [one for one in found if after is None or one.order > after.order][:limit]


class OnePageOnly(FaultyItems):
    """Knows nothing after the first page."""

    found_by = "searching"

    async def scan(
        self,
        prefix: Namespace,
        now: float,
        *,
        limit: int,
        after: Entry | None = None,
        vectors: bool = False,
    ) -> Sequence[Entry]:
        if after is not None:
            return ()
        return await super().scan(prefix, now, limit=limit)


class LosesVectors(FaultyItems):
    """Keeps no vectors."""

    found_by = "meaning"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        plain = [
            replace(write, entry=None if write.entry is None else replace(write.entry, vectors=()))
            for write in writes
        ]
        return await super().apply(plain, now)


class KeepsOneVector(FaultyItems):
    """Keeps one vector of each item."""

    found_by = "meaning"

    async def scan(self, prefix: Namespace, now: float, **options: Any) -> Sequence[Entry]:
        found = await super().scan(prefix, now, **options)
        return [replace(entry, vectors=entry.vectors[:1]) for entry in found]


class ListsByLength(FaultyItems):
    """Lists short namespaces before long ones."""

    found_by = "listing"

    async def namespaces(
        self, prefix: Namespace, now: float, *, limit: int, after: Namespace | None = None
    ) -> Sequence[Namespace]:
        found = sorted(await super().namespaces(prefix, now, limit=10_000), key=len)
        return found[:limit] if after is None else ()


class ListsEmptyOnes(FaultyItems):
    """Lists namespaces whose last item was removed."""

    found_by = "listing"

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[Namespace] = set()

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        self._seen |= {write.place[0] for write in writes}
        return await super().apply(writes, now)

    async def namespaces(
        self, prefix: Namespace, now: float, *, limit: int, after: Namespace | None = None
    ) -> Sequence[Namespace]:
        found = sorted(name for name in self._seen if name[: len(prefix)] == prefix)
        return [name for name in found if after is None or name > after][:limit]


class LivesForEver(FaultyItems):
    """Forgets when items are to expire."""

    found_by = "time"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        ever = [
            replace(
                write,
                entry=None if write.entry is None else replace(write.entry, expires=None, ttl=None),
            )
            for write in writes
        ]
        return await super().apply(ever, now)


class ShowsTheExpired(FaultyItems):
    """Hides what has expired from reads, and not from searches."""

    found_by = "time"

    async def scan(self, prefix: Namespace, now: float, **options: Any) -> Sequence[Entry]:
        return await super().scan(prefix, 0.0, **options)


class ProlongsNothing(FaultyItems):
    """Does not let reads prolong anything."""

    found_by = "time"

    async def prolong(self, entries: Sequence[tuple[Entry, float]], now: float) -> None:
        return


class MeetsTheExpired(FaultyItems):
    """Compares conditions with what has expired."""

    found_by = "time"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        return await super().apply(writes, 0.0)


class SweepsTooMuch(FaultyItems):
    """Sweeps away everything that will ever expire."""

    found_by = "time"

    async def sweep(self, now: float, *, limit: int) -> int:
        return await super().sweep(now + 1e9, limit=limit)


class JoinsWords(FaultyItems):
    """Joins the words of a namespace with a sign that a word may have in it."""

    found_by = "hostile"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        return await super().apply([self._joined(write) for write in writes], now)

    async def fetch(self, places: Sequence[Place], now: float) -> Sequence[Entry | None]:
        found = await super().fetch([((":".join(name),), key) for name, key in places], now)
        return [
            None if entry is None else replace(entry, namespace=name)
            for entry, (name, _) in zip(found, places, strict=True)
        ]

    @staticmethod
    def _joined(write: Write) -> Write:
        name = (":".join(write.place[0]),)
        entry = None if write.entry is None else replace(write.entry, namespace=name)
        return replace(write, place=(name, write.place[1]), entry=entry)


class IgnoresCase(FaultyItems):
    """Takes upper case for lower case."""

    found_by = "hostile"

    async def fetch(self, places: Sequence[Place], now: float) -> Sequence[Entry | None]:
        by_name = {(tuple(w.lower() for w in e.namespace), e.key.lower()): e for e in self.every()}
        return [by_name.get((tuple(w.lower() for w in name), k.lower())) for name, k in places]


class ComparesBeforeItWaits(FaultyItems):
    """Compares, waits, and writes."""

    found_by = "races"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        found = await self.fetch([write.place for write in writes], now)
        refused = [w.place for w, before in zip(writes, found, strict=True) if not w.allows(before)]
        await asyncio.sleep(0)
        if not refused:
            await super().apply([replace(write, expects=None) for write in writes], now)
        return refused


class TornByCancelling(FaultyItems):
    """Writes one item after the other, and waits in between."""

    found_by = "cancel"

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        for write in writes:
            refused = await super().apply([write], now)
            if refused:
                return refused
            await asyncio.sleep(0)
        return ()


class ClosesOnce(FaultyItems):
    """Cannot be closed twice."""

    found_by = "cancel"

    def __init__(self) -> None:
        super().__init__()
        self._closed = False

    async def aclose(self) -> None:
        if self._closed:
            raise RuntimeError("closed already")
        self._closed = True


class IsNotDurable(FaultyItems):
    """Calls itself durable, and keeps everything in its own memory."""

    found_by = "durable"
    capabilities = ItemsCapabilities(durable=True, shared=False)


class IsNotShared(FaultyItems):
    """Calls itself shared, and keeps everything in its own memory."""

    found_by = "shared"
    capabilities = ItemsCapabilities(durable=False, shared=True)
