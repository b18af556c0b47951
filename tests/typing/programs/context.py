"""What a caller hands to nodes: context, store, control; and what nodes get by annotation."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypedDict

from durable_graph import START, InMemoryStore, RunControl, Runtime, StateGraph, get_runtime
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.store import BaseStore
from durable_graph.types import RunnableConfig, StreamWriter


class State(TypedDict, total=False):
    greeting: str


@dataclass
class User:
    name: str
    language: str = "en"


class Session(TypedDict):
    user: str


async def greet(state: State, runtime: Runtime[User]) -> State:
    hello = {"en": "Hello", "de": "Hallo"}[runtime.context.language]
    return {"greeting": f"{hello} {runtime.context.name}"}


async def remember(state: State, *, store: BaseStore, config: RunnableConfig) -> None:
    await store.aput(("greetings",), "last", {"text": state.get("greeting", "")})
    print(config.get("recursion_limit"), get_runtime(User).context.name.upper())


def tell(state: State, writer: StreamWriter, runtime: Runtime[User]) -> None:
    writer(runtime.execution_info.node_attempt)
    print(runtime.drain_requested, runtime.previous, runtime.store is not None)


def session(state: State, runtime: Runtime[Session]) -> State:
    return {"greeting": runtime.context["user"].title()}


def build(store: InMemoryStore) -> CompiledGraph[State, User]:
    builder = StateGraph(State, context_schema=User)
    builder.add_sequence([greet, remember, tell]).add_edge(START, "greet")
    return builder.compile(store=store)


async def main() -> None:
    store = InMemoryStore()
    graph = build(store)
    print((await graph.ainvoke({}, context=User("Ada", "de")))["greeting"])
    print((await graph.ainvoke({}, context={"name": "Bob"}, control=RunControl()))["greeting"])
    async for update in graph.astream({}, context=User("Eve")):
        print(update)
    item = await store.aget(("greetings",), "last")
    print(item.value["text"] if item is not None else "nothing")
    sessions = StateGraph(State, Session).add_node(session).add_edge(START, "session").compile()
    print(sessions.invoke({}, context={"user": "ada"})["greeting"])


if __name__ == "__main__":
    asyncio.run(main())
