"""The mode "messages": tokens that nodes emit, and whole messages from updates, once each."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import START, Command, MessagesState, Runtime, StateGraph, interrupt
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.state.messages import Message, RemoveMessage
from durable_graph.types import RunnableConfig
from tests.runtime.kit import collect


def talk(*nodes: tuple[str, Any], saver: Saver | None = None) -> CompiledGraph:
    graph = StateGraph(MessagesState)
    before = START
    for name, node in nodes:
        graph.add_node(name, node, metadata={"from": name}).add_edge(before, name)
        before = name
    return graph.compile(saver)


async def contents(graph: CompiledGraph, given: Any, config: RunnableConfig) -> list[Any]:
    events = await collect(graph.astream(given, config, stream_mode="messages"))
    return [message.content for message, _ in events]


async def test_whole_messages_of_updates_are_emitted(saver: Saver, config: RunnableConfig) -> None:
    """Each message that a node adds, with where it comes from."""

    async def node(state: MessagesState, runtime: Runtime) -> Any:
        seen.append(runtime.task_id)
        return {"messages": [("ai", "one"), {"role": "assistant", "content": "two"}]}

    seen: list[str] = []
    graph = talk(("node", node), saver=saver)
    given: RunnableConfig = {**config, "metadata": {"who": "me"}}
    events = await collect(graph.astream({"messages": ["hi"]}, given, stream_mode="messages"))
    assert [(message.type, message.content) for message, _ in events] == [
        ("ai", "one"),
        ("ai", "two"),
    ]
    stored = (await graph.aget_state(config)).values["messages"]
    assert [message.id for message, _ in events] == [message.id for message in stored[1:]]
    (task,) = seen
    assert events[0][1] == {
        "who": "me",
        "from": "node",
        "thread_id": config["configurable"]["thread_id"],
        "langgraph_step": 1,
        "langgraph_node": "node",
        "langgraph_triggers": ("branch:to:node",),
        "langgraph_path": ("__pregel_pull", "node"),
        "langgraph_checkpoint_ns": f"node:{task}",
        "checkpoint_ns": f"node:{task}",
    }


async def test_a_messages_metadata_names_the_thread(saver: Saver, config: RunnableConfig) -> None:
    """Who serves several threads can tell whose token it is."""

    async def node(state: MessagesState) -> Any:
        return {"messages": ["one"]}

    ((_, metadata),) = await collect(
        talk(("node", node), saver=saver).astream({"messages": []}, config, stream_mode="messages")
    )
    assert metadata["thread_id"] == config["configurable"]["thread_id"]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_tokens_are_emitted_as_pieces_of_one_message(
    kind: str, saver: Saver, config: RunnableConfig
) -> None:
    """Texts of one execution share an id; the whole message with that id is not said again."""

    def speak(state: MessagesState, runtime: Runtime) -> Any:
        for token in ("Hel", "lo"):
            runtime.emit_message(token)
        return {"messages": [Message("ai", "Hello", id=runtime.task_id)]}

    async def speak_async(state: MessagesState, runtime: Runtime) -> Any:
        return speak(state, runtime)

    graph = talk(("speak", speak_async if kind == "async" else speak), saver=saver)
    stream = graph.astream({"messages": ["hi"]}, config, stream_mode="messages")
    events = await collect(stream)
    assert [message.content for message, _ in events] == ["Hel", "lo"]
    assert len({message.id for message, _ in events}) == 1
    assert events[0].content == "Hel"
    message, metadata = events[0]
    assert (message.type, metadata["langgraph_node"]) == ("ai", "speak")


async def test_tokens_come_while_the_node_runs(saver: Saver, config: RunnableConfig) -> None:
    """A token is there before the node goes on."""
    heard = asyncio.Event()

    async def speak(state: MessagesState, runtime: Runtime) -> Any:
        runtime.emit_message("first")
        await heard.wait()
        runtime.emit_message("second")
        return {"messages": []}

    stream = talk(("speak", speak), saver=saver).astream(
        {"messages": ["hi"]}, config, stream_mode="messages"
    )
    assert (await anext(stream)).content == "first"
    heard.set()
    assert [event.content async for event in stream] == ["second"]


async def test_a_piece_is_what_it_was_when_it_was_emitted(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node may fill the same message object again; pieces without an id get their message's."""
    mine = Message("ai", "Hel")

    async def speak(state: MessagesState, runtime: Runtime) -> Any:
        runtime.emit_message(mine)
        mine["content"] = "lo"
        runtime.emit_message(mine)
        runtime.emit_message(mine, id="other")
        return {"messages": [Message("ai", "Hello")]}

    graph = talk(("speak", speak), saver=saver)
    events = await collect(graph.astream({"messages": []}, config, stream_mode="messages"))
    (whole,) = (await graph.aget_state(config)).values["messages"]
    assert [(m.id, m.content) for m, _ in events] == [
        (whole.id, "Hel"),
        (whole.id, "lo"),
        ("other", "lo"),
    ]
    assert mine.id is None


async def test_a_node_that_has_spoken_and_failed_runs_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """Tokens are no result: the node is due as before, and its message is said when it is there."""
    spoken: list[str] = []

    async def speak(state: MessagesState, runtime: Runtime) -> Any:
        runtime.emit_message("Hel")
        spoken.append("Hel")
        if len(spoken) == 1:
            raise KeyError("cut off")
        return {"messages": [("ai", "Hello")]}

    graph = talk(("speak", speak), saver=saver)
    with pytest.raises(KeyError):
        await graph.ainvoke({"messages": []}, config)
    state = await graph.aget_state(config)
    assert (state.next, state.values["messages"]) == (("speak",), [])
    result = await graph.ainvoke(None, config)
    assert [message.content for message in result["messages"]] == ["Hello"]


