"""Cancelling whatever waits for SQLite: no transaction stays open, and nothing is half written."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from durable_graph.ports.backend import Outcome
from durable_graph.testing.contract_kit import (
    Log,
    commit,
    expect_log,
    mark,
    message,
    results,
    write,
)
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.backend import SqliteBackend
from durable_graph_sqlite.connection import Connection
from tests.backends.kit import TORTURE, counting, result_of, thread

_ROUNDS = 2000 if TORTURE else 200


@pytest.mark.timeout(1200 if TORTURE else 60)
async def test_a_commit_can_be_cancelled_anywhere(tmp_path: Path) -> None:
    """Wherever a commit is cancelled, no transaction stays open, another process's write goes
    through at once, and the commit is there as a whole or not at all."""
    chance = random.Random(17)
    path = tmp_path / "threads.db"
    backend = SqliteBackend(path)
    log, other = Log(), Log("other")
    await write(backend, log, commit("c1"))
    await write(backend, other, commit("c1"))
    outside = sqlite3.connect(path, timeout=0.1, isolation_level=None)
    stored = 0
    for number in range(_ROUNDS):
        await backend.post(log.key, message(f"m{number}"))
        append = log.next(
            results(b"x" * chance.randrange(5000)),
            *(mark() for _ in range(chance.randrange(5))),
            blobs={f"d{number}": b"y" * chance.randrange(20_000)},
            settled={f"m{number}": "v"},
        )
        batch = [append, other.next(results())]
        task = asyncio.ensure_future(backend.append(batch))
        # Half of the time while SQLite works on it, which is in its own thread.
        for _ in range(chance.randrange(60)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        # Behind the cancelled work in the same thread.
        assert not await _in_transaction(backend._writer)
        assert not await _in_transaction(backend._reader)
        outside.execute("BEGIN IMMEDIATE")
        outside.execute("ROLLBACK")
        reading = await backend.read(log.key)
        assert reading is not None
        there = reading.head == append.head
        found = await backend.blobs(log.key, [f"d{number}"])
        verdict = (await backend.post(log.key, message(f"m{number}"))).verdict
        if there:
            stored += 1
            for each, applied in zip((log, other), batch, strict=True):
                each.accept(applied)
            assert (dict(found), verdict) == (dict(append.blobs), "v")
        else:
            assert task.cancelled()
            assert (dict(found), verdict) == ({}, None)
            await write(backend, log, mark(), settled={f"m{number}": ""})
        if number % 50 == 0:
            await expect_log(backend, log)
            await expect_log(backend, other)
    await expect_log(backend, log)
    await expect_log(backend, other)
    # With cancelling before it began, half way and too late, both ends have been seen.
    assert _ROUNDS / 10 < stored <= _ROUNDS
    outside.close()
    await backend.aclose()


async def test_what_was_cancelled_can_be_asked_for_again(tmp_path: Path) -> None:
    """After a cancelled append the very same one is answered as applied, and is there once."""
    backend, log = SqliteBackend(tmp_path / "threads.db"), Log()
    await write(backend, log, commit("c1"))
    for turns in range(60):
        append = log.next(results(), mark())
        task = asyncio.ensure_future(backend.append([append]))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        assert list(await backend.append([append])) == [Outcome.APPLIED]
        log.accept(append)
    await expect_log(backend, log)
    await backend.aclose()


@pytest.mark.timeout(1200 if TORTURE else 60)
async def test_a_run_can_be_cancelled_anywhere(tmp_path: Path) -> None:
    """Wherever a run on a file is cancelled, its thread is whole, and called again it comes to
    the end of an undisturbed one."""
    chance = random.Random(4)
    async with SqliteSaver(tmp_path / "threads.db", synchronous="normal") as saver:
        graph = counting(saver, 8)
        cut = 0
        for number in range(_ROUNDS // 4):
            config = thread(f"thread {number}")
            running = asyncio.ensure_future(graph.ainvoke({"items": ["begin"]}, config))
            for _ in range(chance.randrange(400)):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.wait([running])
            cut += running.cancelled()
            for connection in (saver.backend._writer, saver.backend._reader):  # type: ignore[attr-defined]
                assert not await _in_transaction(connection)
            state = await graph.aget_state(config)
            if state.values:
                assert state.values == result_of(len(state.values["items"]) - 1)
                assert await saver.averify(f"thread {number}") == []
            again = None if state.values and state.next else {"items": ["begin"]}
            if not running.cancelled():
                continue
            if not state.values or state.next:
                assert await graph.ainvoke(again, config) == result_of(8)
        assert cut > _ROUNDS // 16


async def _in_transaction(connection: Connection) -> bool:
    return await connection.call(lambda db: db.in_transaction, writes=False)
