"""Stories about graphs within graphs."""

from __future__ import annotations

from typing import Any, Final

from durable_graph import START, Command, StateGraph, interrupt
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from tests.golden.story import Items, Story, Telling, chain, says

__all__ = ["STORIES"]


def _line(*nodes: tuple[str, Any], checkpointer: bool | None = None) -> CompiledGraph:
    graph = StateGraph(Items)
    before = START
    for name, action in nodes:
        graph.add_node(name, action).add_edge(before, name)
        before = name
    return graph.compile(checkpointer)


async def _asks(state: Items) -> Items:
    return {"items": [interrupt(f"after {state['items'][-1]}?")]}


# -- a graph in a graph in a graph, and one that a node calls ----------------------------------


def _nested(saver: Saver, trouble: bool) -> CompiledGraph:
    innermost = _line(("first", says("first")), ("asks", _asks), ("last", says("last")))

    async def calls(state: Items) -> Items:
        one = await innermost.ainvoke({"items": ["called"]})
        two = await innermost.ainvoke({"items": ["called again"]})
        return {"last": [one["items"], two["items"]]}

    middle = _line(("innermost", innermost), ("after", says("after")))
    graph = StateGraph(Items).add_node("middle", middle).add_node("calls", calls)
    return graph.add_edge(START, "middle").add_edge("middle", "calls").compile(saver)


async def _tell_nested(story: Telling) -> None:
    await story.run({"items": ["input"]})
    await story.run(Command(resume="one"), by="somebody")
    await story.run(Command(resume="two"))


async def _end_nested(story: Telling) -> Any:
    return await story.run(Command(resume="three"))


# -- one that keeps its state, one that has stopped in the middle, and only the end stored -----


def _kept(saver: Saver, trouble: bool) -> CompiledGraph:
    kept = _line(("counts", says("counted")), ("asks", _asks), checkpointer=True)

    async def calls(state: Items) -> Items:
        return {"items": (await kept.ainvoke({"items": ["new"]}))["items"]}

    return chain(saver, ("calls", calls), ("after", says("after")))


async def _tell_kept(story: Telling) -> None:
    await story.run({"items": ["input"]})
    await story.run(Command(resume="one"))
    await story.run({"items": ["more"]}, durability="exit")


async def _end_kept(story: Telling) -> Any:
    return await story.run(Command(resume="two"), durability="exit")


# -- a long run within: snapshots of a whole thread --------------------------------------------


def _long(saver: Saver, trouble: bool) -> CompiledGraph:
    async def turns(state: Items) -> Items:
        if state.get("count", 0) == 9 and trouble:
            raise ValueError("trouble")
        return {"last": f"{state.get('count', 0)} " * 900, "count": 1}

    inner = StateGraph(Items).add_node("turns", turns).add_edge(START, "turns")
    inner.add_conditional_edges(
        "turns", lambda state: "__end__" if state["count"] > 9 else "turns", ["turns", "__end__"]
    )

    async def beside(state: Items) -> Items:
        return {"items": [interrupt("beside?")]}

    graph = StateGraph(Items).add_node("inner", inner.compile()).add_node("beside", beside)
    return graph.add_edge(START, "inner").add_edge(START, "beside").compile(saver)


async def _tell_long(story: Telling) -> None:
    try:
        await story.run({"items": ["input"]})
    except ValueError:
        return
    raise AssertionError("There was no trouble.")


async def _end_long(story: Telling) -> Any:
    await story.run(None)
    return await story.run(Command(resume="yes"))


STORIES: Final = (
    Story("graphs-within", _nested, _tell_nested, _end_nested),
    Story("graphs-kept", _kept, _tell_kept, _end_kept),
    Story("graphs-long", _long, _tell_long, _end_long),
)
