"""Backends that do not survive the death of a process, or do not know of other processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from durable_graph.errors import StorageBusyError, ThreadNotFoundError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Append, Message, Outcome, Position, Process, Removal
from durable_graph.testing import Storage
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.faulty import Planted

APPLIED = Outcome.APPLIED


class SoundFile(Planted, SqliteBackend):
    """Nothing is wrong with it, in whatever process."""

    found_by = "crash"

    def __init__(self, path: Path) -> None:
        super().__init__(path, synchronous="normal")

    @classmethod
    @asynccontextmanager
    async def fresh(cls) -> AsyncIterator[Storage]:
        with tempfile.TemporaryDirectory() as folder:
            open = partial(cls, Path(folder) / "threads.db")
            backend = open()

            async def reopen() -> SoundFile:
                return open()

            yield Storage(backend, reopen, elsewhere=open)
            await backend.aclose()


class AnswersTooEarly(SoundFile):
    """Stores an append when the next call comes."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._late: Sequence[Append] = ()

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        late, self._late = self._late, batch
        await super().append(late)
        return [APPLIED for _ in batch]

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        with contextlib.suppress(ThreadNotFoundError):  # which is not stored yet
            return await super().post(thread, message)
        return message


class StoresInTwoParts(SoundFile):
    """Stores the large values of an append after the rest, when there is time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._late: dict[ThreadKey, dict[str, bytes]] = {}

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        merged = [replace(append, blobs=self._late.pop(append.head.key, {})) for append in batch]
        answers = await super().append(merged, beat)
        self._late |= {append.head.key: dict(append.blobs) for append in batch}
        return answers


class HoldsALock(SoundFile):
    """Locks a thread that it has written, and gives the lock back when it is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path
        self._locks: set[Path] = set()

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        for append in batch:
            lock = self._path.with_name(f"{append.head.key.thread}.lock")
            if lock not in self._locks and lock.exists():
                raise StorageBusyError("Another process has the lock.")
            lock.touch()
            self._locks.add(lock)
        return await super().append(batch, beat)

    async def aclose(self) -> None:
        while self._locks:
            self._locks.pop().unlink()
        await super().aclose()


class ForgetsToFinish(SoundFile):
    """Removes what a thread holds, and later the thread."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._late: list[ThreadKey] = []

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        late, self._late = self._late, [thread]
        for key in late:
            await super().remove(key, what)
        return True


class HasAFileOfItsOwn(SoundFile):
    """Stores what each process writes beside what the others do."""

    found_by = "processes"

    def __init__(self, path: Path) -> None:
        super().__init__(path.with_suffix(f".{os.getpid()}.db"))


class HearsItself(SoundFile):
    """Tells a change that this process has made, and nothing else for a while."""

    found_by = "processes"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._moved = asyncio.Event()

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        self._moved.set()
        return await super().append(batch, beat)

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        try:
            await asyncio.wait_for(self._moved.wait(), 0.5)
        except TimeoutError:
            raise StorageBusyError("Nothing has changed.") from None


class BeatsTooLate(SoundFile):
    """Stores the sign of life after the append that it came with."""

    found_by = "races"

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        answers = await super().append(batch)
        if beat is not None:
            await asyncio.sleep(0.05)
            await self.beat(beat)
        return answers
