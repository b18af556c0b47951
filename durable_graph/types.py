"""The public data types: what users pass in, return from nodes and get back.

Names and fields follow LangGraph where it has them, so that a program changes its imports and
nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import (
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    TypeAlias,
    TypedDict,
    TypeVar,
    final,
)

__all__ = [
    "END",
    "NOT_DONE",
    "START",
    "TAG_NOSTREAM",
    "UNSET",
    "All",
    "CacheKey",
    "CacheNamespace",
    "CachePolicy",
    "Command",
    "Durability",
    "ExecutionInfo",
    "GivenAnswer",
    "GraphOutput",
    "Interrupt",
    "NotDone",
    "OnPending",
    "Overwrite",
    "PregelTask",
    "RetryPolicy",
    "RunnableConfig",
    "Send",
    "StateSnapshot",
    "StateUpdate",
    "StepClaim",
    "StepPolicy",
    "StreamMode",
    "StreamPart",
    "StreamWriter",
    "TimeoutPolicy",
    "Unset",
]

START: Final = "__start__"
"""The virtual node before the first: edges from it say where a run begins."""

END: Final = "__end__"
"""The virtual node after the last: an edge to it ends that branch of the run."""

TAG_NOSTREAM: Final = "nostream"
"""Tag of a LangChain chat model whose tokens are not to be streamed."""

StreamMode = Literal["values", "updates", "messages", "tasks", "checkpoints", "custom", "debug"]
Durability = Literal["sync", "async", "exit"]
OnPending = Literal["reject", "answer", "supersede"]
StepPolicy = Literal["fail_fast", "collect"]
All = Literal["*"]
StreamWriter: TypeAlias = Callable[[Any], None]


@final
class Unset:
    """The type of `UNSET`, which tells "not given" from ``None``."""

    _instance: Unset | None = None

    def __new__(cls) -> Unset:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False


UNSET: Final = Unset()


class RunnableConfig(TypedDict, total=False):
    """What a call may say about itself besides its input.

    `configurable` holds `thread_id`, and `checkpoint_id` to start from an earlier checkpoint;
    whatever else it holds is handed to the nodes.
    """

    configurable: dict[str, Any]
    recursion_limit: int
    max_concurrency: int | None
    run_id: Any
    run_name: str
    tags: list[str]
    metadata: dict[str, Any]
    callbacks: Any


class Send:
    """Run `node` in the next superstep with `arg` as its whole input.

    Returned from a router or in `Command.goto`. The same node may be sent to many times.

    Args:
        node: the node.
        arg: its input.
        timeout: how long an attempt of this task may take, in the place of what the node's own
            policy says: seconds, or a `TimeoutPolicy`.
    """

    __slots__ = ("arg", "node", "timeout")

    def __init__(
        self, node: str, arg: Any, *, timeout: TimeoutPolicy | float | timedelta | None = None
    ) -> None:
        self.node: str = node
        self.arg: Any = arg
        self.timeout: TimeoutPolicy | None = None if timeout is None else TimeoutPolicy.of(timeout)

    def __repr__(self) -> str:
        timeout = "" if self.timeout is None else f", timeout={self.timeout!r}"
        return f"Send(node={self.node!r}, arg={self.arg!r}{timeout})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Send) and (self.node, self.arg, self.timeout) == (
            other.node,
            other.arg,
            other.timeout,
        )

    def __hash__(self) -> int:
        return hash((self.node, self.arg))


N = TypeVar("N", bound=Hashable)


# Without slots, as every frozen dataclass here that is generic: ``Command[str](...)`` would be a
# `TypeError`, since a class that is both refuses what `typing` notes on its instances in a way that
# `typing` does not expect.
@dataclass(frozen=True, repr=False)
class Command(Generic[N]):
    """State update, control flow and answers in one value.

    Returned from a node: `update` is its update and `goto` names what runs next, in addition to
    the node's edges. As the input of a call: `resume` answers what the thread asks, `update` and
    `goto` act on the stored state.

    Attributes:
        graph: the graph the command is for: ``None`` for the node's own, `Command.PARENT` for
            the one around it, which takes `update` and `goto` as if its own node had returned
            them; the graph that the node belongs to ends there.
        update: an update of the state: a mapping, ``(key, value)`` pairs, or a schema object.
        resume: the answer to the one open question, or a mapping from interrupt id to answer.
            ``None`` is an answer like any other.
        goto: a node's name, a `Send`, or a sequence of them.
    """

    PARENT: ClassVar[Literal["__parent__"]] = "__parent__"

    graph: str | None = None
    update: Any = None
    resume: Any = UNSET
    goto: Send | N | Sequence[Send | N] = ()

    def __repr__(self) -> str:
        given = [
            f"{field.name}={value!r}"
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) is not field.default
        ]
        return f"Command({', '.join(given)})"


class GivenAnswer(NamedTuple):
    """What a question was answered, as the record has it.

    Attributes:
        value: the answer; `UNSET` if the deadline passed and the question had no default.
        by: who gave it, as far as the call said so (``by=``); "deadline" for what holds because
            the deadline passed.
        time: when it was given, Unix time in seconds.
    """

    value: Any
    by: str | None
    time: float


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A question that a node asks and that somebody outside must answer.

    Attributes:
        value: what the node passed to `interrupt()`.
        id: 32 hex digits; the key for `Command(resume={id: answer})`.
        response_schema: what the answer must look like, as a JSON schema; ``None`` means anything.
        deadline: Unix time in seconds after which no answer is taken; ``None`` for none.
        answer: what it was answered, by whom and when, in the history of a thread; ``None`` as
            long as it is open.
    """

    value: Any
    id: str = ""
    response_schema: Any = None
    deadline: float | None = None
    answer: GivenAnswer | None = None


