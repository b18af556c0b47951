"""A SQLite file that another process keeps locked: waited for, but not for ever."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from durable_graph.errors import StorageBusyError
from durable_graph.ports.backend import Outcome, Removal
from durable_graph.testing.contract_kit import (
    Log,
    commit,
    expect_log,
    mark,
    message,
    process,
    results,
    write,
)
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.kit import Child, child, counting, result_of, thread

# Holds the write lock between two lines of its input, and may hold several in turn.
_HOLDER: Final = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for line in sys.stdin:
    if line.strip() == "lock":
        db.execute(sys.argv[2])
        db.execute("UPDATE threads SET updated = updated")
    else:
        db.execute("ROLLBACK")
    print("done", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file that is fought over."""
    return tmp_path / "threads.db"


async def test_a_lock_that_stays_is_told_after_the_timeout(path: Path) -> None:
    """Each kind of write waits as long as was configured, raises `StorageBusyError`, and has
    written nothing; reading goes on meanwhile."""
    backend, log = SqliteBackend(path, busy_timeout=0.2), Log()
    await write(backend, log, commit("c1"))
    append = log.next(results())
    with _locked(path) as holder:
        for call in (
            lambda: backend.append([append]),
            lambda: backend.post(log.key, message()),
            lambda: backend.remove(log.key, Removal(everything=True)),
            lambda: backend.beat(process()),
        ):
            began = time.monotonic()
            with pytest.raises(StorageBusyError, match="busy_timeout"):
                await call()
            assert 0.15 < time.monotonic() - began < 2.0
            await expect_log(backend, log)
        assert list(await backend.beat(None)) == []
        holder.tell("unlock")
        holder.expect("done")
        assert list(await backend.append([append])) == [Outcome.APPLIED]
        log.accept(append)
    await expect_log(backend, log)
    reading = await backend.read(log.key)
    assert reading is not None
    assert list(reading.messages) == []
    await backend.aclose()


async def test_a_short_lock_is_waited_out(path: Path) -> None:
    """A write that meets a lock is done as soon as the lock is gone, and nobody hears of it."""
    backend, log = SqliteBackend(path, busy_timeout=30.0), Log()
    await write(backend, log, commit("c1"))
    with _locked(path) as holder:
        for _ in range(3):
            writing = asyncio.ensure_future(write(backend, log, results()))
            done, _ = await asyncio.wait([writing], timeout=0.02)
            assert not done
            holder.tell("unlock")
            holder.expect("done")
            await writing
            holder.tell("lock")
            holder.expect("done")
    await expect_log(backend, log)
    await backend.aclose()


async def test_a_holder_that_dies_holds_nothing(path: Path) -> None:
    """A process that is killed in the middle of a write leaves no lock and no trace."""
    backend, log = SqliteBackend(path, busy_timeout=30.0), Log()
    await write(backend, log, commit("c1"))
    with _locked(path) as holder:
        writing = asyncio.ensure_future(write(backend, log, mark()))
        done, _ = await asyncio.wait([writing], timeout=0.02)
        assert not done
        holder.process.kill()
        await writing
    await expect_log(backend, log)
    await backend.aclose()


async def test_waiting_can_be_cancelled(path: Path) -> None:
    """A call that waits for a lock can be cancelled, and what it wanted to write is stored as a
    whole or not at all."""
    backend, log = SqliteBackend(path, busy_timeout=30.0), Log()
    await write(backend, log, commit("c1"))
    append = log.next(results(), mark())
    with _locked(path) as holder:
        writing = asyncio.ensure_future(backend.append([append]))
        await asyncio.wait([writing], timeout=0.02)
        began = time.monotonic()
        writing.cancel()
        await asyncio.wait([writing])
        assert time.monotonic() - began < 1.0
        holder.tell("unlock")
        holder.expect("done")
    assert list(await backend.append([append])) == [Outcome.APPLIED]
    log.accept(append)
    await expect_log(backend, log)
    await backend.aclose()


async def test_a_run_that_meets_a_lock_can_be_called_again(path: Path) -> None:
    """A call that cannot take its thread raises `StorageBusyError`, a `TimeoutError`, and the
    same call works once the lock is gone."""
    async with SqliteSaver(path, busy_timeout=0.05) as saver:
        graph = counting(saver, 3)
        await graph.ainvoke({"items": ["begin"]}, thread("other"))
        with _locked(path):
            with pytest.raises(TimeoutError) as caught:
                await graph.ainvoke({"items": ["begin"]}, thread("a"))
            assert isinstance(caught.value, StorageBusyError)
            assert (await graph.aget_state(thread("a"))).values == {}
            assert (await graph.aget_state(thread("other"))).values == result_of(3)
        assert await graph.ainvoke({"items": ["begin"]}, thread("a")) == result_of(3)


async def test_a_lock_in_the_middle_of_a_run_stops_it(path: Path) -> None:
    """A run that meets a lock which stays ends with `StorageBusyError`; its thread is whole, and
    goes on from its last step."""
    async with SqliteSaver(path, busy_timeout=0.05) as saver:
        count = await _stop_by_lock(saver, path)
    async with SqliteSaver(path) as saver:
        state = await counting(saver, 6).aget_state(thread("a"))
        assert state.values == result_of(count - 1)
        assert await counting(saver, 6).ainvoke(None, thread("a")) == result_of(6)
        assert await saver.averify("a") == []


async def test_a_run_that_a_lock_stopped_can_be_called_again(path: Path) -> None:
    """The saver that met the lock can go on with the thread as soon as the lock is gone."""
    async with SqliteSaver(path, busy_timeout=0.05) as saver:
        await _stop_by_lock(saver, path)
        assert await counting(saver, 6).ainvoke(None, thread("a")) == result_of(6)


async def _stop_by_lock(saver: SqliteSaver, path: Path) -> int:
    """Run thread "a" into a lock; returns how many items it has then."""
    graph = counting(saver, 6)
    await graph.ainvoke({"items": ["begin"]}, thread("other"))
    stream = graph.astream({"items": ["begin"]}, thread("a"), stream_mode="updates")
    for _ in range(2):
        await anext(stream)
    with _locked(path), pytest.raises(StorageBusyError):
        async for _ in stream:
            pass
    count = len((await graph.aget_state(thread("a"))).values["items"])
    assert 3 <= count < 7
    return count


@contextmanager
def _locked(path: Path) -> Iterator[Child]:
    """Another process holds the file's write lock."""
    with child(_HOLDER, path, "BEGIN IMMEDIATE") as holder:
        holder.tell("lock")
        holder.expect("done")
        yield holder
