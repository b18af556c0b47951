"""Every error this library raises on purpose.

One base class, `DurableGraphError`; each leaf says in its message what to do next::

    DurableGraphError
    ├── GraphDefinitionError          the graph itself is wrong (also a ValueError)
    ├── IncompatibleGraphError        the stored run does not fit this graph
    ├── ConfigError                   the call's config is wrong (also a ValueError)
    ├── MissingExtraError             an optional package is not installed (also an ImportError)
    ├── RunError                      a call that the thread's state does not allow
    │   ├── EmptyInputError           nothing to run: no input and no stored state
    │   ├── NothingToResumeError      an answer, but nothing is asked
    │   ├── UnknownInterruptError     an answer to a question that is not open (also a ValueError)
    │   ├── AmbiguousAnswerError      one answer, several open questions (also a ValueError)
    │   ├── AlreadyAnsweredError      an answer to a question that has one, or comes too late
    │   ├── InvalidAnswerError        an answer that is not what is asked for (also a ValueError)
    │   ├── PendingInterruptsError    a new input, but questions are open
    │   ├── ThreadBusyError           another run owns the thread
    │   │   └── ThreadExistsError     there is a thread of that name
    │   ├── MissingCheckpointerError  a feature that needs a saver, on a graph without one
    │   ├── UnsupportedError          a feature that this saver's storage system lacks
    │   └── MissingStoreError         a node that needs a store, in a graph without one
    ├── NodeFailedError               something a node did
    │   ├── InvalidUpdateError        its update was refused
    │   │   └── StateTooLargeError    it is larger than may be, or can be, stored
    │   ├── NodeCancelledError        it raised `asyncio.CancelledError` by itself
    │   ├── StepConflictError         a step's key stands for something else (also a ValueError)
    │   ├── NodeTimeoutError          an attempt took longer than its timeout allows
    │   ├── TransactionError          what it did in a transaction of the log's was refused
    │   ├── SwallowedInterruptError   it caught what its question raises (also a RuntimeError)
    │   ├── InterruptTimeoutError     its question got no answer in time (also a TimeoutError)
    │   ├── ResponseSchemaError       the schema of its answers cannot be used (also a ValueError)
    │   └── GraphRecursionError       the run took too many supersteps (also a RecursionError)
    ├── GraphDrained                  the run was asked to stop, and has; it can be resumed
    ├── FencedError                   another owner has taken the thread over
    ├── ThreadNotFoundError           no such thread (also a LookupError)
    ├── CheckpointNotFoundError       no such checkpoint in this thread (also a LookupError)
    ├── IntegrityError                a stored record is damaged
    │   ├── UnknownTypeError          a stored value names a type that is not registered
    │   └── DecryptionError           what is stored cannot be decrypted, or is not encrypted
    ├── StoreError                    what a store was asked makes no sense (also a ValueError)
    │   ├── InvalidNamespaceError     a namespace that is none
    │   └── StoreConflictError        an item is not of the version that a put expects
    └── StorageError                  the storage system failed
        ├── StorageBusyError          locked or out of reach; nothing was written (a TimeoutError)
        ├── StorageFullError          no space; nothing was written
        ├── StorageClosedError        the saver was closed, or belongs to another process
        └── OutcomeUnknownError       a write may or may not have happened
            └── StepOutcomeUnknownError   so may the effect of a step (also a RuntimeError)

`interrupt()` stops a node with `GraphInterrupt`, which is a `BaseException` so that a node's
``except Exception`` cannot swallow a question by accident. `NodeError` is no error itself: it is
what an error handler is told about one.

What is probably a mistake, but need not be one, is a warning: `CacheWarning`,
`StoreWarning`, `UnknownKeyWarning`, `UnreachableNodeWarning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from durable_graph.types import Interrupt

__all__ = [
    "AlreadyAnsweredError",
    "AmbiguousAnswerError",
    "CacheWarning",
    "CheckpointNotFoundError",
    "ConfigError",
    "DecryptionError",
    "DurableGraphError",
    "EmptyInputError",
    "FencedError",
    "GraphDefinitionError",
    "GraphDrained",
    "GraphInterrupt",
    "GraphRecursionError",
    "IncompatibleGraphError",
    "IntegrityError",
    "InvalidNamespaceError",
    "InterruptTimeoutError",
    "InvalidAnswerError",
    "InvalidUpdateError",
    "MissingCheckpointerError",
    "MissingExtraError",
    "MissingStoreError",
    "NodeCancelledError",
    "NodeError",
    "NodeFailedError",
    "NodeTimeoutError",
    "NothingToResumeError",
    "OutcomeUnknownError",
    "PendingInterruptsError",
    "ResponseSchemaError",
    "RunError",
    "StateTooLargeError",
    "StepConflictError",
    "StepOutcomeUnknownError",
    "StorageBusyError",
    "StorageClosedError",
    "StorageError",
    "StorageFullError",
    "StoreConflictError",
    "StoreError",
    "StoreWarning",
    "SwallowedInterruptError",
    "ThreadArchivedError",
    "ThreadBusyError",
    "ThreadExistsError",
    "ThreadNotFoundError",
    "TransactionError",
    "UnknownInterruptError",
    "UnknownKeyWarning",
    "UnknownTypeError",
    "UnreachableNodeWarning",
    "UnsupportedError",
    "is_invalid_resume",
]


class DurableGraphError(Exception):
    """Base of every error this library raises on purpose."""


class GraphDefinitionError(DurableGraphError, ValueError):
    """The graph as built cannot run; raised while building or compiling it."""


class IncompatibleGraphError(DurableGraphError):
    """The stored thread needs what this version of its graph does not have: a node, a key, a type
    or a reducer; or a migration cannot be applied to it. Nothing was run or written."""


class ConfigError(DurableGraphError, ValueError):
    """What was given to a call, a saver, a store or a graph lacks something, or makes no sense."""


class MissingExtraError(DurableGraphError, ImportError):
    """What was asked for needs an optional package that is not installed."""


class RunError(DurableGraphError):
    """A call that the thread's present state does not allow; nothing was changed."""


