"""Watching a run costs little more than the run.

The `values` of every superstep of a loop of 500, and 1,000 custom tokens that one node emits, a
turn of the event loop apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks import graphs
from benchmarks.libraries import Kind, Library, config, libraries, options
from benchmarks.measure import Case, Figures, Room, Scenario, Stopwatch, per_unit

__all__ = ["SCENARIO"]

_KINDS: dict[str, Kind] = {"no saver": "none", "memory": "memory", "SQLite, sync": "sqlite"}


def _cases() -> Sequence[Case]:
    return [
        *(
            Case(
                f"values, {name}",
                {library.name: partial(_values, library, kind) for library in libraries()},
                per_unit("event"),
            )
            for name, kind in _KINDS.items()
        ),
        *(
            Case(
                f"custom tokens, {name}",
                {library.name: partial(_tokens, library, kind) for library in libraries()},
                per_unit("event"),
            )
            for name, kind in _KINDS.items()
        ),
    ]


def _values(library: Library, kind: Kind, room: Room) -> Figures:
    amount = room.size(500, 20)
    given = {"count": 0, "limit": amount}
    return room.run(_watch(library, kind, room, graphs.loop(library), given, "values", amount))


def _tokens(library: Library, kind: Kind, room: Room) -> Figures:
    amount = room.size(1000, 50)
    given = {"amount": amount}
    return room.run(_watch(library, kind, room, graphs.tokens(library), given, "custom", amount))


async def _watch(
    library: Library,
    kind: Kind,
    room: Room,
    graph: Any,
    given: dict[str, int],
    mode: str,
    amount: int,
) -> Figures:
    runs = room.size(10 if mode == "custom" else 1 if kind == "sqlite" else 5, 1)
    async with library.saver(kind, room.path / "threads.db") as saver:
        warm = graphs.loop(library).compile(checkpointer=saver)
        await warm.ainvoke({"count": 0, "limit": 10}, config("warm"), **options(kind))
        compiled = graph.compile(checkpointer=saver)
        seen = 0
        with Stopwatch() as watch:
            for run in range(runs):
                thread = config(f"thread {run}")
                events = compiled.astream(given, thread, stream_mode=mode, **options(kind))
                async for _ in events:
                    seen += 1
        # In `values` mode the input is an event as well.
        assert seen == runs * (amount + (mode == "values")), f"{library} emitted {seen} events"
        return watch.per(seen)


SCENARIO = Scenario("streaming", __doc__, _cases)
