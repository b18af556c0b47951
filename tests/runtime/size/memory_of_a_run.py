"""A program that makes, stores and returns a large state, and prints how much memory that took: the
peak above what it had before, in parts of the state's size."""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
from pathlib import Path
from typing import Any, TypedDict

from durable_graph import START, StateGraph
from durable_graph_sqlite import SqliteSaver


class Large(TypedDict, total=False):
    """Something large."""

    value: Any


async def peak(shape: str, size: int) -> float:
    """Kilobytes at most, above what it was."""

    async def make(state: Large) -> Any:
        if state.get("value") is None:
            return {"value": "small"}
        if shape == "text":
            return {"value": "x" * size}
        return {"value": [{"n": n, "text": "y" * 1000} for n in range(size // 1024)]}

    with tempfile.TemporaryDirectory() as folder:
        async with SqliteSaver(Path(folder) / "threads.db") as saver:
            graph = StateGraph(Large).add_node(make).add_edge(START, "make").compile(saver)
            await graph.ainvoke({"value": None}, {"configurable": {"thread_id": "first"}})
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await graph.ainvoke({"value": "go"}, {"configurable": {"thread_id": "large"}})
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


if __name__ == "__main__":
    shape, megabytes = sys.argv[1], int(sys.argv[2])
    print(asyncio.run(peak(shape, megabytes * 2**20)) / (megabytes * 1024))
