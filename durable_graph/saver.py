"""A saver: what backends' own classes derive from, and what `compile(checkpointer=...)` takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Literal, Self, get_args

from durable_graph.decisions.pruning import unneeded
from durable_graph.engine.keeper import Keeper
from durable_graph.engine.owner import Lease
from durable_graph.errors import ConfigError, IntegrityError, ThreadBusyError, ThreadNotFoundError
from durable_graph.log.records import Head, Ranges, Record, Status, ThreadKey
from durable_graph.log.seal import blob_digest, open_header, open_record
from durable_graph.ports.backend import Append, Outcome, Position, Removal, ThreadQuery
from durable_graph.ports.clock import Chance, Clock
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.sync import SyncSaver

__all__ = ["InMemorySaver", "Lease", "MemorySaver", "Saver", "ThreadInfo"]

_PAGE = 500

# How often a thread that changes while it is read is looked at again.
_LOOKS = 8


@dataclass(frozen=True, slots=True)
class ThreadInfo:
    """A thread, as a list shows it.

    Attributes:
        thread_id: its id.
        status: how it stands; "running" also for one whose owner has died.
        reason: why it stopped, where the status alone does not say it.
        checkpoint_id: its last checkpoint.
        step: that checkpoint's step.
        run_id: the run that wrote last.
        records: how many records its log has.
        size: bytes written to it.
        created_at: Unix time.
        updated_at: Unix time.
    """

    thread_id: str
    status: Status
    reason: str | None
    checkpoint_id: str
    step: int
    run_id: str | None
    records: int
    size: int
    created_at: float
    updated_at: float


class Saver(Keeper, SyncSaver):
    """Stores threads in a backend.

    Opens on first use, works under several event loops and the sync face, and can be an async or
    plain context manager for those who want it closed at a known time.

    Args:
        backend: where threads are stored.
        clock: where time comes from.
        chance: where ids come from.
        lease: how this process proves that it is alive.
    """

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<{type(self).__name__} {self.backend!r}: {now.runs} runs, {now.hot_threads} threads "
            f"at hand, {now.writes} writes in {now.batches} batches>"
        )

    async def asetup(self) -> None:
        """Does nothing: storage is opened and migrated on first use."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def alist_threads(
        self, *, status: Status | None = None, limit: int | None = None
    ) -> AsyncIterator[ThreadInfo]:
        """Threads, the one that changed last first. Reads no states.

        Args:
            status: only threads of this status.
            limit: how many at most; ``None`` for all.

        Raises:
            ConfigError: there is no such status.
        """
        if status is not None and status not in get_args(Status):
            names = ", ".join(map(repr, get_args(Status)))
            raise ConfigError(f"A status is one of {names}, not {status!r}.")
        self.check_usable()
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            size = 100 if left is None else min(100, left)
            page = await self.backend.threads(ThreadQuery(status=status, limit=size, after=cursor))
            heads = [thread.head for thread in page.threads if thread.head is not None]
            for head in heads:
                yield _info(head)
            if left is not None:
                left -= len(heads)
            cursor = page.next
            if cursor is None:
                return

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread: its log, its values and its inbox. Harmless if it does not exist.

        A writer that comes late finds nothing to write to.

        Raises:
            ThreadBusyError: a live run owns it.
        """
        self.check_usable()
        key = ThreadKey.of(thread_id)
        await self.head_at_rest(key)
        self.hot.take(key)
        await self.backend.remove(key, Removal(everything=True))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with its whole history.

        Raises:
            ThreadNotFoundError: there is no such source.
            ThreadBusyError: the source is being run, or the target exists.
            IntegrityError: the source is damaged.
        """
        self.check_usable()
        source, target = ThreadKey.of(source_thread_id), ThreadKey.of(target_thread_id)
        head, records, blobs = await self._whole(source)
        copy = replace(head, key=target, epoch=1, owner=None, updated=self.clock.time())
        if copy.status == "running":  # its owner is dead, and nobody owns the copy
            copy = replace(copy, status="stopped", reason="copied")
        # An earlier copy would be taken for this very one, whose answer was lost.
        outcome = Outcome.REFUSED
        if await self.backend.read(target) is None:
            (outcome,) = await self.backend.append([Append(None, copy, records, blobs, {})])
        if outcome is not Outcome.APPLIED:
            raise ThreadBusyError(
                f"Thread {target_thread_id!r} exists already; delete it first, or choose another."
            )

    async def aprune(
        self,
        thread_ids: Iterable[str],
        *,
        strategy: Literal["keep_latest", "delete"] = "keep_latest",
        keep: int = 1,
    ) -> None:
        """Free the space of old checkpoints.

        Args:
            thread_ids: which threads.
            strategy: "keep_latest" keeps the last `keep` checkpoints with all that they and the
                present state need; "delete" deletes the threads.
            keep: how many checkpoints to keep, at least 1.

        Checkpoints that the present state is folded from stay. They are not much larger than the
        state itself; of a small thread that may be all of them.

        Raises:
            ConfigError: the arguments make no sense.
            ThreadBusyError: a thread is being run, or changes faster than it can be looked at.
        """
        if strategy not in ("keep_latest", "delete"):
            raise ConfigError(f"strategy is 'keep_latest' or 'delete', not {strategy!r}.")
        if keep < 1:
            raise ConfigError("Keep at least one checkpoint, or delete the thread.")
        if isinstance(thread_ids, str):
            raise ConfigError(f"thread_ids are several: [{thread_ids!r}], not {thread_ids!r}.")
        for thread_id in thread_ids:
            if strategy == "delete":
                await self.adelete_thread(thread_id)
            else:
                await self._prune(ThreadKey.of(thread_id), keep)

    async def averify(self, thread_id: str) -> list[IntegrityError]:
        """Check every record of a thread against the hash chain; returns what is wrong.

        Raises:
            ThreadNotFoundError: there is no such thread.
        """
        self.check_usable()
        key = ThreadKey.of(thread_id)
        wrong: list[IntegrityError] = []
        for _ in range(_LOOKS):
            before, wrong = wrong, await self._wrong(key)
            # What is pruned or deleted while it is looked at is not damaged.
            if list(map(str, wrong)) == list(map(str, before)):
                break
        return wrong

    async def _wrong(self, key: ThreadKey) -> list[IntegrityError]:
        reading = await self.backend.read(key)
        if reading is None:
            raise ThreadNotFoundError(f"There is no thread {key.thread!r}.")
        head = reading.head
        wrong: list[IntegrityError] = []
        expected, link = 1, b""
        for first in range(1, head.seq + 1, _PAGE):
            last = min(first + _PAGE - 1, head.seq)
            for record in await self.backend.scan(key, ((first, last),)):
                if record.seq != expected:
                    wrong.append(_missing(key, expected, record.seq - 1))
                try:
                    if record.body is None:
                        open_header(record, key.thread)
                    else:
                        header, _ = open_record(record, head.secret, key.thread)
                        wrong += await self._missing_blobs(head, record.seq, header.blobs)
                except IntegrityError as error:
                    wrong.append(error)
                expected, link = record.seq + 1, record.link
        if expected <= head.seq:
            wrong.append(_missing(key, expected, head.seq))
        elif link != head.link:
            wrong.append(
                IntegrityError(f"The head of thread {key.thread!r} is not its last record.")
            )
        return wrong

    async def _whole(self, key: ThreadKey) -> tuple[Head, Sequence[Record], Mapping[str, bytes]]:
        """All that is stored of a thread at rest."""
        for _ in range(_LOOKS):
            head = await self.head_at_rest(key)
            if head is None:
                raise ThreadNotFoundError(f"There is no thread {key.thread!r}.")
            records: list[Record] = []
            digests: set[str] = set()
            for first in range(1, head.seq + 1, _PAGE):
                page = await self.backend.scan(key, ((first, min(first + _PAGE - 1, head.seq)),))
                for record in page:
                    if record.body is not None:
                        header, _ = open_record(record, head.secret, key.thread)
                        digests.update(header.blobs)
                        if header.commit is not None and header.commit.graph is not None:
                            digests.add(header.commit.graph)
                records.extend(page)
            blobs = await self.backend.blobs(key, sorted(digests))
            if len(records) == head.seq and digests <= blobs.keys():
                return head, records, blobs
            # It was pruned or deleted while it was read; or else it is damaged.
        raise IntegrityError(f"Records or large values of thread {key.thread!r} are missing.")

    async def _missing_blobs(
        self, head: Head, seq: int, digests: Sequence[str]
    ) -> list[IntegrityError]:
        if not digests:
            return []
        key = head.key
        found = await self.backend.blobs(key, digests)
        return [
            IntegrityError(
                f"A large value of record {seq} of thread {key.thread!r} is missing or damaged."
            )
            for digest in digests
            if digest not in found or blob_digest(found[digest], head.secret) != digest
        ]

    async def _prune(self, key: ThreadKey, keep: int) -> None:
        for _ in range(10):
            head = await self.head_at_rest(key)
            if head is None:
                return
            records: list[Record] = []
            for first in range(1, head.seq + 1, _PAGE):
                last = min(first + _PAGE - 1, head.seq)
                records += await self.backend.scan(key, ((first, last),), bodies=False)
            headers = [open_header(record, key.thread) for record in records]
            bodies, blobs = unneeded(headers, head.path, keep)
            if not await self._holds_any(key, bodies):
                return
            if await self.backend.remove(
                key, Removal(expected=Position.of(head), bodies=bodies, blobs=blobs)
            ):
                return
        raise ThreadBusyError(f"Thread {key.thread!r} keeps changing; prune it when it rests.")

    async def _holds_any(self, key: ThreadKey, ranges: Ranges) -> bool:
        """Whether any of these records still has its body."""
        for first, last in reversed(ranges):
            for end in range(last, first - 1, -_PAGE):
                part = ((max(first, end - _PAGE + 1), end),)
                if any(record.body is not None for record in await self.backend.scan(key, part)):
                    return True
        return False


class InMemorySaver(Saver):
    """Keeps threads in this process's memory; nothing survives its end."""

    def __init__(self, *, clock: Clock | None = None, chance: Chance | None = None) -> None:
        super().__init__(InMemoryBackend(clock), clock=clock, chance=chance)


MemorySaver = InMemorySaver


def _info(head: Head) -> ThreadInfo:
    return ThreadInfo(
        thread_id=head.key.thread,
        status=head.status,
        reason=head.reason,
        checkpoint_id=head.checkpoint,
        step=head.step,
        run_id=head.run,
        records=head.seq,
        size=head.size,
        created_at=head.created,
        updated_at=head.updated,
    )


def _missing(key: ThreadKey, first: int, last: int) -> IntegrityError:
    what = f"Record {first}" if first == last else f"Records {first} to {last}"
    return IntegrityError(
        f"{what} of thread {key.thread!r} {'is' if first == last else 'are'} missing."
    )
