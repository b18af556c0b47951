"""The port to storage: what a system must do to hold threads.

These docstrings are the specification. `durable_graph.testing.check_backend` is the same as
code: an implementation that passes it can be used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, Protocol, TypeAlias

from durable_graph.decisions.liveness import Identity, Liveness, Process
from durable_graph.log.records import Head, Ranges, Record, Status, ThreadKey
from durable_graph.log.seal import extend, open_header
from durable_graph.ports.items import Items, Puts

__all__ = [
    "Append",
    "Backend",
    "Capabilities",
    "Card",
    "Head",
    "Identity",
    "Liveness",
    "Message",
    "Outcome",
    "Position",
    "Process",
    "Ranges",
    "Reading",
    "Record",
    "Remembering",
    "Removal",
    "Scalar",
    "Thread",
    "ThreadKey",
    "ThreadPage",
    "ThreadQuery",
    "Transactional",
    "checkpoint_path",
    "next_card",
    "same_scalar",
]


Scalar: TypeAlias = str | int | float | bool | None
"""What a thread's metadata can be."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a backend guarantees, and what it lacks. Declared, never guessed from its name.

    Attributes:
        durable: an acknowledged append survives the end of this process.
        shared: several processes can open the same storage, so owners must show signs of life.
        groups: one call of `append` with many appends is cheaper than many calls.
        lanes: how many such calls are worth having under way at once: while one is with the server,
            the runs whose appends came back with another can go on.
        immediate: its calls never wait for anything, so that they need no shielding.
        transactions: it lets others write in the transaction of an append, by a function that is
            called ("sync") or awaited ("async"); see `Transactional`.
        stores: an append can put items into a store beside the log; see `Remembering`.
        max_record_bytes: how large one record (header and body), large value or message may be;
            ``None`` if only space and memory are the limit. It leaves room for what the backend
            stores along with it, and for encryption.
        max_append_bytes: the same for all records and large values of one append.
    """

    durable: bool
    shared: bool
    groups: bool
    lanes: int = 1
    immediate: bool = False
    transactions: Literal["sync", "async"] | None = None
    stores: bool = False
    max_record_bytes: int | None = None
    max_append_bytes: int | None = None


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


@dataclass(frozen=True, slots=True)
class Card:
    """What is known of a thread beside its log, and changed apart from it.

    A thread may have a card without a log: before its first run, once it was moved elsewhere, or
    as the trace of one that was deleted.

    Attributes:
        version: 1, 2, ...: a card is stored only in the place of the one before it.
        owner: whose thread it is, in the user's own terms.
        tags: words to find it by, each once, in order.
        metadata: values to find it by.
        expires: when it may be deleted, Unix time.
        archived: where its log is, if not here.
        time: when the card was made, Unix time.
        body: the rest, JSON; storage does not look into it.
    """

    version: int
    owner: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    expires: float | None = None
    archived: str | None = None
    time: float = 0.0
    body: bytes = b"{}"


@dataclass(slots=True)
class Append:
    """An extension of one thread's log.

    Attributes:
        expected: the position the log must be at; ``None`` if the thread must not exist.
        head: the head afterwards.
        records: the records between the two; never empty.
        blobs: large values by digest, which the records refer to. Storing one again is harmless.
        settled: verdicts on messages of the inbox: empty if taken up, else why not.
        card: of a new log: the thread's next card, stored with it. A whole thread that is brought
            back from where it was archived comes so.
        puts: what is put into stores in the same operation; only where the backend `keeps` them.
    """

    expected: Position | None
    head: Head
    records: Sequence[Record]
    blobs: Mapping[str, bytes]
    settled: Mapping[str, str]
    card: Card | None = None
    puts: Sequence[Puts] = ()


class Outcome(Enum):
    """What became of an append that the backend has answered for."""

    APPLIED = "applied"
    """It is stored, now or from an earlier try of the very same append."""
    REFUSED = "refused"
    """The log was not at the expected position; nothing was stored."""
    CONFLICTING = "conflicting"
    """An item is not of the version that one of its puts expects; nothing was stored."""


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


@dataclass(slots=True)
class Thread:
    """A thread without what it holds: the head of its log, its card, or both.

    The head's secret need not be the one that `Backend.read` tells: looking at threads opens none.
    """

    key: ThreadKey
    head: Head | None
    card: Card | None

    @property
    def updated(self) -> float:
        """Its place in a list, Unix time: when its log changed, or its card if there is no log."""
        if self.head is not None:
            return self.head.updated
        return self.card.time if self.card is not None else 0.0


@dataclass(frozen=True, slots=True)
class ThreadQuery:
    """Which threads to list, and how. Newest change first; at the same time, by name, backwards.

    Attributes:
        tenant: whose threads.
        status: only threads whose log has this status; "new" for those that have none.
        owner: only threads whose card names this owner.
        tags: only threads whose card has all of these.
        metadata: only threads whose card has all of these values.
        since: only threads that changed then or later, Unix time.
        until: only threads that changed before then.
        expired: only threads whose card says that they may be deleted by then.
        limit: how many at most.
        after: the cursor of the page before.
    """

    tenant: str = ""
    status: Status | Literal["new"] | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    since: float | None = None
    until: float | None = None
    expired: float | None = None
    limit: int = 100
    after: str | None = None

    def wants(self, thread: Thread) -> bool:
        """Whether a thread is among those that are asked for, pages apart."""
        head, card = thread.head, thread.card
        if thread.key.tenant != self.tenant:
            return False
        if self.status is not None and self.status != (head.status if head is not None else "new"):
            return False
        if self.since is not None and thread.updated < self.since:
            return False
        if self.until is not None and thread.updated >= self.until:
            return False
        if self.owner is None and not self.tags and not self.metadata and self.expired is None:
            return True
        return card is not None and self._wants_card(card)

    def _wants_card(self, card: Card) -> bool:
        if self.expired is not None and (card.expires is None or card.expires > self.expired):
            return False
        return (
            self.owner in (None, card.owner)
            and all(tag in card.tags for tag in self.tags)
            and all(
                name in card.metadata and same_scalar(card.metadata[name], value)
                for name, value in self.metadata.items()
            )
        )


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """Some threads, and where to go on listing; ``None`` at the end."""

    threads: Sequence[Thread]
    next: str | None


@dataclass(frozen=True, slots=True)
class Removal:
    """What to remove from a thread.

    Attributes:
        everything: the whole thread, its blobs, its messages and its card.
        expected: the position at which it was found to be of no use any more; needed for a part.
        bodies: for a part: the records whose bodies go; headers and digests stay.
        blobs: for a part: the large values that go.
        card: of everything: the thread's next card, which stays.
        without_log: of everything: only if the thread has no log.
        version: of everything, where no card stays: the version that the thread's card must be
            of; 0 if it must have none; ``None`` for whichever.
    """

    everything: bool = False
    expected: Position | None = None
    bodies: Ranges = ()
    blobs: Sequence[str] = ()
    card: Card | None = None
    without_log: bool = False
    version: int | None = None

    @property
    def before(self) -> int | None:
        """The version that the thread's card must be of, whether or not one stays."""
        return self.version if self.card is None else self.card.version - 1

    def meets(self, card: Card | None) -> bool:
        """Whether the thread's card is one that it may be removed with."""
        return self.before in (None, 0 if card is None else card.version)


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

        A new log is refused where the card says that the log is elsewhere, unless the append
        brings the thread's next card; and one that brings a card is refused if that is not the
        next.

        Args:
            batch: the appends.
            beat: a sign of life of this process, to be stored in the same go, and not after the
                appends: whoever sees a thread as this process's must find the process alive.

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
        """Head and records of a thread, at its head or at a checkpoint; ``None`` if it has no log.

        The records are those on the position's path. Each comes with the link of the record
        before it. At the head, they are left out if the head is where the caller knows it.

        Raises:
            ThreadArchivedError: its log was moved elsewhere.
        """
        ...

    async def scan(
        self,
        thread: ThreadKey,
        ranges: Ranges,
        *,
        bodies: bool = True,
    ) -> Sequence[Record]:
        """Records by sequence number, those that exist; without their bodies if so asked."""
        ...

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        """Large values by digest; those that are missing are left out."""
        ...

    async def thread(self, thread: ThreadKey) -> Thread | None:
        """A thread without what it holds; ``None`` if it has neither log nor card."""
        ...

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        """Threads, without reading what they hold.

        Threads that rest while the pages are followed are each told exactly once.
        """
        ...

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        """Store a thread's card, whether it has a log or not.

        ``False``, and nothing stored, unless the card that is there is of the version before; if
        it is this very card already, ``True``.
        """
        ...

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        """Leave a message for whoever owns the thread; returns it as it is stored.

        Posting an id again changes nothing, and so tells the verdict once there is one.

        Raises:
            ThreadNotFoundError: there is no such log.
            ThreadArchivedError: it was moved elsewhere.
        """
        ...

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        """Store a sign of life of a process, if one is given; returns what is known of all.

        Those that have not been heard of for many leases are forgotten at some time.
        """
        ...

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        """Remove a thread or a part of it; ``False`` if it is not there (any more).

        Where a position is expected, nothing is removed unless the log is still there; where no
        log is, unless there is none still; where a version is expected, unless the card is of it
        still; where a card is to stay, unless it is the next. A thread that has nothing but a card
        is removed like any other. A part is removed only if the log is
        still at the expected position, and in the same atomic operation the thread's epoch grows by
        one: whoever has read the thread before could otherwise put a branch behind what is gone.
        After a thread was removed, or a part of it, an append that expects an earlier position is
        refused.
        """
        ...

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        """Return once the thread is not at this position any more; at once if it is not now."""
        ...

    def statistics(self) -> Mapping[str, float]:
        """What it holds and has done, as numbers by name, such as ``connections`` or ``retries``.

        Names and meanings are the backend's own, and in its documentation.
        """
        ...

    async def aclose(self) -> None:
        """Finish what is under way and release everything. Harmless if done twice."""
        ...


