"""What the checks of the port's contract are made of: logs to write, and ways to say what is wrong.

Nothing here knows a backend. The records are real ones, sealed like those of the engine, since a
backend may read their headers.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterator,
    Mapping,
)
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from durable_graph.log.records import Commit, Mark, Outcome, Ranges, Status, TaskResults
from durable_graph.log.seal import CommitInfo, Draft, seal
from durable_graph.ports.backend import (
    Append,
    Backend,
    Head,
    Identity,
    Message,
    Position,
    Process,
    Record,
    Thread,
    ThreadKey,
)
from durable_graph.ports.backend import Outcome as Answer
from durable_graph.testing.checking import answered_within
from durable_graph.testing.contract_hooks import Line, Raw

__all__ = [
    "HOOKS",
    "Chapter",
    "Check",
    "Factory",
    "Log",
    "Storage",
    "as_shown",
    "cancel_everywhere",
    "commit",
    "expect",
    "expect_equal",
    "expect_log",
    "look",
    "mark",
    "message",
    "process",
    "results",
    "second_instance",
    "shown",
    "write",
]

T = TypeVar("T")


@dataclass(slots=True)
class Storage:
    """A backend to check, and the way to further instances on what it stores.

    Attributes:
        backend: a fresh one, whose storage holds nothing yet.
        reopen: opens one more instance on the same storage, while the others are open or after
            they were closed. Needed for backends that declare themselves durable or shared.
        elsewhere: opens one more instance in another process, to which this function is pickled,
            such as ``functools.partial(MyBackend, path)``. With it is checked what is left when
            a process is killed, and that of several processes one wins.
        raw: the stored bytes; with them is checked that damage is found.
        line: an instance over a connection that can be made to break; with it is checked that
            what was in flight is found out.
    """

    backend: Backend
    reopen: Callable[[], Awaitable[Backend]] | None = None
    elsewhere: Callable[[], Backend] | None = None
    raw: Raw | None = None
    line: Callable[[], AbstractAsyncContextManager[Line]] | None = None


Factory: TypeAlias = Callable[[], AbstractAsyncContextManager["Backend | Storage"]]
"""Makes fresh storage for one check, and clears it away afterwards."""

_Hook: TypeAlias = Literal["elsewhere", "raw", "line"]
HOOKS: Final[tuple[_Hook, ...]] = get_args(_Hook)
"""What a `Storage` may lack, so that checks that need it do not run."""

_Needs: TypeAlias = Literal["durable", "shared", "transactions"] | _Hook


@dataclass(frozen=True, slots=True)
class Check:
    """One rule of the contract.

    Attributes:
        name: chapter and rule, such as ``append.a_stale_position_is_refused``.
        rule: the rule in a sentence.
        needs: the capability without which the rule does not apply, or the part of `Storage`
            without which it cannot be checked.
        function: what fails if the rule is broken.
    """

    name: str
    rule: str
    needs: _Needs | None
    function: Callable[[Storage], Awaitable[None]]

    async def run(self, factory: Factory, *, timeout: float = 60.0) -> bool:
        """Check the rule on fresh storage; returns whether it could be checked there.

        Args:
            factory: makes the storage.
            timeout: seconds after which a backend that does not answer has failed.

        Raises:
            AssertionError: the rule is broken; the message says how.
            Exception: whatever the backend raised where it should not have.
        """
        async with factory() as made:
            storage = made if isinstance(made, Storage) else Storage(made)
            if self.needs in HOOKS:
                if getattr(storage, self.needs) is None:
                    return False
            elif self.needs is not None:
                if not getattr(storage.backend.capabilities, self.needs):
                    return False
                expect(
                    storage.reopen is not None or self.needs == "transactions",
                    f"The backend declares that it is {self.needs}. To check that, the factory "
                    f"has to yield a Storage with `reopen`.",
                )
            async with answered_within(timeout):
                await self.function(storage)
        return True


class Chapter:
    """Checks about one thing.

    Args:
        name: what about.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.checks: list[Check] = []

    def check(
        self, function: Callable[[Backend], Awaitable[None]]
    ) -> Callable[[Backend], Awaitable[None]]:
        """Add a check that needs nothing but a backend."""

        async def on(storage: Storage) -> None:
            await function(storage.backend)

        self._add(function, None, on)
        return function

    def durable(
        self, function: Callable[[Storage], Awaitable[None]]
    ) -> Callable[[Storage], Awaitable[None]]:
        """Add a check of what outlives the backend's instance."""
        self._add(function, "durable", function)
        return function

    def shared(
        self, function: Callable[[Storage], Awaitable[None]]
    ) -> Callable[[Storage], Awaitable[None]]:
        """Add a check of several instances on one storage."""
        self._add(function, "shared", function)
        return function

    def transactional(
        self, function: Callable[[Storage], Awaitable[None]]
    ) -> Callable[[Storage], Awaitable[None]]:
        """Add a check of transactions in which others write, too."""
        self._add(function, "transactions", function)
        return function

    def hooked(
        self, hook: _Hook
    ) -> Callable[[Callable[[Storage], Awaitable[None]]], Callable[[Storage], Awaitable[None]]]:
        """Add a check for which the factory has to bring something along."""

        def add(
            function: Callable[[Storage], Awaitable[None]],
        ) -> Callable[[Storage], Awaitable[None]]:
            self._add(function, hook, function)
            return function

        return add

    def _add(
        self, named: object, needs: _Needs | None, run: Callable[[Storage], Awaitable[None]]
    ) -> None:
        name = getattr(named, "__name__", "")
        rule = " ".join((getattr(named, "__doc__", None) or "").split())
        self.checks.append(Check(f"{self.name}.{name}", rule, needs, run))


