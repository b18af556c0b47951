"""Items of a store in a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from durable_graph.errors import IntegrityError
from durable_graph.ports.items import (
    Entry,
    ItemsCapabilities,
    Namespace,
    Place,
    Write,
    beneath,
    checksum,
    damaged,
    from_bytes,
    pack_vectors,
    to_bytes,
    unpack_vectors,
)
from durable_graph_sqlite.file import DatabaseFile
from durable_graph_sqlite.sql import ITEM_QUERIES

__all__ = ["SqliteItems", "refused_items", "write_items"]

# How many expired items a write removes beside its own.
_SWEEP: Final = 8


class SqliteItems:
    """Entries in a table.

    Args:
        file: the file; closed with it.
    """

    def __init__(self, file: DatabaseFile) -> None:
        self.file = file
        self.capabilities = ItemsCapabilities(durable=not file.in_memory, shared=not file.in_memory)

    async def fetch(self, places: Sequence[Place], now: float) -> Sequence[Entry | None]:
        def work(db: sqlite3.Connection) -> list[Entry | None]:
            rows = (
                db.execute(ITEM_QUERIES["fetch"], {**_key(place), "now": now}).fetchone()
                for place in places
            )
            return [None if row is None else _to_entry(row) for row in rows]

        return await self.file.look(work)

    async def scan(
        self,
        prefix: Namespace,
        now: float,
        *,
        limit: int,
        after: Entry | None = None,
        vectors: bool = False,
    ) -> Sequence[Entry]:
        first, end = beneath(prefix)
        bounds = {
            "first": first,
            "end": end,
            "now": now,
            "limit": limit,
            "version": None if after is None else after.version,
            "namespace": None if after is None else to_bytes(after.namespace),
            "key": None if after is None else after.key,
        }
        query = ITEM_QUERIES["scan_vectors" if vectors else "scan"]

        def work(db: sqlite3.Connection) -> list[Entry]:
            # Whole: a cursor that an error keeps open would show what there was then ever after.
            return [_to_entry(row) for row in db.execute(query, bounds).fetchall()]

        return await self.file.look(work)

    async def namespaces(
        self, prefix: Namespace, now: float, *, limit: int, after: Namespace | None = None
    ) -> Sequence[Namespace]:
        first, end = beneath(prefix)
        # Nothing is between a name and the same without its last zero byte.
        last = first[:-1] if after is None else to_bytes(after)

        def work(db: sqlite3.Connection) -> list[Namespace]:
            # From one to the next, over however many items lie between them.
            found: list[Namespace] = []
            at = last
            while len(found) < limit:
                bounds = {"after": at, "end": end, "now": now}
                row = db.execute(ITEM_QUERIES["namespace"], bounds).fetchone()
                if row is None:
                    break
                (at,) = row
                found.append(from_bytes(at))
            return found

        return await self.file.look(work)

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        def work(db: sqlite3.Connection) -> Sequence[Place]:
            db.execute("BEGIN IMMEDIATE")
            refused = refused_items(db, writes, now)
            if not refused:
                write_items(db, writes, now)
            db.execute("COMMIT")
            return refused

        return await self.file.writer.call(work, writes=True)

    async def prolong(self, entries: Sequence[tuple[Entry, float]], now: float) -> None:
        rows = [
            {**_key(entry.place), "version": entry.version, "expires": until, "now": now}
            for entry, until in entries
        ]

        def work(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(ITEM_QUERIES["prolong"], rows)
            db.execute("COMMIT")

        await self.file.writer.call(work, writes=True)

    async def sweep(self, now: float, *, limit: int) -> int:
        def work(db: sqlite3.Connection) -> int:
            db.execute("BEGIN IMMEDIATE")
            swept = db.execute(ITEM_QUERIES["sweep"], {"now": now, "limit": limit}).rowcount
            db.execute("COMMIT")
            return swept

        return await self.file.writer.call(work, writes=True)

    async def aclose(self) -> None:
        await self.file.close()


def refused_items(db: sqlite3.Connection, writes: Sequence[Write], now: float) -> Sequence[Place]:
    """Where a condition does not hold, as the transaction that is open sees it."""
    return [write.place for write in writes if not write.allows(_past(db, write.place, now))]


def write_items(db: sqlite3.Connection, writes: Sequence[Write], now: float) -> None:
    """Write all of these in the transaction that is open."""
    for write in writes:
        entry = write.over(_past(db, write.place, now))
        if entry is None:
            db.execute(ITEM_QUERIES["drop"], _key(write.place))
        else:
            db.execute(ITEM_QUERIES["put"], _row(entry))
    db.execute(ITEM_QUERIES["sweep"], {"now": now, "limit": len(writes) + _SWEEP})


def _past(db: sqlite3.Connection, place: Place, now: float) -> Entry | None:
    row = db.execute(ITEM_QUERIES["past"], {**_key(place), "now": now}).fetchone()
    if row is None:
        return None
    version, created = row
    return Entry(*place, b"", version, created, created)


def _key(place: Place) -> dict[str, Any]:
    namespace, key = place
    return {"namespace": to_bytes(namespace), "key": key}


def _row(entry: Entry) -> dict[str, Any]:
    return {
        **_key(entry.place),
        "version": entry.version,
        "created": entry.created,
        "updated": entry.updated,
        "ttl": entry.ttl,
        "expires": entry.expires,
        "checksum": checksum(entry),
        "value": entry.value,
        "vectors": pack_vectors(entry.vectors),
    }


def _to_entry(row: Sequence[Any]) -> Entry:
    stored, key, version, created, updated, ttl, expires, crc, value, vectors = row
    namespace = from_bytes(stored)
    try:
        entry = Entry(
            namespace,
            key,
            value,
            version,
            created,
            updated,
            ttl,
            expires,
            unpack_vectors(vectors),
        )
        if checksum(entry) == crc:
            return entry
    except (AttributeError, TypeError, ValueError, IntegrityError):
        pass  # a column of another type than was stored, or vectors that are none
    raise damaged(namespace, key, version)
