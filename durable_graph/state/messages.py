"""Chat messages and the reducer that keeps a list of them.

`Message` is a dict, so it goes to model clients and to ``json.dumps`` as it is, and answers to
LangChain's attribute names. Message objects of other libraries are kept as they are; all that is
asked of them is a `content` and a `type` (or `role`), and an `id` that can be set.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final, TypedDict, cast

from durable_graph.errors import InvalidUpdateError
from durable_graph.log.codec import TypeCodec

__all__ = [
    "MESSAGE_TYPES",
    "REMOVE_ALL_MESSAGES",
    "Message",
    "MessagesState",
    "RemoveMessage",
    "add_messages",
    "as_messages",
    "is_message",
    "message_id",
]

REMOVE_ALL_MESSAGES: Final = "__remove_all__"
"""Id of a `RemoveMessage` that removes everything before it."""

# The two vocabularies for who speaks: chat APIs' roles, and LangChain's types.
_TYPE_OF: Final = {
    "user": "human",
    "assistant": "ai",
    "developer": "system",
}
_ROLE_OF: Final = {"human": "user", "ai": "assistant"}


class Message(dict[str, Any]):
    """One message: a dict with at least `role`, `content` and `id`, and attributes for its items.

    Args:
        role: "user", "assistant", "system", "tool", or a LangChain type such as "human".
        content: the text, or a list of content blocks.
        id: names the message; `add_messages` gives it one if it has none.
        more: anything else the message carries, such as `name` or `tool_calls`.
    """

    def __init__(self, role: str, content: Any = "", *, id: str | None = None, **more: Any) -> None:
        super().__init__(role=_ROLE_OF.get(role, role), content=content, **more)
        if id is not None:
            self["id"] = id

    @property
    def type(self) -> str:
        """LangChain's word for the role: "human", "ai", "system", "tool"."""
        role: str = self["role"]
        return _TYPE_OF.get(role, role)

    @property
    def id(self) -> str | None:
        """The message's id."""
        return self.get("id")

    @id.setter
    def id(self, value: str) -> None:
        self["id"] = value

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            if name in ("tool_calls", "invalid_tool_calls"):
                return []
            if name in ("name", "tool_call_id"):
                return None
            raise AttributeError(f"This message has no {name!r}.") from None

    def __repr__(self) -> str:
        items = ", ".join(f"{k}={v!r}" for k, v in self.items() if k != "role")
        return f"Message({self['role']!r}, {items})"


class RemoveMessage(Message):
    """Tells `add_messages` to take a message out."""

    def __init__(self, id: str) -> None:
        super().__init__("remove", "", id=id)


def is_message(value: Any) -> bool:
    """Whether a value is a message: one of ours, or an object with a content and a type."""
    return isinstance(value, Message) or (
        not isinstance(value, (dict, type))
        and hasattr(value, "content")
        and isinstance(getattr(value, "type", None), str)
    )


def message_id(message: Any) -> str | None:
    """The id of a message."""
    return cast("str | None", getattr(message, "id", None))


def _random_id(message: Any) -> str:
    return str(uuid.uuid4())


def as_messages(value: Any, new_id: Callable[[Any], str] = _random_id) -> list[Any]:
    """Whatever may stand for messages, as a list of messages, each with an id.

    Takes a message, a text (from the user), ``(role, text)``, a dict with `role` or `type` and
    `content`, or a list of those. Ids are given here, before anything is stored, so that a
    message has the same id however often it is read back.
    """
    several = isinstance(value, list) or (isinstance(value, tuple) and not _is_pair(value))
    messages = [_as_message(item) for item in (value if several else [value])]
    for message in messages:
        if message_id(message) is None:
            message.id = new_id(message)
    return messages


def _is_pair(value: Any) -> bool:
    return len(value) == 2 and all(isinstance(part, str) for part in value)


def _as_message(item: Any) -> Any:
    if isinstance(item, Message):
        # Not the caller's object: giving it an id must not be seen outside.
        return item if message_id(item) is not None else _copy(item)
    if is_message(item):
        return item
    if isinstance(item, str):
        return Message("user", item)
    if isinstance(item, (tuple, list)) and _is_pair(item):
        return Message(item[0], item[1])
    if isinstance(item, dict) and "content" in item and ("role" in item or "type" in item):
        content = dict(item)
        role = content.pop("role", None) or content.pop("type")
        return Message(role, **content)
    raise InvalidUpdateError(
        f"{item!r} is not a message. Give a text, (role, text), a dict with 'role' and "
        f"'content', or a message object."
    )


def _copy(message: Message) -> Message:
    clone = Message.__new__(type(message))
    clone.update(message)
    return clone


def add_messages(left: Any = None, right: Any = None) -> Any:
    """The reducer for a list of messages.

    A message whose id is known takes the place of the one with that id; others are appended.
    `RemoveMessage(id)` takes one out; with `REMOVE_ALL_MESSAGES` as id, everything before it.

    Called without arguments it returns itself, to be used like a decorator with options.

    Raises:
        InvalidUpdateError: something is no message, or one is to be removed that is not there.
    """
    if left is None and right is None:
        return add_messages
    return merge_messages(as_messages(left), as_messages(right))


def merge_messages(left: Sequence[Any], right: Sequence[Any]) -> list[Any]:
    """`add_messages` for lists of messages that have ids."""
    for index in range(len(right) - 1, -1, -1):
        if _removes(right[index]) and message_id(right[index]) == REMOVE_ALL_MESSAGES:
            left, right = (), right[index + 1 :]
            break
    merged: list[Any] = list(left)
    place = {message_id(message): index for index, message in enumerate(merged)}
    removed: set[str | None] = set()
    for message in right:
        name = message_id(message)
        if _removes(message):
            if name not in place:
                raise InvalidUpdateError(
                    f"There is no message with the id {name!r} to remove. Ids known: "
                    f"{', '.join(map(repr, list(place)[-5:])) or 'none'}."
                )
            removed.add(name)
            continue
        removed.discard(name)
        if name in place:
            merged[place[name]] = message
        else:
            place[name] = len(merged)
            merged.append(message)
    return [message for message in merged if message_id(message) not in removed]


def _removes(message: Any) -> bool:
    return getattr(message, "type", None) == "remove"


def _restore(kind: type[Message]) -> Callable[[Any, int], Message]:
    def restore(content: Any, version: int) -> Message:
        message = kind.__new__(kind)
        message.update(content)
        return message

    return restore


MESSAGE_TYPES: Final = tuple(
    TypeCodec(kind.__name__, kind, dict, _restore(kind)) for kind in (Message, RemoveMessage)
)
"""How messages are stored."""


class MessagesState(TypedDict):
    """A state that is a conversation: one key, `messages`, kept by `add_messages`."""

    messages: Annotated[list[Any], add_messages]
