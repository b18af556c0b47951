"""A superstep costs little: in memory next to nothing, on SQLite hardly more than its write.

One run of 500 supersteps, one after the other: an async node that counts, an async router that
sends it round again. In memory at least 30,000 supersteps a second; on SQLite, with every one
durable before the next begins, at least 85 % of what a bare loop reaches that makes the very same
writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import bare, graphs
from benchmarks.libraries import Kind, Library, config, libraries, options
from benchmarks.measure import BARE, OURS, Case, Figures, Lane, Room, Scenario, Stopwatch, per_unit
from durable_graph_sqlite import SqliteBackend

__all__ = ["SCENARIO"]

_STEPS = 500


def _cases() -> Sequence[Case]:
    return [
        _case("no saver", "none", "sync"),
        _case("memory", "memory", "sync", floor=30_000),
        _case("SQLite, sync", "sqlite", "sync", share=0.85),
        _case("SQLite, async", "sqlite", "async"),
    ]


def _case(
    name: str,
    kind: Kind,
    durability: str,
    *,
    floor: float | None = None,
    share: float | None = None,
) -> Case:
    lanes: dict[str, Lane] = {
        library.name: partial(_run, library, kind, durability) for library in libraries()
    }
    if kind == "sqlite":
        lanes[BARE] = partial(_bare, durability)
    return Case(name, lanes, per_unit("superstep", floor=floor, share=share))


def _run(library: Library, kind: Kind, durability: str, room: Room) -> Figures:
    steps = room.size(_STEPS, 20)
    # What is done in a few milliseconds is done several times, to be seen above the noise.
    runs = room.size(1 if kind == "sqlite" else 10 if library.name == OURS else 2, 1)
    given = options(kind, durability)

    async def work() -> Figures:
        async with library.saver(kind, room.path / "threads.db") as saver:
            graph = graphs.loop(library).compile(checkpointer=saver)
            await graph.ainvoke({"count": 0, "limit": 10}, config("warm"), **given)
            with Stopwatch() as watch:
                for run in range(runs):
                    state = {"count": 0, "limit": steps}
                    await graph.ainvoke(state, config(f"thread {run}"), **given)
            return watch.per(steps * runs)

    return room.run(work())


def _bare(durability: str, room: Room) -> Figures:
    steps = room.size(_STEPS, 20)
    return bare.replay(room.path / "threads.db", _writes(steps, durability), steps)


@cache
def _writes(steps: int, durability: str) -> list[bare.Flush]:
    (ours, *_) = libraries()

    async def use(saver: object) -> None:
        graph = graphs.loop(ours).compile(checkpointer=saver)
        state: Mapping[str, int] = {"count": 0, "limit": steps}
        await graph.ainvoke(state, config("thread 0"), durability=durability)

    with TemporaryDirectory() as folder:
        return bare.record(SqliteBackend(Path(folder) / "threads.db"), use)


SCENARIO = Scenario("loop", __doc__, _cases)
