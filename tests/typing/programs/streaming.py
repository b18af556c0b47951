"""Watching a run, in every mode and version."""

from __future__ import annotations

import asyncio
from typing import TypedDict

from durable_graph import START, InMemorySaver, Runtime, StateGraph, get_stream_writer
from durable_graph.types import RunnableConfig, StreamMode


class Poem(TypedDict, total=False):
    topic: str
    lines: list[str]


async def write(poem: Poem, runtime: Runtime) -> Poem:
    runtime.emit_message("O ")
    runtime.stream_writer({"line": 1})
    return {"lines": [f"O {poem.get('topic', 'log')}"]}


def end(poem: Poem) -> None:
    get_stream_writer()("the end")


graph = (
    StateGraph(Poem).add_sequence([write, end]).add_edge(START, "write").compile(InMemorySaver())
)


def thread(name: str) -> RunnableConfig:
    return {"configurable": {"thread_id": name}, "recursion_limit": 10}


async def main() -> None:
    async for update in graph.astream({"topic": "log"}, thread("default")):
        for node, change in update.items():
            print(node, change)
    async for values in graph.astream({}, thread("values"), stream_mode="values"):
        print(values.get("lines"))
    async for chunk, metadata in graph.astream({}, thread("m"), stream_mode="messages"):
        print(chunk.content, metadata["langgraph_node"])
    async for message in graph.astream({}, thread("n"), stream_mode="messages"):
        print(message.content)
    async for task in graph.astream({}, thread("tasks"), stream_mode="tasks"):
        print(task["name"], task.get("result"))
    async for checkpoint in graph.astream({}, thread("checkpoints"), stream_mode="checkpoints"):
        print(checkpoint["next"])
    async for custom in graph.astream({}, thread("custom"), stream_mode="custom"):
        print(custom)
    async for event in graph.astream({}, thread("debug"), stream_mode="debug"):
        print(event["type"])
    async for mode, event in graph.astream({}, thread("two"), stream_mode=["values", "updates"]):
        print(mode.upper(), event)
    modes: list[StreamMode] = ["custom", "updates"]
    async for mode, event in graph.astream({}, thread("list"), stream_mode=modes):
        print(mode, event)
    async for part in graph.astream({}, thread("parts"), version="v2"):
        print(part["type"], part["ns"], part["data"], part["cursor"])
    stream = graph.astream({}, thread("left"))
    async for _ in stream:
        break
    await stream.aclose()
    for update in graph.stream({}, thread("sync")):
        print(update.keys())
    for mode, event in graph.stream({}, thread("sync two"), stream_mode=["values", "custom"]):
        print(mode, event)


if __name__ == "__main__":
    asyncio.run(main())
