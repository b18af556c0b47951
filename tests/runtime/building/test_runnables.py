"""LangChain's runnables as nodes and as routers."""

from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models import FakeListChatModel
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig as Config
from langchain_core.runnables import RunnableLambda

from durable_graph import START, MessagesState, StateGraph
from durable_graph.errors import GraphDefinitionError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.conftest import thread
from tests.runtime.kit import Items, chain, collect, says


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_runnable_can_be_a_node(
    is_async: bool, saver: Saver, config: RunnableConfig
) -> None:
    """One of a synchronous function, and one of an async one; both get the state."""

    def plain(state: Items) -> Items:
        return {"items": [len(state["items"])]}

    async def awaited(state: Items) -> Items:
        return plain(state)

    runnable: Any = RunnableLambda(awaited if is_async else plain)
    graph = chain(("count", runnable), saver=saver)
    assert (await graph.ainvoke({"items": ["a", "b"]}, config))["items"] == ["a", "b", 2]


async def test_a_chain_can_be_a_node_and_its_tokens_are_seen(
    saver: Saver, config: RunnableConfig
) -> None:
    """A prompt, a model and a function behind each other."""
    talk = (
        ChatPromptTemplate.from_messages([("placeholder", "{messages}")])
        | FakeListChatModel(responses=["Hello"])
        | RunnableLambda(lambda message: {"messages": [message]})
    )
    builder = StateGraph(MessagesState).add_node("talk", talk).add_edge(START, "talk")
    graph = builder.compile(saver)
    events = await collect(graph.astream({"messages": "Hi"}, config, stream_mode="messages"))
    assert "".join(chunk.content for chunk, _ in events) == "Hello"
    said = (await graph.aget_state(config)).values["messages"]
    assert [message.content for message in said] == ["Hi", "Hello"]


async def test_tokens_are_seen_beside_the_callers_callbacks(
    saver: Saver, config: RunnableConfig
) -> None:
    """Who brings callbacks of their own watches messages as well as others do."""
    heard: list[str] = []

    class Handler(BaseCallbackHandler):
        def on_llm_new_token(self, token: Any, **about: Any) -> None:
            heard.append(token)

    talk = (
        RunnableLambda(lambda state: state["messages"][-1].content)
        | FakeListChatModel(responses=["Hello"])
        | RunnableLambda(lambda message: {"messages": [message]})
    )
    builder = StateGraph(MessagesState).add_node("talk", talk).add_edge(START, "talk")
    given: Any = {**config, "callbacks": [Handler()]}
    graph = builder.compile(saver)
    events = await collect(graph.astream({"messages": "Hi"}, given, stream_mode="messages"))
    assert "".join(chunk.content for chunk, _ in events) == "Hello" == "".join(heard)


async def test_a_runnable_gets_the_config_of_its_call(saver: Saver, config: RunnableConfig) -> None:
    """Thread, tags and callbacks; its run has an id of its own."""
    seen: list[Any] = []

    class Handler(BaseCallbackHandler):
        def on_chain_start(self, *args: Any, **about: Any) -> None:
            seen.append((about["run_id"], about["tags"]))

    def look(state: Items, config: Config) -> Items:
        return {"last": config["configurable"]["thread_id"]}

    runnable = RunnableLambda(look)
    graph = chain(("look", runnable), ("again", runnable), saver=saver)
    given: Any = {**config, "tags": ["mine"], "callbacks": [Handler()], "run_id": "the-run"}
    result = await graph.ainvoke({"items": []}, given)
    assert result["last"] == config["configurable"]["thread_id"]
    (first, tags), (second, _) = seen
    assert tags == ["mine"]
    assert "the-run" not in {str(first), str(second)}
    assert first != second


async def test_a_runnable_can_be_a_router(saver: Saver, config: RunnableConfig) -> None:
    """It says where to go."""
    builder = StateGraph(Items).add_node("yes", says("yes")).add_node("no", says("no"))
    route: Any = RunnableLambda(lambda state: "yes" if state["items"] else "no")
    graph = builder.add_conditional_edges(START, route, ["yes", "no"]).compile(saver)
    assert (await graph.ainvoke({"items": ["x"]}, config))["items"] == ["x", "yes"]


async def test_a_graph_can_be_a_part_of_a_chain(saver: Saver) -> None:
    """By its `ainvoke`, which takes LangChain's config; here for two threads at once."""
    graph = chain(("one", says("one")), saver=saver)
    whole: Any = RunnableLambda(lambda text: {"items": [text]}) | RunnableLambda(graph.ainvoke)
    configs: Any = [thread("a"), thread("b")]
    results = await whole.abatch(["x", "y"], configs)
    assert [result["items"] for result in results] == [["x", "one"], ["y", "one"]]
    assert (await graph.aget_state(configs[1])).values["items"] == ["y", "one"]


def test_a_runnable_gives_its_node_a_name() -> None:
    """Its own, or that of its class."""
    named = RunnableLambda(lambda state: state, name="echo")
    graph = StateGraph(Items).add_node(named).add_sequence([RunnableLambda(lambda state: state)])
    assert list(graph.nodes) == ["echo", "RunnableLambda"]


def test_a_dict_of_runnables_is_refused() -> None:
    """LangGraph makes a parallel runnable of it; here nodes run side by side."""
    action: Any = {"items": RunnableLambda(lambda state: [])}
    with pytest.raises(GraphDefinitionError, match="must be a function"):
        StateGraph(Items).add_node("several", action)


async def test_what_only_seems_to_be_a_runnable_is_called() -> None:
    """An object that has every attribute one asks it for, such as a mock, is a function still."""
    node = MagicMock(return_value={"items": ["called"]})
    node.__signature__ = None
    assert (await chain(("node", node)).ainvoke({"items": []}))["items"] == ["called"]
