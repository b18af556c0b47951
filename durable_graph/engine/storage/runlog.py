"""One run's view of its thread's log: what it appends, in order, and what has become of it."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import anyio

from durable_graph.decisions.items import Pending as StorePending
from durable_graph.engine.apart import apart
from durable_graph.engine.storage.writer import GuestError, Writer
from durable_graph.errors import (
    DurableGraphError,
    FencedError,
    IntegrityError,
    OutcomeUnknownError,
    StoreConflictError,
)
from durable_graph.log.pieces import BULKY
from durable_graph.log.records import (
    Body,
    Commit,
    Head,
    Mark,
    Ranges,
    Status,
    Steps,
    TaskResults,
    ThreadKey,
)
from durable_graph.log.seal import CommitInfo, Draft, seal, snapshot_due
from durable_graph.ports import owned
from durable_graph.ports.backend import Append, Backend, Outcome, Position
from durable_graph.ports.clock import Clock
from durable_graph.ports.items import Puts
from durable_graph.ports.later import then
from durable_graph.types import Durability

__all__ = ["Receipt", "RunLog"]

# How many records a run in "async" durability may be ahead of its storage when it goes on.
_AHEAD = 32

# For how many leases a claim without an answer is watched: longer than any network holds it back.
_LATEST = 12


@dataclass(slots=True)
class Receipt:
    """Where a draft comes to stand: record, place in it, and when that record was begun; `seq` is
    0 for what is not written."""

    seq: int = 0
    item: int = 0
    time: float = 0.0


@dataclass(slots=True)
class _Pending:
    drafts: list[Draft] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    first: int = 0
    blobs: dict[str, bytes] = field(default_factory=dict)
    settled: dict[str, str] = field(default_factory=dict)
    puts: tuple[Puts, ...] = ()
    requested: bool = False
    snapshot: bool = False
    waiters: list[asyncio.Future[None]] = field(default_factory=list)

    def put(self, puts: Puts) -> None:
        """Write items along with it, after those that wait for the same storage.

        Raises:
            StoreConflictError: a version is expected, and what waits is of another.
        """
        others = tuple(other for other in self.puts if other.items is not puts.items)
        self.puts = (*others, self.with_puts(puts))

    def with_puts(self, puts: Puts) -> Puts:
        """What would wait for that storage then; see `put`."""
        merged = StorePending()
        for waiting in self.puts:
            if waiting.items is puts.items:
                merged.merge(waiting.writes)
        merged.merge(puts.writes)
        return replace(puts, writes=tuple(merged.writes.values()))

    def land(self) -> None:
        """Its fate is known: wake up who waits for it."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)


