"""`Runtime`: what the engine offers to one execution of a node."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NoReturn, TypeVar, overload

from durable_graph.definition.node import Injection
from durable_graph.engine.control import RunControl
from durable_graph.engine.tasks.context import TaskContext, running_task
from durable_graph.engine.tasks.remembering import store_of
from durable_graph.log.fold import Due
from durable_graph.types import ExecutionInfo, RunnableConfig, StreamWriter
from durable_graph.typing import ContextT

if TYPE_CHECKING:
    from durable_graph.engine.tasks.future import StepFuture
    from durable_graph.store import BaseStore

__all__ = ["Runtime", "get_runtime", "supplied"]

T = TypeVar("T")


class Runtime(Generic[ContextT]):
    """What the engine offers to one execution of a node.

    A node gets it as a parameter named `runtime`, or annotated with ``Runtime[...]`` whatever its
    name, or from `get_runtime()`. Made by hand, it lets a node be tried without a graph:
    ``node(state, Runtime(context=...))``.

    Args:
        context: what the caller of the graph passes as `context=`.
        store: what the graph is compiled with.
        stream_writer: what is to become of events; by default nothing.
        previous: what the last run of an entrypoint saved.
    """

    __slots__ = ("_task",)
    __injected__: ClassVar[str] = "runtime"

    def __init__(
        self,
        *,
        context: ContextT | None = None,
        store: BaseStore | None = None,
        stream_writer: StreamWriter | None = None,
        previous: Any = None,
    ) -> None:
        host = _NoRun(context, store, stream_writer, previous)
        self._task = TaskContext(host, _NO_TASK, 1)

    @classmethod
    def of(cls, task: TaskContext) -> Runtime[ContextT]:
        """That of an execution."""
        runtime = cls.__new__(cls)
        runtime._task = task
        return runtime

    def __repr__(self) -> str:
        return f"<Runtime of node {self.node!r}, attempt {self.attempt}>"

    # -- what the caller and the graph bring ---------------------------------------------------

    @property
    def context(self) -> ContextT:
        """What the caller passed as `context=`, of the graph's `context_schema`."""
        context: ContextT = self._task.host.context
        return context

    @property
    def store(self) -> BaseStore | None:
        """The store that the graph was compiled with; ``None`` without one."""
        return store_of(self._task)

    @property
    def previous(self) -> Any:
        """What the last run of an entrypoint saved on this thread; ``None`` in a node."""
        return self._task.host.previous

    # -- where the execution is ----------------------------------------------------------------

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
    def execution_info(self) -> ExecutionInfo:
        """All of this in one, under LangGraph's names."""
        task = self._task
        return ExecutionInfo(
            checkpoint_id=task.host.checkpoint,
            checkpoint_ns=task.ns,
            task_id=task.due.id,
            thread_id=task.host.thread,
            run_id=task.host.run_id,
            node_attempt=task.attempt,
            node_first_attempt_time=task.host.first_attempt(task.due),
        )

    @property
    def idempotency_key(self) -> str:
        """A key for the outside world: equal for every execution of this task, and only there.

        A node that has an effect outside runs again if its process dies before the result is
        stored. A receiver that takes each key once makes the effect happen once.
        """
        return self._task.idempotency_key

    # -- what it can say -----------------------------------------------------------------------

    @property
    def stream_writer(self) -> StreamWriter:
        """Emits its argument as a ``custom`` event."""
        return self._task.write

    @overload
    def transaction(
        self,
        fn: Callable[..., Awaitable[T]],
        /,
        *args: Any,
        key: str | None = None,
        **kwargs: Any,
    ) -> StepFuture[T]: ...

    @overload
    def transaction(
        self,
        fn: Callable[..., T],
        /,
        *args: Any,
        key: str | None = None,
        **kwargs: Any,
    ) -> StepFuture[T]: ...

    def transaction(
        self,
        fn: Callable[..., Any],
        /,
        *args: Any,
        key: str | None = None,
        **kwargs: Any,
    ) -> StepFuture[Any]:
        """Write to the database in which the thread is stored, along with it, and so exactly once.

        `fn` gets a connection of that database and runs in the very transaction that stores its
        result in the thread's log. Either both are stored or neither is, whenever the process
        dies, so when the node runs again its result is there and it is not called. ``await`` what
        is returned, or call its `result()` in a synchronous node.

        With `SqliteSaver`, `fn` is not async; it gets a `sqlite3.Connection`, and runs in that
        connection's thread, where everything else waits for it. With `PostgresSaver`, it is async
        and gets a connection that works as asyncpg's do, one statement a call. Let it do its SQL
        and return. It writes to tables of its own, the transaction is open already; what it raises
        rolls everything back. It may be called again if the database has not stored it, so it does
        nothing else than SQL.

        Args:
            fn: what to do.
            args: its arguments besides the connection. A stored result belongs to them.
            key: what it is called, where its name and its arguments do not tell it apart; see
                `durable_graph.step`.
            kwargs: arguments by name.

        Raises:
            MissingCheckpointerError: the graph has no checkpointer.
            UnsupportedError: its storage system has no such transactions.
            ConfigError: the run is stored only at its end (``durability="exit"``).
            StepConflictError: in waiting for the result: it is one for other arguments.
            TransactionError: in waiting: `fn` has ended the transaction or touched what is not
                its own.
            StorageBusyError: in waiting: another process kept the database locked.
        """
        return self._task.durable_calls().transaction(fn, args, kwargs, key)

    def emit_message(self, chunk: Any, *, id: str | None = None) -> None:
        """Emit a token, or another piece of a message, as a ``messages`` event.

        Args:
            chunk: a text, or a message (or chunk) object.
            id: the message it is a part of; by default all chunks of one execution are parts of
                one message: the first message of an assistant that the node returns without an
                id. A message whose pieces were emitted is not emitted again as a whole.
        """
        self._task.emit_message(chunk, id)

    def heartbeat(self) -> None:
        """Say, from any thread, that the node is getting on: see `TimeoutPolicy.idle_timeout`."""
        self._task.heartbeat()

    # -- whether to stop -----------------------------------------------------------------------

    @property
    def control(self) -> RunControl | None:
        """What the caller passed as `control=`."""
        return self._task.host.control

    @property
    def drain_requested(self) -> bool:
        """Whether the run is to stop after this superstep: a long node may want to end early."""
        control = self._task.host.control
        return control is not None and control.drain_requested

    @property
    def drain_reason(self) -> str | None:
        """Why the run is to stop; ``None`` if it is not."""
        control = self._task.host.control
        return None if control is None else control.drain_reason


