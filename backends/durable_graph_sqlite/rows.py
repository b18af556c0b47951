"""Rows of the tables as heads, records and messages, and the other way round.

A file can be damaged on its disk. What comes out of here is what went in, or `IntegrityError`, or
a record that whoever opens it finds damaged; never something else.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from typing import Any, Final, get_args

import orjson

from durable_graph.errors import IntegrityError
from durable_graph.log.records import Kind, Status
from durable_graph.ports.backend import (
    Head,
    Identity,
    Message,
    Process,
    Ranges,
    Record,
    ThreadKey,
)
from durable_graph_sqlite.sql import QUERIES

__all__ = [
    "find_checkpoint",
    "from_cursor",
    "head_values",
    "read_records",
    "to_cursor",
    "to_head",
    "to_message",
    "to_process",
]

_KINDS: Final = frozenset(get_args(Kind))
_STATUSES: Final = frozenset(get_args(Status))


def head_values(head: Head) -> tuple[Any, ...]:
    """The columns of a head, without its key."""
    values = (
        head.seq,
        head.epoch,
        head.link,
        head.secret,
        head.status,
        head.owner,
        _state_of(head),
        head.created,
        head.updated,
    )
    return (*values, _checksum(*head.key, values))


def to_head(row: Sequence[Any]) -> Head:
    """The head in a row.

    Raises:
        IntegrityError: it is not what was written.
    """
    id, tenant, thread, seq, epoch, link, secret, status, owner, state, created, updated, known = (
        row
    )
    values = (seq, epoch, link, secret, status, owner, state, created, updated)
    try:
        if _checksum(tenant, thread, values) != known or type(id) is not int:
            raise ValueError("not what was written")
        rest = orjson.loads(state)
        head = Head(
            key=ThreadKey(tenant, thread),
            seq=seq,
            epoch=epoch,
            link=link,
            secret=secret,
            status=status,
            owner=owner,
            run=rest["run"],
            checkpoint=rest["checkpoint"],
            step=rest["step"],
            path=tuple((first, last) for first, last in rest["path"]),
            weight=rest["weight"],
            fresh=rest["fresh"],
            size=rest["size"],
            input=rest["input"],
            reason=rest["reason"],
            created=created,
            updated=updated,
        )
        if not _is_sound(head):
            raise ValueError("not what anybody writes")
        return head
    except (TypeError, ValueError, LookupError) as error:
        raise IntegrityError(f"The head of thread {thread!r} is damaged.") from error


def _is_sound(head: Head) -> bool:
    """Whether everything in a head is of its kind: its checksum can be made to fit by hand."""
    numbers = (head.seq, head.epoch, head.step, head.weight, head.fresh, head.size)
    places = [place for part in head.path for place in part]
    return (
        all(type(number) is int for number in (*numbers, *places))
        and head.seq > 0
        and places == sorted(places)
        and type(head.checkpoint) is str
        and all(
            text is None or type(text) is str
            for text in (head.owner, head.run, head.input, head.reason)
        )
        and head.status in _STATUSES
    )


def _state_of(head: Head) -> bytes:
    return orjson.dumps(
        {
            "run": head.run,
            "checkpoint": head.checkpoint,
            "step": head.step,
            "path": head.path,
            "weight": head.weight,
            "fresh": head.fresh,
            "size": head.size,
            "input": head.input,
            "reason": head.reason,
        }
    )


def _checksum(tenant: str, thread: str, values: Sequence[Any]) -> int:
    """What tells a head that was written from one that has changed on the disk.

    Records are protected by the hash chain, which heads are no part of.
    """
    seq, epoch, link, secret, status, owner, state, created, updated = values
    times = f"{created + 0.0!r}\0{updated + 0.0!r}"  # as SQLite gives them back: -0.0 becomes 0.0
    text = f"{tenant}\0{thread}\0{seq}\0{epoch}\0{status}\0{owner}\0{times}"
    return zlib.crc32(b"\0".join((text.encode(), link, secret, state)))


def read_records(
    db: sqlite3.Connection,
    thread_id: int,
    end: int,
    ranges: Ranges,
    *,
    bodies: bool = True,
    limit: int | None = None,
    newest_first: bool = False,
) -> list[Record]:
    """Records of a log that ends at `end`; one that cannot be found there is a damaged one."""
    query = QUERIES["records" if bodies else "headers"]
    found: list[Record] = []
    for first, last in reversed(ranges) if newest_first else ranges:
        first, last = max(first, 1), min(last, end)  # noqa: PLW2901 - as far as the log goes
        if limit is not None:  # a log has no gaps, so a limit is a range
            left = limit - len(found)
            first, last = (  # noqa: PLW2901
                (max(first, last - left + 1), last)
                if newest_first
                else (first, min(last, first + left - 1))
            )
        if first <= last:
            rows = _fetch(db, query, (thread_id, first, last))
            part = _chained(db, thread_id, first, last, rows)
            found += reversed(part) if newest_first else part
    return found


def find_checkpoint(db: sqlite3.Connection, thread_id: int, checkpoint: str) -> Record | None:
    """The commit of a checkpoint, without its body."""
    rows = _fetch(db, QUERIES["checkpoint"], (thread_id, checkpoint))
    if not rows or type(rows[0][0]) is not int:
        return None
    return _chained(db, thread_id, rows[0][0], rows[0][0], rows)[0]


def _fetch(db: sqlite3.Connection, query: str, values: Sequence[Any]) -> list[Any]:
    """All rows of a query, also if there is text among them that is none."""
    try:
        return db.execute(query, values).fetchall()
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
    db.text_factory = _readable
    try:
        return db.execute(query, values).fetchall()
    finally:
        db.text_factory = str


def _readable(text: bytes) -> str:
    return text.decode(errors="replace")


def _chained(
    db: sqlite3.Connection, thread_id: int, first: int, last: int, rows: Sequence[Any]
) -> list[Record]:
    """The rows of a range as its records, each with the link of the one before it."""
    if rows and rows[0][0] == first and first > 1:
        before = db.execute(QUERIES["link"], (thread_id, first - 1)).fetchone()
        link = before[0] if before is not None and type(before[0]) is bytes else b""
    else:
        link = b""
    if [row[0] for row in rows] != list(range(first, last + 1)):
        rows = _with_gaps(first, last, rows)
    records = []
    for seq, kind, checkpoint, header, body, digest, own in rows:
        if (
            kind in _KINDS
            and type(header) is type(digest) is type(own) is bytes
            and (body is None or type(body) is bytes)
        ):
            records.append(Record(seq, kind, checkpoint, header, body, digest, own, link))
            link = own
        else:
            # No record has an empty link: whoever opens this one finds it damaged.
            records.append(Record(seq, "commit", None, b"", b"", b"", b"", link))
            link = own if type(own) is bytes else b""
    return records


def _with_gaps(first: int, last: int, rows: Sequence[Any]) -> list[Any]:
    """One row for each number of a range, with nothing in it where there is none."""
    known = {row[0]: row for row in rows}
    return [known.get(seq, (seq, *[None] * 6)) for seq in range(first, last + 1)]


def to_message(row: Sequence[Any]) -> Message:
    """The message in a row; a damaged one says nothing, so whoever takes it up refuses it."""
    id, kind, body, by, time, verdict = row
    texts = type(kind) is str and type(by) in (str, type(None))
    if not texts or type(body) is not bytes or type(time) is not float:
        return Message(id, "answer", b"", None, 0.0, verdict)
    return Message(id, kind, body, by, time, verdict)


def to_process(row: Sequence[Any]) -> tuple[Process, str | None, float] | None:
    """A process, its boot and its last sign of life; ``None`` if the row is damaged.

    Who cannot be made out counts as one that is not known: then nothing is worse than that its
    threads are taken over, and it is fenced.
    """
    id, host, pid, started, boot, beat, lease = row
    if (
        type(id) is str
        and type(boot) in (str, type(None))
        and type(pid) is int
        and type(beat) in (float, int)
        and type(lease) in (float, int)
        and type(host) in (str, type(None))
        and type(started) in (int, type(None))
    ):
        return Process(id, Identity(host, pid, started), lease), boot, beat
    return None


def to_cursor(head: Head) -> str:
    return f"{head.updated!r} {head.key.thread}"


def from_cursor(cursor: str | None) -> tuple[float | None, str | None]:
    if cursor is None:
        return None, None
    updated, _, thread = cursor.partition(" ")
    return float(updated), thread
