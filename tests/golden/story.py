"""What a story is: how a stored thread came to be, and how it goes on if it has not ended."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypedDict

from durable_graph import START, StateGraph, StateSnapshot
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.log.records import ThreadKey
from durable_graph.saver import Lease, Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.golden.clockwork import HEARTBEAT, Clockwork, StoryChance

__all__ = ["Items", "Story", "Telling", "chain", "says", "telling"]


@dataclass(slots=True)
class Telling:
    """A story while it is told, or gone on with.

    Attributes:
        saver: where its thread is stored.
        clock: the story's time.
        graph: its graph.
        thread: its thread.
    """

    saver: Saver
    clock: Clockwork
    graph: CompiledGraph
    thread: str

    def config(self, checkpoint: str | None = None, **more: Any) -> RunnableConfig:
        """The config that names the thread, or a checkpoint of it."""
        names = {"thread_id": self.thread}
        if checkpoint is not None:
            names["checkpoint_id"] = checkpoint
        config: RunnableConfig = {"configurable": names}
        return {**config, **more}  # type: ignore[typeddict-item]

    async def run(
        self,
        input: Any,
        *,
        at: str | None = None,
        config: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Call the graph, a second after whatever was before."""
        await self.later()
        return await self.graph.ainvoke(input, self.config(at, **config or {}), **options)

    async def edit(self, values: Any, *, at: str | None = None, **options: Any) -> str:
        """Edit the state, a second after whatever was before; returns the new checkpoint."""
        await self.later()
        config = await self.graph.aupdate_state(self.config(at), values, **options)
        checkpoint: str = config["configurable"]["checkpoint_id"]
        return checkpoint

    async def history(self) -> list[StateSnapshot]:
        """The thread's checkpoints, newest first."""
        return [one async for one in self.graph.aget_state_history(self.config())]

    async def asked(self) -> dict[Any, str]:
        """The ids of the open questions, by what they ask."""
        now = await self.graph.aget_state(self.config())
        return {question.value: question.id for question in now.interrupts}

    async def status(self) -> str:
        """How the thread stands."""
        reading = await self.saver.backend.read(self.key)
        return "none" if reading is None else reading.head.status

    async def later(self) -> None:
        """Let a second pass."""
        await self.clock.sleep(1.0)

    @property
    def key(self) -> ThreadKey:
        """What names the thread in a backend."""
        return ThreadKey.of(self.thread)


Build: TypeAlias = Callable[[Saver, bool], CompiledGraph]
Tell: TypeAlias = Callable[[Telling], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Story:
    """How one stored thread came to be.

    The graph must stay as it is for as long as the thread must be readable.

    Attributes:
        thread: the thread's name.
        build: makes the graph; whether its nodes meet the trouble that the story is about.
        tell: writes the thread.
        end: brings a thread that has not finished to its end, without trouble; returns what the
            last call does.
    """

    thread: str
    build: Build
    tell: Tell
    end: Tell | None = None


@asynccontextmanager
async def telling(
    story: Story, path: Path, *, seed: str = "told", trouble: bool = True
) -> AsyncIterator[Telling]:
    """A story's thread in a SQLite file, with time and chance of its own."""
    clock = Clockwork()
    if seed != "told":
        await clock.sleep(86_400.0)  # whoever goes on does so another day
    saver = SqliteSaver(
        path,
        synchronous="normal",
        clock=clock,
        chance=StoryChance(f"{story.thread}\0{seed}", clock),
        lease=Lease(interval=HEARTBEAT),
    )
    async with saver:
        yield Telling(saver, clock, story.build(saver, trouble), story.thread)


class Items(TypedDict, total=False):
    """A list that grows, a number that is added to, and a key that takes its last value."""

    items: Annotated[list[Any], operator.add]
    count: Annotated[int, operator.add]
    last: Any


def says(*words: Any, last: Any = None) -> Callable[[Items], Awaitable[Items]]:
    """A node that appends these words to `items`."""

    async def node(state: Items) -> Items:
        update: Items = {"items": list(words), "count": 1}
        return update if last is None else {**update, "last": last}

    return node


def chain(saver: Saver, *nodes: tuple[str, Callable[..., Any]], **options: Any) -> CompiledGraph:
    """These nodes, one after the other, over `Items`."""
    graph = StateGraph(Items)
    before = START
    for name, action in nodes:
        graph.add_node(name, action, **options)
        graph.add_edge(before, name)
        before = name
    return graph.compile(saver)
