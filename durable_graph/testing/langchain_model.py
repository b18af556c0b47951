"""A scripted model as a LangChain chat model; imported only where LangChain is installed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from durable_graph.state.messages import Message
from durable_graph.testing.models import ScriptedModel

__all__ = ["ScriptedChatModel"]


class ScriptedChatModel(BaseChatModel):
    """Says what a `ScriptedModel` says. Made by `ScriptedModel.as_langchain`."""

    _script: ScriptedModel = PrivateAttr()

    def __init__(self, script: ScriptedModel) -> None:
        super().__init__()
        self._script = script

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Any:
        """The model itself; what tools it was given is in the script's `tools`."""
        self._script.bind_tools(tools)
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **options: Any,
    ) -> ChatResult:
        return _result(self._script.invoke(messages))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **options: Any,
    ) -> ChatResult:
        return _result(await self._script.ainvoke(messages))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **options: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for message in self._script.stream(messages):
            chunk = _chunk(message)
            if run_manager is not None:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **options: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for message in self._script.astream(messages):
            chunk = _chunk(message)
            if run_manager is not None:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


def _result(message: Message) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=AIMessage(**_fields(message)))])


def _chunk(message: Message) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(**_fields(message)))


def _fields(message: Message) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "role"}
