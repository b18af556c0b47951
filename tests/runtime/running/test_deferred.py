"""Deferred nodes run once nothing else is due; joins fire once for branches of unequal length."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, Literal

import pytest

from durable_graph import END, START, Command, Send, StateGraph, interrupt
from durable_graph.errors import IncompatibleGraphError, StorageFullError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.backends import failing
from tests.runtime.kit import Items, collect, history, says


def wired(
    names: str,
    edges: Sequence[tuple[str | list[str], str]],
    saver: Saver | None,
    *,
    deferred: str = "",
    **actions: Any,
) -> CompiledGraph:
    """Nodes of these letters, which say their names."""
    graph = StateGraph(Items)
    for name in names:
        graph.add_node(name, actions.get(name, says(name)), defer=name in deferred)
    for start, end in edges:
        graph.add_edge(start, end)
    return graph.compile(saver)


UNEVEN: list[tuple[str | list[str], str]] = [
    (START, "a"),
    ("a", "b"),
    ("b", "c"),
    ("a", "z"),
    ("c", "z"),
]


async def test_a_deferred_node_waits_for_all_branches(saver: Saver, config: RunnableConfig) -> None:
    """It runs once, after the longest, though the shortest led to it long before."""
    graph = wired("abcz", UNEVEN, saver, deferred="z")
    assert (await graph.ainvoke({}, config))["items"] == ["a", "b", "c", "z"]


async def test_without_defer_it_runs_for_each(saver: Saver, config: RunnableConfig) -> None:
    """The same graph with a plain node, for comparison."""
    graph = wired("abcz", UNEVEN, saver)
    assert (await graph.ainvoke({}, config))["items"] == ["a", "b", "z", "c", "z"]


@pytest.mark.parametrize(
    ("names", "deferred", "edges", "order"),
    [
        ("abyz", "yz", [(START, "a"), ("a", "y"), ("a", "b"), ("b", "z")], ["a", "b", "y", "z"]),
        (
            "abfyz",
            "yz",
            [(START, "a"), ("a", "y"), ("y", "z"), ("y", "b"), ("b", "f")],
            ["a", "y", "b", "f", "z"],
        ),
        (
            "abcdez",
            "z",
            [(START, "a"), ("a", "b"), ("a", "c"), (["a", "c"], "z"), ("b", "d"), ("d", "e")],
            ["a", "b", "c", "d", "e", "z"],
        ),
        ("abz", "z", [(START, "z"), (START, "a"), ("a", "b")], ["a", "b", "z"]),
        ("z", "z", [(START, "z")], ["z"]),
        ("az", "z", [(START, "a"), ("a", "z"), ("z", END)], ["a", "z"]),
    ],
    ids=["two at once", "one after the other", "behind a join", "at the start", "alone", "to END"],
)
async def test_deferred_nodes_in_graphs_of_many_shapes(
    names: str,
    deferred: str,
    edges: list[tuple[str | list[str], str]],
    order: list[str],
    saver: Saver,
    config: RunnableConfig,
) -> None:
    """In the order in which LangGraph runs them."""
    graph = wired(names, edges, saver, deferred=deferred)
    assert (await graph.ainvoke({}, config))["items"] == order


async def test_a_deferred_node_in_a_loop(saver: Saver, config: RunnableConfig) -> None:
    """Each round is awaited anew; a node may be deferred behind itself."""
    graph = StateGraph(Items).add_node("a", says("a")).add_node("z", says("z"), defer=True)
    graph.add_edge(START, "a").add_edge("a", "z")

    def route(state: Items) -> str:
        return ("a", "z", END)[min(2, state["items"].count("z") - 1)]

    graph.add_conditional_edges("z", route, ["a", "z", END])
    assert (await graph.compile(saver).ainvoke({}, config))["items"] == [
        *["a", "z"] * 2,
        "z",
    ]


async def test_commands_are_put_off_and_sends_are_not(saver: Saver, config: RunnableConfig) -> None:
    """A goto leads to a node like an edge; a `Send` is a task that is made for itself."""

    async def first(state: Items) -> Command[Literal["b", "z"]]:
        return Command(update={"items": ["a"]}, goto=["z", "b", Send("z", {})])

    graph = wired("abcz", [(START, "a"), ("b", "c")], saver, deferred="z", a=first)
    assert (await graph.ainvoke({}, config))["items"] == ["a", "b", "z", "c", "z"]


async def test_what_waits_survives_a_crash_at_every_write(
    saver: Saver, config: RunnableConfig
) -> None:
    """That a deferred node waits stands in each checkpoint."""
    plain = saver.backend
    for good in range(1, 6):
        at: RunnableConfig = {"configurable": {"thread_id": f"cut off after {good}"}}
        around = failing(saver, good)
        graph = wired("abcz", UNEVEN, saver, deferred="z")
        try:
            await graph.ainvoke({}, at)
        except StorageFullError:
            around.good = around.appends + 100
            await graph.ainvoke(None, at)
        saver.backend = plain
        assert (await graph.aget_state(at)).values["items"] == ["a", "b", "c", "z"]


async def test_replay_and_edit_keep_what_waits(saver: Saver, config: RunnableConfig) -> None:
    """A branch off a checkpoint at which a deferred node waited has it waiting as well."""
    graph = wired("abcz", UNEVEN, saver, deferred="z")
    await graph.ainvoke({}, config)
    at = next(one for one in await history(graph, config) if one.next == ("c",))
    assert (await graph.ainvoke(None, at.config))["items"] == ["a", "b", "c", "z"]
    edited = await graph.aupdate_state(at.config, {"items": ["edit"]}, as_node="b")
    assert (await graph.ainvoke(None, edited))["items"] == ["a", "b", "edit", "c", "z"]


async def test_an_edit_that_leaves_nothing_else_due_lets_it_run(
    saver: Saver, config: RunnableConfig
) -> None:
    """As if the edited node had been the last; as END, nothing is due any more."""
    graph = wired("abcz", UNEVEN[:4], saver, deferred="z")
    await graph.ainvoke({}, config, interrupt_before=["c"])
    edited = await graph.aupdate_state(config, {"items": ["edit"]}, as_node="c")
    assert (await graph.aget_state(edited)).next == ("z",)
    await graph.aupdate_state(config, {"items": ["over"]}, as_node="__end__")
    assert (await graph.aget_state(config)).next == ()
    assert (await graph.ainvoke(None, config))["items"] == ["a", "b", "edit", "over"]


async def test_a_new_input_drops_what_waits(saver: Saver, config: RunnableConfig) -> None:
    """With the tasks that have not run: it is the new input's own end that is awaited."""
    graph = StateGraph(Items).add_node("a", says("a")).add_node("b", says("b"))
    graph.add_node("z", says("z"), defer=True)
    graph.add_conditional_edges(
        START, lambda state: ["z", "a"] if state["last"] == "with z" else "a", ["a", "z"]
    )
    compiled = graph.add_edge("a", "b").compile(saver)
    await compiled.ainvoke({"last": "with z"}, config, interrupt_before=["b"])
    assert (await compiled.ainvoke({"last": "without"}, config))["items"] == ["a", "a", "b"]