@dataclass(frozen=True, slots=True)
class Overwrite:
    """An update that replaces a key's value instead of going through its reducer.

    As plain data it is ``{"type": "__overwrite__", "value": ...}`` or ``{"__overwrite__": ...}``,
    for updates that come as JSON.
    """

    value: Any
    type: Literal["__overwrite__"] = field(default="__overwrite__", repr=False)


def default_retry_on(error: Exception) -> bool:
    """Whether an error looks passing, so that trying again may help.

    Connection trouble does; mistakes of the program (`ValueError`, `TypeError`, `LookupError`,
    ...) do not; of HTTP answers (httpx, requests) only the 5xx do; anything unknown does.
    """
    if isinstance(error, ConnectionError):
        return True
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    if isinstance(status, int):
        return 500 <= status < 600
    return not isinstance(
        error,
        (
            ValueError,
            TypeError,
            ArithmeticError,
            ImportError,
            LookupError,
            NameError,
            SyntaxError,
            RuntimeError,
            ReferenceError,
            StopIteration,
            StopAsyncIteration,
            OSError,
        ),
    )


class RetryPolicy(NamedTuple):
    """How often, and after which errors, a failed node is tried again.

    The wait before attempt ``n + 1`` is ``initial_interval * backoff_factor ** (n - 1)``
    seconds, at most `max_interval`, plus up to one second at random where `jitter` is on.
    """

    initial_interval: float = 0.5
    backoff_factor: float = 2.0
    max_interval: float = 128.0
    max_attempts: int = 3
    jitter: bool = True
    retry_on: type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool] = (
        default_retry_on
    )


@final
class NotDone:
    """The type of `NOT_DONE`."""

    _instance: NotDone | None = None

    def __new__(cls) -> NotDone:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "NOT_DONE"


NOT_DONE: Final = NotDone()
"""What a `reconcile` function returns if the step did not happen, so that it is to be run."""


@dataclass(frozen=True, slots=True)
class StepClaim:
    """A step that was begun and whose outcome nobody knows, as its `reconcile` function gets it.

    Attributes:
        key: the step's key.
        idempotency_key: what `get_runtime().idempotency_key` was within the step: the key under
            which a receiver may know it.
        args: the step's arguments.
        kwargs: those given by name.
        node: the node that makes the step.
        thread_id: its thread.
    """

    key: str
    idempotency_key: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    node: str
    thread_id: str | None


@dataclass(frozen=True, slots=True)
class ExecutionInfo:
    """Which execution of which task a node is in.

    Attributes:
        checkpoint_id: the checkpoint that made the task due.
        checkpoint_ns: the task's place: ``node:task_id``, behind those of the graphs around it.
        task_id: the same for every execution of the task.
        thread_id: the thread; ``None`` for a run without a checkpointer.
        run_id: the run.
        node_attempt: 1, and one more after each failure that is retried.
        node_first_attempt_time: when attempt 1 began, Unix time in seconds. Of a task that was
            tried before a crash, when the last of those attempts failed.
    """

    checkpoint_id: str
    checkpoint_ns: str
    task_id: str
    thread_id: str | None = None
    run_id: str | None = None
    node_attempt: int = 1
    node_first_attempt_time: float | None = None


