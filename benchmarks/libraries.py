"""The two libraries behind one set of words, so that each graph is written once.

Nothing but this file knows where a library keeps a name.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from benchmarks.measure import OURS, PEER

__all__ = ["Kind", "Library", "config", "installed", "libraries", "options"]

Kind: TypeAlias = Literal["none", "memory", "sqlite"]
"""Where threads are stored; "none" for nowhere."""


class _Open(Protocol):
    def __call__(self, kind: Kind, path: Path) -> AbstractAsyncContextManager[Any]: ...


@dataclass(frozen=True)
class Library:
    """The names that the graphs here use."""

    name: str
    module: str
    sqlite_module: str
    state_graph: Any
    send: Any
    add_messages: Any
    get_stream_writer: Any
    saver: _Open

    def __str__(self) -> str:
        return self.name


@contextlib.asynccontextmanager
async def _our_saver(kind: Kind, path: Path) -> AsyncIterator[Any]:
    if kind == "none":
        yield None
        return
    if kind == "memory":
        saver = importlib.import_module("durable_graph").InMemorySaver()
    else:
        saver = importlib.import_module("durable_graph_sqlite").SqliteSaver(path)
    async with saver:
        yield saver


@contextlib.asynccontextmanager
async def _their_saver(kind: Kind, path: Path) -> AsyncIterator[Any]:
    if kind == "none":
        yield None
    elif kind == "memory":
        yield importlib.import_module("langgraph.checkpoint.memory").InMemorySaver()
    else:
        savers = importlib.import_module("langgraph.checkpoint.sqlite.aio")
        async with savers.AsyncSqliteSaver.from_conn_string(str(path)) as saver:
            yield saver


@cache
def libraries() -> Sequence[Library]:
    """Ours, and LangGraph if it is installed."""
    ours = importlib.import_module("durable_graph")
    found = [
        Library(
            OURS,
            "durable_graph",
            "durable_graph_sqlite, durable_graph",
            ours.StateGraph,
            ours.Send,
            ours.add_messages,
            ours.get_stream_writer,
            _our_saver,
        )
    ]
    if installed("langgraph.graph") and installed("langgraph.checkpoint.sqlite"):
        os.environ.setdefault("LANGSMITH_TRACING", "false")
        graph = importlib.import_module("langgraph.graph")
        types = importlib.import_module("langgraph.types")
        found.append(
            Library(
                PEER,
                "langgraph.graph",
                "langgraph.checkpoint.sqlite.aio, langgraph.graph",
                graph.StateGraph,
                types.Send,
                importlib.import_module("langgraph.graph.message").add_messages,
                importlib.import_module("langgraph.config").get_stream_writer,
                _their_saver,
            )
        )
    return found


def installed(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # nor what it is a part of
        return False


def config(thread: str) -> dict[str, Any]:
    """A call's config, with room for any number of supersteps."""
    return {"configurable": {"thread_id": thread}, "recursion_limit": 1_000_000}


def options(kind: Kind, durability: str = "sync") -> Mapping[str, Any]:
    """Further arguments of a call: a run that is not stored has no durability."""
    return {} if kind == "none" else {"durability": durability}
