"""One execution of a task, as the node's code reaches it: its config, its writer."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from durable_graph.decisions.answers import interrupt_id
from durable_graph.engine.control import RunControl
from durable_graph.engine.tasks.remembering import store_of
from durable_graph.errors import MissingStoreError, NodeError
from durable_graph.log.fold import Due
from durable_graph.log.namespace import called_ns
from durable_graph.log.records import Ask
from durable_graph.types import Command, RunnableConfig, StreamWriter

if TYPE_CHECKING:
    from durable_graph.engine.runs.questions import Questions
    from durable_graph.engine.tasks.caching import Slot
    from durable_graph.engine.tasks.deadline import Deadline
    from durable_graph.engine.tasks.steps import Calls
    from durable_graph.store import BaseStore

__all__ = [
    "InnerGraphs",
    "ParentCommand",
    "TaskContext",
    "TaskHost",
    "current_task",
    "get_config",
    "get_store",
    "get_stream_writer",
    "loop_around",
    "running_task",
]


class ParentCommand(BaseException):
    """Ends a graph with a command for the graph around it. Not an `Exception`: it goes through
    the code of the node that called the graph.

    Attributes:
        command: the command, as that graph is to take it.
    """

    def __init__(self, command: Command[Any]) -> None:
        super().__init__(command)
        self.command = command


class InnerGraphs(Protocol):
    """The graphs that one execution of a task calls."""

    async def end(self) -> None:
        """Have those end that are still running."""
        ...


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
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the run is on."""
        ...

    @property
    def checkpoint(self) -> str:
        """The checkpoint that its tasks are due at."""
        ...

    @property
    def context(self) -> Any:
        """What the caller hands to all nodes."""
        ...

    @property
    def store(self) -> BaseStore | None:
        """The graph's store."""
        ...

    @property
    def control(self) -> RunControl | None:
        """What asks the run to stop."""
        ...

    @property
    def caller(self) -> TaskContext | None:
        """The execution that waits for this run, where that is one of a graph within another."""
        ...

    def first_attempt(self, due: Due) -> float | None:
        """When the first attempt at a task began, Unix time; now, if it was not known before."""
        ...

    @property
    def node_config(self) -> RunnableConfig:
        """The call's config, as nodes get it."""
        ...

    @property
    def channels(self) -> Mapping[str, Any]:
        """The keys of the graph's state."""
        ...

    @property
    def previous(self) -> Any:
        """What the last run of an entrypoint saved."""
        ...

    def calls(self, task: TaskContext) -> Calls:
        """What makes the durable calls of an execution.

        Raises:
            RuntimeError: it is none of a node.
        """
        ...

    @property
    def questions(self) -> Questions:
        """What its thread asks."""
        ...

    def emit(self, data: Any) -> None:
        """Emit a custom event."""
        ...

    def emit_message(
        self, due: Due, chunk: Any, id: str | None, more: Mapping[str, Any] | None = None
    ) -> None:
        """Emit a piece of a message."""
        ...


