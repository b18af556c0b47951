"""What this process holds of the threads in one backend: who runs which, and states at hand."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import threading
import weakref
from collections.abc import AsyncIterator
from concurrent.futures import Future
from typing import Any, Self

from durable_graph.decisions.freeze import LARGE
from durable_graph.encryption.encryption import Encryption
from durable_graph.engine.ownership.hot import HotThreads
from durable_graph.engine.ownership.owner import Heart, Lease, Owner, owner_is_alive
from durable_graph.engine.statistics import SaverStatistics
from durable_graph.engine.storage.archiving import ArchivingBackend
from durable_graph.engine.tasks.context import current_task
from durable_graph.errors import ConfigError, StorageClosedError, ThreadBusyError
from durable_graph.log.records import ThreadKey, checked_id
from durable_graph.ports.archive import Archive
from durable_graph.ports.backend import Backend, Capabilities, Thread
from durable_graph.ports.clock import Chance, Clock, SystemChance, SystemClock

__all__ = ["Keeper"]

# How often somebody who waits for a run of another loop looks whether that loop is still there.
_LOOK = 0.05


class Keeper:
    """Threads in a backend, as this process uses them.

    Args:
        backend: where threads are stored.
        clock: where time comes from.
        chance: where ids come from.
        lease: how this process proves that it is alive.
        archive: where threads go that are archived, and come back from when they are used.
        encryption: how what is stored is encrypted; ``None`` if it is not.
        max_value_bytes: how large one value may be; see `durable_graph.saver.Saver`.

    Attributes:
        tenant: whose threads these are; empty where there are no tenants.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock | None = None,
        chance: Chance | None = None,
        lease: Lease | None = None,
        archive: Archive | None = None,
        encryption: Encryption | None = None,
        max_value_bytes: int | None = None,
    ) -> None:
        self.tenant: str = ""
        self.clock: Clock = clock or SystemClock()
        self.chance: Chance = chance or SystemChance()
        self.archiving: ArchivingBackend | None = None
        if archive is not None:
            backend = self.archiving = ArchivingBackend(backend, archive, self.clock, self.chance)
        if encryption is not None:  # above the archive, which holds what storage does
            backend = encryption.over(backend)
        self.backend: Backend = backend
        self.max_value_bytes: int | None = _most(max_value_bytes, backend.capabilities)
        self.lease: Lease = lease or Lease()
        self.hot: HotThreads = HotThreads()
        self.ending: dict[ThreadKey, tuple[asyncio.AbstractEventLoop, Future[None]]] = {}
        """Threads whose run has been left by its watcher and is about to end, and on which loop."""
        self._waiting: dict[ThreadKey, list[Future[None]]] = {}
        self._owners: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Owner] = (
            weakref.WeakKeyDictionary()
        )
        # Reentrant, since what is collected while its thread is in here may end in here, too.
        self._lock = threading.RLock()
        self._heart = Heart(backend, self.clock, self.lease, self._all_owners)
        self._pid = os.getpid()
        self._closed = threading.Event()

    def for_tenant(self, tenant_id: str) -> Self:
        """The same storage for one tenant: a handle whose threads are all that tenant's.

        For it, threads of others do not exist, whatever their ids. It shares everything else with
        what it was made from, and is open for as long as that is: closing it does nothing.

        Args:
            tenant_id: 1 to 255 printable characters. Take it from who has logged in, never from
                what they send.

        Raises:
            ConfigError: it is no such text, or this is a tenant's handle already.
        """
        if self.tenant:
            raise ConfigError(
                f"This is the handle of tenant {self.tenant!r}, which cannot reach others. Ask "
                f"the saver that it was made from."
            )
        handle = copy.copy(self)
        handle.tenant = checked_id(tenant_id, "tenant_id")
        return handle

    def key(self, thread_id: Any) -> ThreadKey:
        """What names a thread of this tenant in the backend.

        Raises:
            ConfigError: see `ThreadKey.of`.
        """
        return ThreadKey.of(thread_id, self.tenant)

    def owner(self) -> Owner:
        """The running event loop, as an owner of threads.

        Raises:
            StorageClosedError: see `check_usable`.
        """
        self.check_usable()
        loop = asyncio.get_running_loop()
        with self._lock:
            owner = self._owners.get(loop)
            if owner is None:
                owner = Owner(self.backend, self.clock, self.chance, self.lease)
                self._owners[loop] = owner
            return owner

    @contextlib.asynccontextmanager
    async def running(self, key: ThreadKey, run: str) -> AsyncIterator[Owner]:
        """Run a thread: it is this owner's until the block ends.

        Args:
            key: the thread.
            run: the run's id.

        Raises:
            ThreadBusyError: this process runs it already.
            StorageClosedError: see `check_usable`.
        """
        owner = self.owner()
        if self.runs(key):
            raise ThreadBusyError(
                f"Thread {key.thread!r} is being run by this process. Wait for that run to end, "
                f"or cancel it."
            )
        owner.runs[key] = run
        if self.backend.capabilities.shared:
            self._heart.start()
        try:
            yield owner
        finally:
            with self._lock:
                del owner.runs[key]
                waiting = self._waiting.pop(key, [])
            for future in waiting:
                if future.set_running_or_notify_cancel():
                    future.set_result(None)

    async def until_ended(self, key: ThreadKey) -> None:
        """Wait for a run that its watcher has just left.

        It is still putting its thread in order, and what its watcher does next is meant to come
        after it. What a node of that run does, to clean up, is not: it would wait for itself.
        """
        task = current_task.get(None)
        if task is not None and (task.host.tenant, task.host.thread) == key:
            return
        while (before := self.ending.get(key)) is not None:  # and for what that has waited for
            loop, run = before
            ended = asyncio.wrap_future(run)
            if loop is asyncio.get_running_loop():
                await asyncio.shield(ended)
                continue
            while not (ended.done() or loop.is_closed()):
                await asyncio.wait([ended], timeout=_LOOK)
            if self.ending.get(key) is before:  # its loop was closed, and nothing will end it
                del self.ending[key]

    def released(self, key: ThreadKey) -> Future[None] | None:
        """What is done once this process does not run a thread any more; ``None`` if it does
        not now. From any event loop."""
        with self._lock:
            if not self.runs(key):
                return None
            future: Future[None] = Future()
            # Whoever waits looks up now and then, and asks again; what it asked before is done.
            waiting = [one for one in self._waiting.get(key, ()) if not one.done()]
            self._waiting[key] = [*waiting, future]
            return future

    def runs(self, key: ThreadKey) -> bool:
        """Whether this process runs a thread."""
        return any(key in owner.runs for owner in self._all_owners() if owner.alive)

    async def at_rest(self, key: ThreadKey) -> Thread | None:
        """A thread that nobody runs; ``None`` if it does not exist.

        Without what it holds: its head's secret may be one that is unknown here, and if its log
        is in an archive, it stays there.

        Raises:
            ThreadBusyError: a live run owns it.
            StorageClosedError: see `check_usable`.
        """
        self.check_usable()
        await self.until_ended(key)
        if self.runs(key):
            raise ThreadBusyError(f"Thread {key.thread!r} is being run by this process.")
        thread = await self.backend.thread(key)
        head = None if thread is None else thread.head
        if head is None or head.status != "running":
            return thread
        if await owner_is_alive(self.backend, head):
            raise ThreadBusyError(f"Thread {key.thread!r} is being run by another process.")
        return thread

    def check_usable(self) -> None:
        """See that the backend can be used here.

        Raises:
            StorageClosedError: it was closed, or opened before this process was forked.
        """
        if self._closed.is_set():
            raise StorageClosedError(f"{type(self).__name__} was closed; make a new one.")
        if self._pid != os.getpid():
            raise StorageClosedError(
                f"{type(self).__name__} was made before this process was forked. Make a new one "
                f"in every process."
            )

    def statistics(self) -> SaverStatistics:
        """What it holds, and what it has done, at this moment."""
        owners = [owner for owner in self._all_owners() if owner.alive]
        writers = [owner.writer for owner in owners]
        return SaverStatistics(
            loops=len(owners),
            runs=sum(len(owner.runs) for owner in owners),
            unsettled=sum(len(owner.left) for owner in owners),
            hot_threads=self.hot.threads,
            hot_bytes=self.hot.size,
            writes=sum(writer.writes for writer in writers),
            batches=sum(writer.batches for writer in writers),
            write_seconds=sum(writer.seconds for writer in writers),
            beats=sum(owner.beats + owner.writer.beats for owner in owners),
        )

    async def aclose(self) -> None:
        """Release the backend. Runs that are under way end with an error."""
        if self.tenant or self._closed.is_set():
            return
        self._closed.set()
        await self._heart.stop()
        owner = self._owners.get(asyncio.get_running_loop())
        if owner is not None:
            await owner.writer.drain()
        if self._pid == os.getpid():
            await self.backend.aclose()

    def _all_owners(self) -> list[Owner]:
        with self._lock:  # another loop may be becoming an owner
            return list(self._owners.values())


def _most(wanted: int | None, capabilities: Capabilities) -> int | None:
    """How many bytes a value may have.

    Raises:
        ConfigError: what is wanted makes no sense.
    """
    if wanted is not None and (type(wanted) is not int or wanted < LARGE):
        raise ConfigError(
            f"max_value_bytes is {LARGE} or more, since smaller values are not looked at one by "
            f"one, or None; it is not {wanted!r}."
        )
    limits = (wanted, capabilities.max_record_bytes)
    return min((limit for limit in limits if limit is not None), default=None)
