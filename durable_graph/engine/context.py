"""What a running node can reach: its runtime, its config, its writer, and `interrupt`."""

from __future__ import annotations

import base64
import hashlib
from contextvars import ContextVar
from typing import Any, Protocol

from durable_graph.decisions.answers import interrupt_id
from durable_graph.errors import GraphInterrupt
from durable_graph.log.fold import Due
from durable_graph.types import UNSET, Interrupt, RunnableConfig, StreamWriter

__all__ = [
    "Runtime",
    "TaskContext",
    "TaskHost",
    "current_task",
    "get_config",
    "get_runtime",
    "get_stream_writer",
    "interrupt",
]


class TaskHost(Protocol):
    """What one execution of a task needs from its run."""

    @property
    def tenant(self) -> str:
        """Whose thread it is."""
        ...

    @property
    def thread(self) -> str | None:
        """The thread; ``None`` for a run that is not stored."""
        ...

    @property
    def run_id(self) -> str:
        """The run."""
        ...

    @property
    def node_config(self) -> RunnableConfig:
        """The call's config, as nodes get it."""
        ...

    def question(self, node: str, value: Any) -> bytes:
        """A question of a node, encoded.

        Raises:
            MissingCheckpointerError: there is no log to keep it in.
            InvalidUpdateError: it cannot be stored.
        """
        ...

    def answer(self, interrupt: str) -> Any:
        """A fresh copy of an answer; `UNSET` if there is none yet."""
        ...

    def emit(self, data: Any) -> None:
        """Emit a custom event."""
        ...

    def emit_message(self, due: Due, chunk: Any, id: str | None) -> None:
        """Emit a piece of a message."""
        ...


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


class TaskContext:
    """One execution of one task, as the node's code sees it.

    Attributes:
        host: its run.
        due: the task.
        attempt: which attempt, from 1.
        questions: what it asked without getting an answer, encoded, by interrupt id.
        spoken: the id under which it has emitted pieces of a message that has no other.
    """

    __slots__ = ("_closed", "_nth", "attempt", "due", "host", "questions", "spoken")

    def __init__(self, host: TaskHost, due: Due, attempt: int) -> None:
        self.host = host
        self.due = due
        self.attempt = attempt
        self.questions: dict[str, bytes] = {}
        self.spoken: str | None = None
        self._nth: dict[bytes, int] = {}
        self._closed = False

    @property
    def idempotency_key(self) -> str:
        """See `Runtime.idempotency_key`."""
        text = "\0".join((self.host.tenant, self.host.thread or "", self.due.id))
        digest = hashlib.blake2b(text.encode(), digest_size=20).digest()
        return base64.b32encode(digest).decode().lower()

    def write(self, data: Any) -> None:
        """Emit a custom event."""
        if not self._closed:
            self.host.emit(data)

    def emit_message(self, chunk: Any, id: str | None) -> None:
        """Emit a piece of a message."""
        if not self._closed:
            if id is None and getattr(chunk, "id", None) is None:
                id = self.spoken = self.due.id
            self.host.emit_message(self.due, chunk, id)

    def close(self) -> None:
        """The execution is over: what an abandoned thread of it still emits is dropped."""
        self._closed = True

    def ask(self, value: Any) -> Any:
        """The answer to a question, if there is one.

        Raises:
            GraphInterrupt: there is none yet.
            MissingCheckpointerError: there is no log to keep the question in.
        """
        question = self.host.question(self.due.node, value)
        nth = self._nth.get(question, 0)
        self._nth[question] = nth + 1
        name = interrupt_id(self.due.id, question, nth)
        answer = self.host.answer(name)
        if answer is UNSET:
            self.questions[name] = question
            raise GraphInterrupt((Interrupt(value, name),))
        return answer


current_task: ContextVar[TaskContext] = ContextVar("durable_graph_task")


def _task(what: str) -> TaskContext:
    task = current_task.get(None)
    if task is None:
        raise RuntimeError(
            f"{what} works only inside a node that is being run. In a thread or process of your "
            f"own, pass what you need from the node."
        )
    return task


def interrupt(value: Any) -> Any:
    """Ask somebody outside; returns the answer.

    The first time, the node stops here and the run returns the question. After
    ``Command(resume=answer)`` the node runs again from its first line, and this call returns the
    answer. Answers belong to questions by what is asked, so a node that runs again has to ask
    the same again to get them.

    Args:
        value: the question; anything that can be stored.

    Raises:
        GraphInterrupt: to stop the node. Not an `Exception`: let it pass.
        MissingCheckpointerError: the graph has no checkpointer.
        RuntimeError: called outside a node.
    """
    return _task("interrupt()").ask(value)


def get_runtime() -> Runtime:
    """The `Runtime` of the node that is being run.

    Raises:
        RuntimeError: called outside a node.
    """
    return Runtime(_task("get_runtime()"))


def get_config() -> RunnableConfig:
    """The config of the call whose node is being run.

    Raises:
        RuntimeError: called outside a node.
    """
    return _task("get_config()").host.node_config


def get_stream_writer() -> StreamWriter:
    """The function that emits ``custom`` events for the node that is being run.

    Raises:
        RuntimeError: called outside a node.
    """
    return _task("get_stream_writer()").write
