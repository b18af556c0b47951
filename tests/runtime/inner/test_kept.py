"""Graphs within graphs that keep their state from call to call: `checkpointer=True`."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import START, Send, StateGraph, interrupt
from durable_graph.errors import ThreadBusyError
from durable_graph.saver import Saver
from durable_graph.types import Command, RunnableConfig
from tests.runtime.inner.nests import Count
from tests.runtime.kit import Items, chain, says


async def told(state: Items) -> Items:
    """Says how much the graph has come to know."""
    return {"items": [len(state["items"])]}


@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_it_remembers_from_run_to_run(
    durability: Any, saver: Saver, config: RunnableConfig
) -> None:
    """As a node: one state for each thread."""
    inner = chain(("told", told), saver=True)
    graph = StateGraph(Items).add_node("inner", inner).add_edge(START, "inner")

    async def call(state: Items) -> Items:
        return {"items": (await inner.ainvoke({"items": ["new"]}))["items"], "last": 1}

    graph = StateGraph(Items).add_node("call", call).add_edge(START, "call")
    compiled = graph.compile(saver)
    for _ in range(3):
        result = await compiled.ainvoke({"last": 0}, config, durability=durability)
    assert result["items"][-6:] == ["new", 1, "new", 3, "new", 5]
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    assert (await compiled.ainvoke({}, other))["items"] == ["new", 1]


async def test_it_is_one_state_in_all_levels_around(saver: Saver, config: RunnableConfig) -> None:
    """A graph in the middle that keeps nothing does not keep it from remembering."""
    kept = chain(("told", told), saver=True)

    async def call(state: Items) -> Items:
        return {"last": (await kept.ainvoke({"items": ["new"]}))["items"]}

    graph = chain(("middle", chain(("call", call))), saver=saver)
    await graph.ainvoke({}, config)
    assert (await graph.ainvoke({}, config))["last"] == ["new", 1, "new", 3]


async def test_further_calls_of_one_task_have_states_of_their_own(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each place in the node's code is one state."""
    kept = chain(("told", told), saver=True)

    async def call(state: Items) -> Items:
        first = await kept.ainvoke({"items": ["one"]})
        second = await kept.ainvoke({"items": ["two"]})
        return {"last": [first["items"], second["items"]]}

    graph = chain(("call", call), saver=saver)
    await graph.ainvoke({}, config)
    assert (await graph.ainvoke({}, config))["last"] == [
        ["one", 1, "one", 3],
        ["two", 1, "two", 3],
    ]


async def test_what_it_asks_is_answered_and_it_goes_on(
    saver: Saver, config: RunnableConfig
) -> None:
    """With the state that it had kept; the call is known by its task."""
    count = Count()
    inner = chain(
        count.node("a"),
        count.node("ask", lambda state: {"items": [interrupt(len(state["items"]))]}),
        saver=True,
    )

    async def call(state: Items) -> Items:
        return {"last": (await inner.ainvoke({"items": ["new"]}))["items"]}

    graph = chain(("call", call), saver=saver)
    for answer in "xy":
        (ask,) = (await graph.ainvoke({}, config))["__interrupt__"]
        result = await graph.ainvoke(Command(resume=answer), config)
    assert ask.value == 5
    assert result["last"] == ["new", "a", "x", "new", "a", "y"]
    assert count["a"] == 2


async def test_what_is_dropped_in_the_middle_is_gone(saver: Saver, config: RunnableConfig) -> None:
    """A new input to the thread: what had finished there stays in the state, as in any thread."""
    inner = chain(("a", says("a")), ("ask", lambda state: {"items": [interrupt("?")]}), saver=True)

    async def call(state: Items) -> Items:
        return {"last": (await inner.ainvoke({"items": ["new"]}))["items"]}

    graph = chain(("call", call), saver=saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke({"count": 1}, config, on_pending="supersede")
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["last"] == ["new", "a", "new", "a", "yes"]


async def test_two_tasks_cannot_use_it_at_once(saver: Saver, config: RunnableConfig) -> None:
    """Which of them came first would decide what it remembers."""
    kept = chain(("told", told), saver=True)

    async def call(state: Items) -> Items:
        return {"items": (await kept.ainvoke({}))["items"]}

    graph = StateGraph(Items).add_node("call", call)
    graph.add_conditional_edges(START, lambda state: [Send("call", {}), Send("call", {})], ["call"])
    with pytest.raises(ThreadBusyError, match="keeps its state in the thread"):
        await graph.compile(saver).ainvoke({}, config)


async def test_a_fork_has_what_was_remembered_there(saver: Saver, config: RunnableConfig) -> None:
    """An earlier checkpoint knows what the graph within knew at the time."""
    kept = chain(("told", told), saver=True)

    async def call(state: Items) -> Items:
        return {"last": (await kept.ainvoke({"items": ["new"]}))["items"]}

    graph = chain(("call", call), saver=saver)
    await graph.ainvoke({}, config)
    first = await graph.aget_state(config)
    for _ in range(3):
        await graph.ainvoke({}, config)
    result = await graph.ainvoke({}, first.config)
    assert result["last"] == ["new", 1, "new", 3]
