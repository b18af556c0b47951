"""LangChain's runnables in a graph, a graph in a chain, and one graph for several inputs."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

from langchain_core.runnables import RunnableLambda

from durable_graph import START, InMemorySaver, StateGraph
from durable_graph.types import RunnableConfig


class State(TypedDict, total=False):
    words: Annotated[list[str], operator.add]


def shout(state: State) -> State:
    return {"words": [word.upper() for word in state.get("words", [])]}


def follow(state: State) -> str:
    return "again" if len(state.get("words", [])) < 3 else "__end__"


async def main() -> None:
    builder = StateGraph(State)
    builder.add_node("shout", RunnableLambda(shout))
    builder.add_node("again", shout)
    builder.add_edge(START, "shout")
    builder.add_conditional_edges("shout", RunnableLambda(follow), ["again", "__end__"])
    assert list(builder.nodes) == ["shout", "again"]
    graph = builder.validate().compile()
    first, second = await graph.abatch([{"words": ["a"]}, {"words": ["a", "b"]}])
    assert first["words"] == ["a", "A", "A", "A"]
    print(second["words"])

    stored = graph.copy({"checkpointer": InMemorySaver()}).with_config(tags=["stored"])
    config: RunnableConfig = {"configurable": {"thread_id": "one"}}
    result: Any = await stored.ainvoke({"words": ["x", "y"]}, config)
    assert result["words"] == ["x", "y", "X", "Y"]
    async for place, within in stored.aget_subgraphs():
        raise AssertionError((place, within.name))


if __name__ == "__main__":
    asyncio.run(main())
