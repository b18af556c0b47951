"""What the tests of encryption share: keys, a graph that stores all kinds of things, and files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from durable_graph import Send, StateGraph, interrupt, step
from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import START, RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items

__all__ = [
    "KEY",
    "OTHER",
    "WORDS",
    "change",
    "encrypted",
    "everything",
    "file_of",
    "found_in",
    "named",
    "opened",
]

KEY: Final = bytes(range(32))
OTHER: Final = bytes(range(32, 64))

WORDS: Final = (
    *("word-input", "word-result", "word-sent", "word-question", "word-answer", "word-step"),
    *("word-large", "word-edit", "word-failure"),
)
"""What the graph of `everything` stores, each somewhere else."""


def encrypted(key: bytes = KEY, key_id: str = "2026", **options: Any) -> Encryption:
    """Encryption with one key."""
    return Encryption(LocalKeys({key_id: key}), **options)


def opened(path: Path, encryption: Encryption | None) -> SqliteSaver:
    """A saver on a file."""
    return SqliteSaver(path, encryption=encryption)


def everything(saver: Saver, *, failures: int = 0) -> CompiledGraph:
    """A graph that stores results, large values, steps and questions; and first some errors."""
    failed: list[str] = []

    async def fetch(word: str) -> str:
        return word

    async def begin(state: Items) -> Items:
        fetched = await step("fetch", fetch, "word-step")
        return {"items": ["word-result", fetched, "word-large" * 1000]}

    async def part(word: str) -> Items:
        if len(failed) < failures:
            failed.append(word)
            raise LookupError("word-failure")
        return {"items": [word]}

    async def ask(state: Items) -> Items:
        return {"last": interrupt("word-question")}

    def parts(state: Items) -> list[Send]:
        return [Send("part", "word-sent"), Send("part", "word-sent-too")]

    graph = StateGraph(Items).add_node("begin", begin).add_node("part", part).add_node("ask", ask)
    graph.add_edge(START, "begin").add_conditional_edges("begin", parts).add_edge("part", "ask")
    return graph.compile(saver)


def named(thread: str) -> RunnableConfig:
    """The config that names a thread."""
    return {"configurable": {"thread_id": thread}}


def file_of(path: Path) -> bytes:
    """A SQLite file with what stands beside it."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def found_in(path: Path) -> list[str]:
    """Which of the words can be found in a file."""
    data = file_of(path)
    return [word for word in WORDS if word.encode() in data]


def change(path: Path, statement: str, *values: Any) -> list[Any]:
    """Do something to a closed file behind everybody's back; what it comes to."""
    with closing(sqlite3.connect(path)) as db, db:
        rows = db.execute(statement, values)
        found = rows.fetchall()
        assert found or rows.rowcount, "The file is not what the test believes."
        return found