def get_runtime(context_schema: type[ContextT] | None = None) -> Runtime[ContextT]:
    """The `Runtime` of the node that is being run.

    Args:
        context_schema: the type of its context, for type checkers.

    Raises:
        RuntimeError: called outside a node.
    """
    return Runtime.of(running_task("get_runtime()"))


def supplied(task: TaskContext, injection: Injection) -> Any:
    """What a parameter of a node or router gets."""
    match injection.what:
        case "config":
            return task.host.node_config
        case "runtime":
            task.host.first_attempt(task.due)  # the time is now
            return Runtime[Any].of(task)
        case "writer":
            return task.write
        case "store":
            return store_of(task)
        case "error":
            return task.error


_NO_TASK: Final = Due("", "", 0, "no node")


class _NoRun:
    """What a runtime made by hand has in the place of a run."""

    tenant = ""
    thread = None
    run_id = ""
    caller = None
    checkpoint = ""
    control = None

    def __init__(
        self, context: Any, store: BaseStore | None, writer: StreamWriter | None, previous: Any
    ) -> None:
        self.context = context
        self.store = store
        self.previous = previous
        self._writer = writer

    @property
    def node_config(self) -> RunnableConfig:
        return {"configurable": {}}

    @property
    def loop(self) -> NoReturn:
        raise RuntimeError("A runtime made by hand has no event loop.")

    @property
    def channels(self) -> dict[str, Any]:
        return {}

    def first_attempt(self, due: Due) -> float | None:
        return None

    def calls(self, task: TaskContext) -> NoReturn:
        raise RuntimeError("A runtime made by hand has no run to make a step in.")

    @property
    def questions(self) -> NoReturn:
        raise RuntimeError("A runtime made by hand has no run that could ask.")

    def emit(self, data: Any) -> None:
        if self._writer is not None:
            self._writer(data)

    def emit_message(
        self, due: Due, chunk: Any, id: str | None, more: Mapping[str, Any] | None = None
    ) -> None:
        self.emit(chunk)
