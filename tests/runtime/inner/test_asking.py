"""Questions of graphs within graphs are asked, and answered, where the outermost one is called."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import START, InMemorySaver, StateGraph, interrupt
from durable_graph.saver import Saver
from durable_graph.types import Command, RunnableConfig
from tests.runtime.inner.nests import Count, nest
from tests.runtime.kit import Items, chain, says


def asks(question: Any) -> Any:
    """A node that asks, and writes down the answer."""
    return lambda state: {"items": [interrupt(question)]}


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_an_answer_goes_on_where_the_question_was_asked(
    depth: int, durability: Any, saver: Saver, config: RunnableConfig
) -> None:
    """However deep: nothing that has finished runs again."""
    count = Count()
    nodes = [count.node("a"), count.node("ask", asks("?")), count.node("b")]
    graph = nest(depth, nodes, saver)
    asked = await graph.ainvoke({}, config, durability=durability)
    assert [ask.value for ask in asked["__interrupt__"]] == ["?"]
    again = await graph.ainvoke(None, config, durability=durability)
    assert again["__interrupt__"] == asked["__interrupt__"]
    answer: Command[Any] = Command(resume={asked["__interrupt__"][0].id: "yes"})
    result = await graph.ainvoke(answer, config, durability=durability)
    assert result["items"] == ["a", "yes", "b"]
    assert count == {"a": 1, "ask": 2, "b": 1}


async def test_the_next_process_goes_on_as_well(config: RunnableConfig, tmp_path: Any) -> None:
    """All of it is in the log."""
    from durable_graph_sqlite import SqliteSaver

    count = Count()
    nodes = [count.node("a"), count.node("ask", asks("?")), count.node("b")]
    async with SqliteSaver(tmp_path / "t.db") as saver:
        await nest(2, nodes, saver).ainvoke({}, config)
    async with SqliteSaver(tmp_path / "t.db") as saver:
        result = await nest(2, nodes, saver).ainvoke(Command(resume="yes"), config)
    assert result["items"] == ["a", "yes", "b"]
    assert count == {"a": 1, "ask": 2, "b": 1}


async def test_several_questions_in_one_graph_can_be_answered_one_by_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each answer lets its own node finish; the others go on asking, under the same ids."""
    count = Count()
    graph = StateGraph(Items)
    for name in ("one", "two"):
        graph.add_node(*count.node(name, asks(name))).add_edge(START, name)
    graph.add_node("end", says("end")).add_edge(["one", "two"], "end")
    around = chain(("inner", graph.compile()), saver=saver)
    asked = (await around.ainvoke({}, config))["__interrupt__"]
    ids = {ask.value: ask.id for ask in asked}
    left = (await around.ainvoke(Command(resume={ids["two"]: 2}), config))["__interrupt__"]
    assert [(ask.value, ask.id) for ask in left] == [("one", ids["one"])]
    result = await around.ainvoke(Command(resume=1), config)
    assert result["items"] == [1, 2, "end"]
    assert count["two"] == 2


async def test_questions_of_siblings_are_asked_together(
    saver: Saver, config: RunnableConfig
) -> None:
    """A graph and a node beside it, and the same graph as another node."""
    inner = chain(("a", says("a")), ("ask", asks("inner?")))
    graph = StateGraph(Items).add_node("one", inner).add_node("two", inner)
    graph.add_node("three", asks("three?"))
    for name in ("one", "two", "three"):
        graph.add_edge(START, name)
    compiled = graph.compile(saver)
    asked = (await compiled.ainvoke({}, config))["__interrupt__"]
    assert [ask.value for ask in asked] == ["inner?", "three?", "inner?"]
    assert len({ask.id for ask in asked}) == 3
    answers = {ask.id: number for number, ask in enumerate(asked)}
    result = await compiled.ainvoke(Command(resume=answers), config)
    assert result["items"] == ["a", 0, 1, "a", 2]


async def test_questions_one_after_the_other(saver: Saver, config: RunnableConfig) -> None:
    """In one node of the graph within, and in the nodes after it."""

    def twice(state: Items) -> Items:
        return {"items": [interrupt("first?"), interrupt("second?")]}

    graph = nest(2, [("twice", twice), ("third", asks("third?"))], saver)
    for question in ("first?", "second?", "third?"):
        given: Any = {} if question == "first?" else Command(resume=f"not {question}")
        (ask,) = (await graph.ainvoke(given, config))["__interrupt__"]
        assert ask.value == question
    result = await graph.ainvoke(Command(resume="at last"), config)
    assert result["items"] == ["not second?", "not third?", "at last"]


async def test_a_new_input_supersedes_what_is_asked_within(
    saver: Saver, config: RunnableConfig
) -> None:
    """The graph within begins anew, and nothing of the one that is dropped is left."""
    count = Count()
    graph = nest(2, [count.node("a"), count.node("ask", asks("?"))], saver)
    (first,) = (await graph.ainvoke({"items": ["one"]}, config))["__interrupt__"]
    asked = await graph.ainvoke({"items": ["two"]}, config, on_pending="supersede")
    assert asked["__interrupt__"][0].id != first.id
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["items"][-2:] == ["a", "yes"]
    assert count["a"] == 2


async def test_a_graph_that_keeps_nothing_begins_anew(saver: Saver, config: RunnableConfig) -> None:
    """`checkpointer=False`: its question is asked all the same, and the answer finds it."""
    count = Count()
    inner = chain(count.node("a"), count.node("ask", asks("?")), saver=False)
    graph = chain(("inner", inner), saver=saver)
    await graph.ainvoke({}, config)
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["items"] == ["a", "yes"]
    assert count == {"a": 2, "ask": 2}
    states = [state async for state in graph.aget_state_history(config)]
    assert len(states) == 3


async def test_the_answer_of_another_process_comes_through_the_inbox(
    config: RunnableConfig,
) -> None:
    """While a sibling is still running, the answer waits for it and is taken up then."""
    import asyncio

    saver, open_, asked = InMemorySaver(), asyncio.Event(), asyncio.Event()

    async def slow(state: Items) -> Items:
        asked.set()
        await open_.wait()
        return {"items": ["slow"]}

    inner = chain(("a", says("a")), ("ask", asks("?")))
    graph = StateGraph(Items).add_node("inner", inner).add_node("slow", slow)
    compiled = graph.add_edge(START, "inner").add_edge(START, "slow").compile(saver)
    run = asyncio.create_task(compiled.ainvoke({}, config))
    await asked.wait()
    while not (await compiled.aget_state(config)).interrupts:
        await asyncio.sleep(0)
    answer = asyncio.create_task(compiled.ainvoke(Command(resume="yes"), config))
    for _ in range(20):
        await asyncio.sleep(0)
    open_.set()
    assert (await run)["items"] == (await answer)["items"] == ["a", "yes", "slow"]
