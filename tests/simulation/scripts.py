"""What the scripted simulations share: a small state, and nodes that wait, ask and fail."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypedDict

from durable_graph import START, StateGraph, interrupt
from durable_graph.graph import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing.simulation import CALM, Simulation, simulate
from durable_graph.types import RunnableConfig

THREAD: RunnableConfig = {"configurable": {"thread_id": "thread"}}


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    note: str


Node = Callable[[State], Any]


def graph(saver: Saver, *nodes: tuple[str, Node], beside: bool = False) -> CompiledGraph:
    """A graph of these nodes, one after the other or beside each other."""
    made, before = StateGraph(State), START
    for name, node in nodes:
        made.add_node(name, node)
        made.add_edge(START if beside else before, name)
        before = name
    return made.compile(saver)


def says(text: str, seconds: float = 0.0) -> Node:
    """A node that takes a while and writes a text to the log."""

    async def node(state: State) -> State:
        await asyncio.sleep(seconds)
        return {"log": [text]}

    return node


async def asks(state: State) -> State:
    """A node that asks a question and writes the answer."""
    answer = interrupt("which?")
    return {"log": [str(answer)], "note": str(answer)}


def play(scenario: Callable[[Simulation], Awaitable[None]], **options: Any) -> None:
    """Play a scenario on storage where nothing goes wrong but what the scenario brings about."""
    simulate(scenario, **{"faults": CALM, **options})


def at(checkpoint: str | None) -> RunnableConfig:
    """The config that names a checkpoint of the thread."""
    return {"configurable": {"thread_id": "thread", "checkpoint_id": checkpoint}}