# -- logs ------------------------------------------------------------------------------------------


class Log:
    """The log of one thread, as its writer knows it.

    Attributes:
        key: the thread.
        head: the head that was acknowledged last; ``None`` for a thread not yet written.
        records: the records that were acknowledged.
    """

    def __init__(self, thread: str = "thread", *, tenant: str = "") -> None:
        self.key = ThreadKey(tenant, thread)
        self.secret = hashlib.blake2b(repr(self.key).encode(), digest_size=16).digest()
        self.head: Head | None = None
        self.records: list[Record] = []

    @property
    def position(self) -> Position:
        """Where the log stands."""
        return Position.of(self.now)

    @property
    def now(self) -> Head:
        """The head of a log that was written."""
        if self.head is None:
            raise ValueError("Nothing was written to this log yet.")
        return self.head

    @property
    def shown(self) -> Head:
        """The head as lists show it."""
        return shown(self.now)

    def prune(self, bodies: Ranges) -> None:
        """Take note that a part of what was written was removed."""
        gone = {seq for first, last in bodies for seq in range(first, last + 1)}
        self.records = [replace(r, body=None) if r.seq in gone else r for r in self.records]
        self.head = replace(self.now, epoch=self.now.epoch + 1)

    def copy(self) -> Log:
        """What somebody else knows who has seen as much of it."""
        other = Log(self.key.thread, tenant=self.key.tenant)
        other.head, other.records = self.head, list(self.records)
        return other

    def next(
        self,
        *drafts: Draft,
        blobs: Mapping[str, bytes] | None = None,
        settled: Mapping[str, str] | None = None,
        status: Status = "stopped",
        owner: str | None = None,
        epoch: int | None = None,
        at: float | None = None,
        input: str | None = None,
        reason: str | None = None,
    ) -> Append:
        """An extension of the log as it stands; the log stays where it is until `accept`."""
        before = self.head
        head, records = seal(
            before,
            drafts,
            key=self.key,
            secret=self.secret,
            epoch=epoch or (before.epoch if before is not None else 1),
            status=status,
            owner=owner,
            input=input,
            reason=reason,
            now=at if at is not None else (before.updated + 1.0 if before is not None else 1e6),
        )
        return Append(
            None if before is None else Position.of(before),
            head,
            records,
            blobs or {},
            settled or {},
        )

    def accept(self, append: Append) -> None:
        """An append was acknowledged."""
        self.head = append.head
        self.records += append.records

    def pick(self, ranges: Ranges) -> list[Record]:
        """The records of a path."""
        return [self.records[seq - 1] for first, last in ranges for seq in range(first, last + 1)]


def shown(head: Head) -> Head:
    """A head as lists show it: its secret is told with the log only."""
    return replace(head, secret=b"")


async def look(backend: Backend, key: ThreadKey) -> Thread | None:
    """A thread without what it holds, as lists show it."""
    thread = await backend.thread(key)
    return None if thread is None else as_shown(thread)


def as_shown(thread: Thread) -> Thread:
    """A thread as lists show it; see `shown`."""
    return replace(thread, head=None if thread.head is None else shown(thread.head))


