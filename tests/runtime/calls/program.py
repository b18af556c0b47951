"""A graph whose middle can be made to fail, ask or wait, and threads in every status."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from durable_graph import START, StateGraph, interrupt
from durable_graph.errors import GraphRecursionError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, reached

__all__ = ["FIRST_INPUT", "STATUSES", "Program"]

FIRST_INPUT: dict[str, Any] = {"items": ["in"]}

Mood = Literal["well", "fail", "ask", "wait"]

# Owners that died: their loops and tasks must not be torn down by the garbage collector.
_dead: list[Any] = []


class Program:
    """``first``, then ``side`` and ``work`` at once, then ``end``.

    Attributes:
        graph: compiled over the saver.
        mood: what ``work`` does next.
        runs: the nodes that have run, in order.
        entered: set when ``work`` begins to wait.
        leave: lets it go on.
    """

    def __init__(self, saver: Saver, config: RunnableConfig) -> None:
        self.saver = saver
        self.config = config
        self.mood: Mood = "well"
        self.runs: list[str] = []
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        graph = StateGraph(Items)
        for name in ("first", "side", "end"):
            graph.add_node(name, self._says(name))
        graph.add_node("work", self._work)
        graph.add_edge(START, "first").add_edge("first", "side").add_edge("first", "work")
        self.graph: CompiledGraph = graph.add_edge(["side", "work"], "end").compile(saver)

    def _says(self, name: str) -> Callable[[Items], Awaitable[Items]]:
        async def node(state: Items) -> Items:
            self.runs.append(name)
            return {"items": [name]}

        return node

    async def _work(self, state: Items) -> Items:
        self.runs.append("work")
        if self.mood == "fail":
            raise KeyError("work")
        if self.mood == "ask":
            return {"items": [interrupt("work?")]}
        if self.mood == "wait":
            self.entered.set()
            await self.leave.wait()
        return {"items": ["work"]}

    async def until_side_is_stored(self) -> None:
        """Wait until the live state has the result of ``side``."""
        async with asyncio.timeout(20):
            while "side" not in (await self.graph.aget_state(self.config)).values["items"]:
                await asyncio.sleep(0)

    def start(self, given: Any = FIRST_INPUT) -> asyncio.Task[Any]:
        """Begin a run that will wait in ``work``."""
        self.mood = "wait"
        return asyncio.create_task(self.graph.ainvoke(given, self.config))

    # -- threads in every status ---------------------------------------------------------------

    async def new(self) -> None:
        """Nothing has happened yet."""

    async def finished(self) -> None:
        """A run has come to its end."""
        await self.graph.ainvoke(FIRST_INPUT, self.config)

    async def failed(self) -> None:
        """``work`` has raised, ``side`` has finished."""
        self.mood = "fail"
        with pytest.raises(KeyError):
            await self.graph.ainvoke(FIRST_INPUT, self.config)

    async def asking(self) -> None:
        """``work`` asks, ``side`` has finished."""
        self.mood = "ask"
        await self.graph.ainvoke(FIRST_INPUT, self.config)

    async def cancelled(self) -> None:
        """The run was cancelled in ``work``; ``side`` has finished."""
        run = self.start()
        await reached(self.entered, run)
        await self.until_side_is_stored()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    async def at_breakpoint(self) -> None:
        """The run was stopped before ``side`` and ``work``."""
        await self.graph.ainvoke(FIRST_INPUT, self.config, interrupt_before=["work"])

    async def at_limit(self) -> None:
        """The run has taken as many steps as it might, the next being ``side`` and ``work``."""
        with pytest.raises(GraphRecursionError):
            await self.graph.ainvoke(FIRST_INPUT, {**self.config, "recursion_limit": 1})

    async def crashed(self) -> None:
        """The owner has died in ``work``; ``side`` has finished.

        A run on an event loop of its own, in a thread, that stops for ever in the middle: what
        a process leaves behind that is killed, as far as one process can show it.
        """
        self.mood = "wait"
        self.entered = asyncio.Event()

        def live_and_die() -> None:
            loop = asyncio.new_event_loop()

            async def until_in_the_middle() -> None:
                run = asyncio.create_task(self.graph.ainvoke(FIRST_INPUT, self.config))
                await reached(self.entered, run)
                await self.until_side_is_stored()
                _dead.append((loop, run, asyncio.all_tasks()))

            loop.run_until_complete(until_in_the_middle())
            loop.close()

        thread = threading.Thread(target=live_and_die)
        thread.start()
        await asyncio.to_thread(thread.join)
        self.entered = asyncio.Event()


STATUSES: dict[str, Callable[[Program], Awaitable[None]]] = {
    "new": Program.new,
    "finished": Program.finished,
    "crashed": Program.crashed,
    "failed": Program.failed,
    "asking": Program.asking,
    "stopped: cancelled": Program.cancelled,
    "stopped: breakpoint": Program.at_breakpoint,
    "stopped: recursion limit": Program.at_limit,
}
