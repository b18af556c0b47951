"""A scripted model says its lines, as a model of its own and as one of LangChain's."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import START, MessagesState, Runtime, StateGraph
from durable_graph.saver import Saver
from durable_graph.testing import ScriptedModel, ScriptExhaustedError
from durable_graph.types import RunnableConfig


async def test_each_call_gets_the_next_line() -> None:
    """Calls are remembered; a call too many is told."""
    model = ScriptedModel("Hello", {"content": "", "tool_calls": [{"name": "add"}]})
    assert (await model.ainvoke("Hi")).content == "Hello"
    assert model.invoke([("user", "And?")]).tool_calls == [{"name": "add"}]
    assert [[message.content for message in call] for call in model.calls] == [["Hi"], ["And?"]]
    with pytest.raises(ScriptExhaustedError, match="has 2 lines, and this is call 3"):
        model.invoke("More!")


async def test_a_line_by_turn_is_said_again() -> None:
    """The conversation decides, not the number of calls."""
    model = ScriptedModel("one", "two", by="turn")
    for _ in range(2):
        assert (await model.ainvoke([("user", "Hi")])).content == "one"
        talk = [("user", "Hi"), ("assistant", "one"), ("user", "And?")]
        assert (await model.ainvoke(talk)).content == "two"
    with pytest.raises(ScriptExhaustedError, match="this is turn 3"):
        await model.ainvoke([("assistant", "one"), ("assistant", "two")])


async def test_an_error_is_raised_and_a_function_asked() -> None:
    """Lines may fail, and may depend on what was said."""

    async def echo(messages: list[Any]) -> str:
        return f"You said {messages[-1].content}."

    model = ScriptedModel(ConnectionError("down"), lambda messages: str(len(messages)), echo)
    with pytest.raises(ConnectionError, match="down"):
        await model.ainvoke("Hi")
    assert (await model.ainvoke("Hi")).content == "1"
    assert (await model.ainvoke("Hi")).content == "You said Hi."
    sync = ScriptedModel(echo)
    with pytest.raises(TypeError, match="is async"):
        sync.invoke("Hi")


async def test_it_streams_tokens() -> None:
    """Words of a text, the given pieces of a list; together they are the answer."""
    model = ScriptedModel("Hello, dear  world", ["to", "ken", "s"], {"content": "x", "name": "y"})
    assert [chunk.content async for chunk in model.astream("Hi")] == ["Hello, ", "dear  ", "world"]
    assert [chunk.content for chunk in model.stream("Hi")] == ["to", "ken", "s"]
    chunks = [chunk async for chunk in model.astream("Hi")]
    assert [(chunk.content, chunk.name) for chunk in chunks] == [("x", None), ("", "y")]


def test_lines_that_were_not_said_are_told() -> None:
    """`check` counts them; by turn nobody knows."""
    model = ScriptedModel("one", "two")
    model.invoke("Hi")
    with pytest.raises(AssertionError, match="1 of 2 lines of the script"):
        model.check()
    ScriptedModel("one", by="turn").check()
    with pytest.raises(ValueError, match="by is 'call' or 'turn'"):
        ScriptedModel("one", by="turns")  # type: ignore[arg-type]


async def test_a_node_relays_its_tokens(saver: Saver, config: RunnableConfig) -> None:
    """The message that comes of them is not shown once more."""
    model = ScriptedModel("Hello there")

    async def speak(state: MessagesState, runtime: Runtime) -> MessagesState:
        said = ""
        async for chunk in model.astream(state["messages"]):
            runtime.emit_message(chunk)
            said += chunk.content
        return {"messages": [("assistant", said)]}

    graph = StateGraph(MessagesState).add_node(speak).add_edge(START, "speak").compile(saver)
    events = graph.astream({"messages": "Hi"}, config, stream_mode="messages")
    assert [chunk.content async for chunk, _ in events] == ["Hello ", "there"]


async def test_it_is_a_langchain_model_where_there_is_one() -> None:
    """It invokes, streams and takes tools as their models do; the calls are the script's."""
    pytest.importorskip("langchain_core")
    script = ScriptedModel(
        "Hello there",
        ["to", "ken"],
        {"content": "", "tool_calls": [{"name": "add", "args": {"a": 1}, "id": "1"}]},
        ConnectionError("down"),
    )
    tools: list[Any] = ["add"]
    model = script.as_langchain().bind_tools(tools)
    assert script.tools == tools
    answer = await model.ainvoke("Hi")
    assert (answer.type, answer.content) == ("ai", "Hello there")
    assert [chunk.content async for chunk in model.astream("Hi") if chunk.content] == ["to", "ken"]
    assert model.invoke("Hi").tool_calls[0]["args"] == {"a": 1}
    with pytest.raises(ConnectionError, match="down"):
        model.invoke("Hi")
    assert [call[-1].content for call in script.calls] == ["Hi"] * 4
