"""Opening a SQLite file: what can be used is used, and anything else is refused untouched."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiosqlite
import pytest

from durable_graph import open_saver
from durable_graph.errors import (
    ConfigError,
    DurableGraphError,
    IntegrityError,
    StorageError,
    UnknownTypeError,
)
from durable_graph.ports.backend import ThreadKey
from durable_graph.testing.contract_kit import Log, commit, expect_log, mark, write
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.backend import SqliteBackend
from durable_graph_sqlite.sql import migrations
from tests.backends.kit import counting, result_of, thread

KEY = ThreadKey("", "thread")


async def test_a_missing_folder_is_named_and_not_made(tmp_path: Path) -> None:
    """A file in a folder that does not exist is refused, on reading and on writing alike."""
    path = tmp_path / "missing" / "threads.db"
    await _expect_refused(path, StorageError, match=str(path))
    assert list(tmp_path.iterdir()) == []


async def test_a_saver_recovers_once_its_folder_is_there(tmp_path: Path) -> None:
    """A file that could not be opened is tried again by the next call of the same saver."""
    path = tmp_path / "later" / "threads.db"
    async with SqliteSaver(path) as saver:
        graph = counting(saver, 2)
        with pytest.raises(StorageError):
            await graph.ainvoke({"items": ["begin"]}, thread("a"))
        path.parent.mkdir()
        assert await graph.ainvoke({"items": ["begin"]}, thread("a")) == result_of(2)


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """A path that names a folder is refused, and the folder stays as it is."""
    await _expect_refused(tmp_path, StorageError, match=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


async def test_an_empty_path_is_no_file() -> None:
    """SQLite would take an empty path for a temporary database, which nobody wants."""
    await _expect_refused(Path(), StorageError)
    backend = SqliteBackend("")
    with pytest.raises(StorageError):
        await backend.read(KEY)
    await backend.aclose()


@pytest.mark.parametrize(
    "content",
    [b"some notes of mine\n" * 500, bytes(8192), b"SQLite format 3\0" + b"\xff" * 5000, b"xy"],
    ids=["text", "zeros", "header and garbage", "two bytes"],
)
async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file that SQLite cannot read is refused, and not a byte of it is changed."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    await _expect_refused(path, (IntegrityError, StorageError), match=str(path))
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["notes.txt"]


async def test_an_empty_file_is_taken_for_a_new_one(tmp_path: Path) -> None:
    """An empty file, as `mktemp` makes it, becomes a database."""
    path = tmp_path / "threads.db"
    path.touch()
    await _expect_usable(path)


def _foreign(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE users (name TEXT)")


def _foreign_with_version(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE users (name TEXT)")
    db.execute("PRAGMA user_version = 1")


def _foreign_with_our_names(db: sqlite3.Connection) -> None:
    for name in ("threads", "records", "blobs", "messages", "processes"):
        db.execute(f"CREATE TABLE {name} (name TEXT)")
    db.execute("PRAGMA user_version = 1")


def _foreign_without_tables(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA application_id = 12345")


@pytest.mark.parametrize(
    "make", [_foreign, _foreign_with_version, _foreign_with_our_names, _foreign_without_tables]
)
async def test_a_database_of_something_else_is_refused(
    tmp_path: Path, make: Callable[[sqlite3.Connection], None]
) -> None:
    """A SQLite file that another program made is refused, and stays as it is: journal mode too."""
    path = tmp_path / "other.db"
    _change(path, make)
    before = path.read_bytes()
    await _expect_refused(path, StorageError, match="something else")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["other.db"]


async def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    """A file that a newer version has written is refused, and stays as it is."""
    path = tmp_path / "threads.db"
    log = await _expect_usable(path)
    _change(path, lambda db: db.execute("PRAGMA user_version = 99"))
    before = path.read_bytes()
    await _expect_refused(path, UnknownTypeError, match=r"version 99.*reads up to \d+.*upgrade")
    assert path.read_bytes() == before
    known = len(migrations())
    _change(path, lambda db: db.execute(f"PRAGMA user_version = {known}"))
    backend = SqliteBackend(path)
    await expect_log(backend, log)
    await backend.aclose()


async def test_a_file_system_without_shared_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the write-ahead log cannot be used, the promise cannot be kept: refused, unless less
    is asked for."""
    connect = aiosqlite.connect

    def on_such_a_file_system(path: str, **options: Any) -> aiosqlite.Connection:
        return connect(f"file:{path}?vfs=unix-dotfile", uri=True, **options)

    monkeypatch.setattr(aiosqlite, "connect", on_such_a_file_system)
    path = tmp_path / "threads.db"
    await _expect_refused(path, StorageError, match=r"synchronous='full'.*allow_weaker=True")
    backend = SqliteBackend(path, allow_weaker=True)
    log = Log()
    await write(backend, log, commit("c1"))
    await expect_log(backend, log)
    await backend.aclose()


