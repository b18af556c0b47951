"""LangChain's messages and documents: they come back exactly, and become what a key is for."""

from __future__ import annotations

import subprocess
import sys
from typing import Annotated, Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages import RemoveMessage as ForeignRemoveMessage

from durable_graph.errors import GraphDefinitionError, InvalidUpdateError
from durable_graph.log.codec import Codec
from durable_graph.state.channel import Channel, channel_of
from durable_graph.state.families import FAMILIES
from durable_graph.state.messages import Message, RemoveMessage, add_messages, as_messages
from durable_graph.state.storable import storable_types
from tests.pure.values import form

codec = Codec((), FAMILIES)

ASKED = AIMessage(
    [{"type": "text", "text": "Let me see."}, {"type": "reasoning", "reasoning": "..."}],
    id="a1",
    name="bot",
    tool_calls=[{"name": "find", "args": {"q": "x", "n": 2}, "id": "c1", "type": "tool_call"}],
    invalid_tool_calls=[
        {"name": "f", "args": "{", "id": "c2", "error": "no", "type": "invalid_tool_call"}
    ],
    usage_metadata={
        "input_tokens": 5,
        "output_tokens": 7,
        "total_tokens": 12,
        "input_token_details": {"cache_read": 3},
    },
    response_metadata={"model": "m", "logprobs": None, "finish": ("stop", 1)},
    additional_kwargs={"refusal": None, "raw": b"\x00"},
)


def a_chunk() -> Any:
    return AIMessageChunk(content="He", id="r1") + AIMessageChunk(
        content="llo",
        id="r1",
        tool_call_chunks=[
            {"name": "f", "args": '{"a":1}', "id": "c", "index": 0, "type": "tool_call_chunk"}
        ],
    )


