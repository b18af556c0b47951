"""Scenario 2, the rest of it: what runs do not call, and that no storage call is left out."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from durable_graph import START, Command, Runtime, StateGraph
from durable_graph.errors import EmptyInputError, ThreadBusyError
from durable_graph.graph import CompiledGraph
from durable_graph.ports.backend import Backend, Position, ThreadKey, Transactional
from durable_graph.saver import Lease, Saver
from durable_graph.testing.crash import CrashingBackend, When
from durable_graph.types import RunnableConfig
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import GRAPHS, State, asking, node
from tests.crash.harness.oracle import check_effects
from tests.crash.harness.round import Round
from tests.crash.harness.scripts import SCRIPTS
from tests.crash.harness.storage import Storage, StorageKind, still, survives

KINDS: tuple[StorageKind, ...] = ("memory", "sqlite")
CONFIG: RunnableConfig = {"configurable": {"thread_id": "thread"}}
COPY: RunnableConfig = {"configurable": {"thread_id": "copy"}}


def storage_calls() -> set[str]:
    """The calls that a backend takes."""
    return {name for name, _ in inspect.getmembers(Transactional, inspect.iscoroutinefunction)}


def graph_on(saver: Saver, folder: Path) -> CompiledGraph:
    return GRAPHS["large"](EffectFile(folder / "effects")).compile(saver)


async def keep_house(saver: Saver, folder: Path) -> None:
    """Run a thread, copy it, go on with the copy, tag and prune it, and delete the original."""
    graph = graph_on(saver, folder)
    try:
        await graph.ainvoke(None, COPY)
    except EmptyInputError:
        try:
            await graph.ainvoke(None, CONFIG)
        except EmptyInputError:
            await graph.ainvoke({"log": ["input"]}, CONFIG)
        await saver.acopy_thread("thread", "copy")
    await saver.threads.tag("copy", "kept")
    await saver.aprune(["copy"])
    assert [found.thread_id async for found in saver.alist_threads()][-1:]
    await saver.adelete_thread("thread")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_any_storage_call_of_keeping_house_changes_nothing(
    kind: StorageKind, tmp_path: Path
) -> None:
    """Copying, pruning and deleting happen as a whole or not at all, and can be called again."""
    for when in ("before", "after"):
        at, crashed = 0, True
        while crashed:
            at += 1
            assert at < 100, "it never comes through"
            folder = tmp_path / f"{when}-{at}"
            folder.mkdir()
            storage = Storage(kind, folder)
            async with storage.life(at, when) as (saver, dying):
                await keep_house(saver, folder)
            crashed = dying.crashed
            async with storage.life() as (saver, _):
                await keep_house(saver, folder)
                graph = graph_on(saver, folder)
                assert [found.thread_id async for found in saver.alist_threads()] == ["copy"]
                assert await saver.averify("copy") == []
                state = await graph.aget_state(COPY)
                assert state.values["log"] == ["input", "write", "read 100000"]
                assert len(state.values["text"]) == 100_000
                assert state.next == ()
                assert [one async for one in graph.aget_state_history(CONFIG)] == []
            storage.check()


class Waiting(CrashingBackend):
    """A backend that says when somebody has begun to wait for a thread to move."""

    def __init__(self, inner: Backend, at: int | None, when: When) -> None:
        super().__init__(inner, at, when)
        self.waits = asyncio.Event()

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        self.waits.set()
        await super().changed(thread, seen)


def asking_graph(effects: EffectFile, gate: asyncio.Event) -> StateGraph:
    """A question beside a node that takes its time."""

    async def slow(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            await gate.wait()
            return {"log": ["slow"]}

    return (
        StateGraph(State)
        .add_node("ask", asking(effects, "ask", "which?"))
        .add_node("slow", slow)
        .add_node("join", node(effects, "join"))
        .add_edge(START, "ask")
        .add_edge(START, "slow")
        .add_edge(["ask", "slow"], "join")
    )


async def answer_through_the_inbox(
    storage: Storage, effects: EffectFile, at: int | None, when: When, *, owner_dies: bool
) -> set[str]:
    """One process runs the thread, another leaves the answer; one of them dies.

    Returns the calls that the dying one made; it has died if they are `at` or more.
    """
    gate = asyncio.Event()
    owner, poster = storage.handle(), storage.handle()
    dying = CrashingBackend(owner, at if owner_dies else None, when)
    waiting = Waiting(poster, None if owner_dies else at, when)
    # Whoever waits for an owner that has died has to look after it from time to time.
    lease = Lease(interval=0.5)
    savers = (
        still(dying, storage.clock),
        Saver(waiting, clock=storage.clock, lease=lease)
        if owner_dies
        else still(waiting, storage.clock),
    )
    graphs = [asking_graph(effects, gate).compile(saver) for saver in savers]
    asked = asyncio.Event()

    async def run() -> None:
        with survives():
            async for part in graphs[0].astream({"log": ["input"]}, CONFIG, stream_mode="updates"):
                if "__interrupt__" in part:
                    asked.set()

    async def post() -> None:
        # A thread that is not running (any more) is not this test's: then it is up to the last.
        with survives(), contextlib.suppress(ThreadBusyError):
            await graphs[1].ainvoke(Command(resume="this one"), CONFIG)

    running = asyncio.ensure_future(run())
    await first_of(asked, running)
    posting = asyncio.ensure_future(post()) if asked.is_set() else running
    await first_of(waiting.waits, posting)
    gate.set()
    await asyncio.wait([running, posting])
    await asyncio.gather(running, posting)
    died = dying if owner_dies else waiting
    for saver in savers:
        with survives():
            await saver.aclose()
    if storage.kind == "sqlite":
        await owner.aclose()
        await poster.aclose()
    return {*died.calls, "dead"} if died.crashed else set(died.calls)


async def first_of(event: asyncio.Event, task: asyncio.Future[Any]) -> None:
    """Wait until something has been said, or whoever should say it is no more."""
    said = asyncio.ensure_future(event.wait())
    await asyncio.wait([said, task], return_when=asyncio.FIRST_COMPLETED)
    said.cancel()
    await asyncio.wait([said])


@pytest.mark.parametrize("owner_dies", [True, False], ids=["the owner", "the poster"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_crash_at_any_storage_call_around_the_inbox_changes_nothing(
    kind: StorageKind, owner_dies: bool, tmp_path: Path
) -> None:
    """An answer that was left for a run is taken up once, whoever of the two dies and when."""
    for when in ("before", "after"):
        at, crashed = 0, True
        while crashed:
            at += 1
            assert at < 100, "it never comes through"
            folder = tmp_path / f"{when}-{at}"
            folder.mkdir()
            storage, effects = Storage(kind, folder), EffectFile(folder / "effects")
            calls = await answer_through_the_inbox(
                storage, effects, at, when, owner_dies=owner_dies
            )
            crashed = "dead" in calls
            gate = asyncio.Event()
            gate.set()
            async with storage.life() as (saver, _):
                graph = asking_graph(effects, gate).compile(saver)
                try:
                    await graph.ainvoke(None, CONFIG)
                except EmptyInputError:
                    await graph.ainvoke({"log": ["input"]}, CONFIG)
                while asks := (await graph.aget_state(CONFIG)).interrupts:
                    await graph.ainvoke(Command(resume={asks[0].id: "this one"}), CONFIG)
                state = await graph.aget_state(CONFIG)
                assert state.values["log"] == ["input", "ask: this one", "slow", "join"], (when, at)
                assert state.next == ()
                assert await saver.averify("thread") == []
            check_effects(effects.read(), [])


async def test_no_storage_call_is_left_out(tmp_path: Path) -> None:
    """Every method of a backend is a place to die at in one of these tests."""
    called: set[str] = set()
    for name in ("chain", "large", "fork"):
        one = Round(SCRIPTS[name], "sync", "sqlite", tmp_path / name)
        called.update((await one.live(4, "after")).calls)
        called.update((await one.live()).calls)
    folder = tmp_path / "house"
    folder.mkdir()
    async with Storage("sqlite", folder).life() as (saver, counting):
        await keep_house(saver, folder)
    called.update(counting.calls, ["aclose"])
    folder = tmp_path / "inbox"
    folder.mkdir()
    storage, effects = Storage("sqlite", folder), EffectFile(folder / "effects")
    called.update(
        await answer_through_the_inbox(storage, effects, None, "before", owner_dies=False)
    )
    # Transactions, which not every backend has, are crashed in tests of their own.
    assert called == storage_calls() - {"transact"}


async def test_a_crashing_backend_stands_before_every_storage_call() -> None:
    """A method that is added to the port must be added to the backend that dies."""
    own = {name for name, _ in inspect.getmembers(CrashingBackend, inspect.iscoroutinefunction)} - {
        "_call"
    }
    assert own == storage_calls()
