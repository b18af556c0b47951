"""Scenario 23: a file that is not there, is no file, or must not be written."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from durable_graph.errors import DurableGraphError, IntegrityError, StorageError
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.files import CONFIG, nobody_calls, nobody_reads, simple
from tests.crash.harness.processes import Worker

INPUT = {"log": ["input"]}


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


async def call(path: Path) -> None:
    async with SqliteSaver(path) as saver:
        await simple(saver).ainvoke(INPUT, CONFIG)


async def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """A path that cannot be opened is told at the first call, and nothing is kept elsewhere."""
    path = tmp_path / "missing" / "threads.db"
    with pytest.raises(StorageError, match=r"missing/threads\.db.*folder exist"):
        await call(path)
    assert not path.parent.exists()
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    """A path that leads to a folder is told at the first call."""
    with pytest.raises(StorageError, match=str(tmp_path)):
        await call(tmp_path)


async def test_a_file_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """A file that is no database, or somebody else's, is refused and not changed."""
    text = tmp_path / "text"
    text.write_text("This is no database, and long enough to be taken for one. " * 100)
    with pytest.raises(IntegrityError, match="text"):
        await call(text)
    assert text.read_text().startswith("This is no database")
    other = tmp_path / "other.db"
    db = sqlite3.connect(other)
    db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(StorageError, match="something else"):
        await call(other)
    db = sqlite3.connect(other)
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    db.close()


@pytest.mark.parametrize("folder", [0o755, 0o777], ids=["in a closed folder", "in an open folder"])
def test_a_file_that_must_not_be_written_is_refused_by_name(folder: int, public: Path) -> None:
    """A call that would write says at once that it cannot, and the thread stays as it is."""
    path = public / "threads.db"
    asyncio.run(call(path))
    path.chmod(0o444)
    public.chmod(folder)
    before = path.read_bytes()
    with Worker(nobody_calls, path, INPUT) as worker:
        kind, name, text = worker.end()
    assert (kind, name) == ("failed", "StorageError")
    assert "nothing was written" in text
    assert str(path) in text
    assert path.read_bytes() == before


def test_a_file_that_must_not_be_written_can_be_read(public: Path) -> None:
    """Whoever may only read the file and its folder's siblings can look at the threads in it."""
    path = public / "threads.db"
    asyncio.run(call(path))
    path.chmod(0o444)
    public.chmod(0o777)
    with Worker(nobody_reads, path) as worker:
        assert worker.end() == ("ended", {"log": ["input", "only"]})


def test_a_folder_that_must_not_be_written_is_told(public: Path) -> None:
    """Where no file can be made, the first call says so, and none is made anywhere."""
    path = public / "threads.db"
    with Worker(nobody_calls, path, INPUT) as worker:
        kind, name, text = worker.end()
    assert (kind, name) == ("failed", "StorageError")
    assert str(path) in text
    assert not path.exists()
    assert issubclass(StorageError, DurableGraphError)
