"""A saver: what backends' own classes derive from, and what `compile(checkpointer=...)` takes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from functools import partial
from types import TracebackType
from typing import Literal, Self

from durable_graph.decisions.pruning import last_checkpoints
from durable_graph.encryption import Encryption
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.ownership.owner import Lease
from durable_graph.engine.upkeep.pruning import prune
from durable_graph.engine.upkeep.rotating import rotate_keys
from durable_graph.errors import ConfigError, IntegrityError
from durable_graph.log.records import Status
from durable_graph.ports.archive import Archive
from durable_graph.ports.clock import Chance, Clock
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.sync import SyncSaver
from durable_graph.threads import AuditEntry, ThreadInfo, Threads

__all__ = ["InMemorySaver", "Lease", "MemorySaver", "Saver", "ThreadInfo"]


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
        max_value_bytes: how large one value may be when it is stored: what a node writes to a key,
            an answer, the result of a step. Of a list or dict, parts of 4 KB and more count by
            themselves. What is larger is refused with `StateTooLargeError`. ``None``: as large as
            the storage system takes.
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

    @property
    def threads(self) -> Threads:
        """The threads as things of their own: created, found, labelled, moved, swept, audited."""
        return Threads(self)

    async def alist_threads(
        self, *, status: Status | None = None, limit: int | None = None
    ) -> AsyncIterator[ThreadInfo]:
        """Threads that can be read at once, the one that changed last first. Reads no states.

        `Threads.list` has those as well that have not been run yet or are in the archive, and
        finds threads by more than their status.

        Args:
            status: only threads of this status.
            limit: how many at most; ``None`` for all.

        Raises:
            ConfigError: there is no such status.
        """
        left = limit
        async for info in self.threads.list(status=status):
            if left is not None and left <= 0:
                return
            if info.checkpoint_id is not None:
                yield info
                left = None if left is None else left - 1

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread: its log, its values, its inbox and its card. Harmless if it does not
        exist. `Threads.delete` can leave a trace of who did it.

        A writer that comes late finds nothing to write to.

        Raises:
            ThreadBusyError: a live run owns it.
        """
        await self.threads.delete(thread_id)

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
        await self.threads.archive(thread_id)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with its whole history; see `Threads.copy`.

        Raises:
            ThreadNotFoundError: there is no such source.
            ThreadBusyError: the source is being run, or the target exists.
            IntegrityError: the source is damaged.
        """
        await self.threads.copy(source_thread_id, target_thread_id)

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
        return [*await self.threads.verify(thread_id)]

    def audit(self, thread_id: str) -> AsyncIterator[AuditEntry]:
        """Who did what with a thread, and when; see `Threads.audit`.

        Raises:
            ThreadNotFoundError: there is no such thread, and no trace of one.
            IntegrityError: what is stored is damaged.
        """
        return self.threads.audit(thread_id)

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
            DecryptionError: of some threads, a key is not known here or the secret was altered.
                They are named; all others were looked at.
            IntegrityError: the same for threads that are damaged.
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
        max_value_bytes: int | None = None,
    ) -> None:
        super().__init__(
            InMemoryBackend(clock),
            clock=clock,
            chance=chance,
            archive=archive,
            encryption=encryption,
            max_value_bytes=max_value_bytes,
        )


MemorySaver = InMemorySaver
