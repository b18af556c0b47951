"""Records and messages as JSON beside pieces of bytes, and back; for `durable_graph.log.container`.

What is read back may have been made by somebody who means harm. It is of the right kind in every
field, or `ValueError`, `TypeError` or `LookupError` is raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, get_args

from durable_graph.log.records import Kind
from durable_graph.ports.backend import Message, Record

__all__ = ["plain_messages", "plain_records", "read_messages", "read_records"]

_KINDS: Final = frozenset(get_args(Kind))


def plain_records(records: Sequence[Record]) -> tuple[dict[str, Any], list[bytes]]:
    """Consecutive records as JSON, and the pieces: each one's header and, if it is there, body."""
    rows = [
        [r.kind, r.checkpoint, r.digest.hex(), r.link.hex(), r.body is not None] for r in records
    ]
    parts = [part for r in records for part in (r.header, r.body) if part is not None]
    first = records[0] if records else None
    return {
        "first": first.seq if first is not None else 1,
        "previous": first.previous.hex() if first is not None else "",
        "rows": rows,
    }, parts


def read_records(plain: Any, parts: Iterator[bytes]) -> list[Record]:
    """The records that were written as JSON; their pieces are taken off `parts`."""
    seq, previous = plain["first"], bytes.fromhex(plain["previous"])
    if type(seq) is not int or seq < 1:
        raise ValueError("no log is like that")
    records = []
    for kind, checkpoint, digest, link, has_body in plain["rows"]:
        sound = kind in _KINDS and type(has_body) is bool and type(checkpoint) in (str, type(None))
        if not sound:
            raise ValueError("no record is like that")
        header = _next(parts)
        body = _next(parts) if has_body else None
        own = bytes.fromhex(link)
        records.append(
            Record(seq, kind, checkpoint, header, body, bytes.fromhex(digest), own, previous)
        )
        seq, previous = seq + 1, own
    return records


def plain_messages(messages: Sequence[Message]) -> tuple[list[Any], list[bytes]]:
    """Messages as JSON, and their bodies."""
    return [[m.id, m.kind, m.by, m.time, m.verdict] for m in messages], [m.body for m in messages]


def read_messages(plain: Any, parts: Iterator[bytes]) -> list[Message]:
    """The messages that were written as JSON; their bodies are taken off `parts`."""
    messages = []
    for id, kind, by, time, verdict in plain:
        texts = type(id) is type(kind) is str and all(
            text is None or type(text) is str for text in (by, verdict)
        )
        if not texts or type(time) not in (int, float):
            raise ValueError("no message is like that")
        messages.append(Message(id, kind, b"", by, float(time), verdict))
    return [replace(message, body=_next(parts)) for message in messages]


def _next(parts: Iterator[bytes]) -> bytes:
    part = next(parts, None)
    if part is None:
        raise ValueError("there are fewer pieces than there should be")
    return part
