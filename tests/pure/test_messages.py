"""Messages, and the reducer that keeps a list of them."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.errors import InvalidUpdateError
from durable_graph.log.codec import Codec
from durable_graph.state.messages import (
    MESSAGE_TYPES,
    REMOVE_ALL_MESSAGES,
    Message,
    RemoveMessage,
    add_messages,
    as_messages,
    is_message,
    message_id,
)


@dataclass
class Foreign:
    """A message object of another library."""

    content: str
    type: str = "ai"
    id: str | None = None


def ids(messages: list[Any]) -> list[str | None]:
    return [message_id(message) for message in messages]


def of(*names: str, text: str = "x") -> list[Message]:
    return [Message("user", text, id=name) for name in names]


def test_a_message_is_a_dict() -> None:
    """It goes to ``json.dumps`` and to model clients as it is."""
    message = Message("user", "hi", id="1", name="ann")
    assert json.loads(json.dumps(message)) == message
    assert message == {"role": "user", "content": "hi", "id": "1", "name": "ann"}


@pytest.mark.parametrize(
    ("given_", "role", "type_"),
    [
        ("user", "user", "human"),
        ("human", "user", "human"),
        ("assistant", "assistant", "ai"),
        ("ai", "assistant", "ai"),
        ("system", "system", "system"),
        ("developer", "developer", "system"),
        ("tool", "tool", "tool"),
    ],
)
def test_a_message_knows_both_vocabularies(given_: str, role: str, type_: str) -> None:
    """Roles of chat APIs and types of LangChain name the same speakers."""
    message = Message(given_, "x")
    assert (message["role"], message.type) == (role, type_)


def test_a_message_answers_to_attribute_names() -> None:
    """Items can be read as attributes; what most messages lack is empty, other things are not."""
    message = Message("ai", "x", tool_calls=[1])
    assert (message.content, message.tool_calls, message.id) == ("x", [1], None)
    assert (Message("ai").tool_calls, Message("ai").name, Message("ai").tool_call_id) == (
        [],
        None,
        None,
    )
    with pytest.raises(AttributeError, match="no 'temperature'"):
        _ = message.temperature


@pytest.mark.parametrize("kind", [Message("ai", "x", id="1"), RemoveMessage("1")])
@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda message: pickle.loads(pickle.dumps(message)),
        lambda message: Codec(MESSAGE_TYPES).decode(Codec(MESSAGE_TYPES).encode(message)),
    ],
)
def test_a_message_survives_copying_and_storing(kind: Message, copied: Any) -> None:
    """A copy has the same class and the same items."""
    again = copied(kind)
    assert (type(again), again, again.id) == (type(kind), kind, kind.id)


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ("hi", [("user", "hi")]),
        (["hi", "you"], [("user", "hi"), ("user", "you")]),
        (("ai", "hi"), [("assistant", "hi")]),
        ([("system", "be kind"), ["human", "hi"]], [("system", "be kind"), ("user", "hi")]),
        ({"role": "user", "content": [{"type": "text"}]}, [("user", [{"type": "text"}])]),
        ({"type": "human", "content": "hi"}, [("user", "hi")]),
        (("a", "b", "c"), [("user", "a"), ("user", "b"), ("user", "c")]),
        ([], []),
        (Message("tool", "7"), [("tool", "7")]),
    ],
)
def test_what_may_stand_for_messages(value: Any, messages: list[tuple[str, Any]]) -> None:
    """Texts, pairs, dicts and messages, one or a list, become messages with ids."""
    found = as_messages(value, lambda message: "new")
    assert [(message["role"], message["content"]) for message in found] == messages
    assert ids(found) == ["new"] * len(messages)


def test_messages_of_other_libraries_are_kept() -> None:
    """All that is asked of them is a content, a type, and an id that can be set."""
    message = Foreign("hi")
    assert is_message(message)
    assert as_messages([message], lambda message: "new") == [Foreign("hi", id="new")]


def test_an_id_is_kept_and_given_only_where_there_is_none() -> None:
    """Giving ids is not seen by whoever made the message."""
    named, nameless = Message("user", "a", id="1"), Message("user", "b")
    assert ids(as_messages([named, nameless], lambda message: "new")) == ["1", "new"]
    assert nameless.id is None


@pytest.mark.parametrize("value", [7, None, [None], {"content": "x"}, [1, 2], object(), [{}], str])
def test_what_is_no_message_is_refused(value: Any) -> None:
    """The error shows what it was and says what it may be."""
    with pytest.raises(InvalidUpdateError, match=r"is not a message\. Give a text"):
        as_messages(value)


def test_a_known_id_takes_the_messages_place() -> None:
    """Known ids replace, new ones are appended, in order."""
    merged = add_messages(of("1", "2"), [*of("3"), *of("1", text="new")])
    assert ids(merged) == ["1", "2", "3"]
    assert merged[0].content == "new"


def test_an_id_twice_in_one_update_counts_last() -> None:
    """Within one update, too, the later message takes the earlier one's place."""
    merged = add_messages([], [*of("1", text="first"), *of("2"), *of("1", text="last")])
    assert [(message.id, message.content) for message in merged] == [("1", "last"), ("2", "x")]