async def test_a_question_is_waited_for(saver: Saver, config: RunnableConfig) -> None:
    """A branch that asks has not come to its end."""

    async def asks(state: Items) -> Items:
        return {"items": [interrupt("which?")]}

    graph = wired("abcz", UNEVEN, saver, deferred="z", b=asks)
    assert "__interrupt__" in await graph.ainvoke({}, config)
    assert (await graph.ainvoke(Command(resume="b"), config))["items"] == ["a", "b", "c", "z"]


async def test_a_deferred_node_that_is_gone_is_refused_by_name(
    saver: Saver, config: RunnableConfig
) -> None:
    """Before anything runs; where it is there and deferred no more, it still waits."""
    graph = wired("abcz", UNEVEN, saver, deferred="z")
    await graph.ainvoke({}, config, interrupt_before=["c"])
    without = wired("abc", UNEVEN[:3], saver)
    with pytest.raises(IncompatibleGraphError, match="'z'"):
        await without.ainvoke(None, config)
    plain = wired("abcz", [*UNEVEN[:3], (["a", "b"], "z")], saver)
    assert (await plain.ainvoke(None, config))["items"] == ["a", "b", "c", "z"]


async def test_a_deferred_node_counts_for_the_recursion_limit_and_breakpoints(
    saver: Saver, config: RunnableConfig
) -> None:
    """It is a node like any other once it is due."""
    graph = wired("abcz", UNEVEN, saver, deferred="z")
    await graph.ainvoke({}, config, interrupt_before=["z"])
    assert (await graph.aget_state(config)).next == ("z",)
    assert (await graph.ainvoke(None, config))["items"] == ["a", "b", "c", "z"]


@pytest.mark.parametrize("length", [0, 1, 5])
async def test_a_join_fires_once_for_uneven_branches(
    length: int, saver: Saver, config: RunnableConfig
) -> None:
    """However much longer one branch is."""
    long = "cdefgh"[: length + 1]
    edges: list[tuple[str | list[str], str]] = [(START, "a"), ("a", "b"), ("a", "c")]
    edges += list(itertools.pairwise(long))
    edges.append((["b", long[-1]], "z"))
    graph = wired(f"ab{long}z", edges, saver)
    updates = [next(iter(event)) for event in await collect(graph.astream({}, config))]
    assert updates.count("z") == 1
    assert updates[-1] == "z"


async def test_a_node_that_has_emitted_and_then_fails_has_not_finished(
    saver: Saver, config: RunnableConfig
) -> None:
    """What it told the outside is no result: going on runs it again."""
    ran: list[int] = []

    async def node(state: Items, runtime: Any, writer: Any) -> Items:
        ran.append(1)
        runtime.emit_message("a token")
        writer("an event")
        await asyncio.sleep(0)
        if len(ran) == 1:
            raise ValueError("after all that")
        return {"items": ["done"]}

    graph = wired("a", [(START, "a")], saver, a=node)
    with pytest.raises(ValueError):
        await collect(graph.astream({}, config, stream_mode=["messages", "custom"]))
    assert (await graph.aget_state(config)).next == ("a",)
    assert (await graph.ainvoke(None, config))["items"] == ["done"]
    assert len(ran) == 2
