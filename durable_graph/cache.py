"""Caches for the results of nodes: what a cache is, and the one in memory.

A cache keeps bytes under keys, for a time. It may lose anything at any time, and the graph comes
to the same end; it must never return what was not put there under that key.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from durable_graph.ports.clock import Clock, SystemClock
from durable_graph.sync import SyncCache
from durable_graph.types import CacheKey, CacheNamespace

__all__ = ["BaseCache", "CacheKey", "CacheNamespace", "InMemoryCache"]


class BaseCache(ABC, SyncCache):
    """What a cache is; `get`, `set` and `clear` are the same without ``await``."""

    @abstractmethod
    async def aget(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, bytes]:
        """What is kept under these keys and may still be used; the others are left out."""

    @abstractmethod
    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        """Keep values, each for so many seconds; ``None`` for as long as there is room."""

    @abstractmethod
    async def aclear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        """Forget everything in these namespaces and beneath them; all of it for ``None``."""


class InMemoryCache(BaseCache):
    """Keeps results in this process, up to a size; what was not used for longest goes first.

    It may be shared by graphs, event loops and threads.

    Args:
        max_bytes: how much to keep; a value that is larger is not kept.
        clock: where time comes from.
    """

    def __init__(self, *, max_bytes: int = 64 * 2**20, clock: Clock | None = None) -> None:
        if max_bytes < 0:
            raise ValueError(f"max_bytes is 0 or more, not {max_bytes!r}.")
        self._max_bytes = max_bytes
        self._clock = clock if clock is not None else SystemClock()
        self._entries: OrderedDict[CacheKey, tuple[bytes, float | None]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<InMemoryCache: {len(self._entries)} results, {self._size} bytes>"

    async def aget(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, bytes]:
        found: dict[CacheKey, bytes] = {}
        now = self._clock.monotonic()
        with self._lock:
            for key in keys:
                entry = self._entries.get(key)
                if entry is None:
                    continue
                value, until = entry
                if until is not None and now >= until:
                    self._drop(key)
                    continue
                self._entries.move_to_end(key)
                found[key] = value
        return found

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        now = self._clock.monotonic()
        with self._lock:
            for key, (value, ttl) in entries.items():
                if key in self._entries:
                    self._drop(key)
                self._entries[key] = (value, None if ttl is None else now + ttl)
                self._size += len(value)
                while self._size > self._max_bytes:
                    self._drop(next(iter(self._entries)))

    async def aclear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        with self._lock:
            if namespaces is None:
                self._entries.clear()
                self._size = 0
                return
            beneath = tuple(namespaces)
            for key in list(self._entries):
                if any(key[0][: len(prefix)] == prefix for prefix in beneath):
                    self._drop(key)

    def _drop(self, key: CacheKey) -> None:
        value, _ = self._entries.pop(key)
        self._size -= len(value)
