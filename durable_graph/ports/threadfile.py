"""One file for a whole thread: to move it to another storage system, or to cold storage.

It holds the head, every record, the large values, the messages that wait and the card, and says
itself whether it is whole: a checksum over everything, and the log's own hash chain. It is as its
storage gave it: not compressed, so that a hostile file cannot become larger than it is; and where
that storage holds ciphertext, the file does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from durable_graph.definition.description import fingerprint_of
from durable_graph.errors import IntegrityError, ThreadBusyError
from durable_graph.log.container import pack, unpack
from durable_graph.log.seal import blob_digest, open_header, open_record
from durable_graph.ports.backend import (
    Backend,
    Card,
    Head,
    Message,
    Position,
    Reading,
    Record,
    ThreadKey,
)
from durable_graph.ports.pieces import (
    plain_messages,
    plain_records,
    read_messages,
    read_records,
)
from durable_graph.ports.rows import pack_card, pack_head, unpack_card, unpack_head

__all__ = ["WholeThread", "check_content", "read_thread", "whole_thread", "write_thread"]

_KIND: Final = "thread"
_VERSION: Final = 1
_PAGE: Final = 500
# How often a thread that changes while it is read is looked at again.
_LOOKS: Final = 8


@dataclass(frozen=True, slots=True)
class WholeThread:
    """All that there is of a thread.

    Attributes:
        head: the head of its log.
        records: every record of it, from the first; some without their bodies, if it was pruned.
        blobs: its large values, by digest.
        messages: those of its inbox that wait.
        card: its card, if it has one.
    """

    head: Head
    records: Sequence[Record]
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    messages: Sequence[Message] = ()
    card: Card | None = None


def write_thread(whole: WholeThread) -> bytes:
    """A thread as one file."""
    key, card = whole.head.key, whole.card
    rows, parts = plain_records(whole.records)
    messages, bodies = plain_messages(whole.messages)
    known = {
        "tenant": key.tenant,
        "thread": key.thread,
        "head": orjson.Fragment(pack_head(whole.head)),
        "card": None if card is None else orjson.Fragment(pack_card(key, card)),
        "records": rows,
        "blobs": list(whole.blobs),
        "messages": messages,
    }
    return pack(_KIND, _VERSION, known, [*parts, *whole.blobs.values(), *bodies])


def read_thread(data: bytes) -> WholeThread:
    """The thread in a file.

    Its log is whole, and its records are those of its hash chain. What is in their bodies, and
    the large values, is not looked into: they may be encrypted; see `check_content`.

    Raises:
        IntegrityError: it is damaged, cut off, or no such file.
        UnknownTypeError: a newer version has written it.
    """
    known, pieces = unpack(_KIND, _VERSION, data)
    try:
        parts = iter(pieces)
        key = ThreadKey(known["tenant"], known["thread"])
        head = unpack_head(key, orjson.dumps(known["head"]))
        card = None if known["card"] is None else unpack_card(key, orjson.dumps(known["card"]))
        records = read_records(known["records"], parts)
        blobs = {digest: next(parts) for digest in known["blobs"]}
        messages = read_messages(known["messages"], parts)
        if next(parts, None) is not None or not all(type(text) is str for text in (*key, *blobs)):
            raise ValueError("no thread is like that")
    except (AttributeError, LookupError, StopIteration, TypeError, ValueError) as error:
        raise IntegrityError("This file is damaged: no thread is like that.") from error
    whole = WholeThread(head, records, blobs, messages, card)
    _check_whole(whole)
    return whole


def check_content(whole: WholeThread) -> None:
    """See that what is in the records' bodies, and the large values, is what was written.

    Raises:
        IntegrityError: it is not.
        UnknownTypeError: a newer version has written it.
    """
    secret, thread = whole.head.secret, whole.head.key.thread
    for record in whole.records:
        if record.body is not None:
            open_record(record, secret, thread)
    for digest, data in whole.blobs.items():
        # A graph's description is kept under the graph's own name, which is its digest, too.
        if digest not in (blob_digest(data, secret), fingerprint_of(data)):
            raise IntegrityError(f"A large value of thread {thread!r} is damaged.")


async def whole_thread(backend: Backend, key: ThreadKey) -> WholeThread | None:
    """All that a backend holds of a thread; ``None`` if it has no log.

    Of a thread that somebody writes to, no look may be whole.

    Raises:
        IntegrityError: some of it is missing or damaged.
        ThreadBusyError: it changes faster than it can be looked at.
        ThreadArchivedError: its log was moved elsewhere.
    """
    for _ in range(_LOOKS):
        reading = await backend.read(key)
        if reading is None:
            return None
        whole = await _gather(backend, reading)
        now = await backend.thread(key)
        if now is not None and now.head is not None and _same(now.head, reading.head):
            whole = replace(whole, card=now.card)
            _check_whole(whole)
            return whole
        # It was extended, pruned or deleted while it was read.
    raise ThreadBusyError(f"Thread {key.thread!r} keeps changing; call again when it rests.")


async def _gather(backend: Backend, reading: Reading) -> WholeThread:
    head = reading.head
    records: list[Record] = []
    for first in range(1, head.seq + 1, _PAGE):
        last = min(first + _PAGE - 1, head.seq)
        records += await backend.scan(head.key, ((first, last),))
    blobs = await backend.blobs(head.key, sorted(_named(records, head.key.thread)))
    return WholeThread(head, records, blobs, reading.messages)


def _check_whole(whole: WholeThread) -> None:
    head, thread = whole.head, whole.head.key.thread
    link = b""
    for seq, record in enumerate(whole.records, 1):
        if record.seq != seq or record.previous != link:
            raise IntegrityError(f"Record {seq} of thread {thread!r} is missing.")
        open_header(record, thread)
        link = record.link
    if (len(whole.records), link) != (head.seq, head.link):
        raise IntegrityError(f"The head of thread {thread!r} is not its last record.")
    if missing := _named(whole.records, thread) - whole.blobs.keys():
        raise IntegrityError(f"{len(missing)} large values of thread {thread!r} are missing.")


def _named(records: Sequence[Record], thread: str) -> set[str]:
    """The large values that these records need."""
    named: set[str] = set()
    for record in records:
        if record.body is not None:
            header = open_header(record, thread)
            named.update(header.blobs)
            if header.commit is not None and header.commit.graph is not None:
                named.add(header.commit.graph)
    return named


def _same(one: Head, other: Head) -> bool:
    return Position.of(one) == Position.of(other)
