"""What nodes go by, in graphs within graphs."""

from __future__ import annotations

from typing import Any

from durable_graph import START, CachePolicy, InMemoryCache, NodeError, StateGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, says


async def broken(state: Items) -> Items:
    raise ValueError("boom")


def note(state: Items, error: NodeError) -> Items:
    return {"items": [f"{error.node} {error.kind}"]}


async def test_a_failure_within_is_handled_within_or_by_the_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """A handler of the graph within comes first; without one, that of the node around it."""
    handles = StateGraph(Items).add_node("deep", broken, error_handler=note)
    fails = StateGraph(Items).add_node("deep", broken).add_edge(START, "deep").compile()
    graph = StateGraph(Items)
    graph.add_node("one", handles.add_edge(START, "deep").compile(), error_handler=note)
    graph.add_node("two", fails, error_handler=note)
    graph.add_edge(START, "one").add_edge("one", "two")
    result = await graph.compile(saver).ainvoke({}, config)
    assert result["items"][-2:] == ["deep ValueError", "two ValueError"]


async def test_what_is_deferred_within_waits_for_the_graph_within(
    saver: Saver, config: RunnableConfig
) -> None:
    """And for nothing around it."""
    within = StateGraph(Items).add_node("z", says("z"), defer=True)
    within.add_sequence([("a", says("a")), ("b", says("b"))])
    within.add_edge(START, "a").add_edge("a", "z")
    graph = StateGraph(Items).add_node("within", within.compile()).add_node("last", says("last"))
    graph.add_edge(START, "within").add_edge("within", "last")
    assert (await graph.compile(saver).ainvoke({}, config))["items"] == ["a", "b", "z", "last"]


async def test_a_graph_within_can_be_kept(saver: Saver) -> None:
    """As the result of its node; then nothing in it runs."""
    ran: list[Any] = []

    async def deep(state: Items) -> Items:
        ran.append(state["last"])
        return {"count": 1}

    within = StateGraph(Items).add_node("deep", deep).add_edge(START, "deep").compile()
    policy = CachePolicy(key_func=lambda state: state["last"])
    graph = StateGraph(Items).add_node("within", within, cache_policy=policy)
    compiled = graph.add_edge(START, "within").compile(saver, cache=InMemoryCache())
    for name in ("1", "2"):
        at: RunnableConfig = {"configurable": {"thread_id": name}}
        assert (await compiled.ainvoke({"last": "a"}, at))["count"] == 1
    assert ran == ["a"]