class EmptyInputError(RunError):
    """There is neither an input nor stored state to go on from."""


class NothingToResumeError(RunError):
    """`Command(resume=...)` on a thread that asks nothing."""


class UnknownInterruptError(RunError, ValueError):
    """An answer names a question that is not open in this thread."""


class AmbiguousAnswerError(RunError, ValueError):
    """One bare answer, but several questions are open: answer by interrupt id."""


class AlreadyAnsweredError(RunError):
    """The question has been answered already, by somebody else or because its deadline passed."""


class InvalidAnswerError(RunError, ValueError):
    """An answer that does not fit the `response_schema` of its question; the message says why."""


class PendingInterruptsError(RunError):
    """A new input while questions are open; say what becomes of them with `on_pending=`."""


class ThreadBusyError(RunError):
    """Another live run owns the thread."""


class ThreadExistsError(ThreadBusyError):
    """A thread was to be created, copied or imported under a name that another one has."""


class MissingCheckpointerError(RunError):
    """The call needs stored state, but the graph was compiled without a checkpointer."""


class MissingStoreError(RunError):
    """A node needs a store, but the graph was compiled without one."""


class UnsupportedError(RunError):
    """The call needs something that the graph's storage system does not have."""


class NodeFailedError(DurableGraphError):
    """Something a node did ended the run.

    By itself, what an error handler is given in the place of a node's error that happened before
    the process died: the text of it is on record, the object is gone.
    """


