"""What a newer version has written is refused as a whole, in clear words, and left as it is."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from durable_graph import END, Command
from durable_graph.errors import UnknownTypeError
from durable_graph.log.records import FORMAT
from durable_graph.ports.rows import head_values, to_head
from durable_graph_sqlite.sql import QUERIES, migrations, schema
from tests.golden.corpus import folder_of, unpack
from tests.golden.stored import threads_of
from tests.golden.stories import STORIES, story_of
from tests.golden.story import Telling, telling

THREAD = "asking"


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A file in which a newer version has appended to a thread."""
    path = unpack(folder_of(), tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        _raise_format(db, THREAD)
    return path


@pytest_asyncio.fixture
async def told(newer: Path) -> AsyncIterator[Telling]:
    """That thread, as this version has it before it."""
    async with telling(story_of(THREAD), newer, seed="newer", trouble=False) as story:
        yield story


async def _checkpoints(story: Telling) -> list[str]:
    records = await story.saver.backend.scan(story.key, ((1, 100),))
    return [record.checkpoint for record in records if record.checkpoint is not None]


CALLS: dict[str, Callable[[Telling], Awaitable[Any]]] = {
    "read": lambda story: story.graph.aget_state(story.config()),
    "go on": lambda story: story.run(None),
    "new input": lambda story: story.run({"items": ["new"]}, on_pending="supersede"),
    "answer": lambda story: story.run(Command(resume="answer")),
    "edit": lambda story: story.edit({"last": 1}, as_node=END),
    "copy": lambda story: story.saver.acopy_thread(THREAD, "copy"),
    "prune": lambda story: story.saver.aprune([THREAD]),
}


@pytest.mark.parametrize("call", list(CALLS))
async def test_a_newer_record_is_refused(call: str, told: Telling, newer: Path) -> None:
    """No call that needs the record guesses at what it means; and none of them writes."""
    before = threads_of(newer)
    with pytest.raises(UnknownTypeError, match=rf"has format {FORMAT + 1}; .*: upgrade"):
        await CALLS[call](told)
    assert threads_of(newer) == before


async def test_a_newer_record_is_told_of(told: Telling, newer: Path) -> None:
    """A check names the record, and a list of threads shows its thread all the same."""
    before = threads_of(newer)
    (wrong,) = await told.saver.averify(THREAD)
    assert isinstance(wrong, UnknownTypeError)
    assert "upgrade" in str(wrong)
    listed = {info.thread_id async for info in told.saver.alist_threads()}
    assert listed == {story.thread for story in STORIES}
    assert threads_of(newer) == before


@pytest.mark.parametrize("thread", [THREAD, "joins"])
async def test_the_history_before_a_newer_record_is_readable(thread: str, tmp_path: Path) -> None:
    """What needs the record says so in its place; earlier checkpoints are shown as they are."""
    path = unpack(folder_of(), tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        _raise_format(db, thread)
    before = threads_of(path)
    async with telling(story_of(thread), path, seed="newer") as story:
        history = await story.history()
        assert [one.checkpoint_id for one in history] == (await _checkpoints(story))[::-1]
    shown = [one for one in history if isinstance(one.values, dict)]
    others = [one for one in history if isinstance(one.values, UnknownTypeError)]
    assert history == others + shown
    assert 1 <= len(others) <= 2  # the newer checkpoint, and the one whose results it may hold
    assert shown
    assert threads_of(path) == before


async def test_other_threads_are_as_usable_as_ever(newer: Path) -> None:
    """One thread of a newer format is no reason to refuse the file."""
    async with telling(story_of("breakpoint"), newer, seed="other") as story:
        assert (await story.run(None))["items"][-1] == "c"
        await story.saver.adelete_thread(THREAD)
        assert await story.saver.averify("breakpoint") == []
    assert threads_of(newer).keys() == {one.thread for one in STORIES} - {THREAD}


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file of a newer schema is refused, and not a byte of it is changed."""
    path = unpack(folder_of(), tmp_path)
    with closing(sqlite3.connect(path)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        db.execute(f"PRAGMA user_version = {version + 1}")
    before = path.read_bytes()
    async with telling(story_of(THREAD), path, seed="newer") as story:
        for call in CALLS.values():
            with pytest.raises(UnknownTypeError, match=f"schema version {version + 1};.*upgrade"):
                await call(story)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_schema_is_that_of_the_stored_file(tmp_path: Path) -> None:
    """Whoever changes schema.sql adds a migration, and stores a file of it here."""
    with (
        closing(sqlite3.connect(unpack(folder_of(), tmp_path))) as stored,
        closing(sqlite3.connect(":memory:")) as now,
    ):
        now.executescript(schema())
        assert _definitions(stored) == _definitions(now), (
            "schema.sql has changed, and files of the schema before it are out there: add a "
            "migration, and store the corpus anew."
        )
        assert stored.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
        assert stored.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"dgph"),)


def _definitions(db: sqlite3.Connection) -> dict[str, str]:
    rows = db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
    return {name: sql.rstrip(";") for name, sql in rows}


def _raise_format(db: sqlite3.Connection, thread: str) -> None:
    """Make the last record of a thread one of the next format, in every other way a good one."""
    head = to_head("", thread, db.execute(QUERIES["head"], ("", thread)).fetchone()[1:])
    query = "SELECT id FROM threads WHERE thread = ?"
    (row,) = db.execute(query, (thread,)).fetchone()
    (previous,) = db.execute(QUERIES["link"], (row, head.seq - 1)).fetchone()
    query = "SELECT header, digest FROM records WHERE thread_id = ? AND seq = ?"
    header, digest = db.execute(query, (row, head.seq)).fetchone()
    raised = orjson.dumps({**orjson.loads(header), "v": FORMAT + 1})
    link = hashlib.blake2b(previous + digest + raised, digest_size=32).digest()
    change = "UPDATE records SET header = ?, link = ? WHERE thread_id = ? AND seq = ?"
    db.execute(change, (raised, link, row, head.seq))
    key = ("", thread, head.seq, head.epoch, head.link)
    db.execute(QUERIES["extend"], (*head_values(replace(head, link=link)), *key)).fetchone()
