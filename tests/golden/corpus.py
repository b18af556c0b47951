"""The corpus: how it is laid out, written and read.

A folder for each format. In it: `threads.sqlite.gz`, the file that the engine wrote; and for each
thread of it `NAME.records.txt`, what the file holds of it, and `NAME.states.txt`, what is read
from it, and what it comes to if it had not ended.
"""

from __future__ import annotations

import gzip
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Final

from durable_graph.log.records import FORMAT
from tests.golden.reading import as_ended, as_read
from tests.golden.stored import as_text, threads_of
from tests.golden.stories import STORIES
from tests.golden.story import Story, telling

__all__ = [
    "FILE",
    "HERE",
    "folder_of",
    "folders",
    "records_file",
    "states",
    "states_file",
    "unpack",
    "write",
]

HERE: Final = Path(__file__).parent
FILE: Final = "threads.sqlite.gz"
"""The SQLite file; packed, since most of it is ids that come again and again."""


def folder_of(format: int = FORMAT) -> Path:
    """Where the corpus of a format is."""
    return HERE / f"format_{format}"


def folders() -> list[Path]:
    """The corpora of all formats there have been."""
    return sorted(HERE.glob("format_*"))


def records_file(folder: Path, thread: str) -> Path:
    """Where it is said what is stored of a thread."""
    return folder / f"{thread}.records.txt"


def states_file(folder: Path, thread: str) -> Path:
    """Where it is said what is read of a thread."""
    return folder / f"{thread}.states.txt"


async def write(folder: Path) -> None:
    """Tell all stories, and write down what is stored and what is read."""
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "threads.sqlite"
        for story in STORIES:
            async with telling(story, path) as told:
                await story.tell(told)
        _settle(path)
        (folder / FILE).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        for thread, things in threads_of(path).items():
            records_file(folder, thread).write_text(as_text(things), encoding="utf-8")
        for story in STORIES:
            text = await states(story, path)
            states_file(folder, story.thread).write_text(text, encoding="utf-8")


def unpack(folder: Path, into: Path) -> Path:
    """A copy of a corpus's SQLite file."""
    path = into / "threads.sqlite"
    path.write_bytes(gzip.decompress((folder / FILE).read_bytes()))
    return path


async def states(story: Story, path: Path) -> str:
    """What is read from a copy of a file, and what a thread comes to that had not ended."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, folder))
        async with telling(story, copy, seed="read") as told:
            text = await as_read(told)
        if story.end is not None:
            async with telling(story, copy, seed="ended", trouble=False) as told:
                text += await as_ended(told, await story.end(told))
        return text


def _settle(path: Path) -> None:
    """Leave nothing in the file that depends on who wrote it, and nothing beside it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM processes")
        # A process of another host and time, which has left a thread behind.
        db.execute(
            "INSERT INTO processes SELECT owner, 'a host', 4711, 1, 'a boot', 0.5, 10.0 "
            "FROM threads WHERE owner IS NOT NULL"
        )
        db.execute("VACUUM")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
