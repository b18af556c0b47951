"""The bytes in the hashes of threads in Redis, past the backend."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, Final

from redis.asyncio import Redis

__all__ = ["RawRedis"]

# Records, large values, head and card; the rest names them, or waits.
_FIELDS: Final = (b"r:", b"b:", b"head", b"card")


class RawRedis:
    """Pieces are the fields of the threads' hashes.

    Args:
        url: where the server is.
        prefix: what the keys begin with.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url, self._prefix = url, prefix

    async def pieces(self) -> Mapping[str, bytes]:
        """By key and field."""
        found: dict[str, bytes] = {}
        async with aclosing(Redis.from_url(self._url)) as client:
            async for key in client.scan_iter(f"{self._prefix}:*:thread:*"):
                fields: dict[Any, Any] = await client.hgetall(key)
                for field, data in sorted(fields.items()):
                    if field.startswith(_FIELDS):
                        found[f"{key.decode()} {field.decode()}"] = data
        return found

    async def overwrite(self, name: str, data: bytes) -> None:
        """Put other bytes into a field."""
        key, field = name.split(" ")
        async with aclosing(Redis.from_url(self._url)) as client:
            await client.hset(key, field, data)
