"""Backends that make damage look like something else."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Self

from durable_graph.errors import IntegrityError
from durable_graph.log.records import Ranges, Record, ThreadKey
from durable_graph.log.seal import open_record
from durable_graph.ports.backend import Position, Reading
from durable_graph.testing import Storage
from tests.backends.faulty import Faulty

_PARTS = ("header", "body", "digest", "link")


class RawMemory:
    """The parts of the records in memory, and large values."""

    def __init__(self, backend: SoundMemory) -> None:
        self._threads = backend._threads

    async def pieces(self) -> Mapping[str, bytes]:
        """By thread, number and part."""
        return dict(self._pieces())

    def _pieces(self) -> Iterator[tuple[str, bytes]]:
        for key, stored in self._threads.items():
            for record in stored.records:
                for part in _PARTS:
                    yield f"{key.thread}/{record.seq}/{part}", getattr(record, part)
            for digest, data in stored.blobs.items():
                yield f"{key.thread}/{digest}/blob", data

    async def overwrite(self, name: str, data: bytes) -> None:
        """Put a part into a record."""
        thread, of, part = name.split("/")
        stored = self._threads[ThreadKey("", thread)]
        if part == "blob":
            stored.blobs[of] = data
            return
        place = int(of) - 1
        changed: dict[str, Any] = {part: data}
        stored.records[place] = replace(stored.records[place], **changed)
        if part == "link" and int(of) < len(stored.records):
            stored.records[place + 1] = replace(stored.records[place + 1], previous=data)


class SoundMemory(Faulty):
    """Nothing is wrong with it, and several instances hold the same."""

    found_by = "corruption"

    def beside(self) -> Self:
        """One more instance on the same storage."""
        other = type(self)()
        other._threads, other._cards, other._beats = self._threads, self._cards, self._beats
        return other

    @classmethod
    @asynccontextmanager
    async def fresh(cls) -> AsyncIterator[Storage]:
        first = cls()

        async def reopen() -> SoundMemory:
            return first.beside()

        yield Storage(first, reopen, raw=RawMemory(first))


def is_damaged(record: Record, secret: bytes) -> bool:
    """Whether a record is not what was written."""
    try:
        open_record(record, secret, "")
    except IntegrityError:
        return True
    return False


class RepairsDamage(SoundMemory):
    """Computes the digests of what it finds."""

    async def read(
        self, thread: ThreadKey, checkpoint: str | None = None, *, unless: Position | None = None
    ) -> Reading | None:
        reading = await super().read(thread, checkpoint, unless=unless)
        if reading is None:
            return None
        return replace(
            reading, records=[_sealed(record, reading.head.secret) for record in reading.records]
        )


class LeavesTheDamagedOut(SoundMemory):
    """Tells records that it can make out."""

    async def scan(self, thread: ThreadKey, ranges: Ranges, *, bodies: bool = True) -> list[Record]:
        found = await super().scan(thread, ranges, bodies=bodies)
        secret = self._threads[thread].head.secret
        return [record for record in found if not is_damaged(record, secret)]


class TellsTheDamagedAsMissing(SoundMemory):
    """Tells a damaged thread as one that does not exist."""

    async def read(
        self, thread: ThreadKey, checkpoint: str | None = None, *, unless: Position | None = None
    ) -> Reading | None:
        reading = await super().read(thread, checkpoint, unless=unless)
        if reading is not None and any(
            is_damaged(record, reading.head.secret) for record in reading.records
        ):
            return None
        return reading


class SpreadsDamage(SoundMemory):
    """Refuses everything once anything is damaged."""

    async def read(
        self, thread: ThreadKey, checkpoint: str | None = None, *, unless: Position | None = None
    ) -> Reading | None:
        for stored in self._threads.values():
            if any(is_damaged(record, stored.head.secret) for record in stored.records):
                raise IntegrityError(f"Something is damaged, so {thread.thread!r} is not read.")
        return await super().read(thread, checkpoint, unless=unless)


class DoesNotSayWhich(SoundMemory):
    """Does not say which thread is damaged."""

    async def read(
        self, thread: ThreadKey, checkpoint: str | None = None, *, unless: Position | None = None
    ) -> Reading | None:
        reading = await super().read(thread, checkpoint, unless=unless)
        if reading is not None and any(
            is_damaged(record, reading.head.secret) for record in reading.records
        ):
            raise IntegrityError("Something is damaged.")
        return reading


class ReadsAnotherPlace(SoundMemory):
    """Reads what nobody can damage."""

    @classmethod
    @asynccontextmanager
    async def fresh(cls) -> AsyncIterator[Storage]:
        async with super().fresh() as storage:
            yield replace(storage, raw=_Copied(storage))


class _Copied:
    """Bytes that are nobody's any more once they were asked for."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._copy = SoundMemory()

    async def pieces(self) -> Mapping[str, bytes]:
        """As they are now."""
        assert isinstance(self._storage.backend, SoundMemory)
        self._copy._threads = copy.deepcopy(self._storage.backend._threads)
        return await RawMemory(self._copy).pieces()

    async def overwrite(self, name: str, data: bytes) -> None:
        """Change what was copied."""
        await RawMemory(self._copy).overwrite(name, data)


def _sealed(record: Record, secret: bytes) -> Record:
    digest = hashlib.blake2b(record.body or b"", digest_size=16, key=secret).digest()
    content = record.previous + digest + record.header
    link = hashlib.blake2b(content, digest_size=32).digest()
    return replace(record, digest=digest, link=link)
