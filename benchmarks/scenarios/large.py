"""What a step does not touch costs it nothing, and what did not change is stored once.

500 steps of a node that reads and writes a counter, over a state that also holds 1 MB of pages;
then reading that state, and 100 checkpoints of its history.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks import graphs
from benchmarks.files import size_of
from benchmarks.libraries import Library, config, libraries
from benchmarks.measure import Case, Figures, Metric, Room, Scenario, Stopwatch, per_unit

__all__ = ["SCENARIO"]

_STEPS = 500
_READS = 5
_CHECKPOINTS = 100

_METRICS = (
    *per_unit("superstep"),
    Metric("size", "MB file, 500 steps"),
    Metric("state", "ms, aget_state"),
    Metric("cold", "ms, open and aget_state"),
    Metric("history", "ms, 100 checkpoints"),
)


def _cases() -> Sequence[Case]:
    lanes = {library.name: partial(_run, library) for library in libraries()}
    return [Case("a small step over 1 MB", lanes, _METRICS)]


def _run(library: Library, room: Room) -> Figures:
    file = room.path / "threads.db"
    steps = room.size(_STEPS, 20)
    pages = graphs.pages(room.size(10**6, 20_000))
    given = {"count": 0, "limit": steps, "pages": pages}
    graph = graphs.document(library)

    async def work() -> Figures:
        figures: dict[str, float] = {}
        async with library.saver("sqlite", file) as saver:
            warm = graphs.loop(library).compile(checkpointer=saver)
            await warm.ainvoke({"count": 0, "limit": 10}, config("warm"), durability="sync")
            compiled = graph.compile(checkpointer=saver)
            with Stopwatch() as watch:
                await compiled.ainvoke(given, config("large"), durability="sync")
            figures |= watch.per(steps)
            figures["size"] = size_of(file) / 1e6
            figures["state"] = statistics.median(
                [await _state(compiled, len(pages)) for _ in range(_READS)]
            )
        with Stopwatch() as watch:
            async with library.saver("sqlite", file) as saver:
                await _state(graph.compile(checkpointer=saver), len(pages))
        figures["cold"] = watch.seconds * 1e3
        async with library.saver("sqlite", file) as saver:
            compiled = graph.compile(checkpointer=saver)
            figures["history"] = await _history(compiled, room.size(_CHECKPOINTS, 10))
        return figures

    return room.run(work())


async def _state(graph: Any, pages: int) -> float:
    with Stopwatch() as watch:
        state = await graph.aget_state(config("large"))
        assert len(state.values["pages"]) == pages
    return watch.seconds * 1e3


async def _history(graph: Any, limit: int) -> float:
    seen = 0
    with Stopwatch() as watch:
        async for state in graph.aget_state_history(config("large"), limit=limit):
            # What a list of checkpoints shows is small, whatever else is in them.
            seen += state.values["count"] >= 0
    assert seen == limit
    return watch.seconds * 1e3


SCENARIO = Scenario("large", __doc__, _cases)