@dataclass(frozen=True, slots=True)
class TimeoutPolicy:
    """How long one attempt of a node may take before it is given up with `NodeTimeoutError`.

    An async node is cancelled. A synchronous one cannot be stopped: its thread is left to itself,
    and what it still returns or emits is dropped.

    Attributes:
        run_timeout: seconds for the whole attempt; ``None`` for no limit.
        idle_timeout: seconds without a sign of progress; ``None`` for no limit.
        refresh_on: what is a sign of progress: "auto" for whatever the node emits and
            `Runtime.heartbeat()`, "heartbeat" for that alone.

    Raises:
        ValueError: a limit is no number of seconds above 0.
    """

    run_timeout: float | timedelta | None = None
    idle_timeout: float | timedelta | None = None
    refresh_on: Literal["auto", "heartbeat"] = "auto"

    def __post_init__(self) -> None:
        for name in ("run_timeout", "idle_timeout"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        if self.refresh_on not in ("auto", "heartbeat"):
            raise ValueError(f"refresh_on is 'auto' or 'heartbeat', not {self.refresh_on!r}.")

    @classmethod
    def of(cls, given: TimeoutPolicy | float | timedelta) -> TimeoutPolicy:
        """A policy from what people write: a number of seconds is the `run_timeout`."""
        return given if isinstance(given, TimeoutPolicy) else cls(run_timeout=given)


CacheNamespace: TypeAlias = tuple[str, ...]
"""Whose results a cache keeps: of a graph, and in it of a node; or of a task."""

CacheKey: TypeAlias = tuple[CacheNamespace, str]
"""A namespace, and a key within it."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """When a node's result may be taken from the cache that its graph was compiled with.

    What is kept is what the node returned: its updates, and where its commands go. Its conditional
    edges look at the state anew each time. Errors and questions are never kept, nor what a node
    returned that has put something into an atomic store.

    Attributes:
        key_func: what of the node's input the result depends on: gets the input (of a task: its
            arguments), returns anything that can be stored. ``None`` for the whole input.
        ttl: seconds for which a result may be used; ``None`` for ever.
        version: name another one when the node's code has changed, and what an earlier version
            returned is not used any more.
    """

    key_func: Callable[..., Any] | None = None
    ttl: float | None = None
    version: str = ""


def _seconds(name: str, given: Any) -> float | None:
    if given is None:
        return None
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if type(seconds) not in (int, float) or not 0 < seconds < float("inf"):
        raise ValueError(f"{name} is a number of seconds above 0, not {given!r}.")
    return float(seconds)


class PregelTask(NamedTuple):
    """One task of a checkpoint, as a snapshot shows it.

    Attributes:
        id: stable over retries, crashes and machines.
        name: the node.
        path: ``("__pregel_pull", node)`` for a node reached by an edge, ``("__pregel_push", n,
            False)`` for the n-th `Send`.
        error: the error it ended with, as text.
        interrupts: its questions.
        state: the state of the subgraph it runs, if it runs one.
        result: its update, once it has finished.
    """

    id: str
    name: str
    path: tuple[str | int, ...]
    error: str | None = None
    interrupts: tuple[Interrupt, ...] = ()
    state: Any = None
    result: Any = None


class StateUpdate(NamedTuple):
    """One of several updates of `abulk_update_state`.

    Attributes:
        values: the update, which goes through the reducers.
        as_node: the node it counts for; by default the one that ran last.
    """

    values: Any
    as_node: str | None = None


class StateSnapshot(NamedTuple):
    """The state of a thread at one checkpoint."""

    values: Any
    """Current values of the state's keys."""
    next: tuple[str, ...]
    """Names of the nodes that are due and have not finished."""
    config: RunnableConfig
    """The config that names this checkpoint."""
    metadata: dict[str, Any] | None
    """`source` (input, loop, update, fork or migration), `step`, and the metadata and `run_id` that
    the caller gave."""
    created_at: str | None
    """When the checkpoint was written, ISO 8601 in UTC."""
    parent_config: RunnableConfig | None
    """The config that names the checkpoint before this one."""
    tasks: tuple[PregelTask, ...]
    """The tasks due at this checkpoint."""
    interrupts: tuple[Interrupt, ...]
    """The questions of these tasks."""

    @property
    def thread_id(self) -> str | None:
        """The thread this snapshot belongs to."""
        return self.config.get("configurable", {}).get("thread_id")

    @property
    def checkpoint_id(self) -> str | None:
        """The checkpoint's id; ``None`` for a thread that does not exist yet."""
        return self.config.get("configurable", {}).get("checkpoint_id")


OutputT = TypeVar("OutputT")


@dataclass(frozen=True)
class GraphOutput(Generic[OutputT]):
    """What ``ainvoke(..., version="v2")`` returns.

    Attributes:
        value: the output, of the type that the graph's output schema is.
        interrupts: the questions that are open.
    """

    value: OutputT
    interrupts: tuple[Interrupt, ...] = ()


class StreamPart(TypedDict):
    """One event of ``astream(..., version="v2")``.

    `cursor` says where in the log the event stands: whole numbers with dots between them, which
    grow from event to event; ``None`` for what the log does not keep, such as tokens and custom
    events. Parts of the type "values" have the open questions as `interrupts`.
    """

    type: StreamMode
    ns: tuple[str, ...]
    data: Any
    cursor: str | None
    interrupts: NotRequired[tuple[Interrupt, ...]]
