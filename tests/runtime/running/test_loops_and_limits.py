"""Loops, and what ends them: the graph itself, the recursion limit, breakpoints."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import END, START, Command, StateGraph
from durable_graph.errors import GraphRecursionError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, history, says


def loop(saver: Saver | None, until: int, **options: Any) -> CompiledGraph:
    """A node that counts and goes round until it has counted so far."""

    async def tick(state: Items) -> Items:
        return {"items": [state["count"]], "count": 1}

    graph = StateGraph(Items).add_node("tick", tick).add_edge(START, "tick")
    graph.add_conditional_edges(
        "tick", lambda state: "tick" if state["count"] < until else END, ["tick", END]
    )
    return graph.compile(saver, **options)


async def test_a_loop_runs_until_its_router_says_end(saver: Saver, config: RunnableConfig) -> None:
    """Each turn is a superstep of its own, with the state of the one before."""
    graph = loop(saver, 50)
    assert (await graph.ainvoke({}, config))["items"] == list(range(50))
    assert len(await history(graph, config)) == 52


async def test_a_loop_may_be_of_several_nodes(saver: Saver, config: RunnableConfig) -> None:
    """A command leads back to an earlier node."""

    async def back(state: Items) -> Command[Any]:
        update = {"items": ["back"], "count": 1}
        return Command(update=update, goto="a" if state["count"] < 2 else END)

    graph = StateGraph(Items).add_node("a", says("a")).add_node("back", back, destinations=("a",))
    compiled = graph.add_edge(START, "a").add_edge("a", "back").compile(saver)
    assert (await compiled.ainvoke({}, config))["items"] == ["a", "back"] * 3


@pytest.mark.parametrize("needed", [1, 4])
async def test_a_run_may_take_exactly_as_many_supersteps_as_its_limit(
    needed: int, saver: Saver, config: RunnableConfig
) -> None:
    """The limit is what a call may take; the start does not count."""
    graph = loop(saver, needed)
    result = await graph.ainvoke({}, {**config, "recursion_limit": needed})
    assert result["count"] == needed


async def test_a_run_over_its_limit_stops_and_can_be_gone_on_with(
    saver: Saver, config: RunnableConfig
) -> None:
    """The error names what would be next; each further call may take as many steps again."""
    graph = loop(saver, 5)
    limited: RunnableConfig = {**config, "recursion_limit": 2}
    with pytest.raises(GraphRecursionError, match=r"took 2 supersteps.*; tick would be next"):
        await graph.ainvoke({}, limited)
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == ([0, 1], ("tick",))
    with pytest.raises(RecursionError):
        await graph.ainvoke(None, limited)
    assert (await graph.ainvoke(None, limited))["items"] == [0, 1, 2, 3, 4]


async def test_what_ran_before_the_limit_is_streamed(saver: Saver, config: RunnableConfig) -> None:
    """The events of all supersteps arrive before the error does."""
    stream = loop(saver, 9).astream({}, {**config, "recursion_limit": 3})
    seen = [await anext(stream) for _ in range(3)]
    with pytest.raises(GraphRecursionError):
        await anext(stream)
    assert seen == [{"tick": {"items": [n], "count": 1}} for n in range(3)]


async def test_the_limit_holds_without_a_checkpointer() -> None:
    """A run that is not stored has the same limit."""
    with pytest.raises(GraphRecursionError):
        await loop(None, 9).ainvoke({}, {"recursion_limit": 3})


@pytest.mark.parametrize(
    ("when", "nodes", "stops"),
    [
        ("interrupt_before", ["b"], [["a"], ["a", "b", "c"]]),
        ("interrupt_after", ["b"], [["a", "b"], ["a", "b", "c"]]),
        ("interrupt_before", "*", [[], ["a"], ["a", "b"], ["a", "b", "c"]]),
        ("interrupt_after", "*", [["a"], ["a", "b"], ["a", "b", "c"]]),
        ("interrupt_after", ["c"], [["a", "b", "c"]]),
        ("interrupt_before", ["a", "c"], [[], ["a", "b"], ["a", "b", "c"]]),
        ("interrupt_before", "b", [["a"], ["a", "b", "c"]]),
    ],
)
@pytest.mark.parametrize("given", ["when compiled", "with the call"])
async def test_breakpoints_stop_the_run_before_or_after_nodes(
    when: str, nodes: Any, stops: list[list[str]], given: str, saver: Saver, config: RunnableConfig
) -> None:
    """Each call with None goes on to the next breakpoint; after the last node there is none."""
    compiling = {when: nodes} if given == "when compiled" else {}
    calling: dict[str, Any] = {} if given == "when compiled" else {when: nodes}
    parts = [(name, says(name)) for name in "abc"]
    graph = chain(*parts, saver=saver, **compiling)
    seen = [(await graph.ainvoke({}, config, **calling))["items"]]
    while (await graph.aget_state(config)).next:
        seen.append((await graph.ainvoke(None, config, **calling))["items"])
    assert seen == stops


async def test_the_breakpoints_of_a_call_take_the_place_of_the_compiled_ones(
    saver: Saver, config: RunnableConfig
) -> None:
    """Also with none at all, to run through once."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver, interrupt_before="*")
    assert (await graph.ainvoke({}, config, interrupt_before=[]))["items"] == ["a", "b"]


async def test_a_stop_at_a_breakpoint_asks_nothing(saver: Saver, config: RunnableConfig) -> None:
    """The result has no questions, and the snapshot says which node is next."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver, interrupt_before=["b"])
    assert await graph.ainvoke({}, config) == {"items": ["a"], "count": 0}
    state = await graph.aget_state(config)
    assert (state.next, state.interrupts) == (("b",), ())
    (info,) = await collect(saver.alist_threads())
    assert (info.status, info.reason) == ("stopped", "breakpoint")


async def test_breakpoints_work_in_a_loop(saver: Saver, config: RunnableConfig) -> None:
    """The run stops each time it comes by."""
    graph = loop(saver, 3, interrupt_after=["tick"])
    await graph.ainvoke({}, config)
    for done in (2, 3):
        assert (await graph.ainvoke(None, config))["count"] == done
    assert (await graph.aget_state(config)).next == ()


async def test_a_breakpoint_without_a_checkpointer_ends_the_run() -> None:
    """Nothing is stored, so there is nothing to go on with; the state so far is returned."""
    graph = chain(("a", says("a")), ("b", says("b")), interrupt_before=["b"])
    assert (await graph.ainvoke({}))["items"] == ["a"]
