"""The backend that a simulated process uses: every call goes over a bad network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import Context
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from durable_graph.errors import StorageClosedError
from durable_graph.ports.backend import (
    Append,
    Capabilities,
    Card,
    Head,
    Identity,
    Liveness,
    Message,
    Outcome,
    Position,
    Process,
    Ranges,
    Reading,
    Record,
    Removal,
    Thread,
    ThreadKey,
    ThreadPage,
    ThreadQuery,
)
from durable_graph.testing.simulation.network import StorageCall, at_once

if TYPE_CHECKING:
    from durable_graph.testing.simulation.storage import SimulatedStorage

__all__ = ["SimulatedBackend"]

T = TypeVar("T")


class SimulatedBackend:
    """The backend of one process. Made by `SimulatedStorage.backend`."""

    capabilities = Capabilities(durable=True, shared=True, groups=True, immediate=False)

    def __init__(self, storage: SimulatedStorage, name: str, *, alone: bool) -> None:
        self.name = name
        self._alone = alone
        self._storage = storage
        self._store = storage.store
        self._closed = False
        self._watches: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return f"<SimulatedBackend of {self.name}>"

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        """See `Backend.append`."""
        storage, sign = self._storage, self._sign(beat)
        batch = list(batch)

        def effect(broken: bool) -> Sequence[Outcome]:
            return storage.apply(storage.split(batch) if broken else batch, sign)

        what = " ".join(f"{_spell(a.head)} {a.records[-1].link.hex()[:8]}" for a in batch)
        return await self._call(f"append {what}", effect, writes=True, repeats=True)

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        """See `Backend.read`."""
        reading = await self._ask(
            f"read {thread.thread}", lambda: self._store.read(thread, checkpoint, unless=unless)
        )
        if reading is None:
            return None
        decayed = self._storage.decayed
        records, after = decayed(thread, reading.records), decayed(thread, reading.after)
        return replace(reading, records=records, after=after)

    async def scan(
        self,
        thread: ThreadKey,
        ranges: Ranges,
        *,
        bodies: bool = True,
    ) -> Sequence[Record]:
        """See `Backend.scan`."""
        records = await self._ask(
            f"scan {thread.thread}", lambda: self._store.scan(thread, ranges, bodies=bodies)
        )
        return self._storage.decayed(thread, records)

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        """See `Backend.blobs`."""
        return await self._ask(f"blobs {thread.thread}", lambda: self._store.blobs(thread, digests))

    async def thread(self, thread: ThreadKey) -> Thread | None:
        """See `Backend.thread`."""
        return await self._ask(f"thread {thread.thread}", lambda: self._store.thread(thread))

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        """See `Backend.threads`."""
        return await self._ask("threads", lambda: self._store.threads(query))

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        """See `Backend.label`."""

        def effect(broken: bool) -> bool:
            return at_once(self._store.label(thread, card))

        return await self._call(f"label {thread.thread}", effect, writes=True, repeats=True)

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        """See `Backend.post`."""

        def effect(broken: bool) -> Message:
            return at_once(self._store.post(thread, message))

        return await self._call(f"post {thread.thread}", effect, writes=True, repeats=True)

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        """See `Backend.beat`."""
        sign = self._sign(process)

        async def beat() -> Sequence[Liveness]:
            return self._storage.sign(sign)

        return await self._ask("beat", beat)

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        """See `Backend.remove`."""

        def effect(broken: bool) -> bool:
            return self._storage.drop(thread, what)

        # Not late and not twice: who removes a whole thread names no position.
        return await self._call(f"remove {thread.thread}", effect, writes=True, repeats=False)

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        """See `Backend.changed`."""
        await self._ask(f"watch {thread.thread}", _nothing)
        loop = asyncio.get_running_loop()
        watch = loop.create_task(self._store.changed(thread, seen), context=Context())
        self._watches.append(watch)
        try:
            await asyncio.wait([watch])
        finally:
            self._watches.remove(watch)
            watch.cancel()
            await asyncio.wait([watch])
        if self._closed:
            raise StorageClosedError("The simulated storage was closed.")

    def statistics(self) -> Mapping[str, float]:
        """See `Backend.statistics`."""
        return self._store.statistics()

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        self._closed = True
        for watch in self._watches:
            watch.cancel()

    def _sign(self, process: Process | None) -> Process | None:
        if process is None or not self._alone:
            return process
        return Process(process.id, Identity(None, process.identity.pid, None), process.lease)

    async def _ask(self, what: str, read: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._call(what, lambda _: at_once(read()), writes=False, repeats=False)

    async def _call(
        self, what: str, effect: Callable[[bool], T], *, writes: bool, repeats: bool
    ) -> T:
        if self._closed or self._storage.buried:
            raise StorageClosedError("The simulated storage was closed.")
        call = StorageCall(self._storage, self.name, what, effect, writes=writes, repeats=repeats)
        self._storage.send(call)
        return await call


async def _nothing() -> None:
    return None


def _spell(head: Head) -> str:
    return f"{head.key.thread}@{head.seq}.{head.epoch}"