def test_messages_are_removed_by_id() -> None:
    """A removal takes out a message of the list, or one of the same update."""
    assert ids(add_messages(of("1", "2"), [RemoveMessage("1")])) == ["2"]
    assert ids(add_messages(of("1"), [*of("2"), RemoveMessage("2")])) == ["1"]
    assert ids(add_messages(of("1"), [RemoveMessage("1"), *of("1", text="again")])) == ["1"]


def test_all_messages_are_removed_at_once() -> None:
    """Everything before the last such removal goes, what comes after it stays."""
    everything = RemoveMessage(REMOVE_ALL_MESSAGES)
    assert add_messages(of("1", "2"), [everything]) == []
    assert ids(add_messages(of("1"), [*of("2"), everything, *of("3")])) == ["3"]
    assert ids(add_messages([], [everything, *of("2"), everything, *of("3")])) == ["3"]


def test_a_message_that_is_not_there_cannot_be_removed() -> None:
    """The error names the id and the last ones there are."""
    with pytest.raises(InvalidUpdateError, match=r"no message with the id '9'.*'1', '2'"):
        add_messages(of("1", "2"), [RemoveMessage("9")])
    with pytest.raises(InvalidUpdateError, match="Ids known: none"):
        add_messages([], [RemoveMessage("9")])


_named = st.builds(lambda name, text: of(name, text=text)[0], st.sampled_from("123456"), st.text())
_updates = st.lists(
    st.lists(st.one_of(_named, st.sampled_from("123456").map(RemoveMessage)), max_size=4),
    max_size=6,
)


@given(_updates)
def test_a_list_of_messages_is_an_ordered_table(updates: list[list[Message]]) -> None:
    """Whatever is added and removed, each id is there once, where it was first seen."""
    table: dict[str, Message] = {}
    merged: list[Any] = []
    for update in updates:
        # Until the update is over, a removed message keeps its place.
        step, gone = dict(table), set[str]()
        for message in update:
            name = str(message.id)
            if isinstance(message, RemoveMessage):
                if name not in step:
                    break
                gone.add(name)
            else:
                gone.discard(name)
                step[name] = message
        else:
            merged = add_messages(merged, update)
            table = {name: message for name, message in step.items() if name not in gone}
            assert merged == list(table.values())
            continue
        with pytest.raises(InvalidUpdateError):
            add_messages(merged, update)


def test_merging_leaves_both_lists_alone() -> None:
    """The reducer changes neither of its arguments."""
    left, right = of("1", "2"), [RemoveMessage("1"), *of("2", text="new")]
    before = copy.deepcopy((left, right))
    add_messages(left, right)
    assert (left, right) == before


def test_the_reducer_can_be_written_with_brackets() -> None:
    """``Annotated[list, add_messages()]`` means the same."""
    assert add_messages() is add_messages
