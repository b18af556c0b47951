"""What LangChain's chat models say inside a node, as pieces of messages.

Imported only where a program has imported LangChain and somebody watches messages. A model finds
who listens in the context variables it is called in, as it does everywhere in LangChain; so nodes
need not pass anything on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextvars import Context
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, LLMResult
from langchain_core.runnables.config import var_child_runnable_config

from durable_graph.engine.tasks.context import TaskContext
from durable_graph.types import TAG_NOSTREAM

__all__ = ["listen"]


def listen(task: TaskContext, context: Context) -> None:
    """Have an execution say what the chat models say that are called in its context."""
    around = context.get(var_child_runnable_config) or {}
    own = {**around, "callbacks": [_Listener(task)]}
    context.run(var_child_runnable_config.set, own)  # type: ignore[arg-type]


class _Listener(BaseCallbackHandler):
    """Told by chat models, on the loop or in whatever thread they run."""

    run_inline = True  # else tokens would come in any order

    def __init__(self, task: TaskContext) -> None:
        self._task = task
        self._models: dict[UUID, dict[str, Any]] = {}
        self._streamed: set[UUID] = set()

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        """A model begins; one that is not to be heard is not listened to."""
        if TAG_NOSTREAM in (tags or ()):
            return
        about = {key: value for key, value in (metadata or {}).items() if key.startswith("ls_")}
        self._models[run_id] = about | ({"tags": list(tags)} if tags else {})

    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: Any = None,
        run_id: UUID,
        **rest: Any,
    ) -> None:
        """A piece of a message."""
        if run_id in self._models and isinstance(chunk, ChatGenerationChunk):
            self._streamed.add(run_id)
            self._say(run_id, chunk.message)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **rest: Any) -> None:
        """The end of a message, or all of it from a model that does not speak in pieces."""
        if run_id in self._models and run_id not in self._streamed:
            for generation in response.generations[0] if response.generations else ():
                if isinstance(generation, ChatGeneration):
                    self._say(run_id, generation.message)
        self._forget(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **rest: Any) -> None:
        """A model that failed says no more."""
        self._forget(run_id)

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """That there is this is what has a model speak in pieces when it is only invoked."""
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        """See `tap_output_aiter`."""
        return output

    def _say(self, run_id: UUID, message: BaseMessage) -> None:
        # Pieces have the id that the whole message gets, which is then not said again.
        self._task.emit_message(message, message.id or f"lc_run--{run_id}", self._models[run_id])

    def _forget(self, run_id: UUID) -> None:
        self._models.pop(run_id, None)
        self._streamed.discard(run_id)
