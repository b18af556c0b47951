"""Items of a store in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from durable_graph.ports.items import (
    Entry,
    ItemsCapabilities,
    Namespace,
    Near,
    Place,
    Write,
    beneath,
    from_bytes,
    pack_vectors,
    to_bytes,
)
from durable_graph_postgres.item_rows import item_checksum, to_item
from durable_graph_postgres.ranking import Ranker

if TYPE_CHECKING:
    from durable_graph_postgres.backend import PostgresBackend

__all__ = ["PostgresItems", "put_arguments"]

# How many expired items a write removes beside its own.
_SWEEP: Final = 8

# Each item that is written has a lock of its own until the end of the transaction, and the server
# has room for some thousands.
_MOST: Final = 1000


class PostgresItems:
    """Entries in a table beside those of a backend.

    Args:
        backend: has the connections; closed with it.
    """

    capabilities = ItemsCapabilities(durable=True, shared=True, most_writes=_MOST, ranks=True)

    def __init__(self, backend: PostgresBackend) -> None:
        self.backend = backend
        self._ranker = Ranker(backend)

    async def fetch(self, places: Sequence[Place], now: float) -> Sequence[Entry | None]:
        rows = await self.backend.fetch("fetch_items", *_columns(places), now)
        found = {entry.place: entry for entry in map(to_item, rows)}
        return [found.get(place) for place in places]

    async def scan(
        self,
        prefix: Namespace,
        now: float,
        *,
        limit: int,
        after: Entry | None = None,
        vectors: bool = False,
    ) -> Sequence[Entry]:
        last = (
            (None, None, None)
            if after is None
            else (after.version, to_bytes(after.namespace), after.key)
        )
        rows = await self.backend.fetch("scan_items", *beneath(prefix), now, *last, limit, vectors)
        return [to_item(row) for row in rows]

    async def nearest(
        self,
        prefix: Namespace,
        query: bytes,
        now: float,
        *,
        limit: int,
        after: Near | None = None,
    ) -> Sequence[Near] | None:
        return await self._ranker.nearest(prefix, query, now, limit=limit, after=after)

    async def namespaces(
        self, prefix: Namespace, now: float, *, limit: int, after: Namespace | None = None
    ) -> Sequence[Namespace]:
        first, end = beneath(prefix)
        # Nothing is between a name and the same without its last zero byte.
        last = first[:-1] if after is None else to_bytes(after)
        rows = await self.backend.fetch("item_namespaces", last, end, now, limit)
        return [from_bytes(namespace) for (namespace,) in rows]

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        arguments = put_arguments(writes, now, self.backend.patience)
        ((refused,),) = await self.backend.fetch("put_items", *arguments, writes=True)
        return [writes[number - 1].place for number in refused]

    async def prolong(self, entries: Sequence[tuple[Entry, float]], now: float) -> None:
        versions = [entry.version for entry, _ in entries]
        ends = [until for _, until in entries]
        places = _columns([entry.place for entry, _ in entries])
        await self.backend.fetch("prolong_items", *places, versions, ends, now, writes=True)

    async def sweep(self, now: float, *, limit: int) -> int:
        ((swept,),) = await self.backend.fetch("sweep_items", now, limit, writes=True)
        return int(swept)

    async def aclose(self) -> None:
        await self.backend.aclose()


def put_arguments(writes: Sequence[Write], now: float, patience: str) -> list[Any]:
    """What the server's function for putting items takes."""
    entries = [write.entry for write in writes]
    return [
        patience,
        now,
        *_columns([write.place for write in writes]),
        [write.expects for write in writes],
        [write.fresh for write in writes],
        [entry and entry.version for entry in entries],
        [entry and entry.created for entry in entries],
        [entry and entry.updated for entry in entries],
        [entry and entry.ttl for entry in entries],
        [entry and entry.expires for entry in entries],
        [entry and item_checksum(entry) for entry in entries],
        [entry and entry.value for entry in entries],
        [entry and pack_vectors(entry.vectors) for entry in entries],
        len(writes) + _SWEEP,
    ]


def _columns(places: Sequence[Place]) -> tuple[list[bytes], list[str]]:
    return [to_bytes(namespace) for namespace, _ in places], [key for _, key in places]
