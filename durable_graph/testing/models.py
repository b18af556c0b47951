"""A chat model that says what it is told to say."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias

from durable_graph.state.messages import Message, as_messages

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["Line", "ScriptExhaustedError", "ScriptedModel"]

Said: TypeAlias = str | Sequence[str] | Mapping[str, Any] | Exception
Line: TypeAlias = Said | Callable[[list[Any]], Said | Awaitable[Said]]
"""A line of a script: a text; a list of texts, the tokens to stream; a message; an error to
raise; or a function, sync or async, that is given the conversation and returns one of these."""


class ScriptExhaustedError(AssertionError):
    """A model was called more often than its script has lines."""


class ScriptedModel:
    """Stands in for a chat model: answers with the lines of a script, and remembers its calls.

    It has the methods of chat models that graphs use (`ainvoke`, `astream`, `invoke`, `stream`,
    `bind_tools`) and needs no other library; `as_langchain` makes a LangChain chat model of it.

    Args:
        *script: the lines.
        by: "call": each call gets the next line. "turn": the line is chosen by how often the
            conversation has been answered so far, so that a node which runs again is told the
            same again; use this where the graph is crashed.

    Attributes:
        calls: the conversation of each call.
        tools: what was last given to `bind_tools`.
    """

    def __init__(self, *script: Line, by: Literal["call", "turn"] = "call") -> None:
        if by not in ("call", "turn"):
            raise ValueError(f"by is 'call' or 'turn', not {by!r}.")
        self.calls: list[list[Any]] = []
        self.tools: list[Any] = []
        self._script = script
        self._by = by

    def __repr__(self) -> str:
        return f"<ScriptedModel: {len(self._script)} lines, {len(self.calls)} calls>"

    async def ainvoke(self, input: Any, config: Any = None, **options: Any) -> Message:
        """The next answer, as a message of the assistant.

        Args:
            input: the conversation: a list of messages, or whatever may stand for it.
            config: ignored, as are `options`.

        Raises:
            ScriptExhaustedError: the script is at its end.
            Exception: the error that the script has here.
        """
        said = self._next(input)
        if inspect.isawaitable(said):
            said = await said
        return _message(said)

    async def astream(
        self, input: Any, config: Any = None, **options: Any
    ) -> AsyncIterator[Message]:
        """The next answer, token by token: messages that each have a piece of it. See `ainvoke`."""
        said = self._next(input)
        if inspect.isawaitable(said):
            said = await said
        for chunk in _chunks(said):
            yield chunk

    def invoke(self, input: Any, config: Any = None, **options: Any) -> Message:
        """See `ainvoke`."""
        return _message(_at_once(self._next(input)))

    def stream(self, input: Any, config: Any = None, **options: Any) -> Iterator[Message]:
        """See `astream`."""
        yield from _chunks(_at_once(self._next(input)))

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Self:
        """The model itself; what tools it was given is in `tools`."""
        self.tools = list(tools)
        return self

    def as_langchain(self) -> BaseChatModel:
        """A LangChain chat model that speaks this script; the calls are remembered here.

        Raises:
            ModuleNotFoundError: LangChain is not installed.
        """
        from durable_graph.testing.langchain_model import ScriptedChatModel

        return ScriptedChatModel(self)

    def check(self) -> None:
        """See that every line was said.

        Raises:
            AssertionError: some were not.
        """
        left = len(self._script) - len(self.calls)
        if self._by == "call" and left > 0:
            raise AssertionError(
                f"{left} of {len(self._script)} lines of the script were not said."
            )

    def _next(self, input: Any) -> Said | Awaitable[Said]:
        messages = as_messages(input)
        number = len(self.calls)
        if self._by == "turn":
            number = sum(message.type == "ai" for message in messages)
        self.calls.append(messages)
        if number >= len(self._script):
            raise ScriptExhaustedError(
                f"The script has {len(self._script)} lines, and this is {self._by} {number + 1}. "
                f"Add a line, or see why the model is asked again."
            )
        line = self._script[number]
        return line(messages) if callable(line) else line


def _at_once(said: Said | Awaitable[Said]) -> Said:
    if inspect.isawaitable(said):
        if inspect.iscoroutine(said):
            said.close()  # else Python complains that nobody awaits it
        raise TypeError("A line of the script is async; call the model with ainvoke or astream.")
    return said


def _message(said: Said) -> Message:
    if isinstance(said, Exception):
        raise said
    if isinstance(said, str):
        return Message("assistant", said)
    if isinstance(said, Mapping):
        rest = {key: value for key, value in said.items() if key not in ("role", "type")}
        return Message("assistant", **rest)
    return Message("assistant", "".join(said))


def _chunks(said: Said) -> Iterator[Message]:
    whole = _message(said)
    tokens = said if isinstance(said, (list, tuple)) else re.findall(r"\s*\S+\s*", whole.content)
    rest = {key: value for key, value in whole.items() if key not in ("role", "content")}
    for token in tokens:
        yield Message("assistant", token)
    if rest or not tokens:
        yield Message("assistant", "", **rest)
