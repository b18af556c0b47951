"""Items of a store in this process's memory: the model for all others."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import heappop, heappush

from durable_graph.ports.items import Entry, ItemsCapabilities, Namespace, Place, Write

__all__ = ["InMemoryItems"]

# How many expired entries a write removes beside its own.
_SWEEP = 8


class InMemoryItems:
    """Entries in dictionaries, one for each namespace, and the namespaces in order.

    No method waits for anything. The lock is for stores that several threads use at once.
    """

    capabilities = ItemsCapabilities(durable=False, shared=False, immediate=True)

    def __init__(self) -> None:
        self.lock = self._lock = threading.RLock()
        """Held by whoever compares and writes in two calls."""
        self._names: list[Namespace] = []
        self._entries: dict[Namespace, dict[str, Entry]] = {}
        # When to look which place for what has expired; an entry that was prolonged or put anew
        # since is looked at in vain.
        self._ends: list[tuple[float, Place]] = []

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    async def fetch(self, places: Sequence[Place], now: float) -> Sequence[Entry | None]:
        with self._lock:
            return [self._at(place, now) for place in places]

    async def scan(
        self,
        prefix: Namespace,
        now: float,
        *,
        limit: int,
        after: Entry | None = None,
        vectors: bool = False,
    ) -> Sequence[Entry]:
        with self._lock:
            found = [
                entry
                for name in self._beneath(prefix)
                for entry in self._entries[name].values()
                if entry.lives(now) and (after is None or entry.order < after.order)
            ]
        found.sort(key=lambda entry: entry.order, reverse=True)
        return found[:limit]

    async def namespaces(
        self, prefix: Namespace, now: float, *, limit: int, after: Namespace | None = None
    ) -> Sequence[Namespace]:
        found: list[Namespace] = []
        with self._lock:
            for name in self._beneath(prefix):
                if len(found) == limit:
                    break
                if after is not None and name <= after:
                    continue
                if any(entry.lives(now) for entry in self._entries[name].values()):
                    found.append(name)
        return found

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        return self.write(writes, now)

    def write(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        """`apply`, for those who cannot await."""
        with self._lock:
            refused = self.refused(writes, now)
            if refused:
                return refused
            found = [self._at(write.place, now) for write in writes]
            for write, before in zip(writes, found, strict=True):
                self._drop(write.place)
                entry = write.over(before)
                if entry is not None:
                    self._keep(entry)
            self._sweep(now, len(writes) + _SWEEP)
            return ()

    def refused(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        """Where a condition does not hold."""
        return [write.place for write in writes if not write.allows(self._at(write.place, now))]

    async def prolong(self, entries: Sequence[tuple[Entry, float]], now: float) -> None:
        with self._lock:
            for entry, until in entries:
                found = self._at(entry.place, now)
                if found is None or found.version != entry.version:
                    continue
                if found.expires is not None and found.expires < until:
                    self._keep(replace(found, expires=until))

    async def sweep(self, now: float, *, limit: int) -> int:
        with self._lock:
            return self._sweep(now, limit)

    async def aclose(self) -> None:
        """There is nothing to release."""

    def _at(self, place: Place, now: float) -> Entry | None:
        namespace, key = place
        entry = self._entries.get(namespace, {}).get(key)
        return entry if entry is not None and entry.lives(now) else None

    def _beneath(self, prefix: Namespace) -> Iterator[Namespace]:
        # Those that begin alike stand together, the shortest first.
        for at in range(bisect_left(self._names, prefix), len(self._names)):
            if self._names[at][: len(prefix)] != prefix:
                return
            yield self._names[at]

    def _keep(self, entry: Entry) -> None:
        if entry.namespace not in self._entries:
            insort(self._names, entry.namespace)
            self._entries[entry.namespace] = {}
        self._entries[entry.namespace][entry.key] = entry
        if entry.expires is not None:
            heappush(self._ends, (entry.expires, entry.place))

    def _drop(self, place: Place) -> None:
        namespace, key = place
        within = self._entries.get(namespace)
        if within is None or within.pop(key, None) is None or within:
            return
        del self._entries[namespace]
        del self._names[bisect_left(self._names, namespace)]

    def _sweep(self, now: float, limit: int) -> int:
        dropped = 0
        while self._ends and self._ends[0][0] <= now and dropped < limit:
            _, place = heappop(self._ends)
            entry = self._entries.get(place[0], {}).get(place[1])
            if entry is not None and not entry.lives(now):
                self._drop(place)
                dropped += 1
        return dropped
