"""Scenario 33: a run is cancelled at every storage call, and at any other moment of its commits."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durable_graph.errors import EmptyInputError
from durable_graph.graph import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite.backend import SqliteBackend
from tests.crash.harness.cancelling import Meddling, Moment
from tests.crash.harness.counts import rounds, seeded
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import GRAPHS
from tests.crash.harness.oracle import check_effects
from tests.crash.harness.storage import Storage, StorageKind, still

CONFIG: RunnableConfig = {"configurable": {"thread_id": "thread"}}
INPUT = {"log": ["input"], "count": 0, "ways": ["left", "right"]}
ENDS = {
    "chain": ["input", "a", "b", "c"],
    "fan_out": ["input", "a", "b", "c", "join"],
    "entry": ["input", "left", "right", "end"],
    "retry": ["input", "calm", "flaky", "join"],
}


async def cancelled(run: asyncio.Task[Any]) -> bool:
    """Wait for a run that was cancelled; whether it has been."""
    try:
        await run
    except asyncio.CancelledError:
        return True
    return False


async def check_cancelled(
    graph: CompiledGraph, saver: Saver, config: RunnableConfig, expected: list[str]
) -> None:
    """The status says how the thread stands, it can be gone on with, and ends as it should."""
    thread = config["configurable"]["thread_id"]
    found = {one.thread_id: one async for one in saver.alist_threads()}
    if thread in found:
        assert found[thread].status in ("stopped", "finished"), found[thread]
        if found[thread].status == "stopped":
            assert found[thread].reason == "cancelled"
    try:
        ended = await graph.ainvoke(None, config)
    except EmptyInputError:
        assert thread not in found
        ended = await graph.ainvoke(INPUT, config)
    assert ended["log"] == expected
    assert await saver.averify(thread) == []


@pytest.mark.parametrize("moment", ["before", "during", "after"])
@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_run_that_is_cancelled_at_a_storage_call_stops_in_order(
    kind: StorageKind, name: str, moment: Moment, tmp_path: Path
) -> None:
    """A write that has begun is waited for; the thread says that it was stopped, and goes on."""
    at, reached = 0, True
    while reached:
        at += 1
        assert at < 50, "it never comes through"
        folder = tmp_path / str(at)
        folder.mkdir()
        storage, effects = Storage(kind, folder), EffectFile(folder / "effects")
        handle = storage.handle()
        backend = Meddling(handle, at, moment)
        saver = still(backend, storage.clock)
        graph = GRAPHS[name](effects).compile(saver)
        run = asyncio.ensure_future(graph.ainvoke(INPUT, CONFIG))
        backend.meddle = run.cancel
        await cancelled(run)
        reached = backend.reached
        try:
            await check_cancelled(graph, saver, CONFIG, ENDS[name])
        except BaseException as error:
            error.add_note(f"Cancelled {moment} call {at} of {backend.calls}.")
            raise
        check_effects(effects.read(), [])
        await saver.aclose()


async def test_a_run_that_is_cancelled_at_any_moment_leaves_the_file_free(tmp_path: Path) -> None:
    """No transaction is left open, others can write at once, and what is read is how it stands."""
    path, effects = tmp_path / "threads.db", EffectFile(tmp_path / "effects")
    backend = SqliteBackend(path, synchronous="normal")
    saver = Saver(backend)
    for seed in rounds(200, 2000):
        with seeded(seed) as random:
            name = random.choice(["chain", "fan_out", "entry"])
            graph = GRAPHS[name](effects).compile(saver)
            config: RunnableConfig = {"configurable": {"thread_id": f"thread {seed}"}}
            run = asyncio.ensure_future(graph.ainvoke(INPUT, config))
            await turns(random, run)
            for _ in range(random.choice([1, 1, 1, 3])):
                run.cancel()
                await asyncio.sleep(0)
            await cancelled(run)
            await check_free(backend, path)
            await check_cancelled(graph, saver, config, ENDS[name])
    check_effects(effects.read(), [])
    await saver.aclose()


async def turns(random: random.Random, run: asyncio.Task[Any]) -> None:
    """Let the loop turn a random number of times; more of them where little happens."""
    for _ in range(int(2 ** random.uniform(0, 11))):
        if run.done():
            return
        await asyncio.sleep(0)


async def check_free(backend: SqliteBackend, path: Path) -> None:
    """No connection is left in a transaction, and somebody else gets the lock at once."""
    for connection in (backend._writer, backend._reader):
        # Behind a read that nobody waits for any more.
        assert not await connection.call(lambda db: db.in_transaction, writes=False)
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
