"""Reading a log: from a manifest to the records it leads to.

A segment that is missing may have been replaced since the manifest was read: then `Moved` is
raised, and the manifest has to be read anew. If that is still the same, the segment is lost, and
its records are damaged ones, which whoever opens them finds out.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from durable_graph.errors import IntegrityError
from durable_graph.log.records import Ranges, Record
from durable_graph_s3.bucket import Bucket
from durable_graph_s3.index import Span
from durable_graph_s3.kept import Kept
from durable_graph_s3.keys import LogKeys
from durable_graph_s3.manifest import Manifest, unpack_index, unpack_segment
from durable_graph_s3.together import together

__all__ = ["Log", "Moved", "without_bodies"]

_PAGE = 64


class Moved(Exception):  # noqa: N818 - no error: the log has moved on
    """An object is not where the manifest says."""


class Log:
    """The log of one manifest.

    Args:
        bucket: where it is.
        manifest: what leads to it.
        kept: objects at hand.
        last: whether this manifest is known to be the present one: what is missing is lost.
    """

    def __init__(self, bucket: Bucket, manifest: Manifest, kept: Kept, *, last: bool) -> None:
        self._bucket = bucket
        self._manifest = manifest
        self._keys = LogKeys(manifest.key, manifest.log)
        self._kept = kept
        self._last = last
        self.indexes: list[str] = []
        """Names of the index objects that were looked into."""

    async def records(self, ranges: Ranges) -> list[Record]:
        """The records of ascending ranges, as far as the log goes."""
        end = self._manifest.head.seq if self._manifest.head is not None else 0
        ranges = tuple((max(first, 1), min(last, end)) for first, last in ranges)
        ranges = tuple((first, last) for first, last in ranges if first <= last)
        lasts = [last for _, last in ranges]

        def wanted(span: Span) -> bool:
            place = bisect.bisect_left(lasts, span.first)
            return place < len(ranges) and ranges[place][0] <= span.last

        begins = self._manifest.tail[0].seq if self._manifest.tail else end + 1
        spans = await self.spans(wanted) if ranges and ranges[0][0] < begins else []
        found = {record.seq: record for record in self._manifest.tail}
        for segment in await together([self._segment_or_none(span) for span in spans]):
            found.update((record.seq, record) for record in segment or ())
        return list(_picked(ranges, found))

    async def find(self, checkpoint: str) -> Record | None:
        """The commit of a checkpoint.

        Raises:
            IntegrityError: a segment in which it may be is damaged.
        """
        spans = await self.spans(lambda span: span.may_have(checkpoint))
        segments = await together([self.segment(span) for span in spans])
        for records in (*segments, self._manifest.tail):
            for record in records:
                if record.checkpoint == checkpoint:
                    return record
        return None

    async def until_commit(self, first: int) -> list[Record]:
        """The records from a number on, up to and including the next commit."""
        found: list[Record] = []
        end = self._manifest.head.seq if self._manifest.head is not None else 0
        while first <= end:
            for record in await self.records(((first, first + _PAGE - 1),)):
                found.append(record)
                if record.kind == "commit":
                    return found
            first += _PAGE
        return found

    async def spans(self, wanted: Callable[[Span], bool]) -> list[Span]:
        """The segments that are wanted, in the order of the log.

        One whose index object is lost stands for all the segments beneath it.
        """
        found: list[Span] = []
        index = self._manifest.index
        for height in range(len(index) - 1, -1, -1):
            found += await self._beneath(index[height], height, wanted)
        return found

    async def _beneath(
        self, spans: Sequence[Span], height: int, wanted: Callable[[Span], bool]
    ) -> list[Span]:
        hits = [span for span in spans if wanted(span)]
        if height == 0 or not hits:
            return hits
        inner = await together([self._index(span) for span in hits])
        parts = await together(
            [
                self._beneath(below, height - 1, wanted)
                for below in (
                    below if below is not None else [span]
                    for span, below in zip(hits, inner, strict=True)
                )
            ]
        )
        return [span for part in parts for span in part]

    async def _index(self, span: Span) -> Sequence[Span] | None:
        self.indexes.append(span.name)
        try:
            return unpack_index(await self._fetch(span.name))
        except IntegrityError:
            return None

    async def segment(self, span: Span) -> Sequence[Record]:
        """The records of a segment.

        Raises:
            IntegrityError: it is damaged, or lost.
        """
        try:
            records = unpack_segment(await self._fetch(span.name))
            if [record.seq for record in records] != list(range(span.first, span.last + 1)):
                raise IntegrityError("This segment is not the one that was written.")
        except IntegrityError as error:
            raise IntegrityError(
                f"Records {span.first} to {span.last} of thread {self._manifest.key.thread!r} are "
                f"damaged or lost. {error}"
            ) from error
        return records

    async def _segment_or_none(self, span: Span) -> Sequence[Record] | None:
        try:
            return await self.segment(span)
        except IntegrityError:
            return None

    async def _fetch(self, name: str) -> bytes:
        key = self._keys.named(name)
        data = self._kept.get(key)
        if data is None:
            stored = await self._bucket.get(key)
            if stored is None and not self._last:
                raise Moved(name)
            if stored is None:
                raise IntegrityError(f"There is no object {key}.")
            data = stored.data
            self._kept.put(key, data)
        return data


def _picked(ranges: Ranges, found: dict[int, Record]) -> Iterator[Record]:
    for first, last in ranges:
        for seq in range(first, last + 1):
            record = found.get(seq)
            if record is None:
                # No record has an empty link: whoever opens this one finds it damaged.
                before = found.get(seq - 1)
                link = before.link if before is not None else b""
                record = Record(seq, "commit", None, b"", b"", b"", b"", link)
            yield record


def without_bodies(records: Sequence[Record], ranges: Ranges) -> list[Record]:
    """Records, of which those in these ranges have no bodies any more."""
    return [
        replace(record, body=None)
        if record.body is not None and any(first <= record.seq <= last for first, last in ranges)
        else record
        for record in records
    ]
