"""Messages that a node shows and writes before it returns."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, MessagesState, StateGraph, add_messages, push_message, step
from durable_graph.errors import InvalidUpdateError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.state.messages import Message
from durable_graph.types import RunnableConfig
from tests.runtime.kit import collect, key_of


class Talk(MessagesState, total=False):
    aside: Annotated[list[Any], add_messages]


def graph_of(node: Any, saver: Saver | None) -> CompiledGraph:
    return StateGraph(Talk).add_node("node", node).add_edge(START, "node").compile(saver)


async def test_a_pushed_message_is_shown_at_once_and_written_with_the_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """Shown once, before the node has gone on; in the state before what the node returns."""
    shown, go_on = asyncio.Event(), asyncio.Event()

    async def node(state: Talk) -> dict[str, Any]:
        pushed = push_message(Message("ai", "working", id="1"))
        assert pushed.id == "1"
        push_message(("ai", "by the way"), state_key="aside")
        push_message("only shown", state_key=None)
        shown.set()
        await go_on.wait()
        return {"messages": [("ai", "done")]}

    graph = graph_of(node, saver)
    stream = graph.astream({"messages": "go"}, config, stream_mode=["messages", "updates"])
    seen = [(await anext(stream))[1][0].content for _ in range(3)]
    assert seen == ["working", "by the way", "only shown"]
    assert shown.is_set()
    assert (await graph.aget_state(config)).values["messages"][-1].content == "go"
    go_on.set()
    rest = await collect(stream)
    assert [event[0].content for mode, event in rest if mode == "messages"] == ["done"]
    saver.hot.take(key_of(config))
    values = (await graph.aget_state(config)).values
    assert [m.content for m in values["messages"]] == ["go", "working", "done"]
    assert [m.content for m in values["aside"]] == ["by the way"]


async def test_a_message_that_is_returned_as_well_is_the_same_message(
    saver: Saver, config: RunnableConfig
) -> None:
    """What the node returns under the id of one it has pushed takes its place."""

    async def node(state: Talk) -> dict[str, Any]:
        draft = push_message(("ai", "draft"))
        return {"messages": [Message("ai", "final", id=draft.id)]}

    result = await graph_of(node, saver).ainvoke({"messages": "go"}, config)
    assert [m.content for m in result["messages"]] == ["go", "final"]


async def test_a_node_that_fails_after_a_push_runs_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """It has pushed nothing until it has finished; and then each message once."""
    runs: list[str] = []

    async def node(state: Talk) -> None:
        runs.append(push_message(("ai", "working")).id)
        push_message(("ai", "still working"))
        if len(runs) == 1:
            raise ValueError("no")

    graph = graph_of(node, saver)
    with pytest.raises(ValueError, match="no"):
        await graph.ainvoke({"messages": "go"}, config)
    state = await graph.aget_state(config)
    assert (len(state.values["messages"]), state.next) == (1, ("node",))
    result = await graph.ainvoke(None, config)
    assert [m.content for m in result["messages"]] == ["go", "working", "still working"]
    assert runs[0] == runs[1]


async def test_a_sync_node_pushes_too() -> None:
    """From its thread."""

    def node(state: Talk) -> dict[str, Any]:
        push_message(("ai", "a"))
        return {"messages": [("ai", "b")]}

    result = await graph_of(node, None).ainvoke({"messages": "go"})
    assert [m.content for m in result["messages"]] == ["go", "a", "b"]


async def test_what_cannot_be_pushed_is_refused(saver: Saver, config: RunnableConfig) -> None:
    """What is no message, and from where nothing is written."""
    with pytest.raises(RuntimeError, match=r"push_message\(\) works only inside a node"):
        push_message("x")

    async def within() -> str:
        with pytest.raises(RuntimeError, match="A step writes nothing to the state"):
            push_message("x")
        return "".join(push_message("shown", state_key=None).content)

    async def node(state: Talk) -> dict[str, Any]:
        with pytest.raises(InvalidUpdateError, match="5 is not a message"):
            push_message(5)
        return {"messages": [("ai", await step("within", within))]}

    result = await graph_of(node, saver).ainvoke({"messages": "go"}, config)
    assert result["messages"][-1].content == "shown"


class Bare(TypedDict, total=False):
    other: int


@pytest.mark.filterwarnings("error")
async def test_a_key_that_the_state_lacks_warns(saver: Saver, config: RunnableConfig) -> None:
    """As any other update of one does."""

    async def node(state: Bare) -> None:
        push_message("x")

    graph = StateGraph(Bare).add_node("node", node).add_edge(START, "node").compile(saver)
    with pytest.raises(UserWarning, match="'node' wrote to 'messages'"):
        await graph.ainvoke({"other": 1}, config)
