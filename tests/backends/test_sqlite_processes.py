"""Many processes on one SQLite file."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from durable_graph.decisions.liveness import Process, this_process
from durable_graph.log.records import Mark
from durable_graph.log.seal import open_record
from durable_graph.ports.backend import ThreadKey
from durable_graph.testing import FakeClock
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.kit import TORTURE, child

_RACER: Final = Path(__file__).parent / "sqlite_racer.py"
_PROCESSES: Final = 8
_APPENDS: Final = 500 if TORTURE else 20


async def test_processes_share_a_file_and_a_thread(tmp_path: Path) -> None:
    """Eight processes, which open a new file at the same moment, each append to a thread of their
    own and all to one: nothing fails, nothing is lost or doubled, and every log is one chain."""
    path = tmp_path / "threads.db"
    with ExitStack() as stack:
        racers = [
            stack.enter_context(child(_RACER, path, number, _APPENDS))
            for number in range(_PROCESSES)
        ]
        for racer in racers:
            racer.expect("ready")
        for racer in racers:
            racer.tell("go")
        refused = [int(racer.end(timeout=600 if TORTURE else 50)) for racer in racers]
    assert sum(refused) > 0  # else they have not raced
    backend = SqliteBackend(path)
    for number in range(_PROCESSES):
        events = await _events(backend, ThreadKey("", f"own {number}"), 2 * _APPENDS)
        assert len(events) == _APPENDS
    events = await _events(backend, ThreadKey("", "shared"), _PROCESSES * _APPENDS)
    for number in range(_PROCESSES):
        own = [event for event in events if event.startswith(f"{number}.")]
        assert own == [f"{number}.{turn}" for turn in range(_APPENDS)]
    await backend.aclose()


async def test_processes_that_have_long_been_silent_are_forgotten(tmp_path: Path) -> None:
    """A sign of life clears away those of before this boot, and those many leases old."""
    clock = FakeClock()
    backend = SqliteBackend(tmp_path / "threads.db", clock=clock)
    here = this_process()
    short, long = Process("short", here, 1.0), Process("long", here, 100.0)
    await backend.beat(short)
    await backend.beat(long)
    await backend.beat(Process("of before", here, 100.0))
    with sqlite3.connect(tmp_path / "threads.db") as db:
        db.execute("UPDATE processes SET boot = 'another' WHERE id = 'of before'")
    db.close()
    await clock.advance(50.0)
    known = await backend.beat(long)
    assert {one.process.id for one in known} == {"short", "long"}
    await clock.advance(51.0)
    known = await backend.beat(Process("new", here, 1.0))
    assert {one.process.id: one.age for one in known} == {"long": 51.0, "new": 0.0}
    await backend.aclose()


async def _events(backend: SqliteBackend, key: ThreadKey, count: int) -> list[str]:
    """The marks of a log of so many records, each of which is checked against the chain."""
    reading = await backend.read(key)
    assert reading is not None
    records = list(await backend.scan(key, ((1, count + 10),)))
    assert [record.seq for record in records] == list(range(1, count + 1))
    assert records[-1].link == reading.head.link
    bodies = [open_record(record, reading.head.secret, key.thread)[1] for record in records]
    return [body.event for body in bodies if isinstance(body, Mark)]
