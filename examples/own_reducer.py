"""A reducer of one's own: how the updates of a key become its value."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypedDict

from durable_graph import START, InMemorySaver, Overwrite, StateGraph
from durable_graph.types import RunnableConfig


def best(kept: dict[str, int], found: dict[str, int]) -> dict[str, int]:
    """Of each city the lowest price that anybody has found, cheapest first."""
    prices = {city: min(kept.get(city, price), price) for city, price in found.items()}
    return dict(sorted({**kept, **prices}.items(), key=lambda entry: entry[1]))


class Search(TypedDict, total=False):
    offers: Annotated[dict[str, int], best]  # without a reducer, two writers would be an error


def agency(offers: dict[str, int]) -> Callable[[Search], Awaitable[Search]]:
    async def look(search: Search) -> Search:
        return {"offers": offers}

    return look


def report(search: Search) -> None:
    for city, price in search["offers"].items():
        print(f"  {city:<8}{price:>4}")


AGENCIES = {
    "north": {"Oslo": 120, "Rome": 99},
    "south": {"Rome": 80, "Athens": 140},
    "east": {"Athens": 110, "Oslo": 130, "Riga": 60},
}
builder = StateGraph(Search).add_node(report)
for name, offers in AGENCIES.items():
    builder.add_node(name, agency(offers)).add_edge(START, name)
builder.add_edge([*AGENCIES], "report")
graph = builder.compile(InMemorySaver())


async def main() -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "holidays"}}
    print("three agencies at once:")
    await graph.ainvoke({"offers": {}}, config)
    print("a tip beats them, and goes through the reducer too:")
    await graph.ainvoke({"offers": {"Oslo": 45}}, config)
    await graph.aupdate_state(config, {"offers": Overwrite({"Bergen": 20})}, as_node="report")
    state = await graph.aget_state(config)
    print("overwritten, past the reducer:", state.values["offers"])
    before = await graph.aget_state(state.parent_config or config)
    print("and as it was before:", before.values["offers"])


asyncio.run(main())
