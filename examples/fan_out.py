"""One task per item, eight at once, with a progress bar; a crash loses only what is in flight."""

import asyncio
import hashlib
import operator
from typing import Annotated, TypedDict

from rich.progress import Progress

from durable_graph import START, Send, StateGraph
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver


class Batch(TypedDict, total=False):
    items: list[str]
    digests: Annotated[list[str], operator.add]


class Item(TypedDict):
    item: str


def each(batch: Batch) -> list[Send]:
    return [Send("digest", Item(item=item)) for item in batch["items"]]


async def digest(task: Item) -> Batch:
    await asyncio.sleep(0.01)  # stands for a call to a service
    return {"digests": [hashlib.sha256(task["item"].encode()).hexdigest()[:8]]}


graph = StateGraph(Batch).add_node("digest", digest, input_schema=Item)
graph.add_conditional_edges(START, each, ["digest"])


async def main() -> None:
    items = [f"item {number}" for number in range(200)]
    config: RunnableConfig = {"configurable": {"thread_id": "1"}, "max_concurrency": 8}
    async with SqliteSaver("batch.db") as saver:
        batch = graph.compile(saver)
        stored = await batch.aget_state(config)
        with Progress() as progress:
            done = len(stored.values.get("digests", ()))  # of a run that was cut off, or finished
            bar = progress.add_task("digests", total=len(items), completed=done)
            if done < len(items):
                async for update in batch.astream({"items": items}, config):
                    progress.advance(bar, len(update))
        digests = (await batch.aget_state(config)).values["digests"]
        print(f"{len(digests)} digests, the first {digests[0]}, the last {digests[-1]}")


asyncio.run(main())
