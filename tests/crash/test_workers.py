"""Scenarios 15 and 18: threads of sync nodes that are left behind, and values that change later."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from typing import Any, TypedDict

import pytest

from durable_graph import START, StateGraph
from durable_graph.engine.workers import workers
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.crash.harness.counts import rounds


class State(TypedDict, total=False):
    who: str
    items: list[Any]


async def test_the_late_result_of_an_abandoned_thread_is_dropped(saver: Saver) -> None:
    """A sync node whose run was cancelled ends for nobody: the state has the later run's result."""
    for seed in rounds(25, 500):
        await abandon_a_thread(saver, {"configurable": {"thread_id": f"thread {seed}"}})


async def abandon_a_thread(saver: Saver, config: RunnableConfig) -> None:
    """Cancel a run in a sync node, run that node again, and then let the first one end."""
    entered, gate, left = asyncio.Event(), threading.Event(), threading.Event()
    loop, calls = asyncio.get_running_loop(), []

    def block(state: State) -> State:
        calls.append(threading.get_ident())
        if len(calls) > 1:
            return {"who": "the second"}
        loop.call_soon_threadsafe(entered.set)
        gate.wait(30)
        left.set()
        return {"who": "the first"}

    graph = StateGraph(State).add_node("block", block).add_edge(START, "block").compile(saver)
    run = asyncio.ensure_future(graph.ainvoke({}, config))
    await entered.wait()
    before = workers.abandoned
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not left.is_set(), "the loop has waited for the thread"
    assert await graph.ainvoke(None, config) == {"who": "the second"}
    assert workers.abandoned == before

    gate.set()
    while workers.abandoned == before:  # it comes through the loop
        await asyncio.to_thread(left.wait, 30)
    assert workers.abandoned == before + 1
    assert (await graph.aget_state(config)).values == {"who": "the second"}
    assert len([one async for one in graph.aget_state_history(config)]) == 3
    assert len(set(calls)) == 2


BLOCKED = """
import asyncio, threading
from durable_graph import START, InMemorySaver, StateGraph

entered = asyncio.Event()

async def main():
    loop = asyncio.get_running_loop()

    def block(state):
        loop.call_soon_threadsafe(entered.set)
        threading.Event().wait()

    graph = StateGraph(dict).add_node("block", block).add_edge(START, "block")
    graph = graph.compile(InMemorySaver())
    run = asyncio.create_task(graph.ainvoke({}, {"configurable": {"thread_id": "thread"}}))
    await entered.wait()
    run.cancel()
    await asyncio.wait([run])
    print("cancelled", run.cancelled())

asyncio.run(main())
print("over")
"""


def test_a_thread_that_never_ends_does_not_keep_its_process(tmp_path: object) -> None:
    """The interpreter exits though a sync node blocks for ever."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED], check=True, capture_output=True, timeout=30, text=True
    )
    assert done.stdout.split() == ["cancelled", "True", "over"]
    assert done.stderr == ""
    assert time.monotonic() - began < 5


async def test_what_a_node_does_to_its_value_later_changes_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """What is stored is the value at the return, however its node goes on with it."""
    loop = asyncio.get_running_loop()
    kept: list[State] = []
    spoilers: list[asyncio.Task[None]] = []

    def spoil(value: State) -> None:
        value["items"].append("late")
        value["items"][0]["deep"].append("late")

    async def spoil_on(value: State) -> None:
        while True:
            spoil(value)
            await asyncio.sleep(0)

    async def keep(state: State) -> State:
        number = len(state.get("items", []))
        value: State = {"items": [{"deep": [number]}, *range(number)]}
        # In the very next turn of the loop, and in each one after that.
        spoilers.append(loop.create_task(spoil_on(value)))
        state.get("items", []).append("mine to spoil")
        return value

    def keep_in_thread(state: State) -> State:
        value: State = {"items": [{"deep": ["thread"]}, *state["items"][1:]]}
        kept.append(value)
        return value

    def route(state: State) -> str:
        state["items"].append("the router's to spoil")
        while kept:
            spoil(kept.pop())
        return "__end__"

    graph = (
        StateGraph(State)
        .add_node("keep", keep)
        .add_node("keep_in_thread", keep_in_thread)
        .add_edge(START, "keep")
        .add_edge("keep", "keep_in_thread")
        .add_conditional_edges("keep_in_thread", route)
        .compile(saver)
    )
    expected: list[Any] = []
    for _ in rounds(100, 1000):
        number = len(expected) if expected else 0
        shown = await graph.ainvoke({"who": "x"}, config)
        expected = [{"deep": ["thread"]}, *range(number)]
        assert shown["items"] == expected
        spoilers[-1].cancel()
        shown["items"].append("the caller's to spoil")
        stored = (await graph.aget_state(config)).values["items"]
        assert stored == expected
        stored.append("the reader's to spoil")
        if len(expected) > 20:
            await graph.aupdate_state(config, {"items": []}, as_node="keep_in_thread")
            expected = []
    assert await saver.averify(config["configurable"]["thread_id"]) == []