class TaskContext:
    """One execution of one task, as the node's code sees it.

    Attributes:
        host: its run.
        due: the task.
        attempt: which attempt, from 1.
        questions: what it asked without getting an answer, by interrupt id.
        spoken: the id under which it has emitted pieces of a message that has no other.
        index: which of the due tasks; -1 for a router that belongs to none.
        step: id of the step within the task whose code this is; empty for the node's own.
        calls: the steps it has called; ``None`` as long as there are none.
        pushed: the messages it has pushed, by key; ``None`` as long as there are none.
        inner: the graphs it has called, once it has called one.
        gathering: what it has put into an atomic store; ``None`` as long as it has none.
        halted: why a graph that it or one of its steps has called has stopped in the middle.
        closed: whether the execution is over.
        deadline: until when it must have ended, if it has a timeout.
        error: what it is to handle, if it is an error handler's.
        slot: its place in the graph's cache, if it has one.
    """

    __slots__ = (
        "_nth",
        "attempt",
        "calls",
        "closed",
        "deadline",
        "due",
        "error",
        "gathering",
        "halted",
        "host",
        "index",
        "inner",
        "pushed",
        "questions",
        "slot",
        "spoken",
        "step",
    )

    def __init__(
        self, host: TaskHost, due: Due, attempt: int, index: int = -1, step: str = ""
    ) -> None:
        self.host = host
        self.due = due
        self.attempt = attempt
        self.index = index
        self.step = step
        self.calls: Calls | None = None
        self.pushed: list[tuple[str | None, Any]] | None = None
        self.questions: dict[str, Ask] = {}
        self.spoken: str | None = None
        self.closed = False
        self.deadline: Deadline | None = None
        self.error: NodeError | None = None
        self.slot: Slot | None = None
        self.inner: InnerGraphs | None = None
        self.gathering: Any = None
        self.halted: str | None = None
        self._nth: dict[bytes, int] = {}

    @property
    def idempotency_key(self) -> str:
        """See `durable_graph.engine.tasks.runtime.Runtime.idempotency_key`."""
        own = (self.due.id, self.step) if self.step else (self.due.id,)
        text = "\0".join((self.host.tenant, self.host.thread or "", *own))
        digest = hashlib.blake2b(text.encode(), digest_size=20).digest()
        return base64.b32encode(digest).decode().lower()

    @property
    def ns(self) -> str:
        """The task's place, as a namespace: that of its graph, and in it the task."""
        return called_ns(self.due.ns, self.due.node, self.due.id)

    def within(self, step: str, attempt: int) -> TaskContext:
        """The execution of a step within this one."""
        inner = TaskContext(self.host, self.due, attempt, self.index, step)
        inner.deadline = self.deadline
        return inner

    def durable_calls(self) -> Calls:
        """What makes the durable calls of this execution.

        Raises:
            RuntimeError: this is no execution of a node.
        """
        if self.calls is None:
            self.calls = self.host.calls(self)
        return self.calls

    def heartbeat(self) -> None:
        """The node is getting on, and with it those that wait for its graph."""
        if self.deadline is not None:
            self.deadline.heartbeat()
        if self.host.caller is not None:
            self.host.caller.heartbeat()

    def write(self, data: Any) -> None:
        """Emit a custom event."""
        if not self.closed:
            self.progress()
            self.host.emit(data)

    def emit_message(
        self, chunk: Any, id: str | None, more: Mapping[str, Any] | None = None
    ) -> None:
        """Emit a piece of a message."""
        if not self.closed:
            self.progress()
            if id is None and getattr(chunk, "id", None) is None:
                id = self.spoken = self.step or self.due.id
            self.host.emit_message(self.due, chunk, id, more)

    def progress(self) -> None:
        """It has shown that it goes on, and with it those that wait for its graph."""
        if self.deadline is not None:
            self.deadline.progress()
        if self.host.caller is not None:
            self.host.caller.progress()

    def close(self) -> None:
        """The execution is over: what an abandoned thread of it still emits is dropped."""
        self.closed = True

    def next_id(self, ask: Ask) -> str:
        """The id of a question that is being asked, as often as it is."""
        nth = self._nth.get(ask.content, 0)
        self._nth[ask.content] = nth + 1
        return interrupt_id(self.due.id + self.step, ask.content, nth)


current_task: ContextVar[TaskContext] = ContextVar("durable_graph_task")


def running_task(what: str) -> TaskContext:
    """The execution that calls this, from a node or from what a node calls.

    Args:
        what: what needs to know, for the error.

    Raises:
        RuntimeError: no node is being run here.
    """
    task = current_task.get(None)
    if task is None:
        raise RuntimeError(
            f"{what} works only inside a node that is being run. In a thread or process of your "
            f"own, pass what you need from the node."
        )
    return task


def loop_around() -> asyncio.AbstractEventLoop | None:
    """The event loop of the run whose node's code this thread is running beside that loop."""
    task = current_task.get(None)
    if task is None or task.closed:
        return None
    try:
        beside = asyncio.get_running_loop() is not task.host.loop
    except RuntimeError:  # none is running here
        beside = True
    return task.host.loop if beside else None


def get_config() -> RunnableConfig:
    """The config of the call whose node is being run.

    Raises:
        RuntimeError: called outside a node.
    """
    return running_task("get_config()").host.node_config


def get_store() -> BaseStore:
    """The store of the graph whose node is being run.

    Raises:
        RuntimeError: called outside a node.
        MissingStoreError: the graph was compiled without one.
    """
    task = running_task("get_store()")
    if task.host.store is None:
        raise MissingStoreError(
            f"Node {task.due.node!r} wants a store, and its graph has none. Compile it with one: "
            f"compile(store=InMemoryStore())."
        )
    return store_of(task)  # type: ignore[return-value]


def get_stream_writer() -> StreamWriter:
    """The function that emits ``custom`` events for the node that is being run.

    Raises:
        RuntimeError: called outside a node.
    """
    return running_task("get_stream_writer()").write
