"""Readers of a SQLite file hold nobody up, and see one moment."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

from durable_graph.testing.contract_kit import Log, commit, expect_log, results, write
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.kit import counting, result_of, thread


async def test_a_paused_history_holds_no_transaction(tmp_path: Path) -> None:
    """Whoever stops in the middle of a history keeps no writer waiting, nor the write-ahead log
    from being taken into the file, and reads on afterwards where it was."""
    path = tmp_path / "threads.db"
    async with SqliteSaver(path, busy_timeout=0.1) as saver:
        graph = counting(saver, 150)
        await graph.ainvoke({"items": ["begin"]}, thread("a", 150))
        history = graph.aget_state_history(thread("a"))
        seen = [await anext(history)]
        await counting(saver, 5).ainvoke({"items": ["begin"]}, thread("b"))
        await graph.aupdate_state(thread("a"), {"items": ["more"]})
        outside = sqlite3.connect(path)
        busy, frames, moved = outside.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        outside.close()
        assert (busy, frames, moved) == (0, 0, 0)
        seen += [entry async for entry in history]
    assert [len(entry.values.get("items", ())) for entry in seen] == [*range(151, -1, -1)]


async def test_reading_does_not_wait_for_the_writer(tmp_path: Path) -> None:
    """While this process's own connection is in the middle of a write, its threads can be read:
    as they were before."""
    backend, log = SqliteBackend(tmp_path / "threads.db"), Log()
    await write(backend, log, commit("c1"))
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE threads SET seq = 99")
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(30)
        db.execute("ROLLBACK")

    writing = asyncio.ensure_future(backend._writer.call(slow, writes=True))
    await begun.wait()
    await expect_log(backend, log)
    assert not writing.done()
    go_on.set()
    await writing
    await write(backend, log, results())
    await backend.aclose()


async def test_many_readers_of_a_growing_thread_see_prefixes(tmp_path: Path) -> None:
    """States that are read while a run goes on are states that the thread had, in order."""
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = counting(saver, 60)
        running = asyncio.ensure_future(graph.ainvoke({"items": ["begin"]}, thread("a")))
        lengths = []
        async with SqliteSaver(tmp_path / "threads.db") as other:
            watching = counting(other, 60)
            while not running.done():
                values = (await watching.aget_state(thread("a"))).values
                if values:
                    count = len(values["items"])
                    assert values == result_of(count - 1)
                    lengths.append(count)
        assert await running == result_of(60)
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 2
