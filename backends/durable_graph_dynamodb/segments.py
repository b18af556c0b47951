"""Records as items: those of one append together, since DynamoDB counts items.

A segment is ``checksum, length of its index, index, bytes``. The index is JSON: the link before,
and for each record its number, kind, checkpoint, how long header and body are or where they are,
digest and link.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from durable_graph.log.records import Record
from durable_graph_dynamodb.keys import record_key
from durable_graph_dynamodb.parts import Parts, join
from durable_graph_dynamodb.values import Item

__all__ = ["Segment", "Stored", "pack", "segments_of", "unpack"]

_INLINE: Final = 32 * 1024
_FULL: Final = 192 * 1024


@dataclass(frozen=True, slots=True)
class Stored:
    """A record in a segment; header and body are bytes, or where they are."""

    seq: int
    kind: str
    checkpoint: str | None
    header: bytes | Parts
    body: bytes | Parts | None
    digest: bytes
    link: bytes

    @property
    def parts(self) -> list[Parts]:
        """What of it is elsewhere."""
        return [part for part in (self.header, self.body) if isinstance(part, Parts)]

    def row(self, life: str, found: Mapping[str, Item], *, bodies: bool) -> tuple[Any, ...]:
        """As a row; what is missing makes it a damaged one."""
        header: Any = self.header
        if isinstance(header, Parts):
            header = join(header, life, found)
        body: Any = self.body if bodies else None
        if isinstance(body, Parts):
            body = join(body, life, found)
            if body is None:
                header = None
        return self.seq, self.kind, self.checkpoint, header, body, self.digest, self.link


@dataclass(frozen=True, slots=True)
class Segment:
    """Records that follow one another.

    Attributes:
        before: the link of the record before the first.
        records: at least one.
    """

    before: bytes
    records: tuple[Stored, ...]

    @property
    def first(self) -> int:
        """Number of the first record."""
        return self.records[0].seq

    @property
    def last(self) -> int:
        """Number of the last record."""
        return self.records[-1].seq

    def item(self, life: str) -> Item:
        """As an item, without its partition."""
        return {"sk": record_key(life, self.last), "first": self.first, "data": pack(self)}

    def prune(self, bodies: Callable[[int], bool]) -> Segment:
        """Without the bodies of some records."""
        return replace(
            self,
            records=tuple(
                replace(record, body=None) if bodies(record.seq) else record
                for record in self.records
            ),
        )


def segments_of(
    records: Sequence[Record], before: bytes, spill: Callable[[bytes], Parts]
) -> Iterator[Segment]:
    """Records as segments, each of which fits into an item.

    Args:
        records: what to store.
        before: the link of the record before the first.
        spill: puts aside what is too large, and says where.
    """
    gathered: list[Stored] = []
    size = 0
    for record in records:
        header, body = record.header, record.body
        stored = Stored(
            record.seq,
            record.kind,
            record.checkpoint,
            header if len(header) <= _INLINE else spill(header),
            body if body is None or len(body) <= _INLINE else spill(body),
            record.digest,
            record.link,
        )
        gathered.append(stored)
        size += 500 + sum(len(p) for p in (stored.header, stored.body) if isinstance(p, bytes))
        if size > _FULL:
            yield Segment(before, tuple(gathered))
            before, gathered, size = record.link, [], 0
    if gathered:
        yield Segment(before, tuple(gathered))


def pack(segment: Segment) -> bytes:
    """A segment as bytes."""
    index: list[Any] = []
    pieces: list[bytes] = []
    for record in segment.records:
        places: list[Any] = []
        for part in (record.header, record.body):
            if isinstance(part, bytes):
                pieces.append(part)
                places.append(len(part))
            else:
                places.append(part.to_json() if part is not None else None)
        names = (record.seq, record.kind, record.checkpoint)
        index.append([*names, *places, record.digest.hex(), record.link.hex()])
    told = orjson.dumps([segment.before.hex(), index])
    rest = b"".join([len(told).to_bytes(4, "big"), told, *pieces])
    return zlib.crc32(rest).to_bytes(4, "big") + rest


def unpack(data: Any) -> Segment | None:
    """The segment that was packed; ``None`` if it is damaged."""
    try:
        known, rest = int.from_bytes(data[:4], "big"), data[4:]
        if zlib.crc32(rest) != known:
            return None
        start = 4 + int.from_bytes(rest[:4], "big")
        before, index = orjson.loads(rest[4:start])
        records = []
        for seq, kind, checkpoint, header, body, digest, link in index:
            parts: list[Any] = []
            for place in (header, body):
                if type(place) is int:
                    parts.append(rest[start : start + place])
                    start += place
                else:
                    parts.append(Parts.of(place) if place is not None else None)
            told, rest_of = parts
            hashes = bytes.fromhex(digest), bytes.fromhex(link)
            records.append(Stored(seq, kind, checkpoint, told, rest_of, *hashes))
        seqs = [record.seq for record in records]
        if not seqs or seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            return None
        return Segment(bytes.fromhex(before), tuple(records))
    except (ValueError, TypeError, IndexError):
        return None