class Transactional(Backend, Protocol):
    """A backend that lets others write in the transaction of an append."""

    async def transact(
        self,
        thread: ThreadKey,
        expected: Position,
        work: Callable[[Any], Append | Awaitable[Append]],
    ) -> Append | None:
        """Extend one log in a transaction in which others write, too; ``None`` if the log is not
        where it is expected to be.

        `work` gets the storage system's own connection, with the transaction open, writes what it
        likes beside the log, and returns the append, which is stored in the same transaction;
        where the capability says "async", it is awaited. It is called once at most, in whatever
        thread the connection belongs to, and not at all if the log is elsewhere. What it raises
        comes out as it is, and then nothing of all this is stored. It must neither end the
        transaction nor change what the backend itself keeps.

        Raises:
            TransactionError: it did; nothing was stored.
            OutcomeUnknownError: all of it may have been stored.
        """
        ...


class Remembering(Backend, Protocol):
    """A backend whose appends can put items into a store, in their own atomic operation."""

    def keeps(self, items: Items) -> bool:
        """Whether these are in the same storage, so that an append's `puts` can go there."""
        ...


def same_scalar(one: Scalar, other: Scalar) -> bool:
    """Whether two values of metadata are the same: 1 is 1.0, but not `True`, as in JSON."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def next_card(card: Card, stored: Card | None) -> bool:
    """Whether a card may take the place of the one that is stored."""
    return card.version == (stored.version if stored is not None else 0) + 1


def checkpoint_path(commit: Record, thread: str) -> Ranges:
    """The records to fold for the state at a checkpoint: what `Backend.read` has to return.

    Raises:
        IntegrityError: the record is damaged, or is no commit.
    """
    info = open_header(commit, thread).commit
    return extend(info.path if info is not None else (), commit.seq)
