"""Many runs share the disk: what waits goes out in one transaction.

200 runs of 20 supersteps each, at once, on one saver. On one SQLite file, at least 14,000
supersteps a second, every one of them durable before its run goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import bare, graphs
from benchmarks.libraries import Kind, Library, config, libraries, options
from benchmarks.measure import BARE, Case, Figures, Lane, Room, Scenario, Stopwatch, per_unit
from durable_graph_sqlite import SqliteBackend

__all__ = ["SCENARIO", "together"]


def _cases() -> Sequence[Case]:
    return [
        _case("no saver", "none"),
        _case("memory", "memory"),
        _case("SQLite, sync", "sqlite", floor=14_000),
    ]


def _case(name: str, kind: Kind, *, floor: float | None = None) -> Case:
    lanes: dict[str, Lane] = {library.name: partial(_run, library, kind) for library in libraries()}
    if kind == "sqlite":
        lanes[BARE] = _bare
    return Case(name, lanes, per_unit("superstep", floor=floor))


def _run(library: Library, kind: Kind, room: Room) -> Figures:
    runs, steps = _sizes(room)

    async def work() -> Figures:
        async with library.saver(kind, room.path / "threads.db") as saver:
            graph = graphs.loop(library).compile(checkpointer=saver)
            await graph.ainvoke({"count": 0, "limit": 10}, config("warm"), **options(kind))
            with Stopwatch() as watch:
                await together(graph, runs, steps, options(kind))
            return watch.per(runs * steps)

    return room.run(work())


async def together(graph: Any, runs: int, steps: int, given: Mapping[str, Any]) -> None:
    """So many runs of so many supersteps; `given` is what else the calls are given."""
    await asyncio.gather(
        *(
            graph.ainvoke({"count": 0, "limit": steps}, config(f"thread {run}"), **given)
            for run in range(runs)
        )
    )


def _bare(room: Room) -> Figures:
    runs, steps = _sizes(room)
    return bare.replay(room.path / "threads.db", _writes(runs, steps), runs * steps)


@cache
def _writes(runs: int, steps: int) -> list[bare.Flush]:
    (ours, *_) = libraries()

    async def use(saver: object) -> None:
        graph = graphs.loop(ours).compile(checkpointer=saver)
        await together(graph, runs, steps, options("sqlite"))

    with TemporaryDirectory() as folder:
        return bare.record(SqliteBackend(Path(folder) / "threads.db"), use)


def _sizes(room: Room) -> tuple[int, int]:
    return room.size(200, 5), room.size(20, 4)


SCENARIO = Scenario("concurrent", __doc__, _cases)
