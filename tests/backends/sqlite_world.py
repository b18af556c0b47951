"""A SQLite file with three threads, for tests that damage it."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from durable_graph.graph.compiled import CompiledGraph
from durable_graph.log.records import ThreadKey
from durable_graph.log.seal import open_header
from durable_graph_sqlite import SqliteSaver
from tests.backends.kit import counting, result_of, thread

__all__ = ["LARGE", "LAST", "STEPS", "World", "expect_others", "make_world"]

STEPS = 20
LAST = STEPS + 3
"""The number of the last record."""

LARGE = "L" * 5000


@dataclass(slots=True)
class World:
    """A file with three threads of which "a" is to be damaged.

    Every record is a commit, the last one with a large value.

    Attributes:
        path: the file.
        history: the checkpoints of "a", newest first.
        paths: the records that each of its commits is folded from, itself included.
    """

    path: Path
    history: list[Any]
    paths: dict[int, set[int]]

    def change(self, change: Callable[[sqlite3.Connection], Any]) -> None:
        """Change the file behind everybody's back."""
        db = sqlite3.connect(self.path, isolation_level=None)
        change(db)
        db.close()


async def make_world(folder: Path) -> World:
    """The file, as yet undamaged."""
    path = folder / "threads.db"
    async with SqliteSaver(path, synchronous="normal") as saver:
        graph = counting(saver, STEPS)
        for name in ("before", "a", "b"):
            await graph.ainvoke({"items": ["begin"]}, thread(name))
            await graph.aupdate_state(thread(name), {"items": [LARGE]}, as_node="step")
            assert await saver.averify(name) == []
        history = [entry async for entry in graph.aget_state_history(thread("a"))]
        records = await saver.backend.scan(ThreadKey("", "a"), ((1, 100),))
        headers = [open_header(record, "a").commit for record in records]
    paths = {}
    for number, header in enumerate(headers, 1):
        assert header is not None
        numbers = [range(first, last + 1) for first, last in header.path]
        paths[number] = {number, *itertools.chain.from_iterable(numbers)}
    assert len(paths) == len(history) == STEPS + 3
    assert len(paths[15]) == 15  # so that damage before it is damage of it
    assert len(paths[STEPS + 3]) < STEPS  # while the last one is a snapshot, or follows one
    return World(path, history, paths)


async def expect_others(saver: SqliteSaver, graph: CompiledGraph, damaged: set[str]) -> None:
    """Expect that the threads beside "a" are what they were, but for these."""
    for name in {"before", "b"} - damaged:
        assert await saver.averify(name) == []
        values = (await graph.aget_state(thread(name))).values
        assert values == {"items": [*result_of(STEPS)["items"], LARGE]}
    assert {info.thread_id async for info in saver.alist_threads()} == {"before", "a", "b"}
