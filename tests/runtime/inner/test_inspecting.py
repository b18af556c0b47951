"""Graphs within graphs are looked at, and their states edited, through the outermost one."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import START, StateGraph, interrupt
from durable_graph.errors import CheckpointNotFoundError, IncompatibleGraphError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import Command, RunnableConfig, StateSnapshot
from tests.runtime.inner.nests import Count, nest
from tests.runtime.kit import Items, chain, collect, history, says


def asks(state: Items) -> Items:
    """A node that asks, and writes down the answer."""
    return {"items": [interrupt("?")]}


def ns_of(config: Any) -> str:
    """The namespace that a config names."""
    ns: str = config["configurable"]["checkpoint_ns"]
    return ns


async def innermost(graph: CompiledGraph, config: RunnableConfig) -> StateSnapshot:
    """The snapshot of the graph within all others."""
    state = await graph.aget_state(config, subgraphs=True)
    while isinstance(state.tasks[0].state, StateSnapshot):
        state = state.tasks[0].state
    return state


async def test_a_task_shows_the_graph_that_it_runs(saver: Saver, config: RunnableConfig) -> None:
    """Its config; with `subgraphs=True` its state, and so on within."""
    graph = nest(2, [("a", says("a")), ("asks", asks)], saver)
    await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    (task,) = state.tasks
    assert task.state == {
        "configurable": {
            "thread_id": config["configurable"]["thread_id"],
            "checkpoint_ns": f"level 1:{task.id}",
        }
    }
    one = (await graph.aget_state(config, subgraphs=True)).tasks[0].state
    two = one.tasks[0].state
    assert (one.next, two.next) == (("level 2",), ("asks",))
    assert two.values["items"] == ["a"]
    assert state.interrupts == one.interrupts == two.interrupts
    assert [ask.value for ask in two.interrupts] == ["?"]
    assert two.metadata["parents"] == {
        "": state.checkpoint_id,
        ns_of(one.config): one.checkpoint_id,
    }
    named = two.config["configurable"]
    assert named["checkpoint_map"] == {
        **two.metadata["parents"],
        named["checkpoint_ns"]: named["checkpoint_id"],
    }
    assert two.parent_config["configurable"]["checkpoint_ns"] == named["checkpoint_ns"]


async def test_a_namespace_names_a_graph_within(saver: Saver, config: RunnableConfig) -> None:
    """At any depth: its state now, at a checkpoint, and its history."""
    graph = nest(3, [("a", says("a")), ("b", says("b")), ("asks", asks)], saver)
    await graph.ainvoke({}, config)
    state = await innermost(graph, config)
    place: RunnableConfig = {
        "configurable": {**config["configurable"], "checkpoint_ns": ns_of(state.config)}
    }
    assert await graph.aget_state(place) == state
    states = await history(graph, place)
    assert [(s.values.get("items"), s.next) for s in states] == [
        (["a", "b"], ("asks",)),
        (["a"], ("b",)),
        ([], ("a",)),
        ([], ("__start__",)),
    ]
    assert {ns_of(s.config) for s in states} == {ns_of(state.config)}
    for one in states:
        assert (await graph.aget_state(one.config)).values == one.values
    assert [s.config for s in await history(graph, states[1].config)] == [states[1].config]
    assert all(not ns_of(s.config) for s in await history(graph, config))


async def test_only_the_graph_that_has_it_has_a_checkpoint(
    saver: Saver, config: RunnableConfig
) -> None:
    """A config that was put together by hand and does not fit is refused."""
    graph = nest(1, [("a", says("a")), ("asks", asks)], saver)
    await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    wrong: RunnableConfig = {
        "configurable": {**state.config["configurable"], "checkpoint_ns": "elsewhere"}
    }
    with pytest.raises(CheckpointNotFoundError, match="whole config"):
        await graph.aget_state(wrong)
    nowhere: RunnableConfig = {
        "configurable": {**config["configurable"], "checkpoint_ns": "elsewhere"}
    }
    assert (await graph.aget_state(nowhere)).values == {}
    assert await history(graph, nowhere) == []
    with pytest.raises(CheckpointNotFoundError, match="no graph at 'elsewhere' now"):
        await graph.aupdate_state(nowhere, {"items": ["x"]})


async def test_one_that_has_ended_is_still_in_the_history(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nothing of it is in the present state; its checkpoints stay."""
    graph = nest(1, [("a", says("a"))], saver)
    events = await collect(graph.astream({}, config, stream_mode="checkpoints", subgraphs=True))
    inner = [event["config"] for ns, event in events if ns]
    for named in inner:
        assert ns_of((await graph.aget_state(named)).config) == ns_of(named)
    place: RunnableConfig = {
        "configurable": {**config["configurable"], "checkpoint_ns": ns_of(inner[0])}
    }
    assert len(await history(graph, place)) == len(inner) == 3
    assert (await graph.aget_state(place)).values == {}


async def test_one_that_a_node_calls_is_found_by_what_the_node_names(
    saver: Saver, config: RunnableConfig
) -> None:
    """In its closure, its object, lists, and functions that it calls."""
    inner = chain(("a", says("a")), ("asks", asks))
    tools = [inner]

    async def helper() -> Any:
        return await tools[0].ainvoke({})

    class Node:
        def __init__(self) -> None:
            self.helper = helper

        async def __call__(self, state: Items) -> Items:
            return {"items": (await self.helper())["items"]}

    graph = chain(("node", Node()), saver=saver)
    await graph.ainvoke({}, config)
    assert (await innermost(graph, config)).values["items"] == ["a"]


