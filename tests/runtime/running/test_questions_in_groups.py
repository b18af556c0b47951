"""Questions that are asked inside the node's own task groups and handlers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import START, Command, StateGraph, interrupt
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain


async def ask(question: str) -> Any:
    return interrupt(question)


async def test_questions_from_a_task_group_are_asked_together(
    saver: Saver, config: RunnableConfig
) -> None:
    """Two tasks of a node's group ask at once: both questions are open, one node is due."""

    async def node(state: Items) -> Items:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(text)) for text in ("first", "second")]
        return {"items": [task.result() for task in tasks]}

    graph = chain(("node", node), saver=saver)
    asked = (await graph.ainvoke({}, config))["__interrupt__"]
    assert [question.value for question in asked] == ["first", "second"]
    answers = {question.id: f"{question.value} answer" for question in asked}
    result = await graph.ainvoke(Command(resume=answers), config)
    assert result["items"] == ["first answer", "second answer"]


async def test_questions_from_nested_groups_are_asked_together(
    saver: Saver, config: RunnableConfig
) -> None:
    """Groups within groups are taken apart."""

    async def inner(name: str) -> list[Any]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(f"{name}{n}")) for n in (1, 2)]
        return [task.result() for task in tasks]

    async def node(state: Items) -> Items:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(inner(name)) for name in ("a", "b")]
        return {"items": [task.result() for task in tasks]}

    graph = chain(("node", node), saver=saver)
    asked = (await graph.ainvoke({}, config))["__interrupt__"]
    assert sorted(question.value for question in asked) == ["a1", "a2", "b1", "b2"]
    answers = {question.id: question.value.upper() for question in asked}
    result = await graph.ainvoke(Command(resume=answers), config)
    assert result["items"] == [["A1", "A2"], ["B1", "B2"]]


async def test_an_error_beside_a_question_is_an_error(saver: Saver, config: RunnableConfig) -> None:
    """A group of a question and an error fails the node; nothing is asked."""

    async def bad() -> None:
        raise KeyError("bad")

    async def node(state: Items) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask("?"))
            group.create_task(bad())

    graph = chain(("node", node), saver=saver)
    with pytest.raises(BaseExceptionGroup) as caught:
        await graph.ainvoke({}, config)
    found: BaseException = caught.value
    while isinstance(found, BaseExceptionGroup):
        (found,) = found.exceptions
    assert isinstance(found, KeyError)
    state = await graph.aget_state(config)
    assert (state.interrupts, state.next) == ((), ("node",))


async def test_a_question_passes_through_except_exception(
    saver: Saver, config: RunnableConfig
) -> None:
    """`except Exception` around the work of a node does not swallow its question."""

    async def node(state: Items) -> Items:
        try:
            answer = interrupt("?")
        except Exception:
            answer = "swallowed"
        return {"items": [answer]}

    graph = chain(("node", node), saver=saver)
    assert "__interrupt__" in await graph.ainvoke({}, config)
    assert (await graph.ainvoke(Command(resume="answer"), config))["items"] == ["answer"]


async def test_finally_runs_when_a_question_stops_the_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node can clean up on its way out."""
    cleaned: list[bool] = []

    async def node(state: Items) -> None:
        try:
            interrupt("?")
        finally:
            cleaned.append(True)

    await chain(("node", node), saver=saver).ainvoke({}, config)
    assert cleaned == [True]


async def test_a_sync_node_asks_like_any_other(saver: Saver, config: RunnableConfig) -> None:
    """The question leaves the worker thread, and the node runs again in one."""

    def node(state: Items) -> Items:
        return {"items": [interrupt("one"), interrupt("two")]}

    graph = chain(("node", node), saver=saver)
    for question, answer in (("one", 1), ("two", 2)):
        state = await graph.ainvoke(None if answer == 2 else {}, config)
        assert [asked.value for asked in state["__interrupt__"]] == [question]
        state = await graph.ainvoke(Command(resume=answer), config)
    assert state["items"] == [1, 2]


async def test_a_router_may_ask(saver: Saver, config: RunnableConfig) -> None:
    """A question in a conditional edge stops its node, which runs again with the answer."""

    def router(state: Items) -> list[str]:
        return [interrupt("where?")]

    async def node(state: Items) -> Items:
        return {"items": ["node"]}

    graph = StateGraph(Items).add_node("node", node).add_node("end", node).add_edge(START, "node")
    compiled = graph.add_conditional_edges("node", router, ["end"]).compile(saver)
    asked = await compiled.ainvoke({}, config)
    assert [question.value for question in asked["__interrupt__"]] == ["where?"]
    assert (await compiled.ainvoke(Command(resume="end"), config))["items"] == ["node", "node"]
