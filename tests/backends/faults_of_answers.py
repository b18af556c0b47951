"""Backends that guess what has become of a call whose answer was lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from durable_graph.errors import OutcomeUnknownError, StorageError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import (
    Append,
    Card,
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
    ThreadPage,
    ThreadQuery,
)
from durable_graph.testing import Storage
from durable_graph.testing.contract_hooks import When
from tests.backends.faulty import Faulty

T = TypeVar("T")

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED


class OverALine(Faulty):
    """Nothing is wrong with it, and each of its calls is one request."""

    found_by = "unknown"

    def __init__(self) -> None:
        super().__init__()
        self.line = MemoryLine(self)

    @classmethod
    @asynccontextmanager
    async def fresh(cls) -> AsyncIterator[Storage]:
        near, far = cls(), Faulty()
        near._threads, near._cards, near._beats = far._threads, far._cards, far._beats

        @asynccontextmanager
        async def line() -> AsyncIterator[MemoryLine]:
            yield near.line

        yield Storage(far, line=line)

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        return await self._write(super().append(batch, beat))

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        return await self._write(super().post(thread, message))

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        return await self._write(super().label(thread, card))

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        return await self._write(super().remove(thread, what))

    async def read(
        self, thread: ThreadKey, checkpoint: str | None = None, *, unless: Position | None = None
    ) -> Reading | None:
        return await self._look(super().read(thread, checkpoint, unless=unless))

    async def scan(
        self, thread: ThreadKey, ranges: Ranges, *, bodies: bool = True
    ) -> Sequence[Record]:
        return await self._look(super().scan(thread, ranges, bodies=bodies))

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        return await self._look(super().blobs(thread, digests))

    async def thread(self, thread: ThreadKey) -> Thread | None:
        return await self._look(super().thread(thread))

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        return await self._look(super().threads(query))

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        return await self._write(super().beat(process))

    async def _look(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return await self.line.carry(call)
        except ConnectionError as error:
            raise StorageError("The connection broke.") from error

    async def _write(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return await self.line.carry(call)
        except ConnectionError as error:
            raise OutcomeUnknownError("The connection broke.") from error


class MemoryLine:
    """A way to memory that can be made to break."""

    def __init__(self, backend: OverALine) -> None:
        self.backend = backend
        self._left = 0
        self._when: When = "before"
        self.broke = False

    def cut(self, request: int, when: When) -> None:
        """Break at a request from now on."""
        self._left, self._when, self.broke = request, when, False

    def mend(self) -> bool:
        """Break no more."""
        self._left = 0
        return self.broke

    async def carry(self, call: Coroutine[Any, Any, T]) -> T:
        """One request, and its answer unless the line breaks.

        Raises:
            ConnectionError: it does.
        """
        self._left -= 1
        if self._left != 0:
            return await call
        self.broke = True
        if self._when == "after":
            await call
        else:
            call.close()
        raise ConnectionError


class TakesSilenceForNo(OverALine):
    """Says that nothing was stored when it has no answer."""

    async def _write(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            return await self.line.carry(call)
        except ConnectionError as error:
            raise StorageError("Nothing was stored.") from error


class TakesSilenceForYes(OverALine):
    """Says that an append is applied when it has no answer."""

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        try:
            return await super().append(batch, beat)
        except OutcomeUnknownError:
            return [APPLIED for _ in batch]


class LetsErrorsThrough(OverALine):
    """Raises what its driver raises."""

    async def _write(self, call: Coroutine[Any, Any, T]) -> T:
        return await self.line.carry(call)


class TakesTheSameForALateOne(OverALine):
    """Refuses an append that is stored already."""

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        if any(self.at(append.head.key) != append.expected for append in batch):
            return [REFUSED for _ in batch]
        return await super().append(batch, beat)


class StaysBroken(OverALine):
    """Does not make another connection."""

    async def read(
        self, thread: ThreadKey, checkpoint: str | None = None, *, unless: Position | None = None
    ) -> Reading | None:
        if self.line.broke:
            raise StorageError("The connection is broken.")
        return await super().read(thread, checkpoint, unless=unless)


class LeavesItAgain(OverALine):
    """Leaves a message once more when it had no answer."""

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        try:
            return await super().post(thread, message)
        except OutcomeUnknownError:
            self._threads[thread].messages[f"{message.id} again"] = message
            raise