async def test_one_that_nothing_names_can_be_run_but_not_shown(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nobody knows its schema; where it is can be said."""

    async def node(state: Items) -> Items:
        made = chain(("a", says("a")), ("asks", asks))
        return {"items": (await made.ainvoke({}))["items"]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    state = (await graph.aget_state(config, subgraphs=True)).tasks[0].state
    assert isinstance(state, dict)
    with pytest.raises(IncompatibleGraphError, match="names it"):
        await graph.aget_state(state)  # type: ignore[arg-type]
    assert (await graph.ainvoke(Command(resume="yes"), config))["items"] == ["a", "yes"]


@pytest.mark.parametrize("depth", [1, 3])
async def test_a_state_within_can_be_edited_while_its_task_waits(
    depth: int, saver: Saver, config: RunnableConfig
) -> None:
    """The question stays, and the run goes on from the edited state."""
    count = Count()
    graph = nest(depth, [count.node("a"), count.node("asks", asks), count.node("b")], saver)
    await graph.ainvoke({}, config)
    inner = await innermost(graph, config)
    edited = await graph.aupdate_state(inner.config, {"items": ["edited"]}, as_node="a")
    assert ns_of(edited) == ns_of(inner.config)
    assert (await graph.aget_state(edited)).values["items"] == ["a", "edited"]
    (ask,) = (await graph.aget_state(config)).interrupts
    result = await graph.ainvoke(Command(resume={ask.id: "yes"}), config)
    assert result["items"] == ["a", "edited", "yes", "b"]
    assert count == {"a": 1, "asks": 2, "b": 1}


async def test_an_edit_may_take_the_place_of_a_node_that_asks(
    saver: Saver, config: RunnableConfig
) -> None:
    """Then nothing is asked any more, on any level, and the thread goes on without an answer."""
    graph = nest(2, [("asks", asks), ("b", says("b"))], saver)
    await graph.ainvoke({}, config)
    inner = await innermost(graph, config)
    await graph.aupdate_state(inner.config, {"items": ["instead"]}, as_node="asks")
    assert (await graph.aget_state(config)).interrupts == ()
    (info,) = [info async for info in saver.alist_threads()]
    assert (info.status, info.reason) == ("stopped", "edited")
    assert (await graph.ainvoke(None, config))["items"] == ["instead", "b"]


async def test_what_a_graph_has_kept_can_be_edited(saver: Saver, config: RunnableConfig) -> None:
    """Also while the thread rests."""
    kept = chain(("told", lambda state: {"items": [len(state["items"])]}), saver=True)

    async def call(state: Items) -> Items:
        return {"last": (await kept.ainvoke({}))["items"]}

    graph = chain(("call", call), saver=saver)
    await graph.ainvoke({}, config)
    place: RunnableConfig = {"configurable": {**config["configurable"], "checkpoint_ns": "call"}}
    assert (await graph.aget_state(place)).values["items"] == [0]
    await graph.aupdate_state(place, {"items": ["x", "y"]})
    (info,) = [info async for info in saver.alist_threads()]
    assert info.status == "finished"
    assert (await graph.ainvoke({}, config))["last"] == [0, "x", "y", 3]


async def test_pruning_keeps_what_the_present_needs(saver: Saver, config: RunnableConfig) -> None:
    """The graphs within that wait can be gone on with."""
    graph = nest(2, [("a", says("a")), ("asks", asks)], saver)
    for number in range(3):
        await graph.ainvoke({"count": number}, config, on_pending="supersede")
    await saver.aprune([config["configurable"]["thread_id"]])
    assert (await innermost(graph, config)).next == ("asks",)
    assert (await graph.ainvoke(Command(resume="yes"), config))["items"][-2:] == ["a", "yes"]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_a_copied_thread_goes_on_within(saver: Saver, config: RunnableConfig) -> None:
    """All of it is copied."""
    count = Count()
    graph = nest(2, [count.node("a"), ("asks", asks)], saver)
    await graph.ainvoke({}, config)
    await saver.acopy_thread(config["configurable"]["thread_id"], "the copy")
    copy: RunnableConfig = {"configurable": {"thread_id": "the copy"}}
    assert (await graph.ainvoke(Command(resume="yes"), copy))["items"] == ["a", "yes"]
    assert count["a"] == 1


async def test_nodes_that_are_gone_are_named_before_anything_runs(
    saver: Saver, config: RunnableConfig
) -> None:
    """A graph within whose pending node another version does not have."""
    graph = StateGraph(Items).add_node("inner", chain(("a", says("a")), ("asks", asks)))
    await graph.add_edge(START, "inner").compile(saver).ainvoke({}, config)
    other = StateGraph(Items).add_node("inner", chain(("a", says("a")), ("renamed", asks)))
    compiled = other.add_edge(START, "inner").compile(saver)
    with pytest.raises(IncompatibleGraphError, match="asks"):
        await compiled.ainvoke(Command(resume="yes"), config)
