"""What the tests of this folder share: small states, a way to wire nodes, and looks at storage."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Annotated, Any, TypedDict, TypeVar

from durable_graph import START, StateGraph, StateSnapshot
from durable_graph.definition.runnable import Runnable
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.log.records import Record, ThreadKey
from durable_graph.log.seal import open_header
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig

__all__ = [
    "Items",
    "bytes_of",
    "chain",
    "collect",
    "fan",
    "history",
    "identities",
    "key_of",
    "reached",
    "records_of",
    "says",
]

T = TypeVar("T")


class Items(TypedDict, total=False):
    """A list that grows, a number that is added to, and a key that takes its last value."""

    items: Annotated[list[Any], operator.add]
    count: Annotated[int, operator.add]
    last: Any


def says(*words: Any) -> Callable[[Items], Awaitable[Items]]:
    """A node that appends these words to `items`."""

    async def node(state: Items) -> Items:
        return {"items": list(words)}

    return node


def chain(
    *nodes: tuple[str, Callable[..., Any] | Runnable],
    saver: Saver | bool | None = None,
    **options: Any,
) -> CompiledGraph:
    """These nodes, one after the other, over `Items`."""
    graph = StateGraph(Items)
    before = START
    for name, action in nodes:
        graph.add_node(name, action)
        graph.add_edge(before, name)
        before = name
    return graph.compile(saver, **options)


def fan(
    *nodes: tuple[str, Callable[..., Any] | Runnable], saver: Saver | None = None, **options: Any
) -> CompiledGraph:
    """These nodes, all at once, over `Items`."""
    graph = StateGraph(Items)
    for name, action in nodes:
        graph.add_node(name, action)
        graph.add_edge(START, name)
    return graph.compile(saver, **options)


async def collect(events: AsyncIterable[T]) -> list[T]:
    """Everything that comes."""
    return [event async for event in events]


async def history(
    graph: CompiledGraph, config: RunnableConfig, **options: Any
) -> list[StateSnapshot]:
    """A thread's checkpoints, newest first."""
    return await collect(graph.aget_state_history(config, **options))


async def reached(event: asyncio.Event, run: asyncio.Task[Any]) -> None:
    """Wait for a place in a node to be reached; tell if the run ends without getting there."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait([waiting, run], return_when=asyncio.FIRST_COMPLETED)
    if not event.is_set():
        waiting.cancel()
        raise AssertionError(f"The run ended before it got there: {run!r}")
    await waiting


def key_of(config: RunnableConfig) -> ThreadKey:
    """The key of the thread that a config names."""
    return ThreadKey.of(config["configurable"]["thread_id"])


async def records_of(saver: Saver, config: RunnableConfig) -> list[Record]:
    """All records of a thread as they are stored; none if it does not exist."""
    reading = await saver.backend.read(key_of(config))
    if reading is None:
        return []
    return list(await saver.backend.scan(key_of(config), ((1, reading.head.seq),)))


async def bytes_of(saver: Saver, config: RunnableConfig) -> int:
    """What a thread's records and large values take in storage."""
    key, records = key_of(config), await records_of(saver, config)
    digests = {name for record in records for name in open_header(record, key.thread).blobs}
    blobs = await saver.backend.blobs(key, sorted(digests))
    rows = sum(len(record.header) + len(record.body or b"") for record in records)
    return rows + sum(map(len, blobs.values()))


async def identities(saver: Saver, config: RunnableConfig) -> list[tuple[int, bytes, bytes | None]]:
    """Header and body of every record: what must not change when a call is refused."""
    return [(record.seq, record.header, record.body) for record in await records_of(saver, config)]
