"""A process that kills itself in the middle of a run, or goes on with what one left.

python -m benchmarks.crash LIBRARY FILE crash|resume
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any, TypedDict

__all__: list[str] = []

_END = 10
_FATAL = 5


class _Count(TypedDict):
    count: int


async def _run(library: str, path: Path, *, fatal: bool) -> int:
    async def step(state: _Count) -> dict[str, int]:
        if fatal and state["count"] == _FATAL:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"count": state["count"] + 1}

    async def where(state: _Count) -> str:
        return "step" if state["count"] < _END else "__end__"

    def build(graph: Any, saver: Any) -> Any:
        graph.add_node("step", step)
        graph.add_edge("__start__", "step")
        graph.add_conditional_edges("step", where, {"step": "step", "__end__": "__end__"})
        return graph.compile(checkpointer=saver)

    async def use(graph: Any) -> int:
        given = {"count": 0} if fatal else None
        thread = {"configurable": {"thread_id": "1"}}
        return int((await graph.ainvoke(given, thread, durability="sync"))["count"])

    # Each imports what its user would, and nothing else: this is what is measured.
    if library == "durable_graph":
        from durable_graph import StateGraph
        from durable_graph_sqlite import SqliteSaver

        async with SqliteSaver(path) as ours:
            return await use(build(StateGraph(_Count), ours))
    else:
        import importlib

        graph = importlib.import_module("langgraph.graph").StateGraph(_Count)
        savers = importlib.import_module("langgraph.checkpoint.sqlite.aio")
        async with savers.AsyncSqliteSaver.from_conn_string(str(path)) as theirs:
            return await use(build(graph, theirs))


if __name__ == "__main__":
    name, file, what = sys.argv[1:]
    print(asyncio.run(_run(name, Path(file), fatal=what == "crash")))
