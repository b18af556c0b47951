"""What a type checker has to find; each line that is wrong says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from durable_graph import (
    START,
    InMemorySaver,
    Runtime,
    StateGraph,
    entrypoint,
    register_type,
    step,
    task,
)
from durable_graph.types import RunnableConfig


class State(TypedDict, total=False):
    topic: str


class Other(TypedDict):
    number: int


@dataclass
class User:
    name: str


def tell(state: State) -> State:
    return {"topic": 1}  # wrong: a key's type


def count(state: Other) -> State:
    return {"tpoic": "log"}  # wrong: no such key


register_type("user", User, lambda user: user.nmae, lambda data, _: User(data))  # wrong: no such
register_type("user", User, lambda user: user.name, lambda data, _: str(data))  # wrong: no user
register_type("user", User, version="2")  # wrong: a version is a number

builder = StateGraph(State)
builder.add_node("tell", count, input_schema=State)  # wrong: the node reads something else
builder.add_node(count, input_schema=State)  # wrong: the same without a name
builder.add_node("tell", tell, retries=3)  # wrong: no such option
builder.add_node("tell", "tell")  # wrong: no function
builder.add_edge(START, 5)  # wrong: no name
builder.compile(InMemorySaver)  # wrong: a class, not a saver
graph = builder.compile(InMemorySaver())
typed = StateGraph(State, input_schema=Other).compile()
config: RunnableConfig = {"configurable": {"thread_id": "1"}}


async def main() -> None:
    await graph.ainvoke("log", config)  # wrong: a text is no state
    await typed.ainvoke(5)  # wrong: nor is a number
    graph.invoke(7, config)  # wrong: neither for the synchronous face
    await graph.ainvoke({}, {"thread_id": "1"})  # wrong: it belongs into `configurable`
    await graph.ainvoke({}, config, durability="never")  # wrong: no such level
    graph.invoke({}, config, on_pendign="answer")  # wrong: no such option
    graph.astream({}, config, stream_mode="update")  # wrong: no such mode
    graph.astream({}, config, stream_mode=["values", "tokens"])  # wrong: nor this one
    async for update in graph.astream({}, config):
        update.append(1)  # wrong: an update is a dict
    async for part in graph.astream({}, config, version="v2"):
        print(part["cursor"].upper())  # wrong: it may be None
    for message in graph.stream({}, config, stream_mode="messages"):
        print(message.text)  # wrong: it has a `content`
    for mode, event in graph.stream({}, config, stream_mode=["values"]):
        print(mode + 1, event)  # wrong: a mode is a text
    state = await graph.aget_state("1")  # wrong: a config is asked for
    print(state.vaules)  # wrong: no such attribute
    await graph.aupdate_state(config, {}, as_node=5)  # wrong: a node has a name
    with_user = StateGraph(State, context_schema=User).compile()
    await with_user.ainvoke({}, context=State(topic="log"), control=5)  # wrong: no control
    await with_user.ainvoke({}, context=5)  # wrong: no context
    with_user.stream({}, context="ada")  # wrong: nor is this one


def greets(state: State, runtime: Runtime[User]) -> State:
    return {"topic": runtime.context.nmae}  # wrong: no such attribute


@task
async def fetch(url: str) -> str:
    return url


@entrypoint(InMemorySaver())
async def flow(url: str) -> int:
    await fetch(5)  # wrong: a number is no address
    text = await fetch(url, times=2)  # wrong: no such argument
    print(text + 1)  # wrong: a text
    step("key", fetch, url).cancle()  # wrong: no such method
    return (await step("key", fetch, url)).upper()  # wrong: a text is no number


async def call() -> None:
    await flow.ainvoke(5, config)  # wrong: a number is no input of it
