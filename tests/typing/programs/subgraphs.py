"""Graphs within graphs: as a node, and called by a node."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, TypedDict

from durable_graph import START, Command, InMemorySaver, StateGraph, interrupt
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.types import RunnableConfig


class Inner(TypedDict, total=False):
    word: str
    log: Annotated[list[str], operator.add]


class Outer(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    answer: str


async def shout(state: Inner) -> Inner:
    return {"log": [state.get("word", "hey").upper()]}


def ask(state: Inner) -> Command[str]:
    answer: str = interrupt("Go on?")
    return Command(graph=Command.PARENT, update={"answer": answer}, goto="last")


inner: CompiledGraph[Inner] = (
    StateGraph(Inner).add_sequence([shout, ask]).add_edge(START, "shout").compile()
)
shouting: CompiledGraph[Inner] = (
    StateGraph(Inner).add_node(shout).add_edge(START, "shout").compile(name="shouting")
)


async def call(state: Outer) -> Outer:
    result = await shouting.ainvoke({"word": "called"})
    return {"log": result["log"]}


def last(state: Outer) -> Outer:
    return {"log": [f"answered {state.get('answer')}"]}


def build() -> CompiledGraph[Outer]:
    builder = StateGraph(Outer).add_node("inner", inner, destinations=["last"])
    builder.add_node(call).add_node(last)
    return builder.add_edge(START, "call").add_edge("call", "inner").compile(InMemorySaver())


async def main() -> None:
    graph = build()
    config: RunnableConfig = {"configurable": {"thread_id": "1"}}
    async for ns, update in graph.astream({}, config, subgraphs=True):
        print(ns, update)
    state = await graph.aget_state(config, subgraphs=True)
    print([task.state is not None for task in state.tasks])
    async for part in graph.astream(Command(resume="yes"), config, subgraphs=True, version="v2"):
        print(part["ns"], part["type"])
    print((await graph.aget_state(config)).values["log"])


if __name__ == "__main__":
    asyncio.run(main())
