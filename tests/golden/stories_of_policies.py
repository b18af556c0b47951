"""Stories about what nodes go by: error handlers, deferred nodes, timeouts, caches."""

from __future__ import annotations

from typing import Any, Final

import pytest

from durable_graph import (
    START,
    CachePolicy,
    Command,
    InMemoryCache,
    NodeError,
    Send,
    StateGraph,
    TimeoutPolicy,
    interrupt,
    step,
)
from durable_graph.errors import StorageFullError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from tests.golden.story import Items, Story, Telling, says
from tests.runtime.backends import failing

__all__ = ["STORIES"]


# -- handled: two nodes fail, and the process dies when one of their handlers has finished -----


async def _bad(state: Items) -> Items:
    raise ValueError("it does not work")


async def _handle(state: Items, error: NodeError) -> Items:
    return {"items": [f"{error.node}: {error.text}"]}


def _handled(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    for name in ("one", "two"):
        graph.add_node(name, _bad, error_handler=_handle).add_edge(START, name)
    graph.add_node("good", says("good")).add_edge(START, "good")
    return graph.compile(saver)


async def _tell_handled(story: Telling) -> None:
    failing(story.saver, 3)  # the input, what failed and the good one, one handler's result
    with pytest.raises(StorageFullError):
        await story.run({"items": ["input"]})


async def _go_on(story: Telling) -> Any:
    return await story.run(None)


# -- deferred: a node that waits until the longer branch has come to its end -------------------


def _deferred(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items)
    for name in ("first", "long", "longer"):
        graph.add_node(name, says(name))
    graph.add_node("last", says("last"), defer=True)
    graph.add_edge(START, "first").add_edge("first", "long").add_edge("first", "last")
    return graph.add_edge("long", "longer").compile(saver)


async def _tell_deferred(story: Telling) -> None:
    await story.run({"items": ["input"]}, interrupt_before=["longer"])


# -- handler-asks: an error handler that asks in a step ----------------------------------------


async def _ask_about(state: Items, error: NodeError) -> Items:
    return {"items": [await step("ask", interrupt, f"what now? {error.text}")]}


def _asking(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items).add_node("bad", _bad, error_handler=_ask_about)
    return graph.add_edge(START, "bad").compile(saver)


async def _tell_asking(story: Telling) -> None:
    await story.run({"items": ["input"]})


async def _answer(story: Telling) -> Any:
    return await story.run(Command(resume="nothing"), by="ann")


# -- limited: sends that say how long they may take --------------------------------------------


def _packets(state: Items) -> list[Send]:
    idle = TimeoutPolicy(idle_timeout=5, refresh_on="heartbeat")
    return [Send("work", 1), Send("work", 2, timeout=60.5), Send("work", 3, timeout=idle)]


async def _work(packet: int) -> Items:
    return {"items": [packet]}


def _limited(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items).add_node("first", says("first")).add_node("work", _work)
    graph.add_edge(START, "first")
    return graph.add_conditional_edges("first", _packets, ["work"]).compile(saver)


async def _tell_limited(story: Telling) -> None:
    await story.run({"items": ["input"]}, interrupt_before=["work"])


# -- kept: the second packet's result is the first one's, out of the cache ---------------------


def _twice(state: Items) -> list[Send]:
    return [Send("work", 1), Send("work", 1)]


def _kept(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Items).add_node("work", _work, cache_policy=CachePolicy())
    graph.add_conditional_edges(START, _twice, ["work"])
    return graph.compile(saver, cache=InMemoryCache())


async def _tell_kept(story: Telling) -> None:
    await story.run({"items": ["input"]}, config={"max_concurrency": 1})


STORIES: Final = (
    Story("handled", _handled, _tell_handled, _go_on),
    Story("handler-asks", _asking, _tell_asking, _answer),
    Story("deferred", _deferred, _tell_deferred, _go_on),
    Story("limited", _limited, _tell_limited, _go_on),
    Story("kept", _kept, _tell_kept),
)