def commit(
    id: str,
    values: Mapping[str, bytes] | None = None,
    *,
    parent: str | None = None,
    snapshot: bool = False,
    onto: tuple[Ranges, int] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Draft:
    """A checkpoint that sets some encoded values; a snapshot holds them all."""
    encoded = dict(values) if values is not None else {"key": b'"' + id.encode() + b'"'}
    body = (
        Commit(values=encoded)
        if snapshot
        else Commit(delta={key: ("=", value) for key, value in encoded.items()})
    )
    info = CommitInfo(id, parent, "branch", 0, "loop", ("node",), dict(meta or {}), None)
    return Draft(body, 1e6, "run", commit=info, onto=onto)


def results(value: bytes = b'"done"') -> Draft:
    """The result of a task whose siblings have not finished."""
    return Draft(TaskResults([Outcome(0, writes=[{"key": value}])]), 1e6, "run")


def mark(event: str = "resumed", *, by: str | None = None) -> Draft:
    """A turn in the thread's life that changes no state."""
    return Draft(Mark(event), 1e6, "run", by)


def message(
    id: str = "message", body: bytes = b'{"answers":{}}', *, by: str | None = None
) -> Message:
    """Something to be left in an inbox."""
    return Message(id, "answer", body, by, 1e6)


def process(id: str = "process", lease: float = 10.0) -> Process:
    """A process that may own threads."""
    return Process(id, Identity("host/namespace", 4711, 123456), lease)


async def write(backend: Backend, log: Log, *drafts: Draft, **options: Any) -> Append:
    """Extend a log; it has to be accepted."""
    append = log.next(*drafts, **options)
    answers = list(await backend.append([append]))
    expect_equal(answers, [Answer.APPLIED], f"The answer to an append at seq {append.head.seq}")
    log.accept(append)
    return append


@asynccontextmanager
async def second_instance(storage: Storage) -> AsyncIterator[Backend]:
    """One more instance on the same storage, closed at the end."""
    if storage.reopen is None:
        raise ValueError("The factory gives no way to reopen the storage.")
    backend = await storage.reopen()
    try:
        yield backend
    finally:
        await backend.aclose()


# -- what should be, and what is -------------------------------------------------------------------


async def expect_log(backend: Backend, log: Log) -> None:
    """Expect that the backend holds exactly this log, whichever way it is asked."""
    reading = await backend.read(log.key)
    if reading is None:
        raise AssertionError(f"Thread {log.key} is not there, though it was written.")
    expect_equal(reading.head, log.now, "The head")
    expect_equal(list(reading.records), log.pick(log.now.path), "The records of the head's path")
    everything = await backend.scan(log.key, ((1, log.now.seq + 3),))
    expect_equal(list(everything), log.records, "All records of the thread")


def expect(holds: bool, otherwise: str) -> None:
    """Fail, with a message, unless something holds."""
    if not holds:
        raise AssertionError(otherwise)


def expect_equal(actual: object, expected: object, what: str) -> None:
    """Fail unless two values are equal, and say how they differ."""
    if actual == expected:
        return
    if isinstance(actual, list) and isinstance(expected, list):
        where = [
            f"item {place}: {_short(got)} instead of {_short(wanted)}"
            for place, (got, wanted) in enumerate(zip(actual, expected, strict=False))
            if got != wanted
        ]
        told = "; ".join([f"{len(actual)} items, {len(expected)} expected", *where[:3]])
    else:
        told = f"{_short(actual)} instead of {_short(expected)}"
    raise AssertionError(f"{what}: {told}.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 800 else f"{text[:500]} ... {text[-250:]}"


# -- cancelling ------------------------------------------------------------------------------------

_MOST_TURNS: Final = 5000


async def cancel_everywhere(
    call: Callable[[int], Coroutine[Any, Any, T]], then: Callable[[int, bool], Awaitable[None]]
) -> None:
    """Make a call again and again, each time cancelled a little later, until it ends by itself.

    Args:
        call: makes the call number n.
        then: is told the number of the call and whether it had ended when it was cancelled.
    """
    for number, turns in enumerate(_turns()):
        task = asyncio.get_running_loop().create_task(call(number))
        for _ in range(turns):
            if task.done():
                break
            await asyncio.sleep(0)
        ended = task.done()
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()
        await then(number, ended)
        if ended:
            return


def _turns() -> Iterator[int]:
    turns, more = 0, 1
    while turns < _MOST_TURNS:
        yield turns
        turns, more = turns + more, max(1, turns // 2)
