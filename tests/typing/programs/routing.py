"""Where a run goes: routers, commands, packets, lambdas."""

from __future__ import annotations

import asyncio
import operator
from functools import partial
from typing import Annotated, Literal, TypedDict

from durable_graph import END, START, Command, Overwrite, RetryPolicy, Send, StateGraph


class State(TypedDict, total=False):
    count: int
    items: list[str]
    done: Annotated[list[str], operator.add]


class Item(TypedDict):
    item: str


class Worker:
    """A node that is an object."""

    def __init__(self, word: str) -> None:
        self.word = word

    async def __call__(self, task: Item) -> State:
        return {"done": [f"{self.word} {task['item']}"]}


async def count(state: State) -> State:
    return {"count": state.get("count", 0) + 1}


def review(state: State) -> Command[Literal["count", "split"]]:
    if state.get("count", 0) < 2:
        return Command(update={"count": 2}, goto="count")
    return Command(goto="split")


def split(state: State, limit: int) -> State:
    return {"items": [f"item {number}" for number in range(limit)]}


def clear(state: State) -> dict[str, object]:
    return {"done": Overwrite(sorted(state.get("done", [])))}


def each(state: State) -> list[Send]:
    return [Send("work", Item(item=item)) for item in state.get("items", [])]


def enough(state: State) -> Literal["review", "__end__"]:
    return "review" if state.get("count", 0) < 5 else END


async def main() -> None:
    builder = StateGraph(State)
    builder.add_node(count, metadata={"kind": "counter"})
    builder.add_node(review, destinations=("count", "split"))
    builder.add_node("split", partial(split, limit=3))
    builder.add_node("work", Worker("did"), retry_policy=RetryPolicy(max_attempts=2))
    builder.add_node(clear)
    builder.add_edge(START, "count")
    builder.add_conditional_edges("count", enough)
    builder.add_conditional_edges("split", each, ["work"])
    builder.add_conditional_edges(
        "work", lambda state: "clear" if len(state.get("done", [])) > 2 else END, ["clear", END]
    )
    graph = builder.compile(name="routing", strict=True)
    print((await graph.ainvoke({}))["done"])


if __name__ == "__main__":
    asyncio.run(main())
