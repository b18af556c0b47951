"""Very many calls of a graph at once."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, TypedDict

from durable_graph import START, Command, InMemorySaver, Send, StateGraph, interrupt
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import bytes_of, key_of


class Sum(TypedDict, total=False):
    """What is added up."""

    count: Annotated[int, operator.add]


async def _one(state: Sum) -> Sum:
    return {"count": 1}


async def _nothing(state: Sum) -> Sum:
    return {}


def _fan(
    calls: int,
    saver: Saver,
    node: Callable[[Sum], Awaitable[Sum]] = _one,
    given: Callable[[int], int] = lambda _: 0,
) -> CompiledGraph:
    inner = StateGraph(Sum).add_node("one", node).add_edge(START, "one").compile()
    graph = StateGraph(Sum)
    graph.add_node("split", _nothing)
    graph.add_node("inner", inner)
    graph.add_edge(START, "split")
    graph.add_conditional_edges(
        "split", lambda _: [Send("inner", {"count": given(n)}) for n in range(calls)], ["inner"]
    )
    return graph.compile(saver)


async def _stored(calls: int, saver: Saver) -> float:
    config: RunnableConfig = {"configurable": {"thread_id": f"{calls} calls"}}
    result = await _fan(calls, saver).ainvoke({"count": 0}, config)
    assert result["count"] == calls
    return await bytes_of(saver, config) / calls


async def test_each_of_many_calls_costs_the_same(saver: Saver) -> None:
    """What is stored of a call does not grow with the number of its siblings, though each of
    their commits could be one that holds the whole thread."""
    assert await _stored(600, saver) < 3 * await _stored(100, saver)


async def test_one_of_many_calls_asks() -> None:
    """What holds the whole thread in the middle of it holds the calls that have ended, too."""
    saver, ran = InMemorySaver(), []

    async def asks(state: Sum) -> Sum:
        ran.append(state["count"])
        return {"count": interrupt("how many?") if state["count"] == 7 else 0}

    def made() -> CompiledGraph:
        return _fan(400, saver, asks, lambda number: number)

    config: RunnableConfig = {"configurable": {"thread_id": "many"}}
    (question,) = (await made().ainvoke({"count": 0}, config))["__interrupt__"]
    saver.hot.take(key_of(config))
    assert (await made().aget_state(config)).interrupts == (question,)
    ran.clear()
    result = await made().ainvoke(Command(resume=1000), config)
    assert result["count"] == sum(range(400)) + 1000
    assert ran == [7]


async def test_many_calls_ask_and_are_answered_at_once() -> None:
    """That a graph has gone on is no matter of the others that ask beside it."""
    saver = InMemorySaver()

    async def asks(state: Sum) -> Sum:
        return {"count": interrupt(state["count"])}

    graph = _fan(300, saver, asks, lambda number: number)
    config: RunnableConfig = {"configurable": {"thread_id": "asking"}}
    asked = (await graph.ainvoke({"count": 0}, config))["__interrupt__"]
    some = {question.id: 1 for question in asked[:100]}
    asked = (await graph.ainvoke(Command(resume=some), config))["__interrupt__"]
    assert [question.value for question in asked] == list(range(100, 300))
    rest = {question.id: 1 for question in asked}
    result = await graph.ainvoke(Command(resume=rest), config)
    assert result["count"] == sum(range(300)) + 300
