"""Scenario 50: a long thread with many branches, out of which others sweep all the while."""

from __future__ import annotations

import random
from typing import Any

import pytest

from durable_graph import START, Command, StateGraph, StateSnapshot, interrupt
from durable_graph.errors import CheckpointNotFoundError, ThreadBusyError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.ports.backend import Append
from durable_graph.saver import Saver
from durable_graph.threads import Retention
from durable_graph.types import RunnableConfig
from tests.conftest import thread
from tests.crash.harness.counts import TORTURE
from tests.runtime.backends import Around
from tests.runtime.kit import Items, history

STEPS, BRANCHES = (10_000, 1000) if TORTURE else (300, 50)
TEXT = "What was found out in this step, at some length. " * 4
THREAD = "long"
CONFIG = thread(THREAD)


class Weighed(Around):
    """Counts the bytes of what is written, too."""

    bytes = 0

    async def before(self, batch: Any) -> None:
        appends: list[Append] = list(batch)
        for append in appends:
            self.bytes += sum(len(r.header) + len(r.body or b"") for r in append.records)
            self.bytes += sum(map(len, append.blobs.values()))

    def cost(self) -> tuple[int, int, int]:
        """Appends, records written, records read."""
        return (self.appends, self.records, self.reads)


def weighed(saver: Saver) -> Weighed:
    """Count what a saver writes and reads."""
    around = Weighed(saver.backend)
    saver.backend = around
    return around


def janitor(saver: Saver) -> Saver:
    """Another saver on the same storage, as another process has it."""
    return Saver(saver.backend)


def loop(saver: Saver, steps: int, meanwhile: Any = None) -> CompiledGraph:
    """A node that goes on for so many steps, and then one that asks."""

    async def go_on(state: Items) -> Any:
        count = state.get("count", 0) + 1
        if meanwhile is not None:
            await meanwhile(count)
        return {"count": 1, "last": f"{count}: {TEXT}"}

    async def ask(state: Items) -> Items:
        return {"items": [state["last"], interrupt(f"after {state['count']}?")]}

    def route(state: Items) -> str:
        return "go_on" if state["count"] < steps else "ask"

    graph = StateGraph(Items).add_edge(START, "go_on").add_node("ask", ask).add_node(go_on)
    return graph.add_conditional_edges("go_on", route, ["go_on", "ask"]).compile(saver)


async def test_a_late_step_costs_what_an_early_one_does_while_others_sweep(saver: Saver) -> None:
    """Who sweeps leaves the run alone, in each of its parts, and takes nothing from it."""
    other, around = janitor(saver), weighed(saver)
    marks: list[tuple[int, int, int, int]] = []

    async def meanwhile(count: int) -> None:
        marks.append((*around.cost(), around.bytes))
        if count % (STEPS // 10) == 0:
            swept = await other.threads.sweep(Retention(keep_last=1))
            assert isinstance(swept.left[THREAD], ThreadBusyError)
            assert swept.pruned == swept.deleted == []

    config: RunnableConfig = {**CONFIG, "recursion_limit": STEPS + 10}
    graph = loop(saver, STEPS, meanwhile)
    result = await graph.ainvoke({}, config)
    assert result["count"] == STEPS
    # All that was committed is readable, but for what nobody has swept yet.
    assert len(await history(graph, CONFIG)) == STEPS + 2
    assert await saver.averify(THREAD) == []
    early, late = (_between(marks, at, STEPS // 5) for at in (STEPS // 10, STEPS * 4 // 5 - 1))
    assert early[:3] == late[:3] == (STEPS // 5, STEPS // 5, 0)
    assert late[3] <= 1.1 * early[3]
    # At rest it gives up all that is not its present state, and goes on with its question.
    assert (await other.threads.sweep(Retention(keep_last=1))).pruned == [THREAD]
    assert len(await history(graph, CONFIG)) < STEPS // 3
    answered = await graph.ainvoke(Command(resume="yes"), CONFIG)
    assert answered["items"] == [f"{STEPS}: {TEXT}", "yes"]
    assert await saver.averify(THREAD) == []


def _between(marks: list[tuple[int, int, int, int]], at: int, steps: int) -> tuple[int, ...]:
    return tuple(b - a for a, b in zip(marks[at], marks[at + steps], strict=True))


async def test_many_branches_of_a_long_thread_keep_what_they_need(saver: Saver) -> None:
    """However often it is swept between them: all ends read the same, and their questions can
    be answered; the last branch costs what the first does."""
    chance, other, around = random.Random(50), janitor(saver), weighed(saver)
    graph = loop(saver, STEPS)
    await graph.ainvoke({}, {**CONFIG, "recursion_limit": STEPS + 10})
    ends = [await graph.aget_state(CONFIG)]
    trunk = await history(graph, CONFIG)
    costs: list[int] = []
    left: list[StateSnapshot] = []
    for number in range(BRANCHES):
        if number % (BRANCHES // 10) == 0:
            await other.threads.sweep(Retention(keep_last=STEPS // 2))
            left = [one for one in await history(graph, CONFIG) if one.next == ("go_on",)]
        origin, edit = chance.choice(left), {"count": STEPS, "last": f"branch {number}"}
        before = around.bytes
        await graph.aupdate_state(origin.config, edit, as_node="go_on")
        costs.append(around.bytes - before)
        if asks := number % 2 == 0:
            await graph.ainvoke(None, CONFIG)
        end = await graph.aget_state(CONFIG)
        assert (end.next, bool(end.interrupts)) == (("ask",), asks)
        ends.append(end)
    tenth = BRANCHES // 10
    assert sum(costs[-tenth:]) <= 1.2 * sum(costs[:tenth])
    assert (await other.threads.sweep(Retention(keep_last=1))).pruned == [THREAD]
    kept = {one.checkpoint_id for one in await history(graph, CONFIG)}
    gone = [one for one in trunk if one.checkpoint_id not in kept]
    assert len(gone) > STEPS // 2
    with pytest.raises(CheckpointNotFoundError):
        await graph.aget_state(chance.choice(gone).config)
    for number, end in enumerate(ends):
        assert await graph.aget_state(end.config) == end
        answer = f"answer {number}"
        result = await graph.ainvoke(Command(resume=answer) if end.interrupts else None, end.config)
        if not end.interrupts:
            result = await graph.ainvoke(Command(resume=answer), CONFIG)
        assert result["items"] == [end.values["last"], answer]
    assert await saver.averify(THREAD) == []
