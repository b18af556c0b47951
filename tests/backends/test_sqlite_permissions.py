"""Files and folders that may not be written: a named error, and never a store in memory.

Root may write everything, so where root tests, the process that tries becomes an ordinary user
first.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from durable_graph.testing.contract_kit import Log, commit, mark, write
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.kit import child

_NOBODY: Final = 65534

# Says, for reading and for writing, what came of it. A database in memory is used before the user
# changes, since the new user might not be allowed to import what is imported late.
_TRY: Final = """
import asyncio, json, os, sys, time
from durable_graph.errors import DurableGraphError
from durable_graph.testing.contract_kit import Log, commit, mark
from durable_graph_sqlite.backend import SqliteBackend

async def main(path, user):
    rehearsal = SqliteBackend(":memory:")
    await rehearsal.append([Log().next(commit("c1"))])
    await rehearsal.aclose()
    if user:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    backend = SqliteBackend(path)
    new = Log("new")
    told = {}
    for name, call in (
        ("read", lambda: backend.read(Log().key)),
        ("append", lambda: backend.append([new.next(commit("c1"))])),
        ("read new", lambda: backend.read(new.key)),
    ):
        began = time.monotonic()
        try:
            answer = await call()
        except DurableGraphError as error:
            told[name] = [type(error).__name__, str(error)]
        else:
            told[name] = [getattr(getattr(answer, "head", None), "seq", None), repr(answer)]
        assert time.monotonic() - began < 1.0, (name, told)
    await backend.aclose()
    print(json.dumps(told))

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an ordinary user can reach."""
    made = Path(tempfile.mkdtemp(prefix="durable-graph-"))
    made.chmod(0o777)
    yield made
    made.chmod(0o777)
    shutil.rmtree(made)


async def test_a_file_that_may_only_be_read_is_read(folder: Path) -> None:
    """Of a read-only file threads can be read; writing says why it cannot be done."""
    path = await _make(folder)
    path.chmod(0o444)
    before = path.read_bytes()
    told = _try_as_ordinary_user(path)
    assert told["read"][0] == 2
    _expect_storage_error(told["append"], path)
    assert told["read new"][0] is None
    assert path.read_bytes() == before


async def test_a_file_that_may_not_be_read_is_refused(folder: Path) -> None:
    """A file of somebody else's is refused by name."""
    path = await _make(folder)
    path.chmod(0o600 if os.geteuid() == 0 else 0o000)
    told = _try_as_ordinary_user(path)
    for call in ("read", "append", "read new"):
        _expect_storage_error(told[call], path)


async def test_a_folder_that_may_not_be_written_is_refused(folder: Path) -> None:
    """Where no write-ahead log can be made beside the file, nothing is written; the file itself
    being writable is not enough."""
    path = await _make(folder)
    path.chmod(0o666)
    folder.chmod(0o555)
    before = path.read_bytes()
    told = _try_as_ordinary_user(path)
    _expect_storage_error(told["append"], path)
    assert path.read_bytes() == before
    assert [entry.name for entry in folder.iterdir()] == ["threads.db"]


async def test_no_file_can_be_made_in_such_a_folder(folder: Path) -> None:
    """A new file in a folder that may not be written is refused by name."""
    folder.chmod(0o555)
    told = _try_as_ordinary_user(folder / "threads.db")
    for call in ("read", "append", "read new"):
        _expect_storage_error(told[call], folder)
    assert list(folder.iterdir()) == []


async def _make(folder: Path) -> Path:
    path = folder / "threads.db"
    backend = SqliteBackend(path)
    await write(backend, Log(), commit("c1"), mark())
    await backend.aclose()
    return path


def _try_as_ordinary_user(path: Path) -> dict[str, Any]:
    user = _NOBODY if os.geteuid() == 0 else 0
    with child(_TRY, path, user) as trying:
        told: dict[str, Any] = json.loads(trying.end())
    return told


def _expect_storage_error(told: list[str], path: Path) -> None:
    assert told[0] == "StorageError", told
    assert str(path) in told[1]
    assert "can be written by this user" in told[1]


async def test_a_new_file_is_its_owners_own(tmp_path: Path) -> None:
    """Whatever the umask, nobody else may read the file, nor those beside it."""
    path, before = tmp_path / "new.db", os.umask(0)
    try:
        backend = SqliteBackend(path)
        await backend.append([Log().next(commit("c1"))])
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        await backend.aclose()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["new.db", "new.db-wal", "new.db-shm"], 0o600)


async def test_a_files_permissions_are_left_as_they_are(tmp_path: Path) -> None:
    """Who shares a file with a group goes on doing so."""
    path = tmp_path / "shared.db"
    path.touch()
    path.chmod(0o660)
    backend = SqliteBackend(path)
    await backend.append([Log().next(commit("c1"))])
    await backend.aclose()
    assert path.stat().st_mode & 0o777 == 0o660
