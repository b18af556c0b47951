"""The bare loop: the writes of one of our runs, made again with no engine around them.

Our backend is watched while a run goes over it. What it was asked to append is then handed to a
fresh backend, by a plain loop that calls the node and the router itself: the same rows through the
same statements in the same transactions, one trip to the connection's thread each. How near the
engine comes to that loop is its share of what the storage allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

from benchmarks import graphs
from benchmarks.measure import Figures, Stopwatch
from durable_graph.ports.backend import Append, Backend
from durable_graph.saver import Saver
from durable_graph_sqlite import SqliteBackend

__all__ = ["Flush", "record", "replay"]


@dataclass(frozen=True, slots=True)
class Flush:
    """The arguments of one call of `Backend.append`."""

    arguments: tuple[Any, ...]
    named: dict[str, Any]

    @property
    def appends(self) -> list[Append]:
        """The threads' appends in it."""
        return list(self.arguments[0] if self.arguments else self.named["batch"])


Use: TypeAlias = Callable[[Saver], Awaitable[object]]
"""Runs something over a saver."""


class _Watched:
    """A backend that notes what it is asked to append."""

    def __init__(self, inner: Backend) -> None:
        self.flushes: list[Flush] = []
        self._inner = inner

    async def append(self, *arguments: Any, **named: Any) -> Any:
        self.flushes.append(Flush(arguments, named))
        return await self._inner.append(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def record(backend: Backend, use: Use) -> list[Flush]:
    """What a backend is asked to append while a saver over it is used.

    Args:
        backend: a fresh one, which is closed afterwards.
        use: uses the saver.
    """
    watched = _Watched(backend)

    async def run() -> None:
        async with Saver(cast("Backend", watched)) as saver:
            await use(saver)

    asyncio.run(run())
    return watched.flushes


def replay(path: Path, flushes: list[Flush], supersteps: int) -> Figures:
    """Append all that again, into a fresh file, in a plain loop around the loop graph's node.

    Args:
        path: a file that does not exist yet.
        flushes: what `record` returned.
        supersteps: how many supersteps these flushes hold; their nodes and routers are called.
    """

    async def run() -> Figures:
        backend = SqliteBackend(path)
        await backend.beat(None)  # opens the file, as a first run has done for the others
        done = 0
        try:
            with Stopwatch() as watch:
                for number, flush in enumerate(flushes, 1):
                    while done < supersteps * number // len(flushes):
                        state = graphs.Loop(count=done, limit=supersteps)
                        state.update(cast("graphs.Loop", await graphs.step(state)))
                        await graphs.where(state)
                        done += 1
                    await backend.append(*flush.arguments, **flush.named)
            return watch.per(supersteps)
        finally:
            await backend.aclose()

    return asyncio.run(run())