class RunLog:
    """Appends to one thread under one ownership.

    Args:
        writer: writes for all runs of this event loop.
        clock: dates the records.
        key: the thread.
        head: its head as it was read; ``None`` for a new thread.
        secret: the thread's secret.
        owner: this process, as the owner of the thread.
        run: the run's id.
        durability: when `put` returns; see `durable_graph.types.Durability`.
    """

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        key: ThreadKey,
        head: Head | None,
        secret: bytes,
        *,
        owner: str,
        run: str,
        durability: Durability,
    ) -> None:
        self._writer = writer
        self._immediate = writer.immediate
        self._clock = clock
        self.key = key
        self.head = head
        self.secret = secret
        self._owner = owner
        self.run = run
        self.durability = durability
        self.epoch = head.epoch + 1 if head is not None else 1
        self.status: Status = "running"
        self.reason: str | None = None
        self.all = False
        """Whether "exit" durability, too, writes each record."""
        self.bulky = False
        """Whether what waits to be written is so large that it is sealed apart."""
        self.small = False
        """Whether nothing that the thread holds is large, since little was ever written to it."""
        self.input: str | None = head.input if head is not None else None
        self._pending = _Pending()
        self._flight: _Pending | None = None
        self._unwritten = 0
        self._too_early = self._measured = 0
        self._end = head.seq if head is not None else 0
        """Number of the last record that was appended, written or not."""
        self._transacting = False
        self._error: BaseException | None = None
        self._failed_at = 0.0

    @property
    def broken(self) -> bool:
        """Whether a write has failed, so that nothing more can be written."""
        return self._error is not None

    @property
    def waits(self) -> bool:
        """Whether every `flush` waits for storage, so that others have the event loop meanwhile."""
        return self.durability == "sync" and not self._immediate

    @property
    def claimed(self) -> bool:
        """Whether the thread is this run's: something has been written under its epoch."""
        return self.head is not None and self.head.epoch == self.epoch

    @property
    def pending(self) -> bool:
        """Whether something that was appended is not written yet."""
        return bool(self._pending.drafts) or self._flight is not None

    @property
    def puts_wait(self) -> bool:
        """Whether something that is put into a store is on its way there."""
        flight = self._flight
        return bool(self._pending.drafts and self._pending.puts) or bool(flight and flight.puts)

    def settles(self, message: str) -> bool:
        """Whether a message's verdict waits to be written."""
        return message in self._pending.settled

    @property
    def position(self) -> Position | None:
        """Where the log stands, as far as it is known; ``None`` for a thread not yet written."""
        return None if self.head is None else Position.of(self.head)

    def snapshot_due(self, state: Callable[[], int]) -> bool:
        """Whether the next commit should hold the whole state; `state` says how large it is."""
        head = self.head
        if head is None or head.size < self._too_early or self._snapshot_waits():
            return False
        self._measured = 0

        def measure() -> int:
            self._measured = state()
            return self._measured

        due = snapshot_due(head.weight, head.fresh, measure)
        measured = self._measured
        if due and not self._writer.takes_snapshot(measured):
            due = False  # it would be refused, and the thread can go on without
        if measured and not due:
            # Measuring costs as much as the thread has graphs within. It is too much to do for
            # each of their commits.
            self._too_early = head.size + measured // 8
        return due

    def _snapshot_waits(self) -> bool:
        """Whether one is on its way: of graphs that commit side by side, one makes it for all."""
        flight = self._flight
        return self._pending.snapshot or (flight is not None and flight.snapshot)

    async def put(self, body: Body) -> Receipt:
        """Append a record and have it written; see `add` and `flush`."""
        receipt = self.add(body)
        await self.flush()
        return receipt

    def add(
        self,
        body: Body,
        time: float | None = None,
        *,
        commit: CommitInfo | None = None,
        onto: tuple[Ranges, int] | None = None,
        ns: str = "",
        by: str | None = None,
        meta: Mapping[str, Any] | None = None,
        blobs: Mapping[str, bytes] | None = None,
        settled: Mapping[str, str] | None = None,
        last: bool = False,
        puts: Sequence[Puts] = (),
    ) -> Receipt:
        """Append a record to what the next `flush` writes.

        In "exit" durability only a `last` record is written.

        Args:
            body: the record.
            time: when it happened; by default now.
            commit: of a commit, what its header says.
            onto: path and weight of the position that a commit follows, if that is not the head.
            ns: namespace of the graph it belongs to.
            by: who is behind it.
            meta: what the caller says about its run, where that is not what it was.
            blobs: large values it refers to.
            settled: verdicts on messages that it takes up.
            last: whether it is among what an "exit" run writes at its end.
            puts: what is put into a store in the same operation.

        Raises:
            StoreConflictError: two puts exclude each other; nothing was appended.
        """
        now = self._clock.time() if time is None else time
        pending = self._pending
        for each in puts:
            self._writer.check_keeps(each.items)
            pending.put(each)
        if blobs:
            pending.blobs.update(blobs)
        if settled:
            pending.settled.update(settled)
        if self.durability == "exit" and not (last or self.all):
            return Receipt()
        if pending.drafts and (item := _joined(pending.drafts[-1], body, ns)):
            receipt = Receipt(self._end, item, pending.drafts[-1].time)
        else:
            # Nobody else appends under this epoch: where it will stand is known before it does.
            self._end += 1
            self._unwritten += 1
            pending.first = pending.first or self._end
            pending.drafts.append(Draft(body, now, self.run, by, ns, commit, onto, meta))
            if isinstance(body, Commit) and body.values is not None:
                pending.snapshot = True
                self.bulky = self.bulky or self._measured > BULKY
            receipt = Receipt(self._end, 0, now)
        pending.receipts.append(receipt)
        return receipt

    def check_puts(self, puts: Iterable[Puts]) -> None:
        """See that all of these could be put with what is appended next.

        Raises:
            StoreConflictError: a version is expected, and what waits, or one before, is of another.
        """
        trial = _Pending(puts=self._pending.puts)
        for each in puts:
            trial.put(each)

    def keep_only(self, blobs: Collection[str]) -> None:
        """Leave out the other large values that wait: what is to be written has no use for them."""
        waiting = self._pending.blobs
        self._pending.blobs = {name: waiting[name] for name in waiting if name in blobs}

    async def flush(self, *, wait: bool = False, here: bool = False) -> None:
        """Have everything that was appended written; returns once the durability level is met.

        Args:
            wait: return only once it is durable, whatever the level.
            here: whether this is a run's own task, with nothing else of the thread beside it: then
                it may do the writing, see `owned.uncancelled`.

        Raises:
            FencedError: another owner has taken the thread over.
            StorageError: it could not be written.
        """
        if self._error is not None:
            raise self._error
        if self._immediate and not self.bulky and self._flight is None:
            if self._pending.drafts:
                await self._writer.write_now(self)
                self._raise()
            return
        if here and self.durability == "sync" and self._is_alone():
            await owned.uncancelled(self._writer.write_here(self))
            self._raise()
            return
        self._request()
        if wait or self.durability == "sync" or self._transacting:
            await self._until_written()
        while self._unwritten > _AHEAD and self._error is None:
            # What graphs within have appended meanwhile may be waiting for somebody to flush it.
            self._request()
            await self._until_written()
        self._raise()

    def _is_alone(self) -> bool:
        """Whether nothing could be written along with what waits, nor would have to wait for it."""
        task = asyncio.current_task()
        return (
            bool(self._pending.drafts)
            and self._flight is None
            and not self.bulky
            and self._writer.serves_one
            # A node may have cancelled its own task, which is told of that at the next `await`.
            and task is not None
            and not task.cancelling()
        )

    def _request(self) -> None:
        """See that what waits is written as soon as it can be."""
        pending = self._pending
        if pending.drafts and not pending.requested:
            pending.requested = True
            if self._flight is None:
                self._writer.request(self)

    @property
    def transactional(self) -> Literal["sync", "async"] | None:
        """Whether `transact` can be used, others writing in the storage's transactions, and with
        what kind of function."""
        return self._writer.transactional

    async def transact(
        self,
        work: Callable[[Any], Body | Awaitable[Body]],
        applied: Callable[[], None],
        *,
        ns: str = "",
    ) -> None:
        """Append a record in one transaction with what others write, in a flush of its own.

        Args:
            work: gets the storage's connection and returns the record; called again if it is
                certain that nothing was stored.
            applied: called once it is stored, whether or not somebody still waits.
            ns: the namespace that the record belongs to.

        Raises:
            Exception: what `work` raised; nothing was stored.
            FencedError: another owner has taken the thread over.
            StorageError: it could not be written.
        """
        while self.pending:
            await self.flush(wait=True)
        self._raise()
        raised: list[BaseException] = []
        self._flight = _Pending()
        self._end += 1
        self._transacting = True
        self._writer.own(self._transact(work, applied, ns, raised))
        await self._until_written()
        if raised:
            raise raised[0]
        self._raise()

    async def _transact(
        self,
        work: Callable[[Any], Body | Awaitable[Body]],
        applied: Callable[[], None],
        ns: str,
        raised: list[BaseException],
    ) -> None:
        before = self.head
        if before is None:
            raise ValueError("A thread that is not stored yet has no transactions.")
        now = self._clock.time()
        sealed = partial(
            seal,
            before,
            key=self.key,
            secret=self.secret,
            epoch=self.epoch,
            status=self.status,
            owner=self._owner if self.status == "running" else None,
            input=self.input,
            reason=self.reason,
            now=now,
        )

        def append_of(body: Body) -> Append:
            head, records = sealed([Draft(body, now, self.run, ns=ns)])
            append = Append(Position.of(before), head, records, {}, {})
            if head.size - before.size > self._writer.unquestioned:
                self._writer.check_size(append)
            return append

        def making(connection: Any) -> Append | Awaitable[Append]:  # in the storage's thread
            return then(work(connection), append_of)

        try:
            append = await self._writer.transact(self.key, Position.of(before), making)
        except GuestError as error:
            raised.append(error.error)
        except (OutcomeUnknownError, IntegrityError) as error:
            self.failed(error)
            return
        except DurableGraphError as error:  # nothing was stored, and the log is as it was
            raised.append(error)
        except BaseException as error:
            self.failed(error)
            if not isinstance(error, Exception):
                raise
            return
        else:
            if append is not None:
                applied()
                self.settled(append, Outcome.APPLIED)
            else:
                self.settled(Append(None, before, (), {}, {}), Outcome.REFUSED)
            return
        if not self._pending.drafts:  # what waits is told when it is written
            self._end -= 1
        self._land()
        if self._pending.requested:
            self._writer.request(self)

    def seal(self) -> Append:
        """Everything that waits, as one append. Called by the writer, which answers with
        `settled` or `failed` before it calls again."""
        return self._append_of(self._depart())

    async def seal_apart(self) -> Append:
        """The same, for what is large, in a thread."""
        self.bulky = False
        pending = self._depart()
        as_it_is = copy.copy(self)  # what the run makes of it meanwhile is for the next append
        return await apart(partial(as_it_is._append_of, pending))

    def _depart(self) -> _Pending:
        pending, self._pending = self._pending, _Pending()
        self._flight = pending
        self._correct(pending)
        return pending

    def _append_of(self, pending: _Pending) -> Append:
        before = self.head
        head, records = seal(
            before,
            pending.drafts,
            key=self.key,
            secret=self.secret,
            epoch=self.epoch,
            status=self.status,
            owner=self._owner if self.status == "running" else None,
            input=self.input,
            reason=self.reason,
            now=self._clock.time(),
            large=sum(map(len, pending.blobs.values())) if pending.blobs else 0,
        )
        expected = None if before is None else Position.of(before)
        append = Append(expected, head, records, pending.blobs, pending.settled, puts=pending.puts)
        if head.size - (0 if before is None else before.size) > self._writer.unquestioned:
            self._writer.check_size(append)
        return append

    def settled(self, append: Append, outcome: Outcome) -> None:
        """What was sealed has been answered for."""
        if outcome is Outcome.REFUSED:
            self.failed(
                FencedError(
                    f"Another owner has taken over thread {self.key.thread!r}; what this run did "
                    f"last was not stored. Read the thread's state before going on."
                )
            )
            return
        if outcome is Outcome.CONFLICTING:
            places = [place for puts in append.puts for place in puts.conditional]
            self.failed(StoreConflictError(places))
            return
        self.head = append.head
        self.small = append.head.size <= BULKY and self.durability != "exit"
        self._land()
        if self._pending.requested:
            self._writer.request(self)

    def failed(self, error: BaseException) -> None:
        """What was sealed could not be written; nor can anything after it."""
        self._error = error
        self._failed_at = self._clock.monotonic()
        self._land()
        waiting, self._pending = self._pending, _Pending()
        self._unwritten -= len(waiting.drafts)
        waiting.land()

    def _correct(self, pending: _Pending) -> None:
        """A transaction that came to nothing has left its number to what waited behind it."""
        off = pending.first - 1 - (self.head.seq if self.head is not None else 0)
        if off and pending.drafts:
            self._end -= off
            for receipt in pending.receipts:
                receipt.seq -= off

    async def release(self, backend: Backend, lease: float) -> bool:
        """Let go of the thread after the run could not store its own end.

        Returns:
            Whether that is settled. A claim of which nobody knows what became of it may still be
            on its way, so it is watched for some leases' time.

        Raises:
            StorageError: it could not be stored this time either.
        """
        reading = await backend.read(self.key)
        if reading is None or reading.head.run != self.run or reading.head.owner != self._owner:
            # The end was stored after all, or somebody else has the thread; or the claim is not
            # there yet, and can still come as long as the thread stands where it expects it.
            now = None if reading is None else Position.of(reading.head)
            waits = not self.claimed and now == self.position
            return not waits or self._clock.monotonic() > self._failed_at + _LATEST * lease
        self._flight, self._pending = None, _Pending()
        self.head, self._end = reading.head, reading.head.seq
        self.epoch = reading.head.epoch  # which pruning has raised, if there was any
        self.status, self.reason = "stopped", "storage"
        self.add(Mark("stopped", "storage"), last=True)
        (outcome,) = await backend.append([self.seal()])
        return outcome is Outcome.APPLIED

    async def _until_written(self) -> None:
        """Wait until what has been appended so far is written, cancelled or not.

        A write that has begun takes effect whether or not somebody waits for it. So that a
        cancelled run knows where its thread stands, it waits, and is cancelled afterwards.
        """
        pending = self._pending if self._pending.drafts else self._flight
        if pending is None:
            return
        loop = asyncio.get_running_loop()
        # A future of the waiter's own: cancelling whoever awaits a future cancels the future.
        waiter = loop.create_future()
        pending.waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # The shield keeps anyio from cancelling over and over; the loop is for those who
            # call `Task.cancel` again.
            with anyio.CancelScope(shield=True):
                while pending is self._pending or pending is self._flight:
                    waiter = loop.create_future()
                    pending.waiters.append(waiter)
                    with contextlib.suppress(asyncio.CancelledError):
                        await waiter
            raise

    def _land(self) -> None:
        flight, self._flight = self._flight, None
        self._transacting = False
        if flight is not None:
            self._unwritten -= len(flight.drafts)
            flight.land()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


def _joined(before: Draft, body: Body, ns: str) -> int:
    """Task results of a graph that wait one behind the other become one record; steps likewise.

    Returns:
        Where in that record the new ones begin; 0 if they need one of their own.
    """
    last: Any = before.body if before.ns == ns else None
    if isinstance(body, TaskResults) and isinstance(last, TaskResults):
        item = len(last.outcomes)
        last.outcomes = [*last.outcomes, *body.outcomes]
        return item
    if isinstance(body, Steps) and isinstance(last, Steps):
        item = len(last.steps)
        last.steps.extend(body.steps)
        return item
    return 0
