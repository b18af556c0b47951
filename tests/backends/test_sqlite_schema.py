"""What a new SQLite file is, and how its connections are set."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durable_graph.ports.rows import head_values
from durable_graph.testing.contract_kit import Log, commit, write
from durable_graph_sqlite.backend import SqliteBackend, Synchronous
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.sql import QUERIES, migrations, schema


async def test_the_schema_file_is_what_a_new_file_has(tmp_path: Path) -> None:
    """A new database consists of the statements of schema.sql, and of nothing else."""
    await _make(tmp_path / "threads.db")
    wanted = sqlite3.connect(":memory:")
    wanted.executescript(schema())
    with sqlite3.connect(tmp_path / "threads.db") as made:
        assert _definitions(made) == _definitions(wanted)
        assert made.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
        assert made.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"dgph"),)
        assert made.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    wanted.close()
    made.close()


@pytest.mark.parametrize("version", range(1, len(migrations())))
async def test_a_file_of_an_earlier_version_is_brought_up_to_date(
    tmp_path: Path, version: int
) -> None:
    """Opening a file of any earlier version applies the migrations that it lacks: it is as a new
    one, and what was in it is there."""
    path, log = tmp_path / "threads.db", Log()
    with sqlite3.connect(path) as early:
        for migration in migrations()[:version]:
            early.executescript(migration)
        early.execute(f"PRAGMA user_version = {version}")
        early.execute(f"PRAGMA application_id = {int.from_bytes(b'dgph')}")
        append = log.next(commit("c1"))
        values = (*append.head.key, *head_values(append.head))
        early.execute(QUERIES["create"], values).fetchall()
    early.close()
    backend = SqliteBackend(path)
    found = await backend.thread(log.key)
    assert found is not None
    assert found.head == append.head
    await backend.aclose()
    await _make(tmp_path / "new.db")
    with sqlite3.connect(path) as old, sqlite3.connect(tmp_path / "new.db") as new:
        assert _definitions(old) == _definitions(new)
        assert old.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
    old.close()
    new.close()


async def test_every_query_is_one_statement_of_the_schema(tmp_path: Path) -> None:
    """Each named query can be prepared against a new database, and looks nothing up twice: every
    search uses an index or a key."""
    await _make(tmp_path / "threads.db")
    db = sqlite3.connect(tmp_path / "threads.db")
    for name, query in QUERIES.items():
        count = query.count("?") if ":tenant" not in query else None
        values: Any = (None,) * count if count is not None else _named()
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}", values)]
        scans = [line for line in plan if line.startswith("SCAN")]
        assert scans == (["SCAN processes"] if name in ("processes", "forget") else []), name
    db.close()


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
async def test_settings_are_those_that_were_asked_for(
    tmp_path: Path, synchronous: Synchronous, level: int
) -> None:
    """Every connection has the level of durability that was asked for, write-ahead logging, and
    does not trust the schema."""
    backend = SqliteBackend(tmp_path / "threads.db", synchronous=synchronous)
    await write(backend, Log(), commit("c1"))
    for connection in (backend._writer, backend._reader):
        assert await _setting(connection, "synchronous") == level
        assert await _setting(connection, "journal_mode") == "wal"
        assert await _setting(connection, "trusted_schema") == 0
        assert await _setting(connection, "cell_size_check") == 1
        assert await _setting(connection, "busy_timeout") == 10_000
    await backend.aclose()


async def test_full_is_the_default(tmp_path: Path) -> None:
    """Whoever asks for nothing gets what survives a power loss."""
    backend = SqliteBackend(tmp_path / "threads.db")
    assert await _setting(backend._writer, "synchronous") == 2
    await backend.aclose()


async def test_a_weaker_setting_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The level is read back: one that did not take effect is refused, not assumed."""
    from durable_graph.errors import StorageError
    from durable_graph_sqlite import file as module

    monkeypatch.setattr(module, "_LEVELS", {"full": 2})
    backend = SqliteBackend(tmp_path / "threads.db")
    original = backend._file._write_ahead

    def weakened(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA synchronous = 1")
        original(db)

    monkeypatch.setattr(backend._file, "_write_ahead", weakened)
    with pytest.raises(StorageError, match="synchronous='full'"):
        await backend.append([Log().next(commit("c1"))])
    await backend.aclose()


async def test_closing_leaves_one_file(tmp_path: Path) -> None:
    """The last close takes the write-ahead log into the file: it can be copied as it is."""
    await _make(tmp_path / "threads.db")
    assert [entry.name for entry in tmp_path.iterdir()] == ["threads.db"]


async def _make(path: Path) -> None:
    backend = SqliteBackend(path)
    await write(backend, Log(), commit("c1"))
    await backend.aclose()


def _definitions(db: sqlite3.Connection) -> list[Any]:
    found = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
    return [(kind, name, table, sql and sql.rstrip(";")) for kind, name, table, sql in found]


def _named() -> dict[str, object]:
    names = ("tenant", "status", "owner", "expired", "since", "until", "updated", "thread")
    return dict.fromkeys(names)


async def _setting(connection: Connection, name: str) -> Any:
    def ask(db: sqlite3.Connection) -> Any:
        return db.execute(f"PRAGMA {name}").fetchone()[0]

    return await connection.call(ask, writes=False)
