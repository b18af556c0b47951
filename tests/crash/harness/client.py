"""A client: it calls a graph on one thread, and tells what it was told to be durable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from durable_graph.graph import CompiledGraph
from durable_graph.types import Durability, RunnableConfig, StateSnapshot
from tests.crash.harness.effects import AckKind

__all__ = ["Client", "Tell"]

Tell = Callable[[AckKind, str, str | None], None]


class Client:
    """One who uses one thread of a graph.

    Args:
        graph: the graph.
        thread: the thread's id.
        tell: called with everything that the client is told to be durable, at that moment.
        durability: of its calls.
    """

    def __init__(
        self,
        graph: CompiledGraph,
        thread: str,
        tell: Tell,
        durability: Durability = "sync",
    ) -> None:
        self.graph = graph
        self.thread = thread
        self._tell = tell
        self._durability: Durability = durability
        self.subgraphs = False
        """Whether graphs within the graph are watched, too."""

    def config(self, checkpoint: str | None = None, **more: Any) -> RunnableConfig:
        """The config that names the thread, or a checkpoint of it."""
        names = {"thread_id": self.thread, **more}
        if checkpoint is not None:
            names["checkpoint_id"] = checkpoint
        return {"configurable": names}

    async def call(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> None:
        """Call the graph, and watch what happens until the call returns."""
        stream = self.graph.astream(
            input,
            config or self.config(),
            stream_mode=["tasks", "checkpoints"],
            version="v2",
            durability=self._durability,
            subgraphs=self.subgraphs,
            **options,
        )
        async for part in stream:
            data, cursor = part["data"], part["cursor"]
            if cursor is None:
                continue
            if part["type"] == "checkpoints":
                self._tell("checkpoint", data["config"]["configurable"]["checkpoint_id"], cursor)
            elif "result" in data and data["error"] is None and not data["interrupts"]:
                handles = data["name"].startswith("__error_handler__")
                self._tell("handler" if handles else "task", data["id"], cursor)
        self._tell("returned", "", None)

    async def state(self) -> StateSnapshot:
        """The thread's state now."""
        return await self.graph.aget_state(self.config())

    async def history(self) -> list[StateSnapshot]:
        """The thread's checkpoints, newest first."""
        return [one async for one in self.graph.aget_state_history(self.config())]
