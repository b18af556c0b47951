"""The storage system sets the pace, not the engine; many runs share its writes.

An async node that counts, an async router that sends it round again, every superstep durable before
the next begins: one run alone, and 200 at once. Beside it LangGraph with its saver of the same
system, and a bare loop that calls node and router itself and makes the same writes through the
driver alone: for each superstep a new row as large as our records, and a head as large as ours
written over the one before, where our backend keeps one apart. Nothing is compared, chained or
indexed. Where many writes can go as one, its runs share one connection and what waits goes out
together. CPU time is that of the program, not of the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cache, partial
from typing import TypeAlias, cast

from benchmarks import bare, graphs
from benchmarks.libraries import Library, config, libraries
from benchmarks.measure import (
    BARE,
    OURS,
    PEER,
    Case,
    Figures,
    Lane,
    Room,
    Scenario,
    Stopwatch,
    per_unit,
)
from benchmarks.scenarios.concurrent import together
from benchmarks.systems.kind import Open, Row, System, Write
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.ports.rows import head_values

__all__ = ["of"]

Written: TypeAlias = tuple[bytes, bytes]

_RUNS = 200
_SYNC = {"durability": "sync"}


def of(system: System) -> Scenario:
    """The scenario on a storage system."""
    return Scenario(system.name, __doc__ or "", partial(_cases, system))


def _cases(system: System) -> Sequence[Case]:
    alone, each = system.steps
    return [
        _case(system, f"one run of {alone}, sync", 1, alone),
        _case(system, f"{_RUNS} runs of {each} at once, sync", _RUNS, each),
    ]


def _case(system: System, name: str, runs: int, steps: int) -> Case:
    lanes: dict[str, Lane] = {}
    for library in libraries():
        opened = system.ours if library.name == OURS else system.theirs
        if not isinstance(opened, str):
            lanes[library.name] = partial(_run, library, opened, runs, steps)
    lanes[BARE] = partial(_bare, system, runs, steps)
    return Case(name, lanes, per_unit("superstep"), partial(_notes, system, runs))


def _notes(system: System, runs: int) -> Sequence[str]:
    if runs > 1:  # what is said once is said of both cases
        return ()
    if isinstance(system.theirs, str):
        return (system.about, f"{PEER} is not measured: {system.theirs}.")
    return (system.about,)


def _run(library: Library, opened: Open, runs: int, steps: int, room: Room) -> Figures:
    runs, steps = _sizes(room, runs, steps)

    async def work() -> Figures:
        async with opened() as saver:
            graph = graphs.loop(library).compile(checkpointer=saver)
            given = {"count": 0, "limit": 10}
            await graph.ainvoke(given, config("warm"), **_SYNC)
            with Stopwatch() as watch:
                await together(graph, runs, steps, _SYNC)
            return watch.per(runs * steps)

    return room.run(work())


def _bare(system: System, runs: int, steps: int, room: Room) -> Figures:
    runs, steps = _sizes(room, runs, steps)
    written = _written(steps)

    async def work() -> Figures:
        async with system.bare() as write:
            for number in range(10):
                await write(Row("warm", number, *written[0]))
            with Stopwatch() as watch:
                await asyncio.gather(
                    *(_loop(f"thread {run}", steps, written, write) for run in range(runs))
                )
            return watch.per(runs * steps)

    return room.run(work())


async def _loop(thread: str, steps: int, written: Sequence[Written], write: Write) -> None:
    done = 0
    for number, stored in enumerate(written, 1):
        while done < steps * number // len(written):
            state = graphs.Loop(count=done, limit=steps)
            state.update(cast("graphs.Loop", await graphs.step(state)))
            await graphs.where(state)
            done += 1
        await write(Row(thread, number, *stored))


@cache
def _written(steps: int) -> Sequence[Written]:
    """What one run of ours stores: for each of its writes what is new, and the head."""
    (ours, *_) = libraries()

    async def use(saver: object) -> None:
        await together(graphs.loop(ours).compile(checkpointer=saver), 1, steps, _SYNC)

    return [
        (
            b"".join(
                part
                for record in append.records
                for part in (record.header, record.body or b"", record.digest, record.link)
            ),
            b"".join(str(value).encode() for value in head_values(append.head)),
        )
        for flush in bare.record(InMemoryBackend(), use)
        for append in flush.appends
    ]


def _sizes(room: Room, runs: int, steps: int) -> tuple[int, int]:
    return room.size(runs, min(runs, 5)), room.size(steps, 4)
