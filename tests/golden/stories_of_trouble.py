"""Stories about runs that did not come to their end: stopped, failed, crashed, taken over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from durable_graph import START, RetryPolicy, RunControl, StateGraph
from durable_graph.errors import GraphDrained, GraphRecursionError, StorageFullError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import StreamWriter
from tests.golden.story import Items, Story, Telling, chain, says
from tests.runtime.backends import failing

__all__ = ["STORIES"]


def _letters(saver: Saver, trouble: bool) -> CompiledGraph:
    return chain(saver, ("a", says("a")), ("b", says("b", last="b")), ("c", says("c")))


async def _go_on(story: Telling) -> Any:
    return await story.run(None)


# -- stopped -----------------------------------------------------------------------------------


async def _tell_breakpoint(story: Telling) -> None:
    await story.run({"items": ["input"]}, interrupt_after=["a"])
    await story.run(None, interrupt_before="*", by="ann")


async def _tell_limit(story: Telling) -> None:
    with pytest.raises(GraphRecursionError):
        await story.run({"items": ["input"]}, config={"recursion_limit": 2})


async def _tell_drained(story: Telling) -> None:
    control = RunControl()
    control.request_drain()
    for given in ({"items": ["input"]}, None):  # in a commit, and by a mark alone
        config: dict[str, Any] = {"metadata": {"given": given is not None}}
        with pytest.raises(GraphDrained):
            await story.run(given, config=config, control=control)


def _held(trouble: bool) -> Callable[..., Awaitable[Items]]:
    async def node(state: Items, writer: StreamWriter) -> Items:
        if trouble:
            writer("held")
            await asyncio.get_running_loop().create_future()
        return {"items": ["let go"]}

    return node


def _holding(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    graph.add_node("before", says("before")).add_node("quick", says("quick"))
    graph.add_node("hold", _held(trouble))
    graph.add_edge(START, "before").add_edge("before", "hold").add_edge("before", "quick")
    return graph.compile(saver)


async def _tell_cancelled(story: Telling) -> None:
    await story.later()
    run = story.graph.astream({"items": ["input"]}, story.config(), stream_mode="custom")
    assert await anext(run) == "held"
    await run.aclose()


# -- failed ------------------------------------------------------------------------------------


def _broken(trouble: bool) -> Callable[[Items], Awaitable[Items]]:
    async def node(state: Items) -> Items:
        if trouble:
            raise ValueError("it does not work")
        return {"items": ["mended"]}

    return node


def _failing(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    once_more = RetryPolicy(max_attempts=2, jitter=False, retry_on=ValueError)
    graph.add_node("good", says("good")).add_node("bad", _broken(trouble), retry_policy=once_more)
    graph.add_node("after", says("after"))
    graph.add_edge(START, "good").add_edge(START, "bad")
    return graph.add_edge(["good", "bad"], "after").compile(saver)


async def _tell_failed(story: Telling) -> None:
    with pytest.raises(ValueError, match="it does not work"):
        await story.run({"items": ["input"]})


# -- crashed -----------------------------------------------------------------------------------


def _wide(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    for name in ("first", "one", "two", "three"):
        graph.add_node(name, says(name))
    graph.add_edge(START, "first")
    for name in ("one", "two", "three"):
        graph.add_edge("first", name)
    return graph.compile(saver)


async def _cut_off(story: Telling, good: int) -> Any:
    """A run whose storage goes away after so many writes; returns what brings it back."""
    around = failing(story.saver, good)
    with pytest.raises(StorageFullError):
        await story.run({"items": ["input"]})
    assert await story.status() == "running"
    return around


async def _tell_crashed(story: Telling) -> None:
    await _cut_off(story, good=3)  # the input, the first node, the results of two of three


async def _tell_taken_over(story: Telling) -> None:
    around = await _cut_off(story, good=3)
    around.good = around.appends + 100
    await story.run(None, by="ann")


async def _tell_dropped(story: Telling) -> None:
    around = await _cut_off(story, good=3)
    around.good = around.appends + 100
    await story.run({"items": ["something else"]})


async def _tell_storage(story: Telling) -> None:
    await _cut_off(story, good=2)
    await story.later()
    story.clock.beat()  # the heart tries again to say that the run has ended
    while await story.status() == "running":
        await asyncio.sleep(0)


STORIES: Final = (
    Story("breakpoint", _letters, _tell_breakpoint, _go_on),
    Story("recursion-limit", _letters, _tell_limit, _go_on),
    Story("drained", _letters, _tell_drained, _go_on),
    Story("cancelled", _holding, _tell_cancelled, _go_on),
    Story("failed", _failing, _tell_failed, _go_on),
    Story("crashed", _wide, _tell_crashed, _go_on),
    Story("taken-over", _wide, _tell_taken_over),
    Story("dropped", _wide, _tell_dropped),
    Story("storage", _letters, _tell_storage, _go_on),
)
