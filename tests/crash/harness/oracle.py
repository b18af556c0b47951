"""What must hold after any crash: the checks I1 to I7.

I1  the final state is that of an undisturbed run
I2  nothing that was acknowledged was executed again
I3  everything that was acknowledged is in the history
I4  the history is gapless, its chain verifies, and it branches only where that was asked for
I5  all executions of one task share one key, and no two tasks do
I6  the thread opens, and its run has ended
I7  no transaction and no lock is left
(I8, that no error was swallowed, is for those to see who own the event loops.)
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from durable_graph.graph import CompiledGraph
from durable_graph.log.records import ThreadKey
from durable_graph.log.seal import open_header
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.crash.harness.effects import Ack, Effect

__all__ = [
    "Ending",
    "acknowledged_again",
    "check_effects",
    "check_file",
    "check_log",
    "check_thread",
    "ending_of",
]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a thread ended, as far as crashes may not change it.

    Attributes:
        values: the final state.
        history: step, source, values and what was next of each checkpoint, newest first.
        done: the nodes that ended, with their steps.
        tasks: how many tasks, told apart by their keys, each node had in each step.
    """

    values: Any
    history: Sequence[Any]
    done: frozenset[tuple[int, str]]
    tasks: Mapping[tuple[int, str], int]


async def ending_of(
    graph: CompiledGraph, config: RunnableConfig, effects: Sequence[Effect]
) -> Ending:
    """How a thread ended."""
    history = [
        (
            one.metadata["step"] if one.metadata else None,
            one.metadata["source"] if one.metadata else None,
            one.values,
            one.next,
        )
        async for one in graph.aget_state_history(config)
    ]
    state = await graph.aget_state(config)
    done = frozenset((effect.step, effect.node) for effect in effects if effect.what == "end")
    keys = {(effect.step, effect.node, effect.key) for effect in effects}
    tasks = Counter((step, node) for step, node, _ in keys)
    return Ending(state.values, history, done, tasks)


async def check_thread(
    graph: CompiledGraph,
    thread: str,
    effects: Sequence[Effect],
    acks: Sequence[Ack],
    expected: Ending | None,
    *,
    branches: int = 1,
    stored: bool = True,
) -> None:
    """I1 to I6 for one thread that has come to its end.

    Args:
        graph: its graph.
        thread: its id.
        effects: what its nodes did.
        acks: what its clients saw.
        expected: how an undisturbed run ends.
        branches: how many branches were asked for.
        stored: whether inputs were stored before anything was done about them, so that a task
            has its key for good.

    Raises:
        AssertionError: one of them does not hold.
    """
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    assert graph.checkpointer is not None
    await check_log(graph.checkpointer, thread, branches=branches)

    history = [one async for one in graph.aget_state_history(config)]
    for ns in await namespaces(graph.checkpointer, thread):
        inner: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}
        history += [one async for one in graph.aget_state_history(inner)]
    known = {one.checkpoint_id for one in history}
    ended = {task.id for one in history for task in one.tasks if task.result is not None}
    for ack in acks:
        if ack.kind == "checkpoint":
            assert ack.id in known, f"I3: checkpoint {ack.id} was acknowledged and is not there"
        elif ack.kind == "task":
            assert ack.id in ended, f"I3: task {ack.id} was acknowledged and is not there"
    check_effects(effects, acks)
    if expected is not None:
        ending = await ending_of(graph, config, effects)
        assert ending.values == expected.values, "I1: another final state"
        assert ending.history == expected.history, "I1: another history"
        assert ending.done == expected.done, "I1: other nodes have ended"
        if stored:
            assert ending.tasks == expected.tasks, "I5: a task had several keys"


async def check_log(saver: Saver, thread: str, *, branches: int = 1) -> None:
    """I4 and I6, as far as they can be seen without the thread's graph.

    Raises:
        AssertionError: one of them does not hold.
    """
    key = ThreadKey.of(thread)
    reading = await saver.backend.read(key)
    assert reading is not None, "I6: there is no such thread"
    head = reading.head
    assert head.status == "finished", f"I6: the run is {head.status} ({head.reason})"

    wrong = await saver.averify(thread)
    assert wrong == [], f"I4: the chain does not verify: {wrong}"
    records = await saver.backend.scan(key, ((1, head.seq),))
    assert [record.seq for record in records] == list(range(1, head.seq + 1)), "I4: gaps"
    headers = [open_header(record, thread) for record in records]
    infos = [(header.ns, header.commit) for header in headers if header.commit is not None]
    labels = {info.branch for _, info in infos}
    assert len(labels) == branches, f"I4: {len(labels)} branches instead of {branches}"
    for ns in {ns for ns, _ in infos}:
        of_graph = [info for other, info in infos if other == ns]
        for before, info in pairwise(of_graph):
            assert info.parent == before.id or info.branch == info.id, "I4: an unlabelled branch"


async def namespaces(saver: Saver, thread: str) -> set[str]:
    """Those of all graphs within that a thread's log knows of."""
    reading = await saver.backend.read(ThreadKey.of(thread))
    assert reading is not None
    records = await saver.backend.scan(ThreadKey.of(thread), ((1, reading.head.seq),))
    return {open_header(record, thread).ns for record in records} - {""}


def acknowledged_again(effects: Sequence[Effect], acks: Sequence[Ack]) -> list[Effect]:
    """Executions that began after the client knew their result."""
    told = {ack.id: ack.effects for ack in reversed(acks) if ack.kind in ("task", "handler")}
    return [
        effect
        for effect in effects
        if effect.what == "start" and effect.task in told and effect.at >= told[effect.task]
    ]


def check_effects(effects: Sequence[Effect], acks: Sequence[Ack]) -> None:
    """I2 and I5.

    Raises:
        AssertionError: one of them does not hold.
    """
    again = acknowledged_again(effects, acks)
    assert again == [], f"I2: executed again: {again}"
    keys: dict[str, set[tuple[str, int, str]]] = {}
    tasks: dict[str, set[str]] = {}
    for effect in effects:
        keys.setdefault(effect.key, set()).add((effect.task, effect.step, effect.node))
        tasks.setdefault(effect.task, set()).add(effect.key)
    assert all(len(which) == 1 for which in keys.values()), f"I5: a key of several: {keys}"
    assert all(len(which) == 1 for which in tasks.values()), f"I5: several keys: {tasks}"


def check_file(path: Path) -> None:
    """I7 for a SQLite file: whoever wants to write now can do so at once, and all is in order.

    Raises:
        AssertionError: it does not hold.
    """
    db = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        db.execute("BEGIN IMMEDIATE")
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)], "I7: damaged"
        db.execute("ROLLBACK")
    finally:
        db.close()