class InvalidUpdateError(NodeFailedError):
    """An update that cannot become part of the state; the message names node and key.

    Attributes:
        tasks: which of the due tasks wrote it, where it was refused as the superstep closed.
    """

    def __init__(self, message: str, tasks: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.tasks: frozenset[int] = frozenset(tasks)


class StateTooLargeError(InvalidUpdateError):
    """Something is larger than the saver's `max_value_bytes`, or than its storage system takes.

    Nothing of it was written: the thread is where it was, and can be gone on with.
    """


class NodeCancelledError(NodeFailedError):
    """A node raised `asyncio.CancelledError` although nobody cancelled its run."""


class StepConflictError(NodeFailedError, ValueError):
    """A step's key stands for another call: with other arguments when its result was stored, or
    one of the same execution."""


class TransactionError(NodeFailedError):
    """A function within `transaction()` did what it must not: nothing of it was stored."""


class SwallowedInterruptError(NodeFailedError, RuntimeError):
    """A node asked a question, and something in it caught what `interrupt()` raised."""


class InterruptTimeoutError(NodeFailedError, TimeoutError):
    """The deadline of a question passed without an answer, and it has no default."""


class ResponseSchemaError(NodeFailedError, ValueError):
    """A `response_schema` that answers cannot be checked against; the message says why."""


class NodeTimeoutError(NodeFailedError):
    """An attempt of a node took longer than its `TimeoutPolicy` allows, and was given up.

    No `TimeoutError`, which is an `OSError`: so the default retry policy tries again.

    Attributes:
        node: the node.
        elapsed: seconds since the attempt began.
        kind: which limit it was: "run" for the whole attempt, "idle" for the time without a sign
            of progress.
        timeout: that limit, in seconds.
        run_timeout: the policy's limit for the whole attempt, if it has one.
        idle_timeout: its limit for the time without progress, if it has one.
    """

    def __init__(
        self,
        node: str,
        elapsed: float,
        *,
        kind: Literal["run", "idle"],
        run_timeout: float | None = None,
        idle_timeout: float | None = None,
    ) -> None:
        limit = run_timeout if kind == "run" else idle_timeout
        what = "has not finished" if kind == "run" else "has shown no progress"
        within = "after" if kind == "run" else "for"
        super().__init__(
            f"Node {node!r} {what} {within} {limit:g} s, so this attempt was given up. If it may "
            f"take longer, raise its {kind}_timeout; if it may hang, give it a retry_policy."
        )
        self.node = node
        self.elapsed = elapsed
        self.kind = kind
        self.timeout = limit
        self.run_timeout = run_timeout
        self.idle_timeout = idle_timeout


@dataclass(frozen=True, slots=True)
class NodeError:
    """What an error handler is told: which node has failed for good, and with what.

    Attributes:
        node: the node.
        error: what it raised. If the process has died since, a `NodeFailedError` with the text
            stands for it: so tell errors apart by `kind`, which stays.
        text: the error as it is on record: the name of its class, and its message.
    """

    __injected__: ClassVar[str] = "error"

    node: str
    error: BaseException
    text: str = ""

    @property
    def kind(self) -> str:
        """Name of the error's class, such as "ConnectionError"."""
        return self.text.partition(":")[0]


class GraphRecursionError(NodeFailedError, RecursionError):
    """The run took as many supersteps as `recursion_limit` allows; it can be resumed."""


class GraphDrained(DurableGraphError):  # noqa: N818 - LangGraph's name
    """The run stopped between two supersteps because its `RunControl` asked it to.

    All it did is stored; called with ``None``, the thread goes on from there.

    Attributes:
        reason: what `request_drain` was given.
    """

    def __init__(self, reason: str = "shutdown") -> None:
        super().__init__(
            f"The run was asked to stop ({reason}), and has after the superstep it was in. Call "
            f"with None to go on from there."
        )
        self.reason = reason


class FencedError(DurableGraphError):
    """Another owner took the thread over; nothing of this write was stored."""


class ThreadNotFoundError(DurableGraphError, LookupError):
    """No such thread."""


class ThreadArchivedError(DurableGraphError):
    """The thread was moved to an archive, and has to be brought back before it can be used.

    Attributes:
        thread_id: the thread.
        where: the archive's name for it.
    """

    def __init__(self, thread_id: str, where: str) -> None:
        super().__init__(
            f"Thread {thread_id!r} was archived as {where}. Give the saver that archive, and the "
            f"thread comes back when it is used."
        )
        self.thread_id = thread_id
        self.where = where


class CheckpointNotFoundError(DurableGraphError, LookupError):
    """No such checkpoint in this thread, or its content was pruned."""


class IntegrityError(DurableGraphError):
    """A stored record is damaged; the message names thread, record and what is wrong."""


class UnknownTypeError(IntegrityError):
    """A stored value names a type, or a record names a format, that this program does not know."""


class DecryptionError(IntegrityError):
    """What is stored cannot be decrypted: it was altered or moved, its key is not among those that
    are known here, or it is not encrypted at all where it has to be. Which of them it is is not
    told: that would help only whoever did it."""


class StoreError(DurableGraphError, ValueError):
    """A store was asked for something that makes no sense, or was given what it cannot keep."""


class InvalidNamespaceError(StoreError):
    """A namespace of a store is not a tuple of words."""


class StoreConflictError(StoreError):
    """An item is not of the version that a put expects; nothing of the batch was written.

    Attributes:
        places: namespace and key of each item of which that is so.
    """

    def __init__(self, places: Sequence[tuple[tuple[str, ...], str]]) -> None:
        self.places: list[tuple[tuple[str, ...], str]] = list(places)
        told = ", ".join(f"{key!r} in {namespace!r}" for namespace, key in self.places)
        super().__init__(
            f"Somebody else has written {told} since: it is not of the version that `if_version` "
            f"names. Nothing was put; read it again, and put what follows from that."
        )


class StorageError(DurableGraphError):
    """The storage system failed."""


class StorageBusyError(StorageError, TimeoutError):
    """The storage system stayed locked, or was not to be reached, for the configured time; nothing
    was written, and calling again may do."""


class StorageFullError(StorageError):
    """The storage system has no space left; nothing was written."""


class StorageClosedError(StorageError):
    """The saver was closed, or was opened by another process and inherited through `fork`."""


class OutcomeUnknownError(StorageError):
    """A write was sent and it could not be found out whether it took effect.

    Calling again on the same thread finds out: the write is either part of the log or it is not.
    """


class StepOutcomeUnknownError(OutcomeUnknownError, RuntimeError):
    """A step was begun, and nobody knows whether it happened: nothing is run until somebody says.

    Give the step a `reconcile` function that finds out, or declare it idempotent.
    """


class UnknownKeyWarning(UserWarning):
    """An update with a key that the state does not have; the key was left out."""


class CacheWarning(UserWarning):
    """A cache is asked for, or was to be used, and cannot be; nodes run as without it."""


class StoreWarning(UserWarning):
    """A store is searched by meaning, and has no index; its items come in their usual order."""


class UnreachableNodeWarning(UserWarning):
    """A node that nothing seems to lead to."""


class GraphInterrupt(BaseException):
    """Stops a node that asks a question; raised by `interrupt()`, caught by the engine.

    A `BaseException`, so that ``except Exception`` in a node lets it through.
    """

    def __init__(self, interrupts: Sequence[Interrupt] = ()) -> None:
        super().__init__(tuple(interrupts))
        self.interrupts: tuple[Interrupt, ...] = tuple(interrupts)


def is_invalid_resume(error: BaseException) -> bool:
    """Whether an error says that an answer does not fit its question: LangGraph's name for it."""
    return isinstance(error, InvalidAnswerError)
