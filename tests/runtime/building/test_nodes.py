"""What can be a node, what it is called, and what names are refused."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from durable_graph import END, START, Command, StateGraph
from durable_graph.errors import GraphDefinitionError, UnreachableNodeWarning
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, says


async def by_coroutine(state: Items) -> Items:
    return {"items": [threading.get_ident()]}


def by_function(state: Items) -> Items:
    return {"items": [threading.get_ident()]}


def by_awaitable(state: Items) -> Awaitable[Items]:
    return by_coroutine(state)


class ByObject:
    async def __call__(self, state: Items) -> Items:
        return {"items": [threading.get_ident()]}


class ByPlainObject:
    def __call__(self, state: Items) -> Items:
        return {"items": [threading.get_ident()]}


class Holder:
    async def method(self, state: Items) -> Items:
        return {"items": [threading.get_ident()]}


async def with_more(more: str, state: Items) -> Items:
    return {"items": [threading.get_ident()]}


@pytest.mark.parametrize(
    ("action", "on_the_loop"),
    [
        (by_coroutine, True),
        (by_function, False),
        (by_awaitable, True),
        (ByObject(), True),
        (ByPlainObject(), False),
        (Holder().method, True),
        (functools.partial(with_more, "x"), True),
        (functools.partial(functools.partial(by_function)), False),
    ],
    ids=["async", "sync", "awaitable", "object", "sync object", "method", "partial", "partial²"],
)
async def test_every_kind_of_callable_can_be_a_node(
    action: Callable[..., Any], on_the_loop: bool, saver: Saver, config: RunnableConfig
) -> None:
    """What is async runs on the loop's thread, whatever else in a thread of its own."""
    graph = chain(("node", action), saver=saver)
    (where,) = (await graph.ainvoke({}, config))["items"]
    assert (where == threading.get_ident()) is on_the_loop


async def test_sync_nodes_run_at_once_in_threads_of_their_own(
    saver: Saver, config: RunnableConfig
) -> None:
    """Three blocking nodes of one superstep meet at a barrier that needs all three threads."""
    barrier = threading.Barrier(3, timeout=20)

    def meet(state: Items) -> Items:
        barrier.wait()
        return {"items": [threading.get_ident()]}

    graph = StateGraph(Items)
    for name in "abc":
        graph.add_node(name, meet)
        graph.add_edge(START, name)
    result = await graph.compile(saver).ainvoke({}, config)
    assert len(set(result["items"])) == 3
    assert threading.get_ident() not in result["items"]


async def test_a_blocking_sync_node_does_not_block_the_loop(
    saver: Saver, config: RunnableConfig
) -> None:
    """The loop goes on while a sync node waits for something that only the loop can do."""
    entered, leave = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def block(state: Items) -> Items:
        loop.call_soon_threadsafe(entered.set)
        assert leave.wait(20)
        return {"items": ["left"]}

    run = asyncio.create_task(chain(("block", block), saver=saver).ainvoke({}, config))
    await entered.wait()
    leave.set()
    assert await run == {"items": ["left"], "count": 0}


@pytest.mark.parametrize(
    ("action", "name"),
    [
        (by_coroutine, "by_coroutine"),
        (functools.partial(with_more, "x"), "with_more"),
        (ByObject(), "ByObject"),
        (Holder().method, "method"),
    ],
)
def test_a_node_without_a_name_is_called_like_its_function(
    action: Callable[..., Any], name: str
) -> None:
    """The name is that of the function inside the partial, or of the object's class."""
    graph = StateGraph(Items).add_node(action).add_edge(START, name).compile()
    assert list(graph.definition.nodes) == [name]


@pytest.mark.parametrize(
    ("build", "says_what"),
    [
        (lambda g: g.add_node("a", says()).add_node("a", says()), "node 'a' already"),
        (lambda g: g.add_node(START, says()), "'__start__' is reserved"),
        (lambda g: g.add_node(END, says()), "'__end__' is reserved"),
        (lambda g: g.add_node("a|b", says()), "cannot be a node's name"),
        (lambda g: g.add_node("a:b", says()), "cannot be a node's name"),
        (lambda g: g.add_node("", says()), "cannot be a node's name"),
        (lambda g: g.add_node("a"), "Node 'a' needs a function"),
        (lambda g: g.add_node("a", 3), "must be a function or callable"),
        (lambda g: g.add_node(lambda s: s), "has no name"),
        (lambda g: g.add_node(says(), says()), "a name and a function, or a function"),
        (lambda g: g.add_node("a", lambda s, unknown: s), "parameter 'unknown' that nothing sup"),
    ],
)
def test_a_bad_node_is_refused_when_it_is_added(
    build: Callable[[StateGraph], Any], says_what: str
) -> None:
    """Name taken, reserved or malformed, no function, an argument nobody gives: at once."""
    with pytest.raises(GraphDefinitionError, match=says_what):
        build(StateGraph(Items))


def test_a_generator_is_refused_with_a_way_out() -> None:
    """A generator function as a node names the stream writer as what is meant."""

    async def generate(state: Items) -> Any:
        yield {}

    with pytest.raises(GraphDefinitionError, match="is a generator; return the update, and emit"):
        StateGraph(Items).add_node("generate", generate)


async def test_a_change_after_compiling_does_not_reach_the_compiled_graph(
    saver: Saver, config: RunnableConfig
) -> None:
    """A compiled graph is frozen; the builder can go on to another one."""
    builder = StateGraph(Items).add_node("a", says("a")).add_edge(START, "a")
    first = builder.compile(saver)
    second = builder.add_node("b", says("b")).add_edge("a", "b").compile(saver)
    assert (await first.ainvoke({}, config))["items"] == ["a"]
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    assert (await second.ainvoke({}, other))["items"] == ["a", "b"]


def test_a_node_that_nothing_leads_to_is_warned_of() -> None:
    """An unreachable node is named in a warning when the graph is compiled."""
    builder = StateGraph(Items).add_node("a", says()).add_node("lost", says())
    with pytest.warns(UnreachableNodeWarning, match="No edge leads to 'lost'"):
        builder.add_edge(START, "a").compile()


async def go_on(state: Items) -> Command[Literal["b"]]:
    return Command(goto="b")


@pytest.mark.parametrize("said_by", ["annotation", "destinations"])
def test_a_command_that_says_where_it_goes_reaches_its_node(said_by: str) -> None:
    """`Command[Literal[...]]` and `destinations=` both count as edges, so nothing is warned of."""

    async def silent(state: Items) -> Any: ...

    builder = StateGraph(Items).add_node("b", says())
    if said_by == "annotation":
        builder.add_node("a", go_on)
    else:
        builder.add_node("a", silent, destinations=("b",))
    builder.add_edge(START, "a").compile()


def test_a_destination_that_does_not_exist_is_a_mistake() -> None:
    """What a node says it goes to must be there when the graph is compiled."""
    builder = StateGraph(Items).add_node("a", says(), destinations=("nowhere",))
    with pytest.raises(GraphDefinitionError, match="no node 'nowhere', where a command of 'a'"):
        builder.add_edge(START, "a").compile()
