"""The one object of a thread that changes: everything that has to change at once.

It holds the head, the card, the messages that wait, the last records, and where the others are. A
write to the thread replaces it, stating the ETag of the one that was read: that is the fence. An
ETag is a digest of the content, so a random word sees to it that no two manifests are the same.

Small appends are in the manifest itself until there are enough of them for a segment. So an append
is one request, and what it writes is bounded however long the log is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import orjson

from durable_graph.errors import IntegrityError
from durable_graph.log.container import pack, unpack
from durable_graph.ports.backend import (
    Append,
    Card,
    Head,
    Message,
    Position,
    Record,
    Thread,
    ThreadKey,
)
from durable_graph.ports.pieces import (
    plain_messages,
    plain_records,
    read_messages,
    read_records,
)
from durable_graph.ports.rows import pack_card, pack_head, unpack_card, unpack_head
from durable_graph_s3.index import Index, Span, plain_spans, read_spans

__all__ = [
    "Manifest",
    "cut",
    "extended",
    "pack_index",
    "pack_manifest",
    "pack_segment",
    "pack_verdict",
    "unpack_index",
    "unpack_manifest",
    "unpack_segment",
    "unpack_verdict",
]

T = TypeVar("T")

_VERSION: Final = 1
_TAIL: Final = 16 * 1024
"""Bytes of records from which on they go to a segment."""
_SEGMENT: Final = 128 * 1024
"""Bytes from which on a segment is full: what is read of a log is read in these pieces."""
_VERDICTS: Final = 8
"""Verdicts from which on they go to objects of their own."""
_COST: Final = 200  # bytes that a record takes besides header and body


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a thread is at one moment.

    Attributes:
        key: the thread.
        head: its head; ``None`` if it has no log.
        card: its card.
        log: names the objects of this log: another of the same thread has another.
        gone: names logs that were here before, were removed and may not be cleared away.
        era: how often large values were removed from this log; it is part of their keys.
        verdicts: how many messages have verdicts in objects of their own.
        index: where records are that are not in `tail`.
        tail: the last records.
        waiting: messages that wait, oldest first.
        settled: messages that were settled, and have no object of their own yet.
    """

    key: ThreadKey
    head: Head | None = None
    card: Card | None = None
    log: str = ""
    gone: tuple[str, ...] = ()
    era: int = 0
    verdicts: int = 0
    index: Index = ()
    tail: Sequence[Record] = ()
    waiting: Sequence[Message] = ()
    settled: Sequence[Message] = ()

    @property
    def position(self) -> Position | None:
        """Where its log stands."""
        return None if self.head is None else Position.of(self.head)

    @property
    def thread(self) -> Thread | None:
        """The thread, as a list shows it; ``None`` if there is none any more."""
        if self.head is None and self.card is None:
            return None
        return Thread(self.key, self.head, self.card)

    @property
    def archived(self) -> str | None:
        """Where its log is, if not here."""
        return self.card.archived if self.head is None and self.card is not None else None


def extended(
    manifest: Manifest, append: Append, log: str, found: Sequence[Message] = ()
) -> tuple[Manifest, Sequence[Record], Sequence[Message]]:
    """What a thread is after an append.

    Args:
        manifest: what it was.
        append: what fits it.
        log: the name of a new log.
        found: messages it settles that have objects of their own: what it says of them counts.

    Returns:
        The manifest; the records that are to go to segments, which its index lacks; and the
        messages that are to go to objects of their own.
    """
    records = [*manifest.tail, *append.records]
    full = sum(map(_size, records)) >= _TAIL
    # Those of earlier appends: what this one says becomes true only with it.
    told = manifest.settled if len(manifest.settled) >= _VERDICTS else ()
    now = [
        replace(message, verdict=append.settled[message.id])
        for message in (*manifest.waiting, *manifest.settled, *found)
        if message.id in append.settled
    ]
    rest = [message for message in manifest.settled if message.id not in append.settled]
    after = replace(
        manifest,
        head=append.head,
        card=append.card if append.card is not None else manifest.card,
        log=manifest.log if manifest.head is not None else log,
        gone=(),
        tail=() if full else records,
        waiting=[m for m in manifest.waiting if m.id not in append.settled],
        settled=[*(() if told else rest), *now],
        verdicts=manifest.verdicts + len(told),
    )
    return after, records if full else (), told


