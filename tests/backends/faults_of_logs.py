"""Backends that append or read wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from durable_graph.errors import StorageError
from durable_graph.log.records import Ranges, Record, ThreadKey
from durable_graph.ports.backend import (
    Append,
    Outcome,
    Position,
    Process,
    Reading,
)
from durable_graph.ports.memory import InMemoryBackend
from tests.backends.faulty import Faulty

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED


# -- appending -------------------------------------------------------------------------------------


class LastWriteWins(Faulty):
    """Takes the expected position for advice."""

    found_by = "append"

    def _append(self, append: Append) -> Outcome:
        return super()._append(replace(append, expected=self.at(append.head.key)))


class _ForgivesField(Faulty):
    found_by = "append"
    field: ClassVar[str]

    def _append(self, append: Append) -> Outcome:
        now, expected = self.at(append.head.key), append.expected
        if now is not None and expected is not None:
            expected = replace(expected, **{self.field: getattr(now, self.field)})
        return super()._append(replace(append, expected=expected))


class IgnoresEpoch(_ForgivesField):
    """Does not fence."""

    field = "epoch"


class IgnoresLink(_ForgivesField):
    """Takes a number for a place."""

    field = "link"


class IgnoresNumber(_ForgivesField):
    """Takes a link for a place."""

    field = "seq"


class BurnsRowsOnRefusal(Faulty):
    """Writes first and compares afterwards."""

    found_by = "append"

    def _append(self, append: Append) -> Outcome:
        outcome = super()._append(append)
        stored = self._threads.get(append.head.key)
        if outcome is REFUSED and stored is not None:
            stored.records.extend(append.records)
        return outcome


class KeepsRefusedBlobs(Faulty):
    """Writes large values before it compares."""

    found_by = "append"

    def _append(self, append: Append) -> Outcome:
        stored = self._threads.get(append.head.key)
        if stored is not None:
            stored.blobs.update(append.blobs)
        return super()._append(append)


class RefusesARepetition(Faulty):
    """Does not know an append again."""

    found_by = "append"

    def _append(self, append: Append) -> Outcome:
        if self.at(append.head.key) != append.expected:
            return REFUSED
        return super()._append(append)


class KnowsOnlyTheLastAppend(Faulty):
    """Knows an append again only while nothing came after it."""

    found_by = "append"

    def _append(self, append: Append) -> Outcome:
        now = self.at(append.head.key)
        if now != append.expected and now != Position.of(append.head):
            return REFUSED
        return super()._append(append)


class TakesAnyRepetition(Faulty):
    """Takes an append for stored if there is something at its numbers."""

    found_by = "append"

    def _append(self, append: Append) -> Outcome:
        stored = self._threads.get(append.head.key)
        if stored is not None and stored.head.seq >= append.head.seq:
            return APPLIED
        return super()._append(append)


class RepeatsSideEffects(Faulty):
    """Gives the verdicts of a repeated append once more."""

    found_by = "append"

    def _append(self, append: Append) -> Outcome:
        outcome = super()._append(append)
        stored = self._threads.get(append.head.key)
        if outcome is APPLIED and stored is not None:
            for name, verdict in append.settled.items():
                if name in stored.messages:
                    stored.messages[name] = replace(stored.messages[name], verdict=verdict)
        return outcome


class AllOrNothing(Faulty):
    """Refuses a whole batch for one append."""

    found_by = "append"

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        if any(self.at(append.head.key) != append.expected for append in batch):
            return [REFUSED for _ in batch] if len(batch) > 1 else await super().append(batch)
        return await super().append(batch, beat)


class AnswersOutOfOrder(Faulty):
    """Tells who was refused last."""

    found_by = "append"

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        return sorted(await super().append(batch, beat), key=lambda outcome: outcome.value)


class ForgetsTheRider(Faulty):
    """Stores no sign of life with an append."""

    found_by = "append"

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        return await super().append(batch)


class ForgetsTheReason(Faulty):
    """Does not store one field of the head."""

    found_by = "append"

    def _append(self, append: Append) -> Outcome:
        return super()._append(replace(append, head=replace(append.head, reason=None)))


# -- reading ---------------------------------------------------------------------------------------


class ReadsEverything(Faulty):
    """Reads all records instead of those of the path."""

    found_by = "read"

    def _read(
        self, thread: ThreadKey, checkpoint: str | None, unless: Position | None
    ) -> Reading | None:
        reading = super()._read(thread, checkpoint, unless)
        if reading is not None and checkpoint is None and reading.records:
            return replace(reading, records=list(self._threads[thread].records))
        return reading


class ForgetsLinks(Faulty):
    """Tells the link before a record only if it has read that record as well."""

    found_by = "scan"

    async def scan(self, thread: ThreadKey, ranges: Ranges, **options: Any) -> Sequence[Record]:
        found = await super().scan(thread, ranges, **options)
        seen = {record.seq for record in found}
        return [r if r.seq - 1 in seen else replace(r, previous=b"") for r in found]


class TrustsTheEpoch(Faulty):
    """Leaves records out if the caller knows the right epoch."""

    found_by = "read"

    def _read(
        self, thread: ThreadKey, checkpoint: str | None, unless: Position | None
    ) -> Reading | None:
        now = self.at(thread)
        if unless is not None and now is not None and unless.epoch == now.epoch:
            unless = now
        return super()._read(thread, checkpoint, unless)


class HidesACheckpoint(Faulty):
    """Leaves the records of a checkpoint out if the caller knows the head."""

    found_by = "read"

    def _read(
        self, thread: ThreadKey, checkpoint: str | None, unless: Position | None
    ) -> Reading | None:
        return super()._read(thread, None if unless is not None else checkpoint, unless)


class StopsBeforeTheCommit(Faulty):
    """Leaves out the commit that ends what became of a checkpoint."""

    found_by = "read"

    def _read(
        self, thread: ThreadKey, checkpoint: str | None, unless: Position | None
    ) -> Reading | None:
        reading = super()._read(thread, checkpoint, unless)
        if reading is None:
            return None
        return replace(reading, after=[r for r in reading.after if r.kind != "commit"])


class ReadsOnPastTheCommit(Faulty):
    """Takes all later records for what became of a checkpoint."""

    found_by = "read"

    def _read(
        self, thread: ThreadKey, checkpoint: str | None, unless: Position | None
    ) -> Reading | None:
        reading = super()._read(thread, checkpoint, unless)
        if reading is None or checkpoint is None or not reading.records:
            return reading
        rest = self._threads[thread].records[reading.records[-1].seq :]
        return replace(reading, after=rest)


class AlwaysReadsBodies(Faulty):
    """Reads bodies that nobody asked for."""

    found_by = "scan"

    async def scan(
        self, thread: ThreadKey, ranges: Ranges, *, bodies: bool = True, **options: Any
    ) -> Sequence[Record]:
        return await super().scan(thread, ranges, **options)


class LosesBlobs(Faulty):
    """Keeps only the large values of the last append."""

    found_by = "blobs"

    def _append(self, append: Append) -> Outcome:
        stored = self._threads.get(append.head.key)
        if stored is not None and append.blobs:
            stored.blobs.clear()
        return super()._append(append)


class SharesBlobs(Faulty):
    """Keeps large values of all threads together."""

    found_by = "blobs"

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        known: dict[str, bytes] = {}
        for stored in self._threads.values():
            known.update(stored.blobs)
        return {digest: known[digest] for digest in digests if digest in known}


class DeclaresTooMuch(Faulty):
    """Takes less than it says."""

    found_by = "hostile"
    capabilities = replace(InMemoryBackend.capabilities, max_record_bytes=50_000)

    def _append(self, append: Append) -> Outcome:
        if any(len(data) > 40_000 for data in append.blobs.values()):
            raise StorageError("That is too much.")
        return super()._append(append)
