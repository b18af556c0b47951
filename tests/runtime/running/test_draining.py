"""`RunControl`: a run that is asked to stops where it can be gone on with."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from durable_graph import Command, InMemorySaver, RunControl, Runtime, interrupt
from durable_graph.errors import ConfigError, GraphDrained
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, fan, key_of, records_of, says


async def standing(saver: Saver, config: RunnableConfig) -> tuple[str, str | None]:
    reading = await saver.backend.read(key_of(config))
    assert reading is not None
    return reading.head.status, reading.head.reason


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_run_finishes_its_superstep_and_stops(
    durability: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Its siblings finish too; all is stored; ``None`` goes on, and nothing runs twice."""
    control, ran = RunControl(), []

    async def drains(state: Items, runtime: Runtime) -> Items:
        ran.append("a")
        assert runtime.control is control
        control.request_drain("new version")
        assert (runtime.drain_requested, runtime.drain_reason) == (True, "new version")
        await asyncio.sleep(0)
        return {"items": ["a"]}

    async def second(state: Items) -> Items:
        ran.append("b")
        return {"items": ["b"]}

    graph = chain(("a", drains), ("b", second), saver=saver)
    with pytest.raises(GraphDrained, match=r"new version.*Call with None") as caught:
        await graph.ainvoke({}, config, control=control, durability=durability)
    assert caught.value.reason == "new version"
    assert await standing(saver, config) == ("stopped", "drained")
    snapshot = await graph.aget_state(config)
    assert (snapshot.values["items"], snapshot.next) == (["a"], ("b",))
    assert (await graph.ainvoke(None, config))["items"] == ["a", "b"]
    assert ran == ["a", "b"]


async def test_the_stop_rides_in_the_supersteps_commit(
    saver: Saver, config: RunnableConfig
) -> None:
    """A drained run makes no more writes than one that goes on; the log says why it stopped."""
    control = RunControl()

    async def drains(state: Items) -> None:
        control.request_drain()

    with pytest.raises(GraphDrained):
        await chain(("a", drains), ("b", says("b")), saver=saver).ainvoke(
            {}, config, control=control
        )
    kinds = [record.kind for record in await records_of(saver, config)]
    assert kinds == ["commit", "commit", "commit", "mark"]
    assert saver.statistics().writes == 2  # the input, and the superstep with the stop


async def test_all_tasks_of_the_superstep_finish(saver: Saver, config: RunnableConfig) -> None:
    """Draining is no cancelling."""
    control = RunControl()

    async def slow(state: Items) -> Items:
        for _ in range(5):
            await asyncio.sleep(0)
        return {"items": ["slow"]}

    async def drains(state: Items) -> Items:
        control.request_drain()
        return {"items": ["quick"]}

    graph = fan(("quick", drains), ("slow", slow), saver=saver)
    graph_after = await graph.ainvoke({}, config, control=control)
    assert graph_after["items"] == ["quick", "slow"]  # nothing was left to do: it has ended
    assert await standing(saver, config) == ("finished", None)


async def test_a_run_that_is_asked_before_it_begins_stores_its_input(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nothing runs; the input is not lost. Nor does a call that goes on run anything."""
    control = RunControl()
    control.request_drain()
    graph = chain(("a", says("a")), saver=saver)
    for given in ({"items": ["in"]}, None):
        with pytest.raises(GraphDrained, match="shutdown"):
            await graph.ainvoke(given, config, control=control)
        assert await standing(saver, config) == ("stopped", "drained")
        assert (await graph.aget_state(config)).next == ("a",)
    assert (await graph.ainvoke(None, config))["items"] == ["in", "a"]


async def test_an_answer_to_a_drained_run_is_kept(saver: Saver, config: RunnableConfig) -> None:
    """It is stored, and the node gets it when the thread goes on."""
    control = RunControl()
    control.request_drain()

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = chain(("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    with pytest.raises(GraphDrained):
        await graph.ainvoke(Command(resume="!"), config, control=control)
    assert (await graph.ainvoke(None, config))["items"] == ["!"]


async def test_a_question_is_shown_rather_than_the_stop(
    saver: Saver, config: RunnableConfig
) -> None:
    """A run that asks has ended by itself."""
    control = RunControl()

    async def ask(state: Items) -> None:
        control.request_drain()
        interrupt("?")

    result = await chain(("ask", ask), saver=saver).ainvoke({}, config, control=control)
    assert [question.value for question in result["__interrupt__"]] == ["?"]


async def test_a_stream_shows_what_was_stored_and_then_says_so(
    saver: Saver, config: RunnableConfig
) -> None:
    """The last superstep's events come before the error."""
    control = RunControl()

    async def drains(state: Items) -> Items:
        control.request_drain()
        return {"items": ["a"]}

    graph = chain(("a", drains), ("b", says("b")), saver=saver)
    stream = graph.astream({}, config, control=control)
    assert await anext(stream) == {"a": {"items": ["a"]}}
    with pytest.raises(GraphDrained):
        await anext(stream)


def test_a_control_can_be_used_from_any_thread(config: RunnableConfig) -> None:
    """Here the main thread asks a synchronous call, in another thread, to stop."""
    control, begun, go_on = RunControl(), threading.Event(), threading.Event()

    def node(state: Items) -> None:
        begun.set()
        go_on.wait(20)

    graph = chain(("a", node), ("b", says("b")), saver=InMemorySaver())
    ended: list[BaseException] = []

    def call() -> None:
        try:
            graph.invoke({}, config, control=control)
        except GraphDrained as error:
            ended.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    assert begun.wait(20)
    control.request_drain("first")
    control.request_drain("second")
    go_on.set()
    thread.join(20)
    assert [str(error)[:40] for error in ended] == ["The run was asked to stop (first), and h"]
    assert repr(control) == "<RunControl, asked to drain: 'first'>"
    assert repr(RunControl()) == "<RunControl>"


async def test_a_run_that_is_not_stored_drains_as_well(config: RunnableConfig) -> None:
    """What it had is gone, as with any error."""
    control = RunControl()
    control.request_drain()
    with pytest.raises(GraphDrained):
        await chain(("a", says("a"))).ainvoke({}, control=control)


async def test_what_is_no_control_is_refused(config: RunnableConfig) -> None:
    """At the call."""
    given: Any = "drain"
    with pytest.raises(ConfigError, match="control= is a RunControl, not 'drain'"):
        await collect(chain(("a", says("a"))).astream({}, control=given))
