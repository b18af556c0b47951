"""Records, messages and processes as values of Redis, and the other way round."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import orjson

from durable_graph.log.records import Ranges
from durable_graph.ports.backend import Liveness, Message, Position, Process, Record
from durable_graph.ports.rows import chained, to_message, to_process

__all__ = [
    "at_of",
    "link_of",
    "pack_message",
    "pack_process",
    "pack_record",
    "to_liveness",
    "to_records",
    "unpack_message",
]

_HAS_CHECKPOINT: Final = 1
_HAS_BODY: Final = 2


def at_of(position: Position | None) -> bytes:
    """A position as the text that scripts compare; empty for no log."""
    if position is None:
        return b""
    return b"%d %d %s" % (position.seq, position.epoch, position.link.hex().encode())


def pack_record(record: Record) -> bytes:
    """A record without its number.

    The link comes first, so that a script can tell whether a record is there by how its value
    begins; the body last, so that it can be cut off. The lengths are big-endian.
    """
    flags = (_HAS_CHECKPOINT if record.checkpoint is not None else 0) | (
        _HAS_BODY if record.body is not None else 0
    )
    kind, checkpoint = record.kind.encode(), (record.checkpoint or "").encode()
    return b"".join(
        (
            link_of(record.link),
            bytes((len(record.digest),)),
            record.digest,
            bytes((flags, len(kind))),
            kind,
            struct.pack(">H", len(checkpoint)),
            checkpoint,
            struct.pack(">I", len(record.header)),
            record.header,
            record.body or b"",
        )
    )


def link_of(link: bytes) -> bytes:
    """How the value of a record with this link begins."""
    return bytes((len(link),)) + link


def to_records(ranges: Ranges, befores: Sequence[Any], values: Sequence[Any]) -> list[Record]:
    """The records of ranges, in which what is missing or damaged is a damaged record.

    Args:
        ranges: within the log.
        befores: for each range, how the value of the record before it begins, or ``None``.
        values: the values of all their records, in order.
    """
    found: list[Record] = []
    place = 0
    for (first, last), before in zip(ranges, befores, strict=True):
        rows = []
        for seq in range(first, last + 1):
            value = values[place]
            place += 1
            if value is not None:
                rows.append(_row(seq, value))
        found += chained(first, last, rows, before[1:] if before else None)
    return found


def _row(seq: int, value: bytes) -> tuple[Any, ...]:
    try:
        end = 1 + value[0]
        link = value[1:end]
        digest = value[end + 1 : (end := end + 1 + value[end])]
        flags, length = value[end], value[end + 1]
        kind = value[end + 2 : (end := end + 2 + length)].decode()
        (length,) = struct.unpack_from(">H", value, end)
        checkpoint = value[end + 2 : (end := end + 2 + length)].decode()
        (length,) = struct.unpack_from(">I", value, end)
        header, body = value[end + 4 : end + 4 + length], value[end + 4 + length :]
    except (IndexError, ValueError, struct.error):
        return (seq, *[None] * 6)
    return (
        seq,
        kind,
        checkpoint if flags & _HAS_CHECKPOINT else None,
        header,
        body if flags & _HAS_BODY else None,
        digest,
        link,
    )


def pack_message(message: Message) -> bytes:
    """A message without its id, its number and its verdict."""
    return orjson.dumps([message.kind, message.by, message.time]) + b"\n" + message.body


def unpack_message(id: str, value: bytes, verdict: bytes | None) -> Message:
    """A message as it is stored: its number, a space, and what was packed."""
    told = verdict.decode(errors="replace") if verdict is not None else None
    try:
        head, _, body = value.partition(b"\n")
        kind, by, time = orjson.loads(head.partition(b" ")[2])
    except ValueError:
        return to_message((id, None, b"", None, 0.0, told))
    return to_message((id, kind, body, by, time, told))


def pack_process(process: Process) -> bytes:
    """A process without its id: its lease, a space, and the rest as JSON."""
    identity = process.identity
    rest = orjson.dumps([identity.host, identity.pid, identity.started, process.lease])
    return f"{process.lease!r} ".encode() + rest


def to_liveness(id: bytes, age: int, value: bytes) -> Liveness | None:
    """What is known of a process; ``None`` if that is damaged.

    Args:
        id: the process.
        age: microseconds since its last sign of life, by the server's clock.
        value: what was packed.
    """
    try:
        host, pid, started, lease = orjson.loads(value.partition(b" ")[2])
        known = to_process((id.decode(), host, pid, started, None, 0.0, lease))
    except ValueError:
        return None
    # A server's clock may be set back, and that of a new primary may be behind.
    return None if known is None else Liveness(known[0], max(age, 0) / 1e6)
