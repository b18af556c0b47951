"""What processes do with files that they may not write."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from durable_graph import START, StateGraph
from durable_graph.graph import CompiledGraph
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.graphs import State
from tests.crash.harness.processes import Line

__all__ = ["CONFIG", "nobody_calls", "nobody_reads", "opens", "simple"]

CONFIG: RunnableConfig = {"configurable": {"thread_id": "thread"}}
NOBODY = 65534


def simple(saver: SqliteSaver) -> CompiledGraph:
    """A graph of one node."""

    async def only(state: State) -> State:
        return {"log": ["only"]}

    return StateGraph(State).add_node("only", only).add_edge(START, "only").compile(saver)


def become_nobody() -> None:
    """Give up the right to write what is not one's own, which the superuser has."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


async def nobody_calls(line: Line, path: Path, input: Any) -> Any:
    """Call the graph, as somebody who may not write the file."""
    become_nobody()
    async with SqliteSaver(path) as saver:
        return await simple(saver).ainvoke(input, CONFIG)


async def nobody_reads(line: Line, path: Path) -> Any:
    """Read the thread's state, as somebody who may not write the file."""
    become_nobody()
    return await reads(line, path)


async def opens(line: Line, path: Path) -> Any:
    """Open a file that may not be there, at the signal, and read the thread's state."""
    line.say("ready")
    await line.heard()
    return await reads(line, path)


async def reads(line: Line, path: Path) -> Any:
    """Read the thread's state."""
    async with SqliteSaver(path) as saver:
        return (await simple(saver).aget_state(CONFIG)).values
