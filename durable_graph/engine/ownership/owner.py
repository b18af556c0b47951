"""Owners of threads: event loops, and how others learn whether they are alive.

A run's thread names its owner. What an owner has to prove is that it is alive, once for all its
threads: its signs of life ride in its writes, and when it has not written for a while, its heart
beats by itself: in a thread with a loop of its own, so that a node which blocks the owner's loop
does not look like a dead process. But not for ever: a loop that is blocked for too long counts as
dead, and others may take its threads over. They are fenced, so being wrong costs a run, never
the history.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from durable_graph.decisions.liveness import Process, is_alive, this_process
from durable_graph.engine.storage.writer import Writer
from durable_graph.log.records import Head, ThreadKey
from durable_graph.ports.backend import Backend
from durable_graph.ports.clock import Chance, Clock, SystemClock

if TYPE_CHECKING:
    from durable_graph.engine.storage.runlog import RunLog

__all__ = ["Heart", "Lease", "Owner", "owner_is_alive"]

_owners: Final[weakref.WeakValueDictionary[str, Owner]] = weakref.WeakValueDictionary()


class Lease:
    """How owners prove that they are alive.

    Args:
        length: seconds for which a sign of life is good.
        interval: seconds between two.
        patience: seconds for which a blocked event loop still counts as alive.
    """

    __slots__ = ("interval", "length", "patience")

    def __init__(self, length: float = 10.0, interval: float = 2.0, patience: float = 60.0) -> None:
        if not 0 < interval < length:
            raise ValueError(
                f"A lease of {length} s needs signs of life more often than every {interval} s."
            )
        self.length: float = length
        self.interval: float = interval
        self.patience: float = patience


class Owner:
    """An event loop of this process, as the owner of threads of one saver.

    Attributes:
        id: random, and what the threads name.
        process: what others see of it.
        runs: its threads that are being run, and by which run.
        left: by thread and run, the logs of those that ended without being able to say so.
        writer: writes for all its runs.
    """

    def __init__(self, backend: Backend, clock: Clock, chance: Chance, lease: Lease) -> None:
        self.id = chance.id()
        self.process = Process(self.id, this_process(), lease.length)
        self.runs: dict[ThreadKey, str] = {}
        self.left: dict[tuple[ThreadKey, str], RunLog] = {}
        # Savers know owners by their loops, for as long as those are there.
        self._loop = weakref.ref(asyncio.get_running_loop())
        self.writer = Writer(
            backend,
            clock,
            self.process if backend.capabilities.shared else None,
            interval=lease.interval,
            patience=lease.length,
            runs=self.runs,
        )
        self._clock = clock
        self._lease = lease
        self._last_pulse = clock.monotonic()
        self._asked = False
        self.beats = 0
        """Signs of life that were stored by themselves, not in a write."""
        _owners[self.id] = self

    @property
    def alive(self) -> bool:
        """Whether its loop can still run anything."""
        loop = self._loop()
        return loop is not None and not loop.is_closed()

    def responsive(self) -> bool:
        """Whether its loop has turned within the lease's patience; asks it to turn again."""
        loop = self._loop()
        if loop is None or loop.is_closed():
            return False
        now = self._clock.monotonic()
        if not self._asked:
            self._asked = True
            self._last_pulse = now
            try:
                loop.call_soon_threadsafe(self._pulse)
            except RuntimeError:  # closed in the meantime
                return False
        return now - self._last_pulse < self._lease.patience

    def leave(self, log: RunLog) -> None:
        """Have the heart let go of a thread whose run could not store its own end."""
        self.left[log.key, log.run] = log

    def _pulse(self) -> None:
        self._asked = False


class Heart:
    """Gives signs of life for a saver's owners while they own threads and do not write.

    Args:
        backend: where to.
        clock: an injected clock belongs to its event loop: then the heart beats there.
        lease: how often.
        owners: the saver's owners at present.
    """

    def __init__(
        self, backend: Backend, clock: Clock, lease: Lease, owners: Callable[[], Iterable[Owner]]
    ) -> None:
        self._backend = backend
        self._clock = clock
        self._lease = lease
        self._owners = owners
        self._threaded = isinstance(clock, SystemClock)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = threading.Event()

    def start(self) -> None:
        """Beat from now on, while there is something to beat for. Called by an owner's loop."""
        if not self._threaded:
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._beat_here())
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._beat_there, name="durable_graph heart", daemon=True
                )
                self._thread.start()

    async def stop(self) -> None:
        """Beat no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._wake.set()

    async def _beat_here(self) -> None:
        while self._needed():
            await self._clock.sleep(self._lease.interval)
            await self._beat_once()

    def _beat_there(self) -> None:
        asyncio.run(self._beat_in_thread())

    async def _beat_in_thread(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # On the loop's own timer, so that calls of this loop which are under way go on.
            await asyncio.sleep(self._lease.interval)
            await self._beat_once()
            with self._lock:
                if self._wake.is_set() or not self._needed():
                    self._wake.clear()
                    self._thread = None
                    break
        del loop

    def _needed(self) -> bool:
        return any(owner.alive and (owner.runs or owner.left) for owner in self._owners())

    async def _beat_once(self) -> None:
        for owner in list(self._owners()):
            if not (owner.runs or owner.left) or not owner.responsive():
                continue
            # Nobody waits for these answers. If there are none, the lease ends, as it should. Nor
            # may whatever a backend raises end the heart: that would be so for all its owners.
            with contextlib.suppress(Exception):
                since = self._clock.monotonic() - owner.writer.last_beat
                if since >= self._lease.interval / 2:
                    await self._backend.beat(owner.process)
                    owner.beats += 1
                    owner.writer.last_beat = self._clock.monotonic()
            for run, log in list(owner.left.items()):
                with contextlib.suppress(Exception):
                    if await log.release(self._backend, self._lease.length):
                        owner.left.pop(run, None)


async def owner_is_alive(backend: Backend, head: Head) -> bool:
    """Whether the owner that a head names may still write."""

    def local(owner: str) -> bool | None:
        known = _owners.get(owner)
        # "Alive" is the loop *and* the run: one whose end could not be stored is over.
        return None if known is None else known.alive and known.runs.get(head.key) == head.run

    if head.owner is not None and (mine := local(head.owner)) is not None:
        return mine
    known = {entry.process.id: entry for entry in await backend.beat(None)}
    return is_alive(head.owner, known, here=this_process(), local=local)
