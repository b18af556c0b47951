"""A long conversation costs what was said: linear bytes, and a turn 400 like turn 10.

A chat of 400 turns on SQLite, each a question of 300 bytes and an answer of 1,500. Once with a
node and a caller that take the whole conversation each turn, which costs everybody its decoding;
and once with a node and a caller that read one number, which leaves the engine's own share: that
stays the same. "After a restart" is opening a saver on the file, and a turn.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from benchmarks import graphs
from benchmarks.files import size_of
from benchmarks.libraries import Library, config, libraries
from benchmarks.measure import Case, Figures, Metric, Room, Scenario, Stopwatch

__all__ = ["SCENARIO"]

_TURNS = 400
_AROUND = 5  # a turn's time is the median of its neighbourhood of so many turns each way
_RESTARTS = 3

_METRICS = (
    Metric("early", "ms, turn 10"),
    Metric("late", "ms, turn 400"),
    Metric("growth", "turn 400 / turn 10"),
    Metric("restart", "ms, turn after a restart"),
    Metric("cpu", "CPU ms, mean turn"),
    Metric("user", "of it user"),
    Metric("size 100", "MB file, 100 turns"),
    Metric("size 200", "MB file, 200 turns"),
    Metric("size 400", "MB file, 400 turns"),
    Metric("payload", "file / payload, 400 turns"),
)


def _cases() -> Sequence[Case]:
    return [
        Case(
            "node and caller read it all",
            {library.name: partial(_chat, library, reads=True) for library in libraries()},
            _METRICS,
        ),
        Case(
            "the engine's share",
            {library.name: partial(_chat, library, reads=False) for library in libraries()},
            _METRICS,
        ),
    ]


def _chat(library: Library, room: Room, *, reads: bool) -> Figures:
    return room.run(_talk(library, reads=reads, turns=room.size(_TURNS, 24), path=room.path))


async def _talk(library: Library, *, reads: bool, turns: int, path: Path) -> Figures:
    file = path / "threads.db"
    graph = graphs.chat(library, reads=reads)
    figures: dict[str, float] = {}
    times: list[float] = []
    cpu = user = 0.0
    payload = 0
    async with library.saver("sqlite", file) as saver:
        compiled = graph.compile(checkpointer=saver)
        for turn in range(1, turns + 1):
            watch = await _turn(compiled, turn)
            times.append(watch.seconds * 1e3)
            cpu += watch.cpu
            user += watch.user
            payload += len(orjson.dumps([graphs.question(turn), graphs.reply(turn)]))
            for share in (100, 200, 400):
                if turn == turns * share // _TURNS:
                    figures[f"size {share}"] = size_of(file) / 1e6
    figures["early"] = _around(times, 10)
    figures["late"] = statistics.median(times[-2 * _AROUND - 1 :])
    figures["growth"] = figures["late"] / figures["early"]
    figures["cpu"] = cpu / turns * 1e3
    figures["user"] = user / turns * 1e3
    figures["payload"] = figures["size 400"] * 1e6 / payload
    again = []
    for turn in range(turns + 1, turns + 1 + _RESTARTS):
        with Stopwatch() as watch:
            async with library.saver("sqlite", file) as saver:
                await _turn(graph.compile(checkpointer=saver), turn)
        again.append(watch.seconds * 1e3)
    figures["restart"] = statistics.median(again)
    return figures


async def _turn(graph: Any, turn: int) -> Stopwatch:
    given = {"turn": turn, "messages": [graphs.question(turn)]}
    with Stopwatch() as watch:
        await graph.ainvoke(given, config("chat"), durability="sync")
    return watch


def _around(times: Sequence[float], turn: int) -> float:
    return statistics.median(times[max(0, turn - 1 - _AROUND) : turn + _AROUND])


SCENARIO = Scenario("chat", __doc__, _cases)
