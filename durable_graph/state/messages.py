"""Chat messages and the reducer that keeps a list of them.

`Message` is a dict, so it goes to model clients and to ``json.dumps`` as it is, and answers to
LangChain's attribute names. Message objects of other libraries are kept as they are; all that is
asked of them is a `content` and a `type` (or `role`), and an `id` that can be set. A key that is
annotated with LangChain's messages gets those also for texts, pairs and dicts.
"""

from __future__ import annotations

import copy
import importlib.util
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Any, Final, TypedDict, cast

from durable_graph.errors import GraphDefinitionError, InvalidUpdateError
from durable_graph.log.registered import TypeCodec
from durable_graph.state.langchain import formatted, mentions_messages, to_message, unchunked

__all__ = [
    "MESSAGE_TYPES",
    "REMOVE_ALL_MESSAGES",
    "Message",
    "MessageRules",
    "MessagesState",
    "RemoveMessage",
    "add_messages",
    "as_messages",
    "is_message",
    "merge_messages",
    "message_id",
    "messages_of",
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


@dataclass(frozen=True, slots=True)
class MessageRules:
    """Which messages a key holds.

    Attributes:
        langchain: whether texts, pairs and dicts become LangChain's messages, and not ours.
        format: "langchain-openai" if content is to be in the blocks of OpenAI's chat API.
    """

    langchain: bool = False
    format: str | None = None


_ANY_MESSAGES: Final = MessageRules()
_OPENAI: Final = "langchain-openai"


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


def as_messages(
    value: Any,
    new_id: Callable[[Any], str] = _random_id,
    rules: MessageRules = _ANY_MESSAGES,
) -> list[Any]:
    """Whatever may stand for messages, as a list of messages, each with an id.

    Takes a message, a text (from the user), ``(role, text)``, a dict with `role` or `type` and
    `content`, or a list of those. Ids are given here, before anything is stored, so that a
    message has the same id however often it is read back.

    Raises:
        InvalidUpdateError: something is no message.
    """
    several = isinstance(value, list) or (isinstance(value, tuple) and not _is_pair(value))
    messages = [_as_message(item, rules) for item in (value if several else [value])]
    if rules.format is not None:
        messages = [_reformatted(message, rules) for message in messages]
    for place, message in enumerate(messages):
        if message_id(message) is None:
            messages[place] = _with_id(message, new_id(message))
    return messages


def _with_id(message: Any, name: str) -> Any:
    # Not the caller's object: giving it an id must not be seen outside.
    own = _copy(message) if isinstance(message, Message) else copy.copy(message)
    own.id = name
    return own


def _reformatted(message: Any, rules: MessageRules) -> Any:
    if _removes(message):
        return message
    given = message
    if isinstance(message, Message):
        given = to_message({**message})
    (plain,) = formatted([given])
    return _as_message(plain, MessageRules(rules.langchain or given is message))


def _is_pair(value: Any) -> bool:
    return len(value) == 2 and all(isinstance(part, str) for part in value)


def _as_message(item: Any, rules: MessageRules) -> Any:
    if isinstance(item, Message) and (not rules.langchain or _removes(item)):
        return item
    if not isinstance(item, Message) and is_message(item):
        return unchunked(item)
    if rules.langchain:
        return _foreign_message(item)
    if isinstance(item, str):
        return Message("user", item)
    if isinstance(item, (tuple, list)) and _is_pair(item):
        return Message(item[0], item[1])
    if isinstance(item, dict) and "content" in item and ("role" in item or "type" in item):
        content = dict(item)
        role = content.pop("role", None) or content.pop("type")
        return Message(role, **content)
    raise InvalidUpdateError(_no_message(item))


def _foreign_message(item: Any) -> Any:
    try:
        return to_message({**item} if isinstance(item, dict) else item)
    except (ValueError, TypeError) as error:
        raise InvalidUpdateError(_no_message(item)) from error


def _no_message(item: Any) -> str:
    return (
        f"{item!r} is not a message. Give a text, (role, text), a dict with 'role' and "
        f"'content', or a message object."
    )


def _copy(message: Message) -> Message:
    clone = Message.__new__(type(message))
    clone.update(message)
    return clone


def add_messages(left: Any = None, right: Any = None, *, format: str | None = None) -> Any:
    """The reducer for a list of messages.

    A message whose id is known takes the place of the one with that id; others are appended.
    `RemoveMessage(id)` takes one out; with `REMOVE_ALL_MESSAGES` as id, everything before it.

    Called without messages it returns itself, with its options: ``add_messages(format=...)``.

    Args:
        left: the messages there are.
        right: what is added to them.
        format: "langchain-openai" turns content into the blocks of OpenAI's chat API, which takes
            LangChain (langchain-core).

    Raises:
        InvalidUpdateError: something is no message, or one is to be removed that is not there.
        GraphDefinitionError: there is no such format.
    """
    if left is None and right is None:
        return add_messages if format is None else _formatting(format)
    rules = MessageRules(format=_known_format(format))
    return merge_messages(as_messages(left), as_messages(right, rules=rules))


@cache
def _formatting(format: str) -> Any:
    # One for each format: a schema whose annotations are text makes its reducers more than once.
    return partial(add_messages, format=_known_format(format))


def _known_format(format: str | None) -> str | None:
    if format not in (None, _OPENAI):
        raise GraphDefinitionError(f"Messages have the format {_OPENAI!r} or none, not {format!r}.")
    if format is not None and importlib.util.find_spec("langchain_core") is None:
        raise GraphDefinitionError(
            f"The format {format!r} is LangChain's: pip install langchain-core."
        )
    return format


def messages_of(reducer: Any, annotation: Any) -> MessageRules | None:
    """Which messages a key holds; ``None`` if its reducer is not `add_messages`."""
    options: dict[str, Any] = {}
    if isinstance(reducer, partial):
        reducer, options = reducer.func, reducer.keywords
    if reducer is not add_messages:
        return None
    return MessageRules(mentions_messages(annotation), _known_format(options.get("format")))


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
    TypeCodec("~" + kind.__name__, kind, dict, _restore(kind)) for kind in (Message, RemoveMessage)
)
"""How messages are stored."""


class MessagesState(TypedDict):
    """A state that is a conversation: one key, `messages`, kept by `add_messages`."""

    messages: Annotated[list[Any], add_messages]
