"""Questions with terms that graphs within graphs, and steps, ask: the thread answers for them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from durable_graph import START, Command, InMemorySaver, StateGraph, interrupt, step
from durable_graph.errors import InvalidAnswerError, SwallowedInterruptError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.log.seal import open_header
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, identities, records_of

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}}


class Even(BaseModel):
    n: int

    @field_validator("n")
    @classmethod
    def is_even(cls, n: int) -> int:
        if n % 2:
            raise ValueError("not even")
        return n


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?", response_schema=Even, timeout=60, default={"n": 0}).n]}


async def ask_in_a_step(state: Items) -> Items:
    async def asks() -> int:
        answer: Even = interrupt("?", response_schema=Even, timeout=60, default={"n": 0})
        return answer.n

    return {"items": [await step("ask", asks)]}


def as_node(saver: Saver) -> CompiledGraph:
    inner = StateGraph(Items).add_node("ask", ask).add_edge(START, "ask").compile()
    return StateGraph(Items).add_node("inner", inner).add_edge(START, "inner").compile(saver)


def called(saver: Saver) -> CompiledGraph:
    inner = StateGraph(Items).add_node("ask", ask).add_edge(START, "ask").compile()

    async def node(state: Items) -> Items:
        return {"items": (await inner.ainvoke({}))["items"]}

    return chain(("node", node), saver=saver)


def in_a_step(saver: Saver) -> CompiledGraph:
    return chain(("node", ask_in_a_step), saver=saver)


async def answered_by(saver: Saver) -> list[str | None]:
    """Who gave the answers in the log."""
    records = await records_of(saver, CONFIG)
    return [open_header(record, "t").by for record in records if record.kind == "answers"]


PLACES = pytest.mark.parametrize("build", [as_node, called, in_a_step])


@PLACES
async def test_an_answer_is_checked_before_it_is_stored(build: Any) -> None:
    """By the schema, and here, where the node has run, by the type as well."""
    saver = InMemorySaver(clock=FakeClock(1000.0))
    graph = build(saver)
    (question,) = (await graph.ainvoke({}, CONFIG))["__interrupt__"]
    assert (question.response_schema["title"], question.deadline) == ("Even", 1060.0)
    before = await identities(saver, CONFIG)
    for wrong in ({"n": "two"}, {"n": 3}):
        with pytest.raises(InvalidAnswerError):
            await graph.ainvoke(Command(resume=wrong), CONFIG)
    assert await identities(saver, CONFIG) == before
    assert (await graph.ainvoke(Command(resume={"n": 2}), CONFIG, by="ann"))["items"] == [2]
    assert await answered_by(saver) == ["ann"]


@PLACES
async def test_what_the_type_refuses_elsewhere_is_asked_again(build: Any) -> None:
    """The caller is told, however deep the node is."""
    saver = InMemorySaver(clock=FakeClock(1000.0))
    await build(saver).ainvoke({}, CONFIG)
    graph = build(saver)
    with pytest.raises(InvalidAnswerError, match="not even"):
        await graph.ainvoke(Command(resume={"n": 3}), CONFIG)
    (again,) = (await graph.aget_state(CONFIG)).interrupts
    assert again.deadline == 1060.0
    assert (await graph.ainvoke(Command(resume={"n": 4}), CONFIG))["items"] == [4]


@PLACES
async def test_after_the_deadline_the_default_holds(build: Any) -> None:
    """Going on takes it, and the record says so."""
    clock = FakeClock(1000.0)
    saver = InMemorySaver(clock=clock)
    graph = build(saver)
    await graph.ainvoke({}, CONFIG)
    await clock.advance(60)
    assert (await graph.ainvoke(None, CONFIG))["items"] == [0]
    assert await answered_by(saver) == ["deadline"]


async def test_a_graph_within_that_swallows_its_question_fails() -> None:
    """The error is the inner node's, and reaches the caller."""

    async def swallow(state: Items) -> Items:
        try:
            return {"items": [interrupt("?")]}
        except BaseException:
            return {"items": ["caught"]}

    inner = StateGraph(Items).add_node("swallow", swallow).add_edge(START, "swallow").compile()
    graph = StateGraph(Items).add_node("inner", inner).add_edge(START, "inner")
    with pytest.raises(SwallowedInterruptError, match="'swallow'"):
        await graph.compile(InMemorySaver()).ainvoke({}, CONFIG)


async def test_a_node_that_swallows_a_question_of_a_graph_it_calls_fails() -> None:
    """As if the question had been its own."""
    inner = StateGraph(Items).add_node("ask", ask).add_edge(START, "ask").compile()

    async def node(state: Items) -> Items:
        try:
            return {"items": (await inner.ainvoke({}))["items"]}
        except BaseException:
            return {"items": ["caught"]}

    graph = chain(("node", node), saver=InMemorySaver())
    with pytest.raises(SwallowedInterruptError, match="'node'"):
        await graph.ainvoke({}, CONFIG)
