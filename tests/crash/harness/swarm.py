"""Many processes with many runs on one file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from durable_graph import START, Runtime, StateGraph
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import State, node
from tests.crash.harness.processes import Line

__all__ = ["swarm", "thread_names"]

STEPS = 6


def thread_names(process: int, runs: int) -> list[str]:
    """The threads of one process."""
    return [f"{process}-{run}" for run in range(runs)]


async def swarm(line: Line, path: Path, effects: Path, process: int, runs: int) -> int:
    """Run many threads at once, and wait for all of them; returns how many have ended well."""
    file = EffectFile(effects)

    async def again(state: State, runtime: Runtime) -> State:
        with file.of(runtime):
            return {"count": state["count"] + 1}

    def route(state: State) -> str:
        return "again" if state["count"] < STEPS else "last"

    graph = StateGraph(State).add_node("again", again).add_node("last", node(file, "last"))
    graph.add_edge(START, "again").add_conditional_edges("again", route)
    async with SqliteSaver(path, busy_timeout=20.0) as saver:
        compiled = graph.compile(saver)
        line.say("ready")
        await line.heard()
        ended = await asyncio.gather(
            *(
                compiled.ainvoke({"count": 0}, {"configurable": {"thread_id": name}})
                for name in thread_names(process, runs)
            )
        )
    return sum(state == {"count": STEPS, "log": ["last"]} for state in ended)
