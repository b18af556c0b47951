"""Migrations of what a task has done so far: its steps, its packets' limits, its graphs within."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Command, StateGraph, interrupt, step
from durable_graph.compat import check_compat
from durable_graph.errors import IncompatibleGraphError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.migration import rename_key, rename_node
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import identities


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    words: Annotated[list[str], operator.add]


def build(
    saver: Saver, name: str, node: Callable[..., Any] | CompiledGraph, changes: Sequence[Any] = ()
) -> CompiledGraph:
    graph = StateGraph(State).add_node(name, node).add_edge(START, name)
    return graph.compile(saver, migrations=changes)


async def test_steps_of_a_task_are_not_done_again_under_its_new_name(
    saver: Saver, config: RunnableConfig
) -> None:
    """Their results belong to the task, and the task is the same."""
    done: list[str] = []

    async def charge() -> str:
        done.append("charged")
        return "receipt"

    async def node(state: State) -> State:
        receipt = await step("charge", charge)
        return {"log": [receipt, interrupt("?")]}

    await build(saver, "old", node).ainvoke({}, config)
    new = build(saver, "new", node, [rename_node("old", "new")])
    assert (await new.ainvoke(Command(resume="!"), config))["log"] == ["receipt", "!"]
    assert done == ["charged"]


def asking(name: str = "ask") -> CompiledGraph:
    async def ask(state: State) -> State:
        return {"log": [interrupt("?")]}

    return StateGraph(State).add_node(name, ask).add_edge(START, name).compile()


async def test_a_graph_within_goes_on_beside_a_migration(
    saver: Saver, config: RunnableConfig
) -> None:
    """What is renamed around it does not touch it, at the head and on a branch."""
    old = (
        StateGraph(State).add_node("inner", asking()).add_node("other", lambda s: {"words": ["w"]})
    )
    old.add_edge(START, "inner").add_edge(START, "other")
    (question,) = (await old.compile(saver).ainvoke({}, config))["__interrupt__"]
    new = StateGraph(State).add_node("inner", asking())
    new.add_node("renamed", lambda s: {"words": ["w"]})
    new.add_edge(START, "inner").add_edge(START, "renamed")
    graph = new.compile(saver, migrations=[rename_node("other", "renamed")])
    state = await graph.aget_state(config)
    assert state.interrupts == (question,)
    assert (await graph.ainvoke(Command(resume="!"), config))["log"] == ["!"]
    checkpoints = {one.next: one.config async for one in graph.aget_state_history(config)}
    branch = await graph.ainvoke(None, checkpoints["inner", "renamed"])
    assert [asked.value for asked in branch["__interrupt__"]] == ["?"]
    assert (await graph.ainvoke(Command(resume="again"), config))["log"] == ["again"]


async def test_a_node_whose_graph_is_under_way_keeps_its_name(
    saver: Saver, config: RunnableConfig
) -> None:
    """The graph's place in the log has the node's name in it: it is to be finished first."""
    old = build(saver, "inner", asking())
    await old.ainvoke({}, config)
    new = build(saver, "other", asking(), [rename_node("inner", "other")])
    before = await identities(saver, config)
    with pytest.raises(IncompatibleGraphError, match="a graph within node 'inner' is under way"):
        await new.ainvoke(Command(resume="!"), config)
    assert await identities(saver, config) == before
    assert (await old.ainvoke(Command(resume="!"), config))["log"] == ["!"]
    assert (await new.ainvoke({}, config))["__interrupt__"]  # and then it may have another


async def test_a_key_that_a_graph_within_shares_is_renamed_around_it(
    saver: Saver, config: RunnableConfig
) -> None:
    """The outer graph's state is migrated; the graph within has a state of its own."""

    class Before(TypedDict, total=False):
        log: Annotated[list[str], operator.add]
        old: str

    class After(TypedDict, total=False):
        log: Annotated[list[str], operator.add]
        new: str

    first = StateGraph(Before).add_node("inner", asking()).add_edge(START, "inner").compile(saver)
    await first.ainvoke({"old": "kept"}, config)
    second = StateGraph(After).add_node("inner", asking()).add_edge(START, "inner")
    graph = second.compile(saver, migrations=[rename_key("old", "new")])
    assert await graph.ainvoke(Command(resume="!"), config) == {"log": ["!"], "new": "kept"}


async def test_a_node_that_is_gone_from_a_graph_within_is_refused_before_anything_runs(
    saver: Saver, config: RunnableConfig
) -> None:
    """Beside it nothing runs either, the answer is not taken, and the check names the node."""
    ran: list[str] = []

    async def beside(state: State) -> State:
        ran.append("beside")
        return {"log": [interrupt("beside?")]}

    async def asks(state: State) -> State:
        return {"log": [interrupt("?")]}

    def made(inner: str) -> CompiledGraph:
        child = StateGraph(State).add_node(inner, asks).add_edge(START, inner).compile()
        graph = StateGraph(State).add_node("child", child).add_node("beside", beside)
        return graph.add_edge(START, "child").add_edge(START, "beside").compile(saver)

    asked = (await made("old").ainvoke({}, config))["__interrupt__"]
    answers = {question.id: "yes" for question in asked}
    before, ran[:] = await identities(saver, config), []
    with pytest.raises(IncompatibleGraphError, match="'old' is due in the graph at 'child:"):
        await made("new").ainvoke(Command(resume=answers), config)
    assert not ran
    assert await identities(saver, config) == before
    (found,) = await check_compat(made("new"), saver)
    assert found.node == "old"
    assert await check_compat(made("old"), saver) == []
    assert (await made("old").ainvoke(Command(resume=answers), config))["log"] == ["yes", "yes"]