async def test_two_messages_of_one_node_can_be_told_apart(
    saver: Saver, config: RunnableConfig
) -> None:
    """Chunks carry the id they are given, by parameter or of their own."""

    async def speak(state: MessagesState, runtime: Runtime) -> Any:
        runtime.emit_message("a1", id="a")
        runtime.emit_message(Message("ai", "b1", id="b"))
        runtime.emit_message("a2", id="a")
        return {"messages": [Message("ai", "b", id="b"), Message("ai", "c", id="c")]}

    graph = talk(("speak", speak), saver=saver)
    events = await collect(graph.astream({"messages": []}, config, stream_mode="messages"))
    assert [(m.id, m.content) for m, _ in events] == [
        ("a", "a1"),
        ("b", "b1"),
        ("a", "a2"),
        ("c", "c"),
    ]


async def test_a_message_without_an_id_is_the_one_that_was_spoken(
    saver: Saver, config: RunnableConfig
) -> None:
    """Tokens without an id, then the whole text without one: one message, said once."""

    async def speak(state: MessagesState, runtime: Runtime) -> Any:
        for token in ("Hel", "lo"):
            runtime.emit_message(token)
        return {"messages": [("ai", "Hello")]}

    graph = talk(("speak", speak), saver=saver)
    events = await collect(graph.astream({"messages": ["hi"]}, config, stream_mode="messages"))
    assert [message.content for message, _ in events] == ["Hel", "lo"]
    stored = (await graph.aget_state(config)).values["messages"]
    assert {message.id for message, _ in events} == {stored[-1].id}


async def test_what_a_node_was_given_it_does_not_say(saver: Saver, config: RunnableConfig) -> None:
    """Messages of the input and of earlier turns are not emitted when a node returns them."""

    async def echo(state: MessagesState) -> Any:
        return {"messages": [*state["messages"], ("ai", f"reply {len(state['messages'])}")]}

    graph = talk(("echo", echo), saver=saver)
    assert await contents(graph, {"messages": ["hi"]}, config) == ["reply 1"]
    assert await contents(graph, {"messages": ["again"]}, config) == ["reply 3"]


async def test_a_message_is_said_once_in_a_run(saver: Saver, config: RunnableConfig) -> None:
    """A later node that writes the same message, or changes it, does not say it again."""

    async def first(state: MessagesState) -> Any:
        return {"messages": [Message("ai", "one", id="1")]}

    async def second(state: MessagesState) -> Any:
        return {"messages": [Message("ai", "one, better", id="1"), Message("ai", "two", id="2")]}

    graph = talk(("first", first), ("second", second), saver=saver)
    assert await contents(graph, {"messages": []}, config) == ["one", "two"]


async def test_a_removal_is_not_said(saver: Saver, config: RunnableConfig) -> None:
    """`RemoveMessage` is an instruction to the reducer."""

    async def forget(state: MessagesState) -> Any:
        return {"messages": [RemoveMessage(state["messages"][0].id), ("ai", "gone")]}

    graph = talk(("forget", forget), saver=saver)
    assert await contents(graph, {"messages": ["hi"]}, config) == ["gone"]


async def test_messages_of_commands_are_said(saver: Saver, config: RunnableConfig) -> None:
    """An update is an update, also in a command or in a list of them."""

    async def node(state: MessagesState) -> Any:
        return [Command(update={"messages": [("ai", "one")]}), {"messages": [("ai", "two")]}]

    assert await contents(talk(("node", node), saver=saver), {"messages": []}, config) == [
        "one",
        "two",
    ]


async def test_a_node_that_runs_again_emits_new_tokens(
    saver: Saver, config: RunnableConfig
) -> None:
    """After an answer the node runs from its first line, tokens included."""

    async def ask(state: MessagesState, runtime: Runtime) -> Any:
        runtime.emit_message("thinking")
        return {"messages": [Message("ai", interrupt("?"), id="said")]}

    graph = talk(("ask", ask), saver=saver)
    assert await contents(graph, {"messages": ["hi"]}, config) == ["thinking"]
    assert await contents(graph, Command(resume="answer"), config) == ["thinking", "answer"]


async def test_a_late_token_is_dropped(saver: Saver, config: RunnableConfig) -> None:
    """What a task that the node left behind emits after its end goes nowhere."""
    left: list[Runtime] = []

    async def node(state: MessagesState, runtime: Runtime) -> Any:
        left.append(runtime)
        return {"messages": [("ai", "done")]}

    async def after(state: MessagesState) -> Any:
        left[0].emit_message("late")
        left[0].stream_writer("late")

    graph = talk(("node", node), ("after", after), saver=saver)
    modes: Any = ["messages", "custom"]
    events = await collect(graph.astream({"messages": []}, config, stream_mode=modes))
    assert [event[0].content for _, event in events] == ["done"]


async def test_tokens_that_nobody_watches_cost_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """Without the mode, emitting is harmless."""

    async def node(state: MessagesState, runtime: Runtime) -> Any:
        runtime.emit_message("token")
        return {"messages": [("ai", "whole")]}

    graph = talk(("node", node), saver=saver)
    assert await collect(graph.astream({"messages": []}, config, stream_mode="custom")) == []
    result = await graph.ainvoke({"messages": []}, config)
    assert [message.content for message in result["messages"]] == ["whole", "whole"]
