"""Scenario 32: several processes write to one file, and somebody else locks it."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from durable_graph.errors import StorageBusyError
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.counts import TORTURE, rounds
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.files import CONFIG, opens, simple
from tests.crash.harness.oracle import check_effects, check_file
from tests.crash.harness.places import file_in
from tests.crash.harness.processes import LIMIT, Worker, working
from tests.crash.harness.swarm import STEPS, swarm, thread_names

PROCESSES = 8
RUNS = 50 if TORTURE else 8


def lock(path: Path) -> sqlite3.Connection:
    """Hold the file's lock, as another program may."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    return db


def until_others_wrote(db: sqlite3.Connection, workers: Sequence[Worker]) -> None:
    """Wait until as many transactions as there are workers were committed, or all have ended.

    Who locks again at once starves those who look only now and then whether the lock is free:
    to them it would be one lock, longer than they are to wait.
    """
    deadline = time.monotonic() + LIMIT

    def version() -> object:
        return db.execute("PRAGMA data_version").fetchone()

    seen = version()
    for _ in workers:
        while (now := version()) == seen:
            if all(worker.poll(0.001) for worker in workers):
                return
            assert time.monotonic() < deadline, "Nobody gets on."
        seen = now


def make(path: Path) -> None:
    async def opened() -> None:
        async with SqliteSaver(path) as saver:
            assert [found async for found in saver.alist_threads()] == []

    asyncio.run(opened())


def go(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.until("ready")
    for worker in workers:
        worker.tell("go")


def test_many_processes_share_a_file_with_one_that_locks_it(tmp_path: Path) -> None:
    """Every run of every process ends well; no "locked" reaches a caller, no step is done twice."""
    path, effects = tmp_path / "threads.db", EffectFile(tmp_path / "effects")
    make(path)
    jobs = [
        Worker(swarm, file_in(tmp_path), effects.path, process, RUNS)
        for process in range(PROCESSES)
    ]
    with working(*jobs) as workers:
        go(workers)
        db = sqlite3.connect(path, isolation_level=None, timeout=20.0)
        for seed in rounds(5, 50):
            db.execute("BEGIN IMMEDIATE")
            # While it is locked, nobody gets on; so there is nothing else to wait for.
            longest = 10.0 if seed % 10 == 9 else 0.15
            workers[seed % PROCESSES].poll(random.Random(seed).uniform(0.02, longest))
            db.execute("ROLLBACK")
            until_others_wrote(db, workers)
        db.close()
        assert [worker.end() for worker in workers] == [("ended", RUNS)] * PROCESSES
    ran = [effect for effect in effects.read() if effect.what == "start"]
    assert len(ran) == PROCESSES * RUNS * (STEPS + 1)
    check_effects(effects.read(), [])
    check_file(path)

    async def verify() -> None:
        async with SqliteSaver(path) as saver:
            listed = [found.thread_id async for found in saver.alist_threads()]
            names = [name for process in range(PROCESSES) for name in thread_names(process, RUNS)]
            assert sorted(listed) == sorted(names)
            for name in names:
                assert await saver.averify(name) == []

    asyncio.run(verify())


async def test_a_lock_that_lasts_too_long_is_told_and_can_be_tried_again(tmp_path: Path) -> None:
    """The wait is bounded; nothing was written; once the lock is gone the same call works."""
    path = tmp_path / "threads.db"
    async with SqliteSaver(path, busy_timeout=0.2) as saver:
        graph = simple(saver)
        assert [found async for found in saver.alist_threads()] == []
        db = lock(path)
        with pytest.raises(StorageBusyError, match="nothing was written"):
            await asyncio.wait_for(graph.ainvoke({"log": ["input"]}, CONFIG), 10)
        assert (await graph.aget_state(CONFIG)).values == {}
        db.execute("ROLLBACK")
        db.close()
        assert await graph.ainvoke({"log": ["input"]}, CONFIG) == {"log": ["input", "only"]}


async def test_a_file_that_others_are_just_making_is_waited_for(tmp_path: Path) -> None:
    """Whoever opens a new file while another writes to it waits, as for any other lock."""
    path = tmp_path / "threads.db"
    db = lock(path)
    async with SqliteSaver(path) as saver:
        call = asyncio.ensure_future(simple(saver).ainvoke({"log": ["input"]}, CONFIG))
        await asyncio.wait([call], timeout=0.3)  # long enough for it to come upon the lock
        db.execute("ROLLBACK")
        db.close()
        assert await call == {"log": ["input", "only"]}


def test_many_processes_make_a_file_at_once(tmp_path: Path) -> None:
    """However many open a new file at the same moment, each finds it made."""
    for seed in rounds(25, 500):
        path = tmp_path / f"{seed}.db"
        with working(*(Worker(opens, path) for _ in range(4))) as workers:
            go(workers)
            assert [worker.end() for worker in workers] == [("ended", {})] * 4
