"""Results of nodes in a SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from durable_graph.cache import BaseCache, CacheKey, CacheNamespace
from durable_graph.errors import StorageError
from durable_graph.ports.clock import Clock, SystemClock
from durable_graph_sqlite.connection import Connection

__all__ = ["SqliteCache"]

_APPLICATION: Final = 0x64_67_63_61  # "dgca"

# How many entries one write removes at most: those that are over, and those there is no room for.
_SWEEP: Final = 64

_SEPARATOR: Final = "\x1f"


class SqliteCache(BaseCache):
    """Keeps results in a SQLite file of its own, for all processes of one host.

    The file is opened, and made if need be, on first use. It may lose the last writes in a power
    loss, and stays consistent. Work is bounded: a write removes some of what is over, or of the
    oldest if there is too much.

    Args:
        path: the file; not that of a saver.
        max_entries: how many results to keep.
        busy_timeout: seconds to wait while another process writes.
        clock: where time comes from.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_entries: int = 100_000,
        busy_timeout: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries is 1 or more, not {max_entries!r}.")
        self.path = os.fspath(path)
        self._max_entries = max_entries
        self._clock = clock if clock is not None else SystemClock()
        self._connection = Connection(self.path, self._configure, busy_timeout)

    def __repr__(self) -> str:
        return f"<SqliteCache {self.path!r}>"

    async def aget(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, bytes]:
        now, wanted = self._clock.time(), list(keys)

        def read(db: sqlite3.Connection) -> dict[CacheKey, bytes]:
            found: dict[CacheKey, bytes] = {}
            for key in wanted:
                # What was made later than now was made before the clock was set back: how old it
                # is cannot be told.
                row = db.execute(
                    "SELECT value FROM entries WHERE namespace = ? AND key = ?"
                    " AND (until IS NULL OR (until > ? AND made <= ?))",
                    (_text(key[0]), key[1], now, now),
                ).fetchone()
                if row is not None:
                    found[key] = row[0]
            return found

        return await self._connection.call(read, writes=False)

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        now, most = self._clock.time(), self._max_entries
        rows = [
            (_text(namespace), key, value, now, None if ttl is None else now + ttl)
            for (namespace, key), (value, ttl) in entries.items()
        ]

        def write(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            # A new row for what was there: so ids stand in the order of age.
            db.executemany(
                "DELETE FROM entries WHERE namespace = ? AND key = ?",
                [row[:2] for row in rows],
            )
            db.executemany(
                "INSERT INTO entries (namespace, key, value, made, until) VALUES (?, ?, ?, ?, ?)",
                rows,
            )
            db.execute(
                "DELETE FROM entries WHERE id IN"
                " (SELECT id FROM entries WHERE until <= ? ORDER BY until LIMIT ?)",
                (now, _SWEEP),
            )
            # Ids have gaps, so this counts at least as many as there are.
            db.execute(
                "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE id <="
                " (SELECT max(id) FROM entries) - ? ORDER BY id LIMIT ?)",
                (most, _SWEEP + len(rows)),
            )
            db.execute("COMMIT")

        await self._connection.call(write, writes=True)

    async def aclear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        texts = None if namespaces is None else [_text(one) for one in namespaces]

        def clear(db: sqlite3.Connection) -> None:
            db.execute("BEGIN IMMEDIATE")
            if texts is None:
                db.execute("DELETE FROM entries")
            else:
                db.executemany(
                    "DELETE FROM entries WHERE substr(namespace, 1, length(?1)) = ?1",
                    [(text,) for text in texts],
                )
            db.execute("COMMIT")

        await self._connection.call(clear, writes=True)

    async def aclose(self) -> None:
        """Close the file. Harmless if done twice; a cache that nobody closes closes itself."""
        await self._connection.close()

    def _configure(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN")  # one look: another process may be making the file
        (application,) = db.execute("PRAGMA application_id").fetchone()
        in_use = application or db.execute("SELECT 1 FROM sqlite_schema").fetchone()
        db.execute("COMMIT")
        if application != _APPLICATION:
            if in_use:
                raise StorageError(
                    f"{self.path} is a SQLite file of something else. Give the cache its own."
                )
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            db.execute(
                "CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY AUTOINCREMENT,"
                " namespace TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,"
                " made REAL NOT NULL, until REAL, UNIQUE (namespace, key))"
            )
            db.execute("CREATE INDEX IF NOT EXISTS entries_by_end ON entries (until)")
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
            db.execute("COMMIT")
        db.execute("PRAGMA synchronous = NORMAL")


def _text(namespace: CacheNamespace) -> str:
    """A namespace as one text, of which those beneath it begin with it; each part ends."""
    return "".join(
        part.replace("\x1e", "\x1e0").replace(_SEPARATOR, "\x1e1") + _SEPARATOR
        for part in namespace
    )
