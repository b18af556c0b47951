"""`Runtime`: what the engine offers to one execution of a node."""

from __future__ import annotations

from typing import Any

from durable_graph.engine.context import TaskContext, running_task
from durable_graph.types import StreamWriter

__all__ = ["Runtime", "get_runtime"]


class Runtime:
    """What the engine offers to one execution of a node.

    A node gets it as a parameter named `runtime`, or from `get_runtime()`.
    """

    __slots__ = ("_task",)

    def __init__(self, task: TaskContext) -> None:
        self._task = task

    def __repr__(self) -> str:
        return f"<Runtime of node {self.node!r}, attempt {self.attempt}>"

    @property
    def node(self) -> str:
        """Name of the node."""
        return self._task.due.node

    @property
    def task_id(self) -> str:
        """Id of the task: the same for every execution of it, on every machine."""
        return self._task.due.id

    @property
    def thread_id(self) -> str | None:
        """The thread; ``None`` for a run without a checkpointer."""
        return self._task.host.thread

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._task.host.run_id

    @property
    def step(self) -> int:
        """Number of the superstep."""
        return self._task.due.step + 1

    @property
    def attempt(self) -> int:
        """Which attempt this is: 1, and one more after each failure that is retried."""
        return self._task.attempt

    @property
    def idempotency_key(self) -> str:
        """A key for the outside world: equal for every execution of this task, and only there.

        A node that has an effect outside runs again if its process dies before the result is
        stored. A receiver that takes each key once makes the effect happen once.
        """
        return self._task.idempotency_key

    @property
    def stream_writer(self) -> StreamWriter:
        """Emits its argument as a ``custom`` event."""
        return self._task.write

    def emit_message(self, chunk: Any, *, id: str | None = None) -> None:
        """Emit a token, or another piece of a message, as a ``messages`` event.

        Args:
            chunk: a text, or a message (or chunk) object.
            id: the message it is a part of; by default all chunks of one execution are parts of
                one message: the first message of an assistant that the node returns without an
                id. A message whose pieces were emitted is not emitted again as a whole.
        """
        self._task.emit_message(chunk, id)


def get_runtime() -> Runtime:
    """The `Runtime` of the node that is being run.

    Raises:
        RuntimeError: called outside a node.
    """
    return Runtime(running_task("get_runtime()"))
