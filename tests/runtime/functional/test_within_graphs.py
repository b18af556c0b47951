"""Steps, tasks and transactions in graphs within graphs, and graphs within tasks."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from durable_graph import Command, RunControl, Runtime, entrypoint, interrupt, step, task
from durable_graph.errors import GraphDrained
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.functional.kit import Effects
from tests.runtime.kit import Items, chain, says


async def test_steps_of_a_graph_within_are_not_done_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """The inner node asks, and runs again with the answer; what it did through steps does not."""
    effects = Effects()

    async def inner(state: Items) -> Items:
        done = await step("do", effects.do, "inner")
        return {"items": [done, interrupt("?")]}

    async def outer(state: Items) -> Items:
        await step("do", effects.do, "outer")
        return {"count": 1}

    child: Any = chain(("inner", inner))
    graph = chain(("outer", outer), ("child", child), saver=saver)
    await graph.ainvoke({"items": []}, config)
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["items"] == ["did inner", "yes"]
    assert effects == ["outer", "inner"]


async def test_tasks_can_call_graphs(saver: Saver, config: RunnableConfig) -> None:
    """Each call has a state of its own, and goes on where it was."""
    effects = Effects()

    async def inner(state: Items) -> Items:
        effects.append(state["items"][0])
        return {}

    async def ask(state: Items) -> Items:
        return {"items": [interrupt(f"{state['items'][0]}?")]}

    child = chain(("inner", inner), ("ask", ask))

    @task
    async def call(name: str) -> list[Any]:
        result: Any = await child.ainvoke({"items": [name]})
        items: list[Any] = result["items"]
        return items

    @entrypoint(saver)
    async def flow(names: list[str]) -> list[Any]:
        return await asyncio.gather(*(call(name) for name in names))

    asked = await flow.ainvoke(["a", "b"], config)
    questions = {question.value: question.id for question in asked["__interrupt__"]}
    assert sorted(questions) == ["a?", "b?"]
    answers = {questions["a?"]: "yes", questions["b?"]: "no"}
    assert await flow.ainvoke(Command(resume=answers), config) == [["a", "yes"], ["b", "no"]]
    assert sorted(effects) == ["a", "b"]


async def test_an_entrypoint_within_a_graph(saver: Saver, config: RunnableConfig) -> None:
    """Called by a node, its tasks are kept in the caller's thread."""
    effects, broken = Effects(), [True]

    @task
    async def work(number: int) -> int:
        effects.append(number)
        return 2 * number

    @entrypoint()
    async def double(number: int) -> int:
        found = await work(number)
        if broken:
            broken.clear()
            raise ValueError("broken")
        return found

    async def node(state: Items) -> Items:
        return {"items": [await double.ainvoke(4)]}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ValueError, match="broken"):
        await graph.ainvoke({"items": []}, config)
    assert (await graph.ainvoke(None, config))["items"] == [8]
    assert effects == [4]


async def test_transactions_of_a_graph_within(tmp_path: Path, config: RunnableConfig) -> None:
    """Their records belong to that graph, and their rows are there once."""
    broken = [True]

    def insert(db: sqlite3.Connection) -> int:
        db.execute("CREATE TABLE IF NOT EXISTS mine (a)")
        db.execute("INSERT INTO mine VALUES (1)")
        (count,) = db.execute("SELECT count(*) FROM mine").fetchone()
        return int(count)

    async def inner(state: Items, runtime: Runtime) -> Items:
        count = await runtime.transaction(insert)
        if broken:
            broken.clear()
            raise ValueError("broken")
        return {"items": [count]}

    async with SqliteSaver(tmp_path / "threads.db") as saver:
        child: Any = chain(("inner", inner))
        graph = chain(("child", child), saver=saver)
        with pytest.raises(ValueError, match="broken"):
            await graph.ainvoke({"items": []}, config)
        assert (await graph.ainvoke(None, config))["items"] == [1]
        assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_a_graph_within_a_task_stops_the_whole_run(
    saver: Saver, config: RunnableConfig
) -> None:
    """Asked to stop, or at a breakpoint, in the middle of it: going on goes on right there."""
    control, effects = RunControl(), Effects()

    async def first(state: Items) -> Items:
        effects.append("first")
        control.request_drain()
        return {"items": ["first"]}

    child = chain(
        ("first", first),
        ("second", says("second")),
        ("third", says("third")),
        interrupt_before=["third"],
    )

    @task
    async def call(name: str) -> list[Any]:
        result: Any = await child.ainvoke({"items": [name]})
        items: list[Any] = result["items"]
        return items

    @entrypoint(checkpointer=saver)
    async def flow(name: str) -> Any:
        return await call(name)

    with pytest.raises(GraphDrained):
        await flow.ainvoke("a", config, control=control)
    await flow.ainvoke(None, config)
    assert (await flow.aget_state(config)).next == ("flow",)  # at the breakpoint
    assert await flow.ainvoke(None, config) == ["a", "first", "second", "third"]
    assert effects == ["first"]


async def test_large_values_are_at_hand_while_steps_and_graphs_run_side_by_side(
    saver: Saver, config: RunnableConfig
) -> None:
    """A graph that forgets large values leaves those alone that a step beside it has made."""
    much, asked = "much" * 100_000, asyncio.Event()

    async def write(state: Items) -> Items:
        return {"last": [f"{count}{much}" for count in range(4)]}

    child = chain(*((f"write{count}", write) for count in range(3)), ("end", says("end")))

    @task
    async def ask(question: str) -> str:
        asked.set()
        answer: str = interrupt(question + much)
        return answer

    @task
    async def call() -> list[Any]:
        await asked.wait()
        result: Any = await child.ainvoke({})
        items: list[Any] = result["items"]
        return items

    @entrypoint(checkpointer=saver)
    async def flow(question: str) -> list[Any]:
        asking, calling = ask(question), call()
        return [*await calling, await asking]

    result: Any = await flow.ainvoke("?", config)
    assert result["__interrupt__"][0].value == "?" + much
    assert await flow.ainvoke(Command(resume="yes"), config) == ["end", "yes"]
