"""A wide superstep is as durable as a narrow one, and its results are written together.

100 and 1,000 tasks in one superstep, over edges to as many nodes and over `Send` to one; every
task's result is durable by itself, so that none is computed again after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks import graphs
from benchmarks.libraries import Kind, Library, config, libraries, options
from benchmarks.measure import Case, Figures, Room, Scenario, Stopwatch, per_unit

__all__ = ["SCENARIO"]

_BUILDERS: dict[str, Callable[[Library, int], Any]] = {
    "edges": graphs.spread_by_edges,
    "Send": graphs.spread_by_send,
}
_KINDS: dict[str, Kind] = {"memory": "memory", "SQLite, sync": "sqlite"}


def _cases() -> Sequence[Case]:
    return [
        Case(
            f"{width} tasks by {how}, {where}",
            {lib.name: partial(_run, lib, build, kind, width) for lib in libraries()},
            per_unit("task"),
        )
        for width in (100, 1000)
        for how, build in _BUILDERS.items()
        for where, kind in _KINDS.items()
    ]


def _run(
    library: Library, build: Callable[[Library, int], Any], kind: Kind, width: int, room: Room
) -> Figures:
    width = room.size(width, 10)
    runs = room.size(2000 // width if kind == "memory" else 1000 // width, 1)
    given = {"width": width, "found": []}

    async def work() -> Figures:
        async with library.saver(kind, room.path / "threads.db") as saver:
            warm = graphs.loop(library).compile(checkpointer=saver)
            await warm.ainvoke({"count": 0, "limit": 10}, config("warm"), **options(kind))
            graph = build(library, width).compile(checkpointer=saver)
            with Stopwatch() as watch:
                for run in range(runs):
                    end = await graph.ainvoke(given, config(f"thread {run}"), **options(kind))
                    assert len(end["found"]) == width
            return watch.per(width * runs)

    return room.run(work())


SCENARIO = Scenario("fanout", __doc__, _cases)