def cut(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Records in pieces of the size of a segment."""
    piece: list[Record] = []
    size = 0
    for record in records:
        piece.append(record)
        size += _size(record)
        if size >= _SEGMENT:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def _size(record: Record) -> int:
    return len(record.header) + len(record.body or b"") + _COST


def pack_manifest(manifest: Manifest, nonce: str) -> bytes:
    """A manifest as one object; `nonce` is what no other has."""
    key, head, card = manifest.key, manifest.head, manifest.card
    rows, parts = plain_records(manifest.tail)
    waiting, bodies = plain_messages(manifest.waiting)
    settled, more = plain_messages(manifest.settled)
    known = {
        "tenant": key.tenant,
        "thread": key.thread,
        "nonce": nonce,
        "head": None if head is None else orjson.Fragment(pack_head(head)),
        "card": None if card is None else orjson.Fragment(pack_card(key, card)),
        "log": manifest.log,
        "gone": manifest.gone,
        "era": manifest.era,
        "verdicts": manifest.verdicts,
        "index": [plain_spans(level) for level in manifest.index],
        "tail": rows,
        "waiting": waiting,
        "settled": settled,
    }
    return pack("manifest", _VERSION, known, [*parts, *bodies, *more])


def unpack_manifest(data: bytes, key: ThreadKey | None = None) -> Manifest:
    """The manifest in an object.

    Args:
        data: the object.
        key: whose it has to be; ``None`` for anybody's.

    Raises:
        IntegrityError: it is damaged, or another thread's.
        UnknownTypeError: it was written by a newer version.
    """
    known, pieces = unpack("manifest", _VERSION, data)
    try:
        parts = iter(pieces)
        own = ThreadKey(_text(known["tenant"]), _text(known["thread"]))
        if key is not None and own != key:
            raise ValueError("another thread's")
        head, card = known["head"], known["card"]
        manifest = Manifest(
            key=own,
            head=None if head is None else unpack_head(own, orjson.dumps(head)),
            card=None if card is None else unpack_card(own, orjson.dumps(card)),
            log=_text(known["log"]),
            gone=tuple(map(_text, known["gone"])),
            era=_number(known["era"]),
            verdicts=_number(known["verdicts"]),
            index=tuple(read_spans(level) for level in known["index"]),
            tail=read_records(known["tail"], parts),
            waiting=read_messages(known["waiting"], parts),
            settled=read_messages(known["settled"], parts),
        )
        if manifest.head is not None and not manifest.log:
            raise ValueError("a log without a name")
        return manifest
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise IntegrityError("This manifest is damaged: no thread is like that.") from error


def pack_segment(records: Sequence[Record]) -> bytes:
    """Records as one object."""
    rows, parts = plain_records(records)
    return pack("segment", _VERSION, {"records": rows}, parts)


def unpack_segment(data: bytes) -> Sequence[Record]:
    """The records in an object.

    Raises:
        IntegrityError: it is damaged.
        UnknownTypeError: it was written by a newer version.
    """
    known, parts = unpack("segment", _VERSION, data)
    return _read("segment", lambda: read_records(known["records"], iter(parts)))


def pack_index(spans: Sequence[Span]) -> bytes:
    """Spans as one object."""
    return pack("index", _VERSION, {"spans": plain_spans(spans)}, [])


def unpack_index(data: bytes) -> Sequence[Span]:
    """The spans in an object; errors as for `unpack_segment`."""
    known, _ = unpack("index", _VERSION, data)
    return _read("index", lambda: read_spans(known["spans"]))


def pack_verdict(message: Message) -> bytes:
    """A message that was settled as one object."""
    rows, parts = plain_messages([message])
    return pack("message", _VERSION, {"messages": rows}, parts)


def unpack_verdict(data: bytes) -> Message:
    """The message in an object; errors as for `unpack_segment`."""
    known, parts = unpack("message", _VERSION, data)
    (message,) = _read("message", lambda: read_messages(known["messages"], iter(parts)))
    return message


def _read(kind: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise IntegrityError(f"This {kind} is damaged: it cannot be read.") from error


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError("not text")
    return value


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError("not a number")
    return value
