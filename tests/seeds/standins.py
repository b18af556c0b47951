"""What stands here for hosted models and other services that snippets import."""

from __future__ import annotations

import itertools
import time as _time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from durable_graph import START, MessagesState, Runtime, StateGraph, interrupt
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.state.messages import Message
from durable_graph_sqlite import SqliteSaver

__all__ = [
    "ChatGroq",
    "ChatOpenAI",
    "CompositeBackend",
    "PostgresSaver",
    "PostgresStore",
    "StateBackend",
    "StoreBackend",
    "create_deep_agent",
    "load_dotenv",
    "time",
]


def load_dotenv() -> None:
    """There are no keys to be loaded."""


class ChatGroq:
    """A model that answers every prompt, and the same prompt differently each time."""

    def __init__(self, **options: Any) -> None:
        self._number = itertools.count(1)

    def invoke(self, prompt: str) -> Message:
        """The model's answer, a message."""
        return Message("assistant", f"{prompt} (answer {next(self._number)})")


ChatOpenAI = ChatGroq


class _Time:
    """A module `time` whose `sleep` hangs the first time, and later is over at once."""

    def __init__(self) -> None:
        self._slept = False
        self.hanging: Callable[[], object] = lambda: None
        """Called once the first sleep has begun to count as one."""

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        slept, self._slept = self._slept, True
        if not slept:
            self.hanging()
            _time.sleep(seconds)


time = _Time()


def create_deep_agent(
    *,
    model: str = "local",
    checkpointer: Saver | None = None,
    store: Any = None,
    backend: Any = None,
    interrupt_on: dict[str, bool] | None = None,
) -> CompiledGraph:
    """An agent that repeats what it has been told, and asks before it uses some tools."""

    async def agent(state: MessagesState, runtime: Runtime) -> MessagesState:
        said = [message.content for message in state["messages"] if message.type == "human"]
        for tool in interrupt_on or {}:
            if tool in said[-1]:
                interrupt({"tool": tool})
        answer = f"You said: {', then: '.join(said)}"
        for word in answer.split():
            runtime.emit_message(f"{word} ")
        return {"messages": [Message("assistant", answer)]}

    graph = StateGraph(MessagesState).add_node("agent", agent).add_edge(START, "agent")
    return graph.compile(checkpointer)


class PostgresSaver(SqliteSaver):
    """A saver on a file in the present folder, whatever database is named."""

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """The saver."""
        assert conn_string.startswith("postgresql://")
        return cls(Path("production.db"), **options)


class PostgresStore:
    """Stands for a store."""

    @classmethod
    def from_conn_string(cls, conn_string: str) -> PostgresStore:
        """The store."""
        return cls()


class CompositeBackend:
    """Stands for an agent's files."""

    def __init__(self, **options: Any) -> None:
        self.options = options


class StateBackend:
    """Stands for files in the state."""

    def __init__(self, runtime: Any) -> None:
        self.runtime = runtime


StoreBackend = StateBackend
