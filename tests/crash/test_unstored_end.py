"""Scenario 22, the end of it: a run is over and cannot say so in its log."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from durable_graph import START, StateGraph
from durable_graph.errors import IntegrityError, StorageBusyError, ThreadBusyError
from durable_graph.graph import CompiledGraph
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Backend, Liveness, Process
from durable_graph.saver import Lease, Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.contention import Contender, contend, insist
from tests.crash.harness.graphs import State
from tests.crash.harness.places import file_in
from tests.crash.harness.processes import Worker
from tests.crash.harness.programs import released

THREAD: RunnableConfig = {"configurable": {"thread_id": "thread"}}


def locking(saver: Saver, path: Path, locks: list[sqlite3.Connection]) -> CompiledGraph:
    """A graph whose node locks the file from outside, the first time it runs."""

    async def lock(state: State) -> State:
        if not locks:
            db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            db.execute("BEGIN IMMEDIATE")
            locks.append(db)
        return {"log": ["lock"]}

    return StateGraph(State).add_node("lock", lock).add_edge(START, "lock").compile(saver)


def unlock(locks: list[sqlite3.Connection]) -> None:
    locks[0].execute("ROLLBACK")
    locks[0].close()


async def test_the_heart_gives_a_thread_up_once_it_can(tmp_path: Path) -> None:
    """A thread whose run could not store its end is stopped as soon as storage works again."""
    path = tmp_path / "threads.db"
    locks: list[sqlite3.Connection] = []
    async with SqliteSaver(path, busy_timeout=0.1, lease=Lease(2.0, 0.1)) as saver:
        graph = locking(saver, path, locks)
        with pytest.raises(StorageBusyError):
            await graph.ainvoke({"log": ["input"]}, THREAD)
        (before,) = [found async for found in saver.alist_threads()]
        assert before.status == "running"
        unlock(locks)
        await asyncio.wait_for(released(saver), 20)
        (after,) = [found async for found in saver.alist_threads()]
        assert (after.status, after.reason) == ("stopped", "storage")
        assert await graph.ainvoke(None, THREAD) == {"log": ["input", "lock"]}


async def test_its_own_process_can_go_on_at_once(tmp_path: Path) -> None:
    """Whoever is told to call again may do so without waiting for the heart."""
    path = tmp_path / "threads.db"
    locks: list[sqlite3.Connection] = []
    async with SqliteSaver(path, busy_timeout=0.1, lease=Lease(2000.0, 1000.0)) as saver:
        graph = locking(saver, path, locks)
        with pytest.raises(StorageBusyError):
            await graph.ainvoke({"log": ["input"]}, THREAD)
        unlock(locks)
        assert await graph.ainvoke(None, THREAD) == {"log": ["input", "lock"]}


def test_another_process_takes_over_when_the_first_is_gone(tmp_path: Path) -> None:
    """A thread that nobody could give up is taken over once its process has ended."""
    where, effects = file_in(tmp_path), tmp_path / "effects"
    owner = Contender(where, effects, held=True, busy=0.1, lease=100_000.0)
    with Worker(contend, owner, {"log": ["input"]}) as a:
        a.until("in")
        db = sqlite3.connect(where.where, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        a.tell("go on")
        assert a.end()[:2] == ("failed", "StorageBusyError")
        db.execute("ROLLBACK")
        db.close()
    with Worker(insist, Contender(where, effects), None) as b:
        assert b.end() == ("ended", {"log": ["input", "first", "held", "last"]})


async def test_a_live_run_is_never_given_up_by_another_call(tmp_path: Path) -> None:
    """Calls that are refused leave the run alone that they were refused for."""
    gate, entered = asyncio.Event(), asyncio.Event()

    async def hold(state: State) -> State:
        entered.set()
        await gate.wait()
        return {"log": ["hold"]}

    async with SqliteSaver(tmp_path / "threads.db", lease=Lease(2.0, 0.05)) as saver:
        graph = StateGraph(State).add_node("hold", hold).add_edge(START, "hold").compile(saver)
        run = asyncio.ensure_future(graph.ainvoke({"log": ["input"]}, THREAD))
        await entered.wait()
        for _ in range(20):
            with pytest.raises(ThreadBusyError):
                await graph.ainvoke(None, THREAD)
        gate.set()
        assert await run == {"log": ["input", "hold"]}


async def test_a_thread_that_cannot_be_given_up_stops_no_sign_of_life(tmp_path: Path) -> None:
    """Its owner's other threads stay its own, and the other threads left behind are given up."""
    path = tmp_path / "threads.db"
    async with SqliteSaver(path, lease=Lease(2.0, 0.05)) as saver:
        signs, released = asyncio.Event(), asyncio.Event()
        beat = saver.backend.beat

        async def noted(process: Process | None) -> Sequence[Liveness]:
            signs.set()
            return await beat(process)

        saver.backend.beat = noted  # type: ignore[method-assign]
        async with saver.running(ThreadKey("", "mine"), "run") as owner:
            for name in ("sound", "damaged"):
                log: Any = Left(ThreadKey("", name), released)
                owner.leave(log)
            async with asyncio.timeout(10):
                await signs.wait()
                await released.wait()


class Left:
    """The log of a run that could not store its end: of a damaged thread, or of a sound one."""

    def __init__(self, key: ThreadKey, released: asyncio.Event) -> None:
        self.key = key
        self.run = "run"
        self._loop = asyncio.get_running_loop()
        self._released = released

    async def release(self, backend: Backend, lease: float) -> bool:
        if self.key.thread == "damaged":
            raise IntegrityError("The head is damaged.")
        self._loop.call_soon_threadsafe(self._released.set)
        return True
