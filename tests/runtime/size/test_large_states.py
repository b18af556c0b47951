"""Scenario 48: a state of megabytes is stored, goes on in another process, and leaves others turns.

What looks large is encoded, hashed, sealed, read and decoded in a thread beside the event loop.
Here the time is held that the loop's own thread is busy meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import orjson
import pytest

from durable_graph import START, StateGraph
from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import InMemorySaver, Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
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


def graph(saver: Saver, value: Any) -> CompiledGraph:
    """Makes it, stops, and looks at it."""

    async def make(state: Large) -> Large:
        return {"value": value}

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

    gc.collect()
    gc.disable()  # it takes long in a process with many tests, in whichever thread it happens
    try:
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch())
            await asyncio.sleep(0)
            yield waited
            await asyncio.sleep(0.002)
            watcher.cancel()
    finally:
        gc.enable()


def yardstick(value: Any) -> float:
    """Seconds that encoding and hashing the value once take here and now."""
    before = time.thread_time()
    encoded = value if isinstance(value, bytes) else orjson.dumps(value)
    hashlib.sha256(encoded).digest()
    return time.thread_time() - before


def limit(saver: Saver, value: Any) -> float:
    """For how many seconds the loop may be busy: 0.1 for 100 MB. Drivers of servers encode and sign
    there."""
    local = isinstance(saver, (InMemorySaver, SqliteSaver))
    return MEGABYTES / 1000 if local else max(0.25, 25 * yardstick(value))


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_large_state_is_stored_and_goes_on_and_others_get_their_turns(
    shape: str, saver: Saver, config: RunnableConfig
) -> None:
    """As it was, though nothing of it is at hand."""
    value = SHAPES[shape]()
    compiled = graph(saver, value)
    async with turns() as storing:
        await compiled.ainvoke({}, config)
    saver.hot.take(key_of(config))
    async with turns() as going_on:
        result = await compiled.ainvoke(None, config)
    assert result == {"value": value, "found": len(value)}
    assert await saver.averify(config["configurable"]["thread_id"]) == []
    assert max(storing) <= limit(saver, value), "while it was stored"
    assert max(going_on) <= limit(saver, value), "while it was read"


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_large_input_leaves_others_their_turns(
    shape: str, saver: Saver, config: RunnableConfig
) -> None:
    """Also when it is given once more, and has to be compared with what was given before."""
    value = SHAPES[shape]()
    compiled = graph(saver, value)
    async with turns() as waited:
        await compiled.ainvoke({"value": value}, config, interrupt_before=["make"])
        await compiled.ainvoke({"value": value}, config)
    assert (await compiled.aget_state(config)).next == ("look",)
    assert max(waited) <= limit(saver, value)


async def test_an_encrypted_large_state_leaves_others_their_turns(config: RunnableConfig) -> None:
    """Encrypting and decrypting it, too."""
    pytest.importorskip("cryptography")
    saver = InMemorySaver(encryption=Encryption(LocalKeys({"key": bytes(32)})))
    value = SHAPES["parts"]()
    compiled = graph(saver, value)
    async with turns() as waited:
        await compiled.ainvoke({}, config)
        saver.hot.take(key_of(config))
        result = await compiled.ainvoke(None, config)
    assert result == {"value": value, "found": len(value)}
    assert max(waited) <= limit(saver, value)


@pytest.mark.parametrize(("shape", "times"), [("text", 3.5), ("parts", 4.5)])
def test_memory_stays_below_a_few_times_the_state(shape: str, times: float) -> None:
    """In a process that makes, stores and returns it. SQLite copies a row twice on its way."""
    program = [
        sys.executable,
        "-m",
        "tests.runtime.size.memory_of_a_run",
        shape,
        str(MEGABYTES * 4),
    ]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)
    assert float(done.stdout) <= times
