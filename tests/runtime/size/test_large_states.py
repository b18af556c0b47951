"""Scenario 48: a state of megabytes is stored, goes on in another process, and leaves others turns.

Encoding and hashing a value happen on the event loop, before anything is awaited: so a node cannot
change what it has returned. That takes time in proportion to the value, and this is what is held
here: for one text or one piece of bytes, about what it takes to encode and hash it a few times;
for a list of small parts, each of which is encoded by itself, more.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import orjson
import pytest

from durable_graph import START, StateGraph
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.crash.harness.counts import TORTURE
from tests.runtime.kit import key_of

MEGABYTES = 100 if TORTURE else 8
SIZE = MEGABYTES * 2**20

SHAPES: dict[str, Any] = {
    "text": lambda: "x" * SIZE,
    "bytes": lambda: b"x" * SIZE,
    "parts": lambda: [{"n": number, "text": "y" * 1000} for number in range(SIZE // 1024)],
}


class Large(TypedDict, total=False):
    """Something large, and how much of it was found."""

    value: Any
    found: int


def graph(saver: Saver, shape: str) -> CompiledGraph:
    """Makes it, stops, and looks at it."""

    async def make(state: Large) -> Large:
        return {"value": SHAPES[shape]()}

    async def look(state: Large) -> Large:
        return {"found": len(state["value"])}

    made = StateGraph(Large).add_sequence([("make", make), ("look", look)]).add_edge(START, "make")
    return made.compile(saver, interrupt_before=["look"])


@asynccontextmanager
async def turns() -> AsyncIterator[list[float]]:
    """How long others had to wait for each turn of the event loop, in seconds.

    Counted in the time that the loop's thread was computing, since a busy machine takes turns, too.
    """
    waited: list[float] = []

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.001)
            waited.append(time.thread_time() - before)

    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(watch())
        await asyncio.sleep(0)
        yield waited
        await asyncio.sleep(0.002)
        watcher.cancel()


def yardstick(shape: str) -> float:
    """Seconds that encoding and hashing the value once take here and now."""
    value = SHAPES[shape]()
    before = time.thread_time()
    encoded = value if isinstance(value, bytes) else orjson.dumps(value)
    hashlib.sha256(encoded).digest()
    return time.thread_time() - before


@pytest.mark.parametrize(("shape", "times"), [("text", 8), ("bytes", 12), ("parts", 40)])
async def test_a_large_state_is_stored_and_goes_on_and_others_get_their_turns(
    shape: str, times: int, saver: Saver, config: RunnableConfig
) -> None:
    """As it was, though nothing of it is at hand; at worst a turn is `times` its encoding."""
    compiled = graph(saver, shape)
    async with turns() as storing:
        await compiled.ainvoke({}, config)
    saver.hot.take(key_of(config))
    async with turns() as going_on:
        result = await compiled.ainvoke(None, config)
    assert result == {"value": SHAPES[shape](), "found": len(SHAPES[shape]())}
    assert await saver.averify(config["configurable"]["thread_id"]) == []
    # On a machine with nothing else to do, 8 MB of text or bytes stay below 0.1 s.
    limit = max(0.1, times * yardstick(shape))
    assert max(storing) <= limit, "while it was stored"
    assert max(going_on) <= limit, "while it was read"
