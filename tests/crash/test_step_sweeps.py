"""A crash before and after every storage call of graphs that use steps, tasks and transactions."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durable_graph import (
    NOT_DONE,
    START,
    NodeError,
    Runtime,
    StateGraph,
    StepClaim,
    entrypoint,
    get_runtime,
    interrupt,
    step,
    task,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing import CrashSweepError, EffectLog, crash_sweep
from durable_graph.types import Durability
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.graphs import State

DURABILITIES: list[Durability] = ["sync", "async"]


def stepping(effects: EffectLog, *, asked: bool = True) -> Any:
    """A graph whose nodes do things outside through steps, some at once, some before a question.

    The world outside takes no keys; it can be asked what has happened.
    """

    async def do(what: str) -> str:
        effects.add(what)
        return f"did {what}"

    def look(claim: StepClaim) -> Any:
        (what,) = claim.args
        return f"did {what}" if asked and what in effects.happened else NOT_DONE

    async def first(state: State) -> State:
        one = await step("one", do, "one", reconcile=look)
        rest = await asyncio.gather(
            *(step(what, do, what, reconcile=look) for what in ("two", "three"))
        )
        answer = interrupt("Go on?")
        last = await step("four", do, "four", reconcile=look)
        return {"log": [one, *rest, answer, last]}

    async def beside(state: State) -> State:
        async def within(what: str) -> str:
            inner: str = await step("inner", do, what, reconcile=look)
            return inner

        done = await step("outer", within, "five", idempotent=True)
        return {"log": [done]}

    async def broken(state: State) -> State:
        await step("six", do, "six", reconcile=look)
        raise ValueError("broken")

    async def handler(state: State, error: NodeError) -> State:
        return {"log": [error.kind, await step("six", do, "seven", reconcile=look)]}

    def make(saver: Saver) -> CompiledGraph[Any, Any, Any, Any]:
        graph = StateGraph(State).add_node("first", first).add_node("beside", beside)
        graph.add_node("broken", broken, error_handler=handler)
        graph.add_edge(START, "first").add_edge(START, "beside").add_edge("first", "broken")
        return graph.compile(saver)

    return make


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_steps_happen_once_wherever_a_process_dies(durability: Durability) -> None:
    """Claimed, run, recorded, before and behind a question, within each other, in a handler."""
    effects = EffectLog()
    sweep = await crash_sweep(
        stepping(effects), {"log": []}, answers=["yes"], effects=effects, durability=durability
    )
    assert len(sweep.points) > 30


async def test_a_world_that_is_not_asked_sees_things_twice() -> None:
    """So the sweep above would notice: here `reconcile` always says that nothing has happened."""
    effects = EffectLog()
    with pytest.raises(CrashSweepError, match="'one'"):
        await crash_sweep(
            stepping(effects, asked=False), {"log": []}, answers=["yes"], effects=effects
        )


@pytest.mark.parametrize("durability", DURABILITIES)
async def test_functions_as_graphs_come_to_the_same_end(durability: Durability) -> None:
    """Tasks in order, at once and within each other; those that finished do not run again."""
    effects = EffectLog()

    def make(saver: Saver) -> CompiledGraph[Any, Any, Any, Any]:
        @task
        async def fetch(name: str) -> str:
            effects.add(f"fetch {name}", key=get_runtime().idempotency_key)
            return name.upper()

        @task
        async def both(one: str, other: str) -> str:
            return "+".join(await asyncio.gather(fetch(one), fetch(other)))

        @entrypoint(saver)
        async def flow(names: list[str], *, previous: Any) -> entrypoint.final[list[str], str]:
            found = [await fetch(name) for name in names]
            pair = await both("x", "y")
            answer = interrupt(f"{pair}?")
            return entrypoint.final(value=[*found, pair, answer, str(previous)], save=pair)

        return flow

    sweep = await crash_sweep(
        make, ["a", "b"], answers=["yes"], effects=effects, durability=durability
    )
    assert sweep.values == ["A", "B", "X+Y", "yes", "None"]
    assert len(sweep.points) > 15


async def test_transactions_come_and_go_with_the_log(tmp_path: Path) -> None:
    """Whatever call a process dies at, rows and results agree."""

    def insert(db: sqlite3.Connection, item: str) -> list[str]:
        db.execute("CREATE TABLE IF NOT EXISTS orders (item TEXT)")
        db.execute("INSERT INTO orders VALUES (?)", (item,))
        return [row[0] for row in db.execute("SELECT item FROM orders ORDER BY item")]

    async def node(state: State, runtime: Runtime) -> State:
        await runtime.transaction(insert, "one")
        await step("between", lambda: None, idempotent=True)
        rows = await runtime.transaction(insert, "two")
        return {"log": rows}

    def make(saver: Saver) -> CompiledGraph[Any, Any, Any, Any]:
        return StateGraph(State).add_node("node", node).add_edge(START, "node").compile(saver)

    sweep = await crash_sweep(
        make, {"log": []}, make_saver=lambda folder: SqliteSaver(folder / "threads.db")
    )
    assert sweep.values == {"log": ["one", "two"]}
    assert any("transact" in str(point) for point in sweep.points)
