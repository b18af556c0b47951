"""LangChain's messages and documents, for those who use it.

Reading never imports LangChain: what is stored is read where it has been imported. Writing may,
for then somebody holds one of its messages, or has annotated a state with them.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final, get_args, get_origin

__all__ = [
    "PREFIX",
    "formatted",
    "foreign_class",
    "home_of",
    "mentions_messages",
    "prepare",
    "to_message",
    "unchunked",
]

PREFIX: Final = "~langchain."
"""What the stored names of LangChain's classes begin with."""

_HOMES: Final = {
    "AIMessage": "langchain_core.messages.ai",
    "AIMessageChunk": "langchain_core.messages.ai",
    "ChatMessage": "langchain_core.messages.chat",
    "ChatMessageChunk": "langchain_core.messages.chat",
    "FunctionMessage": "langchain_core.messages.function",
    "FunctionMessageChunk": "langchain_core.messages.function",
    "HumanMessage": "langchain_core.messages.human",
    "HumanMessageChunk": "langchain_core.messages.human",
    "RemoveMessage": "langchain_core.messages.modifier",
    "SystemMessage": "langchain_core.messages.system",
    "SystemMessageChunk": "langchain_core.messages.system",
    "ToolMessage": "langchain_core.messages.tool",
    "ToolMessageChunk": "langchain_core.messages.tool",
    "Document": "langchain_core.documents.base",
}


def home_of(name: str) -> str | None:
    """The module that one of LangChain's storable classes is in, by the class's name."""
    return _HOMES.get(name)


def foreign_class(name: str) -> type[Any] | None:
    """One of LangChain's storable classes, if it is loaded."""
    module = sys.modules.get(_HOMES.get(name, ""))
    return None if module is None else getattr(module, name, None)


def prepare() -> None:
    """Load all kinds of messages if LangChain's are in use, which loads each only when named.

    Whoever compiles a graph with LangChain at hand can so read every message there is.
    """
    for home in set(_HOMES.values()):
        if home.rpartition(".")[0] in sys.modules:
            importlib.import_module(home)  # noqa: TID251 - of a table in this file


def mentions_messages(annotation: Any) -> bool:
    """Whether an annotation has a message of LangChain's in it, at any depth."""
    if any(map(mentions_messages, get_args(annotation))):
        return True
    kind = get_origin(annotation) or annotation
    return isinstance(kind, type) and kind.__module__.startswith("langchain_core.messages")


def to_message(item: Any) -> Any:
    """A text, a pair or a dict as a message of LangChain's.

    Raises:
        ValueError: it is none of these.
    """
    from langchain_core.messages.utils import convert_to_messages

    try:
        (message,) = convert_to_messages([item])
    except NotImplementedError as error:
        raise ValueError(str(error)) from error
    return message


def unchunked(message: Any) -> Any:
    """A message whose pieces have been put together, as a whole one."""
    if not type(message).__module__.startswith("langchain_core.messages"):
        return message
    from langchain_core.messages.base import BaseMessageChunk
    from langchain_core.messages.utils import message_chunk_to_message

    return message_chunk_to_message(message) if isinstance(message, BaseMessageChunk) else message


def formatted(messages: list[Any]) -> list[dict[str, Any]]:
    """Messages as OpenAI's chat API has them, ids included."""
    from langchain_core.messages.utils import convert_to_openai_messages

    made: list[dict[str, Any]] = convert_to_openai_messages(messages, include_id=True)
    return made
