"""A run goes no faster than its watcher: between supersteps, and within one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph.engine.streams import stream as streams
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig, StreamWriter
from tests.runtime.kit import Items, chain, collect, fan, key_of, says

MANY = 10_000
# What may be on its way beside the buffer: one event of each who writes, and the one just taken.
LEEWAY = 8


def noting(begun: list[str], name: str) -> Any:
    async def node(state: Items) -> Items:
        begun.append(name)
        return {"items": [name]}

    return node


async def until_stored(saver: Saver, config: RunnableConfig, step: int) -> None:
    """Wait until a superstep's checkpoint is in storage, and for the run to act on that."""
    async with asyncio.timeout(20):
        while (reading := await saver.backend.read(key_of(config))) is None or (
            reading.head.step < step
        ):
            await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.mark.parametrize("mode", ["updates", "values", "tasks", "checkpoints"])
async def test_no_superstep_begins_before_its_watcher_asks_for_more(
    mode: Any, saver: Saver, config: RunnableConfig
) -> None:
    """A watcher that holds an event holds the run: `break` there means nothing more was begun."""
    begun: list[str] = []
    graph = chain(*((name, noting(begun, name)) for name in "abc"), saver=saver)
    stream = graph.astream({"last": 1}, config, stream_mode=mode)
    while begun == []:
        await anext(stream)
    ran = 1 if mode != "values" else len(begun)
    await until_stored(saver, config, ran)
    assert begun == ["a"]
    await stream.aclose()
    assert begun == ["a"]


async def test_an_unwatched_run_is_not_paced(saver: Saver, config: RunnableConfig) -> None:
    """`ainvoke` waits for nobody."""
    assert len((await chain(("a", says("a")), saver=saver).ainvoke({}, config))["items"]) == 1


class Emits:
    """Nodes that emit many events, and how many they have emitted so far."""

    def __init__(self) -> None:
        self.emitted = 0

    async def on_the_loop(self, state: Items, writer: StreamWriter) -> None:
        for number in range(MANY):
            writer(number)
            self.emitted += 1
            await asyncio.sleep(0)

    def in_a_thread(self, state: Items, writer: StreamWriter) -> None:
        for number in range(MANY):
            writer(number)
            self.emitted += 1


@pytest.mark.parametrize("kind", ["on_the_loop", pytest.param("in_a_thread")])
async def test_a_node_is_never_far_ahead_of_a_slow_watcher(
    kind: str, saver: Saver, config: RunnableConfig
) -> None:
    """Of 10,000 events, no more wait than the buffer holds, and none is lost or out of order."""
    emits = Emits()
    graph = chain(("emits", getattr(emits, kind)), saver=saver)
    ahead, seen = 0, 0
    async for number in graph.astream({}, config, stream_mode="custom"):
        assert number == seen
        seen += 1
        for _ in range(2 if seen % 100 else 20):
            await asyncio.sleep(0)
        ahead = max(ahead, emits.emitted - seen)
    assert seen == MANY
    assert ahead <= streams._LIMIT + LEEWAY


async def test_two_nodes_at_once_share_the_buffer(saver: Saver, config: RunnableConfig) -> None:
    """A sync and an async node together are no further ahead, and each one's order holds."""
    emits, others = Emits(), Emits()
    graph = fan(("a", emits.on_the_loop), ("b", others.in_a_thread), saver=saver)
    ahead, seen = 0, 0
    async for _ in graph.astream({}, config, stream_mode="custom"):
        seen += 1
        await asyncio.sleep(0)
        ahead = max(ahead, emits.emitted + others.emitted - seen)
    assert seen == 2 * MANY
    assert ahead <= streams._LIMIT + LEEWAY


@pytest.mark.parametrize("kind", ["on_the_loop", "in_a_thread"])
async def test_a_node_that_waits_for_room_can_be_left(
    kind: str, saver: Saver, config: RunnableConfig
) -> None:
    """Closing the stream while the buffer is full ends node and run."""
    emits = Emits()
    stream = chain(("emits", getattr(emits, kind)), saver=saver).astream(
        {}, config, stream_mode="custom"
    )
    await anext(stream)
    async with asyncio.timeout(20):
        while emits.emitted < streams._LIMIT - 1:
            await asyncio.sleep(0)
    await stream.aclose()
    (info,) = await collect(saver.alist_threads())
    assert info.status == "stopped"


async def test_an_event_of_a_blocked_node_does_not_wait_for_the_buffer_to_fill(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each event is there for a watcher that waits, at once."""

    async def node(state: Items, writer: StreamWriter) -> None:
        writer("one")
        await told.wait()
        writer("two")

    told = asyncio.Event()
    stream = chain(("node", node), saver=saver).astream({}, config, stream_mode="custom")
    assert await anext(stream) == "one"
    told.set()
    assert await anext(stream) == "two"
    assert await collect(stream) == []
