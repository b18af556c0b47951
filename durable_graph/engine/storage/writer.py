"""From runs to storage: what waits goes out together.

One writer serves all runs of an event loop. A write is asked for by a run's log; the flush starts
one turn of the loop later, so that everything which is ready by then rides in it, and whatever
comes while it is under way makes up the next. Nobody waits for a clock. Where the storage has
several lanes, many writes that wait are shared out among those that are free: the runs of one go
on while the storage is busy with another. A run that is alone has nobody to wait for, and writes
by itself.

A flush belongs to the writer and not to the run that waits for it: cancelling the run cannot
tear it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence, Sized
from typing import TYPE_CHECKING, Any, Literal

from durable_graph.errors import (
    IntegrityError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
    UnsupportedError,
)
from durable_graph.ports import owned
from durable_graph.ports.backend import Append, Backend, Outcome, Position, ThreadKey
from durable_graph.ports.limits import check_append, unquestioned

if TYPE_CHECKING:
    from durable_graph.decisions.liveness import Process
    from durable_graph.engine.storage.runlog import RunLog
    from durable_graph.ports.clock import Clock
    from durable_graph.ports.items import Items

__all__ = ["NOT_KEPT", "GuestError", "Writer"]

NOT_KEPT = (
    "The store is atomic, and the graph's threads are not in the same storage: what a node puts "
    "could not be written in one operation with its result. Use a store and a saver on the same "
    "file or server, such as SqliteStore('state.db', atomic=True) and SqliteSaver('state.db'); or "
    "leave out atomic=True."
)

# A flush has a price of its own, which this many writes are worth.
_WORTH_A_LANE = 16

_FIRST_WAIT = 0.05
_LONGEST_WAIT = 2.0


class GuestError(Exception):
    """What others raised who were writing in a transaction of the log's."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Writer:
    """Writes what the runs of one event loop have to write.

    Args:
        backend: where to.
        clock: for waiting before an unanswered write is asked for again.
        process: this process, whose signs of life ride along; ``None`` if it needs none.
        interval: seconds between signs of life.
        patience: seconds for which an unanswered write is asked for again.
        runs: what it serves at any time.
    """

    def __init__(
        self,
        backend: Backend,
        clock: Clock,
        process: Process | None,
        *,
        interval: float,
        patience: float,
        runs: Sized = (),
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._process = process
        self._interval = interval
        self._patience = patience
        self._lanes = backend.capabilities.lanes if backend.capabilities.groups else 0
        self._immediate = backend.capabilities.immediate
        self.unquestioned = unquestioned(backend.capabilities)
        """Up to so many bytes in all, an append needs no `check_size`."""
        self._runs = runs
        self._queue: list[RunLog] = []
        self._flushing = 0
        self._starting = False
        self._tasks: set[asyncio.Future[None]] = set()
        self.writes = self.batches = self.beats = 0
        """Appends handed to storage, in how many pieces, and signs of life that rode along."""
        self.seconds = 0.0
        """What all batches took."""
        self.last_beat = float("-inf")
        """When a sign of life was last stored, by the monotonic clock."""

    @property
    def immediate(self) -> bool:
        """Whether `write_now` can be used."""
        return self._immediate

    async def write_now(self, log: RunLog) -> None:
        """Write what a log has waiting, in the caller's own task."""
        try:
            append = log.seal()
            self.writes += 1
            self.batches += 1
            (outcome,) = await self._backend.append((append,))
        except BaseException as error:
            log.failed(error)
            raise
        log.settled(append, outcome)

    @property
    def serves_one(self) -> bool:
        """Whether `write_here` can be used: there is one run, and nothing is being written."""
        return len(self._runs) == 1 and not self._tasks

    async def write_here(self, log: RunLog) -> None:
        """Write what a log has waiting, in the caller's own task, which is not to be cancelled.

        To be woken by another task costs a run that is alone more than anything else it does.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        self._tasks.add(ended)
        self._flushing += 1
        try:
            await self._flush([log])
        finally:
            self._flushing -= 1
            self._tasks.discard(ended)
            if not loop.is_closed():
                ended.set_result(None)
            self._go_on(loop)  # for runs that have begun meanwhile

    def check_size(self, append: Append) -> None:
        """See that storage takes an append.

        Raises:
            StateTooLargeError: it does not.
        """
        check_append(append, self._backend.capabilities)

    def takes_snapshot(self, size: int) -> bool:
        """Whether a record with a state of so many bytes can be stored, and what rides in it."""
        limit = self._backend.capabilities.max_record_bytes
        return limit is None or 2 * size <= limit

    def check_keeps(self, items: Items) -> None:
        """See that what an append puts into a store is in the same storage.

        Raises:
            UnsupportedError: it is not.
        """
        backend: Any = self._backend
        if not (backend.capabilities.stores and backend.keeps(items)):
            raise UnsupportedError(NOT_KEPT)

    @property
    def transactional(self) -> Literal["sync", "async"] | None:
        """Whether `transact` can be used, and with what kind of function."""
        return self._backend.capabilities.transactions

    async def transact(
        self,
        thread: ThreadKey,
        expected: Position,
        work: Callable[[Any], Append | Awaitable[Append]],
    ) -> Append | None:
        """Have an append made and stored in one transaction; see `Transactional.transact`.

        If it is not known whether it was stored, that is found out: only if it was not is `work`
        called again.

        Raises:
            GuestError: `work` raised something; nothing was stored.
            OutcomeUnknownError: it could not be found out for as long as the writer has patience.
        """
        backend: Any = self._backend
        deadline, wait = self._clock.monotonic() + self._patience, _FIRST_WAIT
        made: list[Append] = []
        raised: list[BaseException] = []
        unknown: OutcomeUnknownError | None = None

        def making(connection: Any) -> Append | Awaitable[Append]:
            try:
                append = work(connection)
            except BaseException as error:
                raised.append(error)
                raise
            if inspect.isawaitable(append):
                return awaiting(append)
            made.append(append)
            return append

        async def awaiting(append: Awaitable[Append]) -> Append:
            try:
                made.append(await append)
            except BaseException as error:
                raised.append(error)
                raise
            return made[-1]

        while True:
            try:
                if made and await self._holds(thread, made[-1]):
                    return made[-1]
                made.clear()
                stored: Append | None = await backend.transact(thread, expected, making)
                return stored
            except BaseException as error:
                if raised and error is raised[-1]:
                    raise GuestError(error) from error
                if not isinstance(error, StorageError):
                    raise
                if isinstance(error, OutcomeUnknownError):
                    unknown = error
                elif unknown is None:
                    raise
                else:
                    unknown = OutcomeUnknownError(f"{unknown} Then: {error}")
            if self._clock.monotonic() + wait > deadline:
                raise unknown
            await self._clock.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _holds(self, thread: ThreadKey, append: Append) -> bool:
        last = append.records[-1]
        found = await self._backend.scan(thread, ((last.seq, last.seq),), bodies=False)
        return bool(found) and found[0].link == last.link

    def request(self, log: RunLog) -> None:
        """Have what a log has waiting written soon; the log is told when it is."""
        if log.bulky or not self._lanes:  # nobody else is to wait until what is large is sealed
            self._keep(owned.start(self._flush([log])))
            return
        self._queue.append(log)
        if not self._starting and self._flushing < self._lanes:
            self._open_lane()

    async def drain(self) -> None:
        """Wait until nothing is being written."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something to its end, whoever waits for it."""
        self._keep(owned.begin(work))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _open_lane(self) -> None:
        self._flushing += 1
        self._starting = True
        self._keep(owned.start(self._flush_queue()))

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        """See to it that what waits is written; on a loop that was closed, it never will be."""
        # What that has left is thrown away on whichever loop there is then, or none.
        if self._queue and not self._starting and not loop.is_closed():
            self._open_lane()

    async def _flush_queue(self) -> None:
        loop = asyncio.get_running_loop()
        self._starting = False
        try:
            while self._queue:
                logs = self._take()
                if self._queue:
                    self._open_lane()
                await self._flush(logs)
        finally:
            self._flushing -= 1
            # If it was cancelled, the loop ends, and waits for all who have asked.
            self._go_on(loop)

    def _take(self) -> list[RunLog]:
        """What this lane writes next: of much that waits, the others that are free get a share."""
        waiting = self._queue
        share = -(-len(waiting) // (1 + self._lanes - self._flushing))
        size = len(waiting) if share < _WORTH_A_LANE else share
        self._queue = waiting[size:]
        return waiting[:size]

    async def _flush(self, logs: Sequence[RunLog]) -> None:
        sealed: list[tuple[RunLog, Append]] = []
        for log in logs:
            try:
                append = await log.seal_apart() if log.bulky else log.seal()
                sealed.append((log, append))
            except Exception as error:  # it must not take those along that ride with it
                log.failed(error)
            except BaseException as error:  # the loop ends, and nothing of this was sent
                for one in logs:
                    one.failed(error)
                raise
        if not sealed:
            return
        batch = [append for _, append in sealed]
        try:
            outcomes = await self._append(batch)
        except (StorageError, IntegrityError) as error:
            if len(batch) == 1:
                await self._alone(*sealed[0], error)
                return
            if isinstance(error, (StorageBusyError, StorageClosedError)):  # not an append's fault
                for log, _ in sealed:
                    log.failed(error)
                return
            # One append may have spoilt it for all; by itself each gets what it deserves. Side by
            # side: none waits until others have been given up.
            await asyncio.gather(*(owned.start(self._alone(*each, None)) for each in sealed))
            return
        except BaseException as error:
            for log, _ in sealed:
                log.failed(error)
            if not isinstance(error, Exception):
                raise
            return
        for (log, append), outcome in zip(sealed, outcomes, strict=True):
            log.settled(append, outcome)

    async def _alone(
        self, log: RunLog, append: Append, error: StorageError | IntegrityError | None
    ) -> None:
        try:
            log.settled(append, await self._resolve(append, error))
        except IntegrityError as damage:
            told = IntegrityError(f"Thread {log.key.thread!r}: {damage}")
            told.__cause__ = damage
            log.failed(told)
        except BaseException as failure:
            log.failed(failure)
            if not isinstance(failure, Exception):
                raise

    async def _resolve(
        self, append: Append, error: StorageError | IntegrityError | None
    ) -> Outcome:
        """Find out what becomes of an append: it is stored, or refused, or fails for good.

        An append says at which position it belongs and carries its own link, so asking for the
        very same one again is safe: it is not stored twice.
        """
        deadline = self._clock.monotonic() + self._patience
        wait = _FIRST_WAIT
        while True:
            if error is not None:
                if not isinstance(error, OutcomeUnknownError):
                    raise error
                if self._clock.monotonic() + wait > deadline:
                    raise error
                await self._clock.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT)
            try:
                (outcome,) = await self._append([append])
            except StorageError as again:
                # Once it is unknown whether the first try took effect, an error that says
                # "nothing was written" speaks only of the last one.
                unknown = isinstance(error, OutcomeUnknownError)
                if unknown and not isinstance(again, OutcomeUnknownError):
                    again = OutcomeUnknownError(f"{error} Then: {again}")
                error = again
            else:
                return outcome

    async def _append(self, batch: Sequence[Append]) -> Sequence[Outcome]:
        # Every try carries the sign of life that is due, not only the first: who claims a thread
        # by a write that had to be asked for again would be taken for dead otherwise.
        beat = self._process
        begin = self._clock.monotonic()
        self.writes += len(batch)
        self.batches += 1
        try:
            if beat is None or begin - self.last_beat < self._interval:
                return await self._backend.append(batch)
            outcomes = await self._backend.append(batch, beat)
            self.beats += 1
            self.last_beat = self._clock.monotonic()
            return outcomes
        finally:
            self.seconds += self._clock.monotonic() - begin
