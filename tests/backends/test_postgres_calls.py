"""What an append costs on the way to PostgreSQL, and what becomes of one that is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypedDict

import pytest

from benchmarks.counting import counted
from durable_graph import END, START, StateGraph
from durable_graph.ports import owned
from durable_graph_postgres import PostgresSaver
from tests.services import postgres

pytestmark = pytest.mark.services


class State(TypedDict):
    count: int


def cost_of(supersteps: int, schema: str) -> tuple[int, int]:
    """Tasks, and turns that the event loop gave, of a run of so many supersteps."""

    async def step(state: State) -> State:
        return {"count": state["count"] + 1}

    def over(state: State) -> str:
        return END if state["count"] == supersteps else "step"

    graph = StateGraph(State).add_node("step", step).add_edge(START, "step")
    graph.add_conditional_edges("step", over)

    async def work() -> None:
        async with PostgresSaver(postgres.dsn(), schema=schema) as saver:
            config: Any = {"configurable": {"thread_id": str(supersteps)}}
            await graph.compile(saver).ainvoke({"count": 0}, config)

    counts = counted(work)
    return counts["tasks"], counts["callbacks"]


@pytest.fixture
async def schema() -> AsyncIterator[str]:
    """A schema of the test's own."""
    name = postgres.fresh_schema()
    yield name
    await postgres.sql(postgres.dsn(), f"DROP SCHEMA IF EXISTS {name} CASCADE")


async def test_a_superstep_is_no_task_and_no_detour(schema: str) -> None:
    """The run's own task asks and is answered; the loop has little more to do than that."""

    def measured() -> tuple[int, int]:
        cost_of(1, schema)
        (tasks, turns), (more_tasks, more_turns) = cost_of(2, schema), cost_of(12, schema)
        return more_tasks - tasks, more_turns - turns

    tasks, turns = await asyncio.to_thread(measured)
    assert (tasks, turns <= 40) == (0, True)


async def test_only_the_very_task_is_not_cancelled() -> None:
    """What such a task starts may be cancelled like anything else."""
    told: list[bool] = [owned.nobody_cancels()]

    async def inner() -> None:
        told.append(owned.nobody_cancels())

    async def work() -> None:
        told.append(owned.nobody_cancels())
        await asyncio.create_task(inner())

    await owned.start(work())
    assert told == [False, True, False]
