"""Processes that want the same thread: one is held in a node, others try."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durable_graph import START, Command, Runtime, StateGraph
from durable_graph.errors import DurableGraphError, StorageBusyError, ThreadBusyError
from durable_graph.graph import CompiledGraph
from durable_graph.ports.backend import Append, Outcome, Position, Process, ThreadKey
from durable_graph.ports.clock import SystemClock
from durable_graph.saver import Lease, Saver
from durable_graph.testing import CrashingBackend
from durable_graph.types import RunnableConfig
from durable_graph_sqlite.backend import SqliteBackend
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import State, asking, node
from tests.crash.harness.oracle import check_log
from tests.crash.harness.places import Place
from tests.crash.harness.processes import Line

__all__ = [
    "CONFIG",
    "THREAD",
    "Contender",
    "answer_often",
    "check_contended",
    "contend",
    "insist",
    "keep_trying",
]

THREAD = "contended"
CONFIG: RunnableConfig = {"configurable": {"thread_id": THREAD}}


@dataclass(frozen=True, slots=True)
class Contender:
    """One who wants the thread.

    Attributes:
        place: where it is.
        effects: the effect file.
        graph: "plain", "asking", "wide", or "both": a question beside the node it is held in.
        held: whether its node waits to be let go on.
        lease: length of its lease, in seconds; it gives four signs of life in that time.
        wall: seconds by which its wall clock is wrong.
        ahead: seconds by which its other clock, by which leases end, is ahead of the others':
            a lease of less is over for it at once.
        busy: seconds it waits for a file's lock.
        barrier: whether it waits for the signal to begin.
        tells_appends: whether it says that it is about to write.
        stops_in_commit: whether it waits, the first time after it was let go on, inside the
            transaction that it is about to commit; in a SQLite file only.
    """

    place: Place
    effects: Path
    graph: str = "plain"
    held: bool = False
    lease: float = 10.0
    wall: float = 0.0
    ahead: float = 0.0
    busy: float = 10.0
    barrier: bool = False
    tells_appends: bool = False
    stops_in_commit: bool = False


class WrongClock(SystemClock):
    """The machine's clocks, set wrong."""

    def __init__(self, who: Contender) -> None:
        self._wall = who.wall
        self._ahead = who.ahead

    def time(self) -> float:
        """Unix time, but for the mistake."""
        return super().time() + self._wall

    def monotonic(self) -> float:
        """Seconds since the machine was started, and some more."""
        return super().monotonic() + self._ahead


class TalkingBackend(CrashingBackend):
    """Says what it is about to do, and lets itself be held in the middle of a commit."""

    def __init__(self, who: Contender, line: Line) -> None:
        self.hold = threading.Event()
        clock = WrongClock(who)
        if who.place.kind == "sqlite":
            path = Path(who.place.where)
            super().__init__(HeldInCommit(path, who.busy, clock, self.hold, line))
        else:
            super().__init__(who.place.backend(clock))
        self._who = who
        self._line = line

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        if self._who.tells_appends:
            self._line.say("append")
        outcomes = await super().append(batch, beat)
        if any(record.kind == "tasks" for append in batch for record in append.records):
            self._line.say("stored")  # what a task has come to while another is held
        return outcomes

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        self._line.say("waiting")
        await super().changed(thread, seen)


class HeldInCommit(SqliteBackend):
    """Waits, once it is told to, inside the transaction that it is about to commit."""

    def __init__(
        self, path: Path, busy: float, clock: WrongClock, hold: threading.Event, line: Line
    ) -> None:
        super().__init__(path, busy_timeout=busy, clock=clock)
        self._hold = hold
        self._line = line

    def _configure(self, db: sqlite3.Connection) -> None:
        super()._configure(db)
        db.set_trace_callback(self._trace)

    def _trace(self, statement: str) -> None:
        if statement.startswith("INSERT INTO records") and self._hold.is_set():
            self._hold.clear()
            self._line.say("in a commit")
            self._line.hear()


def graph_of(who: Contender, line: Line, backend: TalkingBackend) -> CompiledGraph:
    """Its graph: a node, then one that it can be held in, then another."""
    effects = EffectFile(who.effects)

    async def held(state: State, runtime: Runtime) -> State:
        with effects.of(runtime):
            if who.held:
                line.say("in")
                await line.heard()
                if who.stops_in_commit:
                    backend.hold.set()
            return {"log": ["held"]}

    graph = StateGraph(State).add_node("held", held).add_node("last", node(effects, "last"))
    match who.graph:
        case "plain":
            graph.add_node("first", node(effects, "first"))
            graph.add_edge(START, "first").add_edge("first", "held").add_edge("held", "last")
        case "asking":
            graph.add_node("first", asking(effects, "first", "which?"))
            graph.add_edge(START, "first").add_edge("first", "held").add_edge("held", "last")
        case "wide":
            graph.add_node("first", node(effects, "first"))
            graph.add_edge(START, "first").add_edge(START, "held")
            graph.add_edge(["first", "held"], "last")
        case "both":
            graph.add_node("first", asking(effects, "first", "which?"))
            graph.add_edge(START, "first").add_edge(START, "held")
            graph.add_edge(["first", "held"], "last")
    saver = Saver(
        backend, clock=WrongClock(who), lease=Lease(who.lease, who.lease / 4, who.lease * 6)
    )
    return graph.compile(saver)


async def contend(line: Line, who: Contender, input: Any) -> Any:
    """Call the graph once, at the signal; says how long it took to be refused."""
    graph = graph_of(who, line, TalkingBackend(who, line))
    if who.barrier:
        line.say("ready")
        await line.heard()
    began = time.monotonic()
    try:
        return await graph.ainvoke(input, CONFIG)
    except DurableGraphError as error:
        line.say("refused", type(error).__name__, time.monotonic() - began)
        raise


async def answer_often(
    line: Line, who: Contender, answers: Sequence[str], question: str | None
) -> list[str]:
    """Answer the open question many times at once, by its id or as the only one.

    Returns what became of each answer.
    """
    graph = graph_of(who, line, TalkingBackend(who, line))
    line.say("ready")
    await line.heard()
    resumes = [{question: answer} if question else answer for answer in answers]
    calls = (graph.ainvoke(Command(resume=resume), CONFIG) for resume in resumes)
    done = await asyncio.gather(*calls, return_exceptions=True)
    return [type(one).__name__ if isinstance(one, BaseException) else "taken" for one in done]


async def insist(line: Line, who: Contender, input: Any) -> Any:
    """Call the graph until nobody else has the thread; says so the first time it is refused."""
    graph = graph_of(who, line, TalkingBackend(who, line))
    until, told = time.monotonic() + 20.0, False
    while True:
        try:
            return await graph.ainvoke(input, CONFIG)
        except (ThreadBusyError, StorageBusyError):
            if time.monotonic() > until:
                raise
            if not told:
                line.say("refused")
                told = True


async def keep_trying(line: Line, who: Contender, seconds: float) -> int:
    """Call the graph for so long, and always in vain; returns how often."""
    graph = graph_of(who, line, TalkingBackend(who, line))
    until, refused = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        try:
            await graph.ainvoke(None, CONFIG)
        except ThreadBusyError:
            refused += 1
        else:
            raise AssertionError(f"It was not refused, after {refused} refusals.")
    return refused


def check_contended(place: Place) -> None:
    """The thread has ended, and its log is one and whole: I4, I6 and I7.

    Raises:
        AssertionError: one of them does not hold.
    """

    async def check() -> None:
        async with place.saver() as saver:
            await check_log(saver, THREAD)

    asyncio.run(check())
    place.check()