async def test_a_relative_path_means_what_it_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is that of the moment when the saver was made, wherever the process goes."""
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    monkeypatch.chdir(tmp_path / "first")
    backend = SqliteBackend("threads.db")
    log = Log()
    await write(backend, log, commit("c1"))  # opens the writer's connection
    monkeypatch.chdir(tmp_path / "second")
    await expect_log(backend, log)  # and this the reader's
    await backend.aclose()
    assert list((tmp_path / "second").iterdir()) == []
    assert (tmp_path / "first" / "threads.db").exists()


async def test_odd_file_names_are_names(tmp_path: Path) -> None:
    """Nothing in a file's name is taken for a URL, a parameter or SQL."""
    for name in ("file:x?mode=memory", "a b.db", "ä'\".db", "#1?.db", "%41.db", "-journal"):
        await _expect_usable(tmp_path / name)
        assert (tmp_path / name).is_file()


async def test_a_database_in_memory_has_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two savers in memory share nothing, promise no durability, and leave no file."""
    monkeypatch.chdir(tmp_path)
    first, second = SqliteBackend(":memory:"), SqliteBackend(":memory:")
    log = Log()
    await write(first, log, commit("c1"))
    await expect_log(first, log)
    assert await second.read(log.key) is None
    assert not first.capabilities.durable
    assert not first.capabilities.shared
    await first.aclose()
    await second.aclose()
    assert list(tmp_path.iterdir()) == []


async def test_a_url_names_a_file(tmp_path: Path) -> None:
    """`open_saver` takes a URL, with everything in it that a file's name may hold."""
    async with open_saver(f"sqlite:///{tmp_path}/a%20b.db", synchronous="normal") as saver:
        assert await counting(saver, 1).ainvoke({"items": ["begin"]}, thread("a")) == result_of(1)
    assert (tmp_path / "a b.db").is_file()
    for url in ("sqlite://", "sqlite://host/file", "sqlite:///"):
        with pytest.raises(ConfigError, match="names no file"):
            open_saver(url)


def test_an_unknown_level_is_refused() -> None:
    """`synchronous` is one of two words."""
    with pytest.raises(ConfigError, match="'off'"):
        SqliteBackend("threads.db", synchronous="off")  # type: ignore[arg-type]


def test_a_file_is_named_by_its_path() -> None:
    """Who gives a connection, as to LangGraph's saver, is told so."""
    wrong: Any = sqlite3.connect(":memory:")
    wrong.close()
    with pytest.raises(ConfigError, match="named by its path, not by a Connection"):
        SqliteSaver(wrong)


async def _expect_refused(
    path: Path,
    error: type[DurableGraphError] | tuple[type[DurableGraphError], ...],
    *,
    match: str | None = None,
) -> None:
    for _ in range(2):
        backend = SqliteBackend(path)
        with pytest.raises(error, match=match):
            await backend.read(KEY)
        with pytest.raises(error, match=match):
            await backend.append([Log().next(commit("c1"))])
        await backend.aclose()


async def _expect_usable(path: Path) -> Log:
    log = Log()
    backend = SqliteBackend(path)
    await write(backend, log, commit("c1"), mark())
    await backend.aclose()
    backend = SqliteBackend(path)
    await expect_log(backend, log)
    await backend.aclose()
    return log


def _change(path: Path, change: Callable[[sqlite3.Connection], object]) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    change(db)
    db.close()
