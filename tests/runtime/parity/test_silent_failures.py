"""Where LangGraph goes on as if nothing were wrong, or fails in its own code: what happens here."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import START, Command, Send, StateGraph
from durable_graph.errors import InvalidUpdateError
from durable_graph.saver import Saver
from durable_graph.types import Durability, RunnableConfig
from tests.runtime.kit import Items, chain, says


@pytest.mark.parametrize("sent_by", ["router", "command"])
async def test_a_packet_to_no_node_fails_the_run(
    sent_by: str, saver: Saver, config: RunnableConfig
) -> None:
    """The error names node and destination, and the node can be run again once it is mended."""

    async def send(state: Items) -> Command[Any]:
        return Command(goto=Send("nowhere", {}))

    async def route(state: Items) -> Send:
        return Send("nowhere", {})

    builder = StateGraph(Items).add_edge(START, "one")
    if sent_by == "router":
        builder.add_node("one", says("one")).add_conditional_edges("one", route)
    else:
        builder.add_node("one", send)
    graph = builder.compile(saver)
    with pytest.raises(InvalidUpdateError, match=r"'one'.*'nowhere'"):
        await graph.ainvoke({"items": []}, config)
    assert (await graph.aget_state(config)).next == ("one",)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_durability_without_a_checkpointer_is_harmless(durability: Durability) -> None:
    """There is nothing to store, so there is nothing to wait for."""
    graph = chain(("one", says("one")))
    assert (await graph.ainvoke({"items": []}, durability=durability))["items"] == ["one"]


def test_a_synchronous_call_runs_an_async_router() -> None:
    """As it runs async nodes."""

    async def route(state: Items) -> str:
        return "two"

    builder = StateGraph(Items).add_node("one", says("one")).add_node("two", says("two"))
    builder.add_edge(START, "one").add_conditional_edges("one", route)
    assert builder.compile().invoke({"items": []})["items"] == ["one", "two"]


async def test_an_empty_input_is_an_input(saver: Saver, config: RunnableConfig) -> None:
    """It begins a run, on a new thread as on one that has ended."""
    graph = chain(("one", says("one")), saver=saver)
    assert (await graph.ainvoke({}, config))["items"] == ["one"]
    assert (await graph.ainvoke({}, config))["items"] == ["one", "one"]
