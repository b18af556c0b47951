"""Who answered what, and when, is on record and can be read back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from durable_graph import START, Command, InMemorySaver, StateGraph, interrupt
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import Durability, GivenAnswer, RunnableConfig
from tests.runtime.kit import Items, chain, fan, history, key_of, reached

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}}


async def ask(state: Items) -> Items:
    return {"items": [interrupt("first?"), interrupt("second?")]}


async def answered(graph: CompiledGraph) -> dict[str, GivenAnswer | None]:
    """What the history says of each question's answer; of several checkpoints, the newest."""
    checkpoints = reversed(await history(graph, CONFIG))
    return {q.value: q.answer for one in checkpoints for q in one.interrupts}


async def left(graph: CompiledGraph) -> bool:
    """Whether an answer waits in the inbox."""
    assert graph.checkpointer is not None
    reading = await graph.checkpointer.backend.read(key_of(CONFIG))
    return reading is not None and bool(reading.messages)


async def test_the_history_says_who_answered_and_when() -> None:
    """Each answer has its value, its author and its time; an open question has none."""
    clock = FakeClock(1000.0)
    graph = chain(("ask", ask), saver=InMemorySaver(clock=clock))
    (first,) = (await graph.ainvoke({}, CONFIG))["__interrupt__"]
    assert first.answer is None
    await clock.advance(60)
    (second,) = (await graph.ainvoke(Command(resume=1), CONFIG, by="ann"))["__interrupt__"]
    assert await answered(graph) == {"first?": GivenAnswer(1, "ann", 1060.0), "second?": None}
    await clock.advance(60)
    await graph.ainvoke(Command(resume={second.id: None}), CONFIG)
    assert await answered(graph) == {
        "first?": GivenAnswer(1, "ann", 1060.0),
        "second?": GivenAnswer(None, None, 1120.0),
    }


async def test_the_present_shows_only_what_is_open(saver: Saver) -> None:
    """A snapshot of the present has the open question, without the answered one before it."""
    graph = chain(("ask", ask), saver=saver)
    await graph.ainvoke({}, CONFIG)
    await graph.ainvoke(Command(resume=1), CONFIG, by="ann")
    (task,) = (await graph.aget_state(CONFIG)).tasks
    assert [(q.value, q.answer) for q in task.interrupts] == [("second?", None)]


async def test_an_answer_from_beside_a_run_has_its_senders_time_and_name() -> None:
    """What waits in the inbox was given when it was left there, not when it was taken up."""
    clock, go, asked = FakeClock(1000.0), asyncio.Event(), asyncio.Event()

    async def slow(state: Items) -> None:
        asked.set()
        await go.wait()

    async def one(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = fan(("one", one), ("slow", slow), saver=InMemorySaver(clock=clock))
    run = asyncio.create_task(graph.ainvoke({}, CONFIG))
    await reached(asked, run)
    while not (await graph.aget_state(CONFIG)).interrupts:
        await asyncio.sleep(0)
    answer = asyncio.create_task(graph.ainvoke(Command(resume="yes"), CONFIG, by="eve"))
    while not await left(graph):
        await asyncio.sleep(0)
    await clock.advance(30)
    go.set()
    await asyncio.gather(run, answer)
    assert await answered(graph) == {"?": GivenAnswer("yes", "eve", 1000.0)}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_several_hands_are_kept_apart(durability: Durability) -> None:
    """Two questions, answered by two people, in every durability."""
    clock = FakeClock(1000.0)
    saver = InMemorySaver(clock=clock)

    def asks(question: str) -> Callable[[Items], Awaitable[Items]]:
        async def node(state: Items) -> Items:
            return {"items": [interrupt(question)]}

        return node

    graph = fan(("a", asks("a?")), ("b", asks("b?")), ("c", asks("c?")), saver=saver)
    found = (await graph.ainvoke({}, CONFIG, durability=durability))["__interrupt__"]
    ids: dict[str, str] = {question.value: question.id for question in found}
    for name, by in (("a?", "ann"), ("b?", "bob")):
        await clock.advance(10)
        given: Command[Any] = Command(resume={ids[name]: name.upper()})
        await graph.ainvoke(given, CONFIG, by=by, durability=durability)
    assert await answered(graph) == {
        "a?": GivenAnswer("A?", "ann", 1010.0),
        "b?": GivenAnswer("B?", "bob", 1020.0),
        "c?": None,
    }


async def test_an_answer_that_is_carried_on_keeps_its_hand() -> None:
    """An update beside an answer makes a checkpoint; there stands who gave the answer."""
    clock = FakeClock(1000.0)
    graph = StateGraph(Items).add_node("ask", ask).add_edge(START, "ask")
    compiled = graph.compile(InMemorySaver(clock=clock))
    await compiled.ainvoke({}, CONFIG)
    given: Command[Any] = Command(resume=1, update={"last": "beside"})
    await compiled.ainvoke(given, CONFIG, by="ann")
    assert (await answered(compiled))["first?"] == GivenAnswer(1, "ann", 1000.0)
