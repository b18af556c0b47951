"""A result out of the graph's cache, or into it: of a node, or of a task.

A cache is a convenience: whatever goes wrong with it, what it is asked for is done. Only a key
that cannot be made is an error, since then nothing would ever be kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from durable_graph.errors import CacheWarning
from durable_graph.log.codec import UnstorableValueError

if TYPE_CHECKING:
    from durable_graph.cache import BaseCache, CacheKey

__all__ = ["Slot"]

T = TypeVar("T")


class Slot:
    """The place in a cache that belongs to one node or task and what it was given.

    Args:
        cache: the cache.
        key: the place.
        ttl: for how many seconds to keep what is put there; ``None`` for as long as there is room.
        who: whose result it is, for warnings.

    Attributes:
        used: whether the result that was kept there is used.
    """

    def __init__(self, cache: BaseCache, key: CacheKey, ttl: float | None, who: str) -> None:
        self._cache = cache
        self._key = key
        self._ttl = ttl
        self._who = who
        self._packed: bytes | None = None
        self._answers = True
        self.used = False

    async def look(self, unpack: Callable[[bytes], T | None]) -> T | None:
        """What is kept there; ``None`` if it is nothing that `unpack` can make use of."""
        found = await self._tried(self._cache.aget([self._key]), "read from")
        self._answers = found is not None
        data = found.get(self._key) if found else None
        result = None if data is None else unpack(data)
        self.used = result is not None
        return result

    def fix(self, pack: Callable[[], bytes]) -> None:
        """Take down what is to be kept, before anybody can change it."""
        if not self._answers:  # a cache that has just failed is not waited for once more
            return
        try:
            self._packed = pack()
        except UnstorableValueError as error:
            self._warn(f"What it returned cannot be kept: {error}.")

    def decline(self, why: str) -> None:
        """Keep nothing, since it would not be all of the result."""
        self._warn(why)

    async def keep(self) -> bool:
        """Keep what was taken down; returns whether there was nothing, since the cache had it."""
        if self._packed is not None:
            entries = {self._key: (self._packed, self._ttl)}
            await self._tried(self._cache.aset(entries), "written to")
        return self.used

    async def _tried(self, access: Awaitable[T], what: str) -> T | None:
        try:
            return await access
        except Exception as error:  # whatever a cache may raise: it is not needed
            self._warn(f"The cache could not be {what}: {type(error).__name__}: {error}")
            return None

    def _warn(self, text: str) -> None:
        warnings.warn(f"{self._who} goes without its cache. {text}", CacheWarning, 2)
