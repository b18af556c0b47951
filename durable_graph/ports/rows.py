"""Heads, cards, records and messages as rows of a table, and the other way round; for backends.

Storage can be damaged. What comes out of here is what went in, or `IntegrityError`, or a record
that whoever opens it finds damaged; never something else. Records are protected by the hash
chain; heads and cards, which are no part of it, by a checksum.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

import orjson

from durable_graph.decisions.liveness import Identity, Process
from durable_graph.errors import IntegrityError
from durable_graph.log.records import Head, Kind, Record, Status, ThreadKey
from durable_graph.ports.backend import Card, Message

__all__ = [
    "card_values",
    "chained",
    "head_values",
    "pack_card",
    "pack_head",
    "to_card",
    "to_head",
    "to_message",
    "to_process",
    "unpack_card",
    "unpack_head",
    "until_commit",
]

_KINDS: Final = frozenset(get_args(Kind))
_STATUSES: Final = frozenset(get_args(Status))


def head_values(head: Head) -> tuple[Any, ...]:
    """The columns of a head, without its key.

    Returns:
        seq, epoch, link, secret, status, owner, state, created, updated, checksum. The state is
        JSON, and the rest of the head.
    """
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


def to_head(tenant: str, thread: str, row: Sequence[Any]) -> Head:
    """The head in a row of `head_values`.

    Raises:
        IntegrityError: it is not what was written.
    """
    *values, known = row
    try:
        seq, epoch, link, secret, status, owner, state, created, updated = values
        if _checksum(tenant, thread, values) != known:
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


def card_values(key: ThreadKey, card: Card) -> tuple[Any, ...]:
    """The columns of a card, without its key.

    Returns:
        version, owner, tags (JSON), metadata (JSON), expires, archived, time, body, checksum.
    """
    values = (
        card.version,
        card.owner,
        orjson.dumps(card.tags).decode(),
        orjson.dumps(dict(card.metadata), option=orjson.OPT_SORT_KEYS).decode(),
        card.expires,
        card.archived,
        card.time,
        card.body,
    )
    return (*values, _card_checksum(key, values))


def to_card(key: ThreadKey, row: Sequence[Any]) -> Card:
    """The card in a row of `card_values`.

    Raises:
        IntegrityError: it is not what was written.
    """
    *values, known = row
    try:
        version, owner, tags, metadata, expires, archived, time, body = values
        if _card_checksum(key, values) != known:
            raise ValueError("not what was written")
        card = Card(
            version=version,
            owner=owner,
            tags=tuple(orjson.loads(tags)),
            metadata=orjson.loads(metadata),
            expires=expires,
            archived=archived,
            time=time,
            body=body,
        )
        if not _is_sound_card(card):
            raise ValueError("not what anybody writes")
        return card
    except (TypeError, ValueError, LookupError) as error:
        raise IntegrityError(f"The card of thread {key.thread!r} is damaged.") from error


def _is_sound_card(card: Card) -> bool:
    """Whether everything on a card is of its kind, as for a head."""
    return (
        type(card.version) is int
        and all(text is None or type(text) is str for text in (card.owner, card.archived))
        and all(type(tag) is str for tag in card.tags)
        and type(card.metadata) is dict
        and all(type(v) in (str, int, float, bool, type(None)) for v in card.metadata.values())
        and (card.expires is None or type(card.expires) in (float, int))
        and type(card.time) in (float, int)
        and type(card.body) is bytes
    )


def _card_checksum(key: ThreadKey, values: Sequence[Any]) -> int:
    *rest, time, body = values
    text = "\0".join(map(repr, (*key, *rest, time + 0.0)))
    return zlib.crc32(text.encode(errors="surrogatepass") + b"\0" + body)


def pack_head(head: Head) -> bytes:
    """A head without its key as one value, for storage that has no columns."""
    seq, epoch, link, secret, status, owner, state, created, updated, checksum = head_values(head)
    return orjson.dumps(
        [
            *(seq, epoch, link.hex(), secret.hex(), status, owner),
            *(orjson.Fragment(state), created, updated, checksum),
        ]
    )


def unpack_head(key: ThreadKey, data: bytes) -> Head:
    """The head that was packed.

    Raises:
        IntegrityError: it is not what was packed.
    """
    try:
        seq, epoch, link, secret, status, owner, state, *rest = orjson.loads(data)
        links = bytes.fromhex(link), bytes.fromhex(secret)
        row = (seq, epoch, *links, status, owner, orjson.dumps(state), *rest)
    except (TypeError, ValueError) as error:
        raise IntegrityError(f"The head of thread {key.thread!r} is damaged.") from error
    return to_head(*key, row)


def pack_card(key: ThreadKey, card: Card) -> bytes:
    """A card as one value, for storage that has no columns."""
    *values, body, checksum = card_values(key, card)
    return orjson.dumps([*values, body.decode(), checksum])


def unpack_card(key: ThreadKey, data: bytes) -> Card:
    """The card that was packed.

    Raises:
        IntegrityError: it is not what was packed.
    """
    try:
        *values, body, checksum = orjson.loads(data)
        row = (*values, body.encode(), checksum)
    except (TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"The card of thread {key.thread!r} is damaged.") from error
    return to_card(key, row)


def chained(first: int, last: int, rows: Sequence[Any], before: Any) -> list[Record]:
    """The rows of a range as its records, each with the link of the one before it.

    Args:
        first: the range's first number.
        last: its last, which is no further than the log.
        rows: those that were found: seq, kind, checkpoint, header, body, digest, link.
        before: the link of the record before the first; anything but bytes if there is none.
    """
    link = before if first > 1 and type(before) is bytes and rows and rows[0][0] == first else b""
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


def until_commit(records: Iterable[Record]) -> list[Record]:
    """Records up to and including the first commit among them: what comes after a checkpoint."""
    found: list[Record] = []
    for record in records:
        found.append(record)
        if record.kind == "commit":
            break
    return found


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
