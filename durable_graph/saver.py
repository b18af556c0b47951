"""A saver: what backends' own classes derive from, and what `compile(checkpointer=...)` takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Literal, Self, get_args

from durable_graph.decisions.pruning import last_checkpoints
from durable_graph.encryption import Encryption
from durable_graph.engine.cold import is_archived, send_to_archive
from durable_graph.engine.keeper import Keeper
from durable_graph.engine.owner import Lease
from durable_graph.engine.pruning import prune
from durable_graph.engine.rotating import rotate_keys
from durable_graph.engine.verifying import verify
from durable_graph.engine.whole import read_whole, write_copy
from durable_graph.errors import ConfigError, DecryptionError, IntegrityError
from durable_graph.log.records import Head, Status
from durable_graph.ports.archive import Archive
from durable_graph.ports.backend import Removal, ThreadQuery
from durable_graph.ports.clock import Chance, Clock
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.sync import SyncSaver

__all__ = ["InMemorySaver", "Lease", "MemorySaver", "Saver", "ThreadInfo"]


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
        archive: where `aarchive_thread` moves threads, and from where they come back by
            themselves when they are used. It is closed with the saver.
        encryption: how what is stored is encrypted; ``None`` if it is not.
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
            query = ThreadQuery(self.tenant, status, limit=size, after=cursor)
            page = await self.backend.threads(query)
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
        key = self.key(thread_id)
        if not await is_archived(self, key):  # else looking would bring it back first
            try:
                await self.head_at_rest(key)
            except DecryptionError:  # whose key is lost can be deleted all the same
                await self.seen_at_rest(key)
        self.hot.take(key)
        await self.backend.remove(key, Removal(everything=True))

    async def aarchive_thread(self, thread_id: str) -> None:
        """Move a thread that rests to the archive, as one file. Harmless if it is there already.

        Reading it, resuming it and leaving it an answer bring it back, as it was; deleting it
        deletes the file. Until then nothing of it is in this saver's storage but its card.

        Raises:
            ConfigError: the saver has no archive.
            ThreadNotFoundError: there is no such thread.
            ThreadBusyError: a live run owns it, or answers wait for it.
            IntegrityError: it is damaged.
            StorageError: it could not be stored there; it is still here.
        """
        await send_to_archive(self, self.key(thread_id))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with its whole history.

        Raises:
            ThreadNotFoundError: there is no such source.
            ThreadBusyError: the source is being run, or the target exists.
            IntegrityError: the source is damaged.
        """
        source, target = self.key(source_thread_id), self.key(target_thread_id)
        await write_copy(self, target, await read_whole(self, source))

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
                await prune(self, self.key(thread_id), partial(last_checkpoints, count=keep))

    async def averify(self, thread_id: str) -> list[IntegrityError]:
        """Check every record of a thread against the hash chain; returns what is wrong.

        Raises:
            ThreadNotFoundError: there is no such thread.
        """
        self.check_usable()
        return await verify(self, self.key(thread_id))

    async def arotate_keys(self, thread_ids: Iterable[str] | None = None) -> list[str]:
        """Wrap the secrets of threads with the key that is current now.

        Whatever is written to a thread does so anyway; this is for those that nobody writes to.
        What their secrets encrypt stays as it is.

        Args:
            thread_ids: which threads; ``None`` for all, of this tenant.

        Returns:
            The threads that have an older key still: they are being run, and will be wrapped with
            the current one when they are written to, or are archived. As long as there are any,
            the older keys are needed.

        Raises:
            ConfigError: this saver does not encrypt.
            DecryptionError: a key is not known here.
        """
        self.check_usable()
        return await rotate_keys(self, thread_ids)


class InMemorySaver(Saver):
    """Keeps threads in this process's memory; nothing survives its end."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        chance: Chance | None = None,
        archive: Archive | None = None,
        encryption: Encryption | None = None,
    ) -> None:
        super().__init__(
            InMemoryBackend(clock),
            clock=clock,
            chance=chance,
            archive=archive,
            encryption=encryption,
        )


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
