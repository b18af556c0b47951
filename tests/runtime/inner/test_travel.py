"""Time travel into graphs within graphs, and out of them."""

from __future__ import annotations

import pytest

from durable_graph import START, StateGraph, interrupt
from durable_graph.errors import ConfigError
from durable_graph.saver import Saver
from durable_graph.types import Command, RunnableConfig
from tests.runtime.inner.nests import Count, nest
from tests.runtime.inner.test_inspecting import innermost, ns_of
from tests.runtime.kit import Items, chain, collect, history, says


def asks(state: Items) -> Items:
    """A node that asks, and writes down the answer."""
    return {"items": [interrupt("?")]}


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_checkpoint_within_can_be_gone_on_from(
    depth: int, saver: Saver, config: RunnableConfig
) -> None:
    """Only what comes after it runs again, and the graphs around go on with that."""
    count = Count()
    graph = nest(depth, [count.node(name) for name in "abc"], saver)
    events = await collect(graph.astream({}, config, stream_mode="checkpoints", subgraphs=True))
    before_b = next(e["config"] for ns, e in events if len(ns) == depth and e["next"] == ["b"])
    result = await graph.ainvoke(None, before_b)
    assert result["items"] == ["a", "b", "c"]
    assert count == {"a": 1, "b": 2, "c": 2}
    assert (await graph.aget_state(config)).values["items"] == ["a", "b", "c"]


async def test_siblings_and_graphs_around_are_as_they_were_there(
    saver: Saver, config: RunnableConfig
) -> None:
    """What had finished beside it has; what had not runs again."""
    count = Count()
    graph = StateGraph(Items)
    graph.add_node("first", chain(count.node("a"), count.node("b")))
    graph.add_node(*count.node("second")).add_node("end", says("end"))
    graph.add_edge(START, "first").add_edge(START, "second").add_edge(["first", "second"], "end")
    compiled = graph.compile(saver)
    events = await collect(compiled.astream({}, config, stream_mode="checkpoints", subgraphs=True))
    named = next(e["config"] for ns, e in events if ns and e["next"] == ["b"])
    before = dict(count)
    result = await compiled.ainvoke(None, named)
    assert sorted(result["items"]) == ["a", "b", "end", "second"]
    assert count["a"] == 1
    assert count["b"] == before["b"] + 1


async def test_it_asks_again_on_a_branch_and_the_old_one_stays(
    saver: Saver, config: RunnableConfig
) -> None:
    """Under other ids, so that no answer of the old branch counts on the new one."""
    count = Count()
    graph = nest(2, [count.node("a"), count.node("asks", asks), count.node("b")], saver)
    (first,) = (await graph.ainvoke({}, config))["__interrupt__"]
    inner = await innermost(graph, config)
    await graph.ainvoke(Command(resume="one"), config)
    (again,) = (await graph.ainvoke(None, inner.config))["__interrupt__"]
    assert again.value == first.value
    assert again.id != first.id
    assert (await graph.ainvoke(Command(resume="two"), config))["items"] == ["a", "two", "b"]
    assert count["a"] == 1
    values = [state.values["items"] for state in await history(graph, config) if not state.next]
    assert values == [["a", "two", "b"], ["a", "one", "b"]]


@pytest.mark.parametrize("inside", [True, False])
async def test_an_earlier_question_can_be_answered_otherwise(
    inside: bool, saver: Saver, config: RunnableConfig
) -> None:
    """Naming the checkpoint where it was asked, of the graph within or of the outermost one."""
    count = Count()
    graph = nest(2, [count.node("a"), count.node("asks", asks), count.node("b")], saver)
    await graph.ainvoke({}, config)
    state = await innermost(graph, config) if inside else await graph.aget_state(config)
    assert (await graph.ainvoke(Command(resume="one"), config))["items"] == ["a", "one", "b"]
    result = await graph.ainvoke(Command(resume="two"), state.config)
    assert result["items"] == ["a", "two", "b"]
    assert count == {"a": 1, "asks": 3, "b": 2}


@pytest.mark.parametrize("inside", [True, False])
async def test_naming_where_it_stands_is_no_branch(
    inside: bool, saver: Saver, config: RunnableConfig
) -> None:
    """An answer goes on, though a config was passed on with it."""
    count = Count()
    graph = nest(2, [count.node("a"), count.node("asks", asks)], saver)
    await graph.ainvoke({}, config)
    state = await innermost(graph, config) if inside else await graph.aget_state(config)
    result = await graph.ainvoke(Command(resume="yes"), state.config)
    assert result["items"] == ["a", "yes"]
    assert count == {"a": 1, "asks": 2}
    sources = [s.metadata["source"] for s in await history(graph, config) if s.metadata]
    assert "fork" not in sources


async def test_an_edit_of_the_past_within_is_a_branch(saver: Saver, config: RunnableConfig) -> None:
    """What it returns names the edited checkpoint there; going on from it runs the rest."""
    count = Count()
    graph = nest(2, [count.node(name) for name in "abc"], saver)
    events = await collect(graph.astream({}, config, stream_mode="checkpoints", subgraphs=True))
    before_b = next(e["config"] for ns, e in events if len(ns) == 2 and e["next"] == ["b"])
    edited = await graph.aupdate_state(before_b, {"items": ["edited"]})
    assert ns_of(edited) != ns_of(before_b)
    state = await graph.aget_state(edited)
    assert (state.values["items"], state.next) == (["a", "edited"], ("b",))
    result = await graph.ainvoke(None, edited)
    assert result["items"] == ["a", "edited", "b", "c"]
    assert count == {"a": 1, "b": 2, "c": 2}


async def test_an_outer_checkpoint_runs_graphs_within_from_their_start(
    saver: Saver, config: RunnableConfig
) -> None:
    """They had not begun there."""
    count = Count()
    inner = chain(count.node("a"), count.node("b"))
    graph = chain(count.node("before"), ("inner", inner), saver=saver)
    await graph.ainvoke({}, config)
    named = next(s.config for s in await history(graph, config) if s.next == ("inner",))
    assert (await graph.ainvoke(None, named))["items"] == ["before", "before", "a", "b"]
    assert count == {"before": 1, "a": 2, "b": 2}


async def test_a_graph_within_is_given_no_input_from_outside(
    saver: Saver, config: RunnableConfig
) -> None:
    """Its caller gives it that; its state can be edited."""
    graph = nest(1, [("a", says("a")), ("asks", asks)], saver)
    await graph.ainvoke({}, config)
    inner = await innermost(graph, config)
    with pytest.raises(ConfigError, match="aupdate_state"):
        await graph.ainvoke({"items": ["x"]}, inner.config)
