"""Results of nodes in Redis."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Self

from durable_graph.cache import BaseCache, CacheKey, CacheNamespace
from durable_graph.errors import ConfigError
from durable_graph.ports.clock import Clock, SystemClock
from durable_graph_redis.scripts import FORGET_RESULTS, KEEP_RESULTS, Argument, Call
from durable_graph_redis.sessions import Client, Sessions

__all__ = ["RedisCache"]

# How many entries one write removes at most beside its own, and how many are forgotten at once.
_SWEEP: Final = 64
_PIECE: Final = 500

_FOR_EVER: Final = float("inf")
_TIMES: Final = struct.Struct(">dd")  # made, and until when it is good


class RedisCache(BaseCache):
    """Keeps results in a Redis server or cluster, for all processes that use it.

    Nothing is asked of what the server keeps: a cache may lose anything. Work is bounded: a write
    removes some of what is over, or of the oldest if there is too much.

    Args:
        url: where it is: ``redis://``, ``rediss://`` with TLS, or ``unix://``.
        client: instead of a URL, a client of your own, which is not closed; or a function that
            makes one for each event loop, which is.
        prefix: what all keys begin with.
        max_entries: how many results to keep.
        timeout: seconds that connecting may take, and one round trip.
        clock: where time comes from.

    Raises:
        ConfigError: the arguments make no sense.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Client | None = None,
        prefix: str = "durable_graph",
        max_entries: int = 100_000,
        timeout: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        if max_entries < 1:
            raise ConfigError(f"max_entries is 1 or more, not {max_entries!r}.")
        self._sessions = Sessions(
            url,
            client,
            prefix=prefix,
            durability="everysec",
            timeout=timeout,
            allow_weaker=True,
        )
        self._max_entries = max_entries
        self._clock = clock if clock is not None else SystemClock()
        names = ("results", "ages", "ends", "names", "count")
        self._keys = [f"{prefix}:{{{prefix}:cache}}:{name}" for name in names]

    def __repr__(self) -> str:
        return f"<RedisCache {self._sessions.where}>"

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """The cache on the server that a connection string names: a URL."""
        return cls(conn_string, **options)

    async def aget(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, bytes]:
        wanted = list(keys)
        if not wanted:
            return {}
        now = self._clock.time()
        fields = [_field(key) for key in wanted]
        (values,) = await self._sessions.get([("HMGET", self._keys[0], *fields)])
        found: dict[CacheKey, bytes] = {}
        for key, value in zip(wanted, values, strict=True):
            if value is None or len(value) < _TIMES.size:
                continue
            made, until = _TIMES.unpack_from(value)
            # What was made later than now was made before the clock was set back: how old it is
            # cannot be told.
            if until == _FOR_EVER or made <= now < until:
                found[key] = value[_TIMES.size :]
        return found

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        now = self._clock.time()
        arguments: list[Argument] = [repr(now), self._max_entries, _SWEEP]
        for key, (value, ttl) in entries.items():
            until = _FOR_EVER if ttl is None else now + ttl
            arguments += (
                _field(key),
                _TIMES.pack(now, until) + value,
                "" if ttl is None else repr(until),
            )
        await self._sessions.write(Call(KEEP_RESULTS, self._keys, arguments))

    async def aclear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        beginnings = [b""] if namespaces is None else [_words(one) for one in namespaces]
        for first in beginnings:
            bounds = (b"[" + first, b"(" + first + b"\xff", _PIECE)
            while await self._sessions.write(Call(FORGET_RESULTS, self._keys, bounds)) == _PIECE:
                pass

    async def aclose(self) -> None:
        """Release the connections. Harmless if done twice; a cache that nobody closes closes
        itself."""
        await self._sessions.aclose()


def _field(key: CacheKey) -> bytes:
    namespace, name = key
    return _words(namespace) + b"\0" + name.encode()


def _words(namespace: CacheNamespace) -> bytes:
    """A namespace as bytes, with which those of all that is beneath it begin; each word ends."""
    # What follows a word's end is a one before another word, or a zero before a key.
    return b"".join(
        b"\x01" + word.encode().replace(b"\x1e", b"\x1e0").replace(b"\x1f", b"\x1e1") + b"\x1f"
        for word in namespace
    )
