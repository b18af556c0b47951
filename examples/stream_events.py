"""Watch a run: what each stream mode shows of it."""

import asyncio
import textwrap
from typing import TypedDict, get_args

from durable_graph import START, InMemorySaver, Runtime, StateGraph
from durable_graph.types import RunnableConfig, StreamMode


class Poem(TypedDict, total=False):
    topic: str
    lines: list[str]
    title: str


async def write(poem: Poem, runtime: Runtime) -> Poem:
    lines = [f"O {poem['topic']},", "how durable thou art!"]
    for number, line in enumerate(lines, 1):
        runtime.stream_writer({"line": number, "of": len(lines)})  # a "custom" event
        for word in line.split():
            runtime.emit_message(word + " ")  # a "messages" event, as a model's tokens are
            await asyncio.sleep(0)
    return {"lines": lines}


def name(poem: Poem) -> Poem:
    return {"title": f"To {poem['topic'].title()}"}


poet = StateGraph(Poem).add_sequence([write, name]).add_edge(START, "write")
graph = poet.compile(InMemorySaver())


async def main() -> None:
    modes: tuple[StreamMode, ...] = get_args(StreamMode)
    for mode in modes:
        print(f"\n{mode}")
        config: RunnableConfig = {"configurable": {"thread_id": mode}}
        async for event in graph.astream({"topic": "log"}, config, stream_mode=mode):
            shown = event.content if mode == "messages" else event
            print(" ", textwrap.shorten(repr(shown), 96, placeholder=" ..."))

    print("\nseveral at once")
    config = {"configurable": {"thread_id": "several"}}
    async for mode, event in graph.astream(
        {"topic": "log"}, config, stream_mode=["custom", "updates"]
    ):
        print(f"  {mode}: {event}")


asyncio.run(main())