@pytest.mark.parametrize(
    "value",
    [
        ASKED,
        HumanMessage("hi", id="h", example=True),
        SystemMessage([{"type": "text", "text": "be", "cache_control": {"type": "ephemeral"}}]),
        ToolMessage("out", tool_call_id="c1", status="error", artifact={"rows": [(1, 2)]}),
        ChatMessage(content="hm", role="critic"),
        FunctionMessage(content="x", name="f"),
        ForeignRemoveMessage(id="h"),
        a_chunk(),
        HumanMessage("hi", more="that it has no field for"),
        Document("text", id="d", metadata={"page": 3}),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("known", ["met", "annotated"])
def test_a_message_comes_back_exactly(value: Any, known: str) -> None:
    """With tool calls, usage, metadata, blocks, and what it has beside its fields."""
    one = codec if known == "met" else Codec(storable_types(list[AnyMessage | Document]), FAMILIES)
    copy = one.decode(codec.encode([value]))[0]
    assert form(copy) == form(value)
    assert copy == value
    assert repr(copy) == repr(value)
    assert one.encode(value) == codec.encode(value)


def test_a_class_of_ones_own_may_have_the_name_of_one_of_theirs() -> None:
    """And of ours: a model called Message or AIMessage is in nobody's way."""
    own = type("AIMessage", (BaseMessage,), {"__module__": "mine", "__qualname__": "AIMessage"})
    one = Codec(storable_types(own | AnyMessage), FAMILIES)
    values = [own(content="a", type="own"), AIMessage("b")]
    assert list(map(type, one.decode(one.encode(values)))) == [own, AIMessage]


def test_format_1s_names_are_read() -> None:
    """It had them without the mark that tells a library's classes from an application's."""
    data = codec.encode(ASKED).replace(b"~langchain.", b"")
    assert codec.decode(data) == ASKED


def channel(annotation: Any, reducer: Any = add_messages) -> Channel:
    return channel_of("messages", Annotated[annotation, reducer])


@pytest.mark.parametrize("annotation", [list[AnyMessage], list[BaseMessage], list[HumanMessage]])
def test_a_key_annotated_with_their_messages_gets_those(annotation: Any) -> None:
    """Texts, pairs, dicts and our own messages become LangChain's."""
    rules = channel(annotation).messages
    assert rules is not None
    given = [
        "a",
        ("system", "b"),
        {"role": "assistant", "content": "c", "id": "3"},
        {"type": "human", "content": "d"},
        Message("user", "e", id="5"),
    ]
    found = as_messages(given, lambda message: "new", rules)
    assert [(type(m), m.content, m.id) for m in found] == [
        (HumanMessage, "a", "new"),
        (SystemMessage, "b", "new"),
        (AIMessage, "c", "3"),
        (HumanMessage, "d", "new"),
        (HumanMessage, "e", "5"),
    ]
    removal = RemoveMessage("5")
    assert as_messages([removal], rules=rules) == [removal]


def test_any_other_key_keeps_what_it_is_given() -> None:
    """Theirs stay theirs, and what is no message yet becomes ours."""
    rules = channel(list[Any]).messages
    assert rules is not None
    found = as_messages(["a", ASKED], lambda message: "new", rules)
    assert list(map(type, found)) == [Message, AIMessage]


@pytest.mark.parametrize("given", [5, {"content": "x"}, ("no such role", "x"), None, [None]])
def test_what_is_no_message_is_refused(given: Any) -> None:
    """With our own error, whatever LangChain raises."""
    with pytest.raises(InvalidUpdateError, match="is not a message"):
        as_messages([given], rules=channel(list[AnyMessage]).messages)  # type: ignore[arg-type]


def test_pieces_put_together_become_a_whole_message() -> None:
    """A node may return the sum of what its model has streamed."""
    (message,) = as_messages(a_chunk())
    assert type(message) is AIMessage
    assert (message.content, message.id, message.tool_calls[0]["args"]) == ("Hello", "r1", {"a": 1})


def test_a_message_of_the_callers_keeps_having_no_id() -> None:
    """The id is given to a copy: the same object may go into many threads."""
    mine = HumanMessage("hi")
    (stored,) = as_messages(mine, lambda message: "new")
    assert (mine.id, stored.id) == (None, "new")


BLOCKS: list[str | dict[Any, Any]] = [
    {"type": "text", "text": "What is this?"},
    {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
    },
]


@pytest.mark.parametrize("annotation", [list[AnyMessage], list[Any]])
def test_content_can_be_converted_to_the_blocks_of_openai(annotation: Any) -> None:
    """As messages come in; ids stay, and so does what is to be removed."""
    rules = channel(annotation, add_messages(format="langchain-openai")).messages
    assert rules is not None
    given = [Message("user", BLOCKS, id="1"), HumanMessage(BLOCKS, id="2"), RemoveMessage("3")]
    found = as_messages(given, lambda message: "new", rules)
    assert [message.id for message in found] == ["1", "2", "3"]
    for message in found[:2]:
        assert message.content[1] == {
            "type": "image_url",
            "image_url": {"url": "data:image/png;base64,AAAA"},
        }
    assert type(found[0]) is (HumanMessage if rules.langchain else Message)
    assert type(found[1]) is HumanMessage


def test_the_reducer_takes_the_format_itself() -> None:
    """Called as a function."""
    (message,) = add_messages([], Message("user", BLOCKS, id="1"), format="langchain-openai")
    assert message.content[1]["type"] == "image_url"
    assert add_messages(format="langchain-openai") is add_messages(format="langchain-openai")


def test_an_unknown_format_is_refused_while_the_graph_is_made() -> None:
    """Not when the first message comes."""
    with pytest.raises(GraphDefinitionError, match="'langchain-openai' or none, not 'xml'"):
        add_messages(format="xml")


def test_reading_a_message_imports_nothing() -> None:
    """Where LangChain has not been imported, the error says what to import."""
    program = (
        "import sys\n"
        "import durable_graph\n"
        "from durable_graph.log.codec import Codec\n"
        "from durable_graph.state.families import FAMILIES\n"
        "assert not [name for name in sys.modules if name.startswith('langchain')]\n"
        f"Codec((), FAMILIES).decode({codec.encode(ASKED)!r})\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert "UnknownTypeError: A stored value is LangChain's AIMessage. Import" in run.stderr
