"""The port to storage: what a system must do to hold threads.

These docstrings are the specification. `durable_graph.testing.check_backend` is the same as
code: an implementation that passes it can be used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from durable_graph.decisions.liveness import Identity, Liveness, Process
from durable_graph.log.records import Head, Ranges, Record, Status, ThreadKey
from durable_graph.log.seal import extend, open_header

__all__ = [
    "Append",
    "Backend",
    "Capabilities",
    "Head",
    "HeadPage",
    "HeadQuery",
    "Identity",
    "Liveness",
    "Message",
    "Outcome",
    "Position",
    "Process",
    "Ranges",
    "Reading",
    "Record",
    "Removal",
    "ThreadKey",
    "Transactional",
    "checkpoint_path",
]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend guarantees, and what it lacks. Declared, never guessed from its name.

    Attributes:
        durable: an acknowledged append survives the end of this process.
        shared: several processes can open the same storage, so owners must show signs of life.
        groups: one call of `append` with many appends is cheaper than many calls.
        immediate: its calls never wait for anything, so that they need no shielding.
        transactions: it lets others write in the transaction of an append; see `Transactional`.
    """

    durable: bool
    shared: bool
    groups: bool
    immediate: bool = False
    transactions: bool = False


@dataclass(slots=True)
class Position:
    """Where a thread's log stands, and under whom: what an append must find to be allowed."""

    seq: int
    epoch: int
    link: bytes

    @classmethod
    def of(cls, head: Head) -> Position:
        """The position of a head."""
        return cls(head.seq, head.epoch, head.link)


@dataclass(slots=True)
class Append:
    """An extension of one thread's log.

    Attributes:
        expected: the position the log must be at; ``None`` if the thread must not exist.
        head: the head afterwards.
        records: the records between the two; never empty.
        blobs: large values by digest, which the records refer to. Storing one again is harmless.
        settled: verdicts on messages of the inbox: empty if taken up, else why not.
    """

    expected: Position | None
    head: Head
    records: Sequence[Record]
    blobs: Mapping[str, bytes]
    settled: Mapping[str, str]


class Outcome(Enum):
    """What became of an append that the backend has answered for."""

    APPLIED = "applied"
    """It is stored, now or from an earlier try of the very same append."""
    REFUSED = "refused"
    """The log was not at the expected position; nothing was stored."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something for the owner of a thread, left in its inbox.

    Attributes:
        id: chosen by the sender.
        kind: what it is; "answer" so far.
        body: JSON lines.
        by: who sent it.
        time: when, Unix time.
        verdict: ``None`` until an append has settled it; then empty if it was taken up, else why
            it was not.
    """

    id: str
    kind: str
    body: bytes
    by: str | None
    time: float
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One consistent look at a thread.

    Attributes:
        head: its head.
        records: the records to fold, in order; empty if the checkpoint that was asked for is
            not there.
        after: for a checkpoint that was asked for, the records after it up to and including the
            next commit: what became of its tasks.
        messages: the messages that no append has settled, oldest first.
    """

    head: Head
    records: Sequence[Record]
    after: Sequence[Record] = ()
    messages: Sequence[Message] = ()


@dataclass(frozen=True, slots=True)
class HeadQuery:
    """Which threads to list, and how. Newest change first.

    Attributes:
        tenant: whose threads.
        status: only threads of this status.
        limit: how many at most.
        after: the cursor of the page before.
    """

    tenant: str = ""
    status: Status | None = None
    limit: int = 100
    after: str | None = None


@dataclass(frozen=True, slots=True)
class HeadPage:
    """Some threads, and where to go on listing; ``None`` at the end."""

    heads: Sequence[Head]
    next: str | None


@dataclass(frozen=True, slots=True)
class Removal:
    """What to remove from a thread.

    Attributes:
        everything: the whole thread, its blobs and its messages.
        expected: for a part: the position at which it was found to be of no use any more.
        bodies: for a part: the records whose bodies go; headers and digests stay.
        blobs: for a part: the large values that go.
    """

    everything: bool = False
    expected: Position | None = None
    bodies: Ranges = ()
    blobs: Sequence[str] = ()


class Backend(Protocol):
    """Holds the logs of threads.

    An instance can be used from several event loops, and opens what it needs on first use.
    Every method may raise `StorageBusyError` (it waited as long as it was configured to, and
    nothing was written), `StorageError` and its other leaves. None of them retries by itself
    what may have happened already. Cancelling a call never tears a write apart: it happens as a
    whole or not at all.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this backend guarantees."""
        ...

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        """Extend logs, each atomically and on its own.

        Each append is compared with the thread's position before anything of it is written, in
        the storage's own atomic operation. One whose last record is already stored under the
        same link is `APPLIED` without being stored again, so that a caller who lost the answer
        may ask again. A batch holds one append per thread at most.

        Args:
            batch: the appends.
            beat: a sign of life of this process, to be stored in the same go.

        Raises:
            StorageFullError: nothing of the batch was stored.
            OutcomeUnknownError: any of the batch may have been stored.
        """
        ...

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        """Head and records of a thread, at its head or at a checkpoint; ``None`` if it does not
        exist.

        The records are those on the position's path. Each comes with the link of the record
        before it. At the head, they are left out if the head is where the caller knows it.
        """
        ...

    async def scan(
        self,
        thread: ThreadKey,
        ranges: Ranges,
        *,
        bodies: bool = True,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Sequence[Record]:
        """Records by sequence number, those that exist; without their bodies if so asked."""
        ...

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        """Large values by digest; those that are missing are left out."""
        ...

    async def heads(self, query: HeadQuery) -> HeadPage:
        """Threads, without reading what they hold."""
        ...

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        """Leave a message for whoever owns the thread; returns it as it is stored.

        Posting an id again changes nothing, and so tells the verdict once there is one.

        Raises:
            ThreadNotFoundError: there is no such thread.
        """
        ...

    async def beat(self, process: Process | None, *, leaving: bool = False) -> Sequence[Liveness]:
        """Store a sign of life of a process, or forget it; returns what is known of all."""
        ...

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        """Remove a thread or a part of it; ``False`` if it is not there (any more).

        A part is removed only if the log is still at the expected position, and in the same
        atomic operation the thread's epoch grows by one: whoever has read the thread before could
        otherwise put a branch behind what is gone. After a thread was removed, or a part of it,
        an append that expects an earlier position is refused.
        """
        ...

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        """Return once the thread is not at this position any more; at once if it is not now."""
        ...

    async def aclose(self) -> None:
        """Finish what is under way and release everything. Harmless if done twice."""
        ...


class Transactional(Backend, Protocol):
    """A backend that lets others write in the transaction of an append."""

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        """Extend one log in a transaction in which others write, too; ``None`` if the log is not
        where it is expected to be.

        `work` gets the storage system's own connection, with the transaction open, writes what it
        likes beside the log, and returns the append, which is stored in the same transaction. It
        is called once at most, in whatever thread the connection belongs to, and not at all if
        the log is elsewhere. What it raises comes out as it is, and then nothing of all this is
        stored. It must neither end the transaction nor change what the backend itself keeps.

        Raises:
            TransactionError: it did; nothing was stored.
            OutcomeUnknownError: all of it may have been stored.
        """
        ...


def checkpoint_path(commit: Record, thread: str) -> Ranges:
    """The records to fold for the state at a checkpoint: what `Backend.read` has to return.

    Raises:
        IntegrityError: the record is damaged, or is no commit.
    """
    info = open_header(commit, thread).commit
    return extend(info.path if info is not None else (), commit.seq)
