"""Many processes with many runs in one place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

from durable_graph import START, Runtime, StateGraph
from durable_graph.graph import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import State, node
from tests.crash.harness.places import Place
from tests.crash.harness.processes import Line

__all__ = ["RESULT", "STEPS", "finish_swarm", "swarm", "thread_names"]

STEPS: Final = 6
RESULT: Final = {"count": STEPS, "log": ["last"]}


def thread_names(process: int, runs: int) -> list[str]:
    """The threads of one process."""
    return [f"{process}-{run}" for run in range(runs)]


async def swarm(line: Line, place: Place, effects: Path, process: int, runs: int) -> int:
    """Run many threads at once, and wait for all of them; returns how many have ended well."""
    async with _saver(place) as saver:
        graph = _graph(effects, saver)
        line.say("ready")
        await line.heard()
        calls = (graph.ainvoke({"count": 0}, _config(n)) for n in thread_names(process, runs))
        ended = await asyncio.gather(*calls)
    return sum(state == RESULT for state in ended)


async def finish_swarm(line: Line, place: Place, effects: Path, processes: int, runs: int) -> int:
    """Go on with whatever is left of all of them; returns how many have ended well."""

    async def finish(name: str) -> Any:
        state = await graph.aget_state(_config(name))
        if state.created_at is not None and not state.next:
            return state.values
        return await graph.ainvoke({"count": 0}, _config(name))

    async with _saver(place) as saver:
        graph = _graph(effects, saver)
        names = [name for process in range(processes) for name in thread_names(process, runs)]
        ended = await asyncio.gather(*map(finish, names))
    return sum(state == RESULT for state in ended)


def _saver(place: Place) -> Saver:
    patient: dict[str, Any] = {"busy_timeout": 20.0} if place.kind == "sqlite" else {}
    return Saver(place.backend(**patient))


def _graph(effects: Path, saver: Saver) -> CompiledGraph:
    file = EffectFile(effects)

    async def again(state: State, runtime: Runtime) -> State:
        with file.of(runtime):
            return {"count": state["count"] + 1}

    def route(state: State) -> str:
        return "again" if state["count"] < STEPS else "last"

    graph = StateGraph(State).add_node("again", again).add_node("last", node(file, "last"))
    return graph.add_edge(START, "again").add_conditional_edges("again", route).compile(saver)


def _config(name: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name}}
