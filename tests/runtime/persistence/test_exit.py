"""Durability "exit" where the last state alone says too little: tasks that wait on, branches."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from durable_graph import Command, interrupt, step
from durable_graph.errors import UnknownInterruptError
from durable_graph.saver import Saver
from durable_graph.types import Durability, RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items, chain, fan, key_of, reached, records_of, says

LEVELS: list[Durability] = ["sync", "async", "exit"]


@pytest.mark.parametrize("durability", LEVELS)
async def test_tasks_that_wait_beside_an_update_stay_who_they_are(
    durability: Durability, tmp_path: Path, config: RunnableConfig
) -> None:
    """Each call is another process: the first answer and the step are found again by the second."""
    ran: list[str] = []

    async def effect() -> int:
        ran.append("effect")
        return len(ran)

    async def node(state: Items) -> Items:
        return {"items": [await step("effect", effect), interrupt("one?"), interrupt("two?")]}

    async def call(given: Any) -> Any:
        async with SqliteSaver(tmp_path / "threads.db") as saver:
            graph = fan(("node", node), ("other", says("other")), saver=saver)
            return await graph.ainvoke(given, config, durability=durability)

    await call({})
    await call(Command(resume="a", update={"last": 4}))
    result = await call(Command(resume="b"))
    assert (result["items"], result["last"]) == ([1, "a", "b", "other"], 4)
    assert ran == ["effect"]


@pytest.mark.parametrize("durability", LEVELS)
async def test_no_checkpoint_is_stored_twice(
    durability: Durability, tmp_path: Path, config: RunnableConfig
) -> None:
    """Also on branches that take a graph within along, answered or just gone on with."""

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    async def call(given: Any, config: RunnableConfig) -> Any:
        async with SqliteSaver(tmp_path / "threads.db") as saver:
            child: Any = chain(("one", says(1)), ("ask", ask))
            graph = chain(("child", child), ("end", says(9)), saver=saver)
            result: Any = await graph.ainvoke(given, config, durability=durability)
            records = await records_of(saver, config)
            made = [record.checkpoint for record in records if record.checkpoint]
            assert len(made) == len(set(made))
            assert await saver.averify(config["configurable"]["thread_id"]) == []
            return result, await graph.aget_state(config, subgraphs=True)

    _, asked = await call({}, config)
    inner = asked.tasks[0].state.config
    assert (await call(Command(resume="a"), config))[0]["items"] == [1, "a", 9]
    assert (await call(Command(resume="b"), asked.config))[0]["items"] == [1, "b", 9]
    assert (await call(None, inner))[0]["__interrupt__"]
    assert (await call(Command(resume="c"), config))[0]["items"] == [1, "c", 9]


@pytest.mark.parametrize("durability", LEVELS)
async def test_an_answer_that_is_refused_changes_nothing(
    durability: Durability, saver: Saver, config: RunnableConfig
) -> None:
    """Neither the thread's status nor its records, also where it would have begun a branch."""

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = chain(("one", says(1)), ("ask", ask), saver=saver)
    await graph.ainvoke({}, config, durability=durability)
    asked = (await graph.aget_state(config)).config
    await graph.ainvoke(Command(resume="a"), config, durability=durability)
    before = await records_of(saver, config)
    with pytest.raises(UnknownInterruptError):
        await graph.ainvoke(Command(resume={"0" * 32: "b"}), asked, durability=durability)
    reading = await saver.backend.read(key_of(config))
    assert reading is not None
    assert (await records_of(saver, config), reading.head.status) == (before, "finished")


async def test_an_answer_beside_a_first_run_that_is_stored_at_its_exit_waits_for_it(
    saver: Saver, config: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to be read until then, and it is not asked for over and over."""
    entered, may_end, reads = asyncio.Event(), asyncio.Event(), 0
    read = type(saver.backend).read

    async def counted(*given: Any, **named: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(*given, **named)

    async def asks(state: Items) -> Items:
        entered.set()
        await may_end.wait()
        return {"items": [interrupt("which?")]}

    monkeypatch.setattr(type(saver.backend), "read", counted)
    graph = chain(("asks", asks), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config, durability="exit"))
    await reached(entered, run)
    answer = asyncio.create_task(graph.ainvoke(Command(resume="this"), config))
    for _ in range(200):
        await asyncio.sleep(0)
    assert reads < 10
    may_end.set()
    await run
    assert (await answer)["items"] == ["this"]
