"""Commands for the graph around."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import START, StateGraph
from durable_graph.errors import InvalidUpdateError
from durable_graph.saver import Saver
from durable_graph.types import Command, RunnableConfig
from tests.runtime.inner.nests import Count, nest
from tests.runtime.kit import Items, chain, says


def up(update: Any = None, goto: Any = ()) -> Any:
    """A node that sends a command to the graph around."""
    return lambda state: Command(graph=Command.PARENT, update=update, goto=goto)


async def test_a_command_ends_its_graph_and_goes_on_around_it(
    saver: Saver, config: RunnableConfig
) -> None:
    """Update and destinations are the calling node's; nothing else of the graph within is."""
    count = Count()
    inner = chain(
        count.node("a"), count.node("up", up({"items": ["up"]}, "there")), count.node("no")
    )
    graph = StateGraph(Items).add_node("inner", inner, destinations=["there"])
    graph.add_node("there", says("there")).add_edge(START, "inner")
    assert (await graph.compile(saver).ainvoke({}, config))["items"] == ["up", "there"]
    assert count == {"a": 1, "up": 1}


async def test_it_goes_up_one_level(saver: Saver, config: RunnableConfig) -> None:
    """A graph in the middle is the one around."""
    middle = StateGraph(Items).add_node(
        "inner", chain(("up", up(goto="there"))), destinations=["there"]
    )
    middle.add_node("there", says("middle")).add_edge(START, "inner")
    graph = chain(("middle", middle.compile()), ("there", says("top")), saver=saver)
    assert (await graph.ainvoke({}, config))["items"] == ["middle", "top"]


async def test_it_goes_through_the_code_of_a_node(saver: Saver, config: RunnableConfig) -> None:
    """``except Exception`` does not swallow it."""
    inner = chain(("up", up({"items": ["up"]})))

    async def node(state: Items) -> Items:
        try:
            return {"items": (await inner.ainvoke({}))["items"]}
        except Exception:
            return {"items": ["caught"]}

    assert (await chain(("node", node), saver=saver).ainvoke({}, config))["items"] == ["up"]


async def test_siblings_within_are_stopped(saver: Saver, config: RunnableConfig) -> None:
    """The graph is over when one of its nodes says so."""
    import asyncio

    async def wait(state: Items) -> None:
        await asyncio.Event().wait()

    inner = StateGraph(Items).add_node("up", up({"items": ["up"]})).add_node("wait", wait)
    inner.add_edge(START, "up").add_edge(START, "wait")
    graph = chain(("inner", inner.compile()), saver=saver)
    assert (await graph.ainvoke({}, config))["items"] == ["up"]


@pytest.mark.parametrize(
    ("graph", "words"), [("__parent__", "no graph around"), ("other", "no graph around")]
)
async def test_the_outermost_graph_has_none_around_it(
    graph: str, words: str, saver: Saver, config: RunnableConfig
) -> None:
    """The command is refused, and the thread can be gone on with."""
    outermost = chain(("up", lambda state: Command(graph=graph)), saver=saver)
    with pytest.raises(InvalidUpdateError, match=words):
        await outermost.ainvoke({}, config)


async def test_no_other_graph_can_be_named(saver: Saver, config: RunnableConfig) -> None:
    """A name that means nothing is an error, not a command that gets lost."""
    graph = nest(1, [("up", lambda state: Command(graph="inner"))], saver)
    with pytest.raises(InvalidUpdateError, match=r"only Command\.PARENT"):
        await graph.ainvoke({}, config)


async def test_a_destination_that_is_not_there_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """It has to be a node of the graph around."""
    graph = nest(1, [("up", up(goto="nowhere"))], saver)
    with pytest.raises(InvalidUpdateError, match="'nowhere'"):
        await graph.ainvoke({}, config)
