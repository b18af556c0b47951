"""On the common path a superstep is one durable write, one trip to a thread, and no task.

Counted, not timed: what one more superstep of the loop adds, from the difference between a run of
50 and one of 100.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks import graphs
from benchmarks.counting import counted
from benchmarks.files import size_of
from benchmarks.libraries import Kind, Library, config, libraries, options
from benchmarks.measure import Case, Figures, Metric, Room, Scenario

__all__ = ["SCENARIO"]

_STEPS = 50

_ENGINE = (
    Metric("tasks", "asyncio tasks/superstep"),
    Metric("callbacks", "loop callbacks/superstep"),
    Metric("calls", "Python calls/superstep"),
)
_STORAGE = (
    Metric("commits", "commits/superstep", floor=1),
    Metric("rows", "rows written/superstep"),
    Metric("hops", "thread hops/superstep", floor=1),
    Metric("log", "WAL bytes/superstep"),
    Metric("file", "file bytes/superstep"),
)


def _cases() -> Sequence[Case]:
    return [
        _case("loop, no saver", "none", _ENGINE),
        _case("loop, memory", "memory", _ENGINE),
        _case("loop, SQLite, sync", "sqlite", (*_STORAGE, *_ENGINE)),
    ]


def _case(name: str, kind: Kind, metrics: Sequence[Metric]) -> Case:
    return Case(name, {lib.name: partial(_difference, lib, kind) for lib in libraries()}, metrics)


def _difference(library: Library, kind: Kind, room: Room) -> Figures:
    steps = room.size(_STEPS, 10)
    _count(library, kind, room.path / "first.db", 2)  # what is done once in a process
    once = _count(library, kind, room.path / "once.db", steps)
    twice = _count(library, kind, room.path / "twice.db", 2 * steps)
    wanted = (*_STORAGE, *_ENGINE) if kind == "sqlite" else _ENGINE
    return {metric.name: (twice[metric.name] - once[metric.name]) / steps for metric in wanted}


def _count(library: Library, kind: Kind, path: Path, steps: int) -> Counter[str]:
    log = 0

    async def work() -> None:
        nonlocal log
        async with library.saver(kind, path) as saver:
            graph = graphs.loop(library).compile(checkpointer=saver)
            await graph.ainvoke({"count": 0, "limit": steps}, config("1"), **options(kind))
            if kind == "sqlite":
                log = path.with_name(f"{path.name}-wal").stat().st_size

    counts = counted(work)
    if kind == "sqlite":
        counts["log"] = log
        counts["file"] = size_of(path)
    return counts


SCENARIO = Scenario("counts", __doc__, _cases)
