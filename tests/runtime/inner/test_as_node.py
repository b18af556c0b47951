"""A compiled graph as a node of another."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, InMemorySaver, Send, StateGraph
from durable_graph.errors import MissingCheckpointerError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.backends import Around
from tests.runtime.inner.nests import Count, nest
from tests.runtime.kit import Items, chain, says


class Inner(TypedDict, total=False):
    """Shares one key with `Items`."""

    items: Annotated[list[Any], operator.add]
    secret: int


async def test_it_shares_the_keys_that_both_graphs_have(
    saver: Saver, config: RunnableConfig
) -> None:
    """It takes those of its input and writes those of its output; no other is mentioned."""
    seen: list[Any] = []

    async def look(state: Inner) -> Inner:
        seen.append(dict(state))
        return {"items": ["inner"], "secret": 7}

    inner = StateGraph(Inner).add_node("look", look).add_edge(START, "look").compile()
    graph = chain(("before", says("before")), ("inner", inner), saver=saver)
    assert await graph.ainvoke({"count": 1}, config) == {
        "items": ["before", "before", "inner"],
        "count": 1,
    }
    assert seen == [{"items": ["before"]}]


async def test_it_may_be_added_by_itself(config: RunnableConfig) -> None:
    """Its name is then that of its node."""
    inner = chain(("a", says("a")), name="inner")
    graph = StateGraph(Items).add_node(inner).add_edge(START, "inner").compile()
    assert (await graph.ainvoke({}))["items"] == ["a"]


async def test_graphs_can_be_in_graphs_in_graphs(saver: Saver, config: RunnableConfig) -> None:
    """However deep, each runs its nodes once."""
    count = Count()
    graph = nest(3, [count.node("a"), count.node("b")], saver)
    assert (await graph.ainvoke({}, config))["items"] == ["a", "b"]
    assert count == {"a": 1, "b": 1}


async def test_without_a_checkpointer_nothing_is_stored_of_any(config: RunnableConfig) -> None:
    """A graph around that is not stored has graphs within that are not."""
    graph = nest(2, [("a", says("a"))])
    assert (await graph.ainvoke({}))["items"] == ["a"]


async def test_several_at_once_are_apart(saver: Saver, config: RunnableConfig) -> None:
    """One graph as two nodes, and as the target of many packets, has a state for each task."""

    async def add(state: Items) -> Items:
        return {"items": [state["last"]]}

    inner_graph = StateGraph(Items, output_schema=Inner)
    inner_graph.add_node("add", add).add_node("again", says("again"))
    inner = inner_graph.add_edge(START, "add").add_edge("add", "again").compile()
    graph = StateGraph(Items)
    graph.add_node("one", inner).add_node("two", inner).add_node("many", inner)
    graph.add_conditional_edges(
        START,
        lambda state: ["one", "two", *(Send("many", {"last": n}) for n in range(5))],
        ["one", "two", "many"],
    )
    result = await graph.compile(saver).ainvoke({"last": "all"}, config)
    assert sorted(map(str, result["items"])) == sorted(
        [*map(str, range(5)), "all", "all", *["again"] * 7]
    )


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_a_superstep_within_costs_one_durable_write(
    depth: int, tmp_path: Any, config: RunnableConfig
) -> None:
    """Its input rides with its first write, and its end with what its task writes next."""
    saver = InMemorySaver()
    backend = Around(saver.backend)
    saver.backend = backend
    graph = nest(depth, [(name, says(name)) for name in "abcde"], saver)
    await graph.ainvoke({}, config)
    assert backend.appends == 1 + 5  # the input, and each of the nodes


@dataclass
class Typed:
    """A state of another kind."""

    items: Annotated[list[Any], operator.add] = field(default_factory=list)


async def test_the_states_may_be_of_different_kinds(saver: Saver, config: RunnableConfig) -> None:
    """What counts is the keys."""

    async def node(state: Typed) -> dict[str, Any]:
        return {"items": [len(state.items)]}

    inner = StateGraph(Typed).add_node("n", node).add_edge(START, "n").compile()
    graph = chain(("inner", inner), saver=saver)
    assert (await graph.ainvoke({"items": [1, 2]}, config))["items"] == [1, 2, 1, 2, 2]


async def test_a_long_run_within_is_read_at_the_size_of_the_state(
    saver: Saver, config: RunnableConfig
) -> None:
    """Its commits are snapshots of the whole thread now and then, with all around it."""
    steps = 120
    replaced = StateGraph(Items)

    async def replace(state: Items) -> Items:
        # Deltas outweigh the state soon.
        if state.get("count", 0) == steps:
            raise KeyError("stop here")
        return {"last": f"{state.get('count', 0)}" + "y" * 2000, "count": 1}

    replaced.add_node("replace", replace).add_edge(START, "replace").add_edge("replace", "replace")
    graph = chain(("before", says("before")), ("inner", replaced.compile()), saver=saver)
    with pytest.raises(KeyError):
        await graph.ainvoke({}, config)
    backend = Around(saver.backend)
    saver.backend = backend
    saver.hot.take(next(iter(saver.hot._entries)))
    state = await graph.aget_state(config)
    assert state.values["items"] == ["before"]
    assert state.next == ("inner",)
    assert backend.reads < steps / 2


async def test_it_needs_a_graph_around_it_to_keep_its_state_there() -> None:
    """`checkpointer=True` says whose thread; alone there is none."""
    graph = chain(("a", says("a")), saver=True)
    with pytest.raises(MissingCheckpointerError, match="no graph calls this one"):
        await graph.ainvoke({})
