"""LangChain's chat models inside nodes: their tokens are seen in the mode "messages"."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage

from durable_graph import START, MessagesState, StateGraph
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import TAG_NOSTREAM, RunnableConfig
from tests.runtime.kit import collect


def model(**options: Any) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter([AIMessage("well met, world")]), **options)


def talk(node: Any, saver: Saver) -> CompiledGraph:
    return StateGraph(MessagesState).add_node("talk", node).add_edge(START, "talk").compile(saver)


async def heard(graph: CompiledGraph, config: RunnableConfig) -> list[Any]:
    given = {"messages": [HumanMessage("hi", id="in")]}
    return await collect(graph.astream(given, config, stream_mode="messages"))


@pytest.mark.parametrize("kind", ["ainvoke", "astream", "invoke", "stream", "in a task"])
async def test_tokens_are_pieces_of_the_message_that_the_node_returns(
    kind: str, saver: Saver, config: RunnableConfig
) -> None:
    """However the model is called; the whole message is not said again."""
    speaker = model()

    async def on_loop(state: MessagesState) -> Any:
        if kind == "ainvoke":
            return {"messages": [await speaker.ainvoke(state["messages"])]}
        if kind == "in a task":
            return {"messages": [await asyncio.create_task(speaker.ainvoke(state["messages"]))]}
        whole: Any = None
        async for chunk in speaker.astream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    def in_thread(state: MessagesState) -> Any:
        if kind == "invoke":
            return {"messages": [speaker.invoke(state["messages"])]}
        whole: Any = None
        for chunk in speaker.stream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    graph = talk(in_thread if kind in ("invoke", "stream") else on_loop, saver)
    events = await heard(graph, {**config, "metadata": {"who": "me"}})
    assert "".join(str(message.content) for message, _ in events) == "well met, world"
    assert len(events) > 3
    assert len({message.id for message, _ in events}) == 1
    assert {data["langgraph_node"] for _, data in events} == {"talk"}
    assert {data["who"] for _, data in events} == {"me"}
    assert {data["ls_model_type"] for _, data in events} == {"chat"}
    stored = (await graph.aget_state(config)).values["messages"]
    assert [message.content for message in stored] == ["hi", "well met, world"]
    assert stored[1].id == events[0][0].id


async def test_a_model_tagged_nostream_is_not_heard(saver: Saver, config: RunnableConfig) -> None:
    """Its message is, if the node returns it: that is the node's to say."""
    silent, other = model(tags=[TAG_NOSTREAM]), model(tags=["loud"])

    async def node(state: MessagesState) -> Any:
        await silent.ainvoke(state["messages"])
        await other.ainvoke(state["messages"])

    events = await heard(talk(node, saver), config)
    assert "".join(str(message.content) for message, _ in events) == "well met, world"
    assert {tuple(data["tags"]) for _, data in events} == {("loud",)}


async def test_a_model_that_does_not_stream_is_heard_as_a_whole(
    saver: Saver, config: RunnableConfig
) -> None:
    """Once, also if the node returns its message."""
    speaker = FakeListChatModel(responses=["well met"], disable_streaming=True)

    async def node(state: MessagesState) -> Any:
        return {"messages": [await speaker.ainvoke(state["messages"])]}

    events = await heard(talk(node, saver), config)
    assert [message.content for message, _ in events] == ["well met"]


async def test_a_model_that_fails_is_heard_no_more(saver: Saver, config: RunnableConfig) -> None:
    """What it has said was heard; the node's next try speaks anew."""
    speaker = GenericFakeChatModel(messages=iter([AIMessage("one two"), AIMessage("three")]))
    tries: list[int] = []

    async def node(state: MessagesState) -> Any:
        async for _ in speaker.astream(state["messages"]):
            if not tries:
                tries.append(1)
                break
        return {"messages": [await speaker.ainvoke(state["messages"])]}

    events = await heard(talk(node, saver), config)
    assert [message.content for message, _ in events] == ["one", "three"]


async def test_nobody_listens_where_messages_are_not_watched(
    saver: Saver, config: RunnableConfig
) -> None:
    """Then a model that is invoked is not made to stream."""
    speaker = model()

    async def node(state: MessagesState) -> Any:
        return {"messages": [await speaker.ainvoke(state["messages"])]}

    (event,) = await collect(talk(node, saver).astream({"messages": []}, config))
    assert event["talk"]["messages"][0].content == "well met, world"
