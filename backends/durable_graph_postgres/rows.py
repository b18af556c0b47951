"""Appends as arguments of a statement, and rows as what was stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import orjson

from durable_graph.ports.backend import (
    Append,
    Card,
    Head,
    Message,
    Position,
    Process,
    Ranges,
    Record,
    Scalar,
    Thread,
    ThreadKey,
    ThreadQuery,
)
from durable_graph.ports.rows import (
    chained,
    head_values,
    pack_card,
    to_head,
    to_message,
    to_process,
    unpack_card,
)

__all__ = [
    "Found",
    "append_arguments",
    "card_arguments",
    "extend_arguments",
    "process_arguments",
    "spans_of",
    "to_living",
    "to_posted",
    "to_thread",
    "wanted_terms",
]

# PostgreSQL's index takes no longer keys; what is longer is told by its hash.
_LONGEST_TERM: Final = 500

_HEADS: Final = 15
_RECORDS: Final = 8
_BLOBS: Final = 3
_VERDICTS: Final = 3
_CARDS: Final = 6
_NO_PROCESS: Final = (None,) * 5


def extend_arguments(append: Append, patience: str) -> tuple[Any, ...] | None:
    """What the statement `extend` is given; ``None`` if the append is not what it is for."""
    expected = append.expected
    if (
        expected is None
        or len(append.records) != 1
        or append.blobs
        or append.settled
        or append.card is not None
        or append.puts
    ):
        return None
    head, (r,) = append.head, append.records
    return (
        patience,
        *head.key,
        expected.seq,
        expected.epoch,
        expected.link,
        *head_values(head),
        *(r.seq, r.kind, r.checkpoint, r.digest, r.link, r.header, r.body),
    )


def append_arguments(
    batch: Sequence[Append], beat: Process | None, patience: str
) -> tuple[Any, ...]:
    """What the function `append` is called with, for appends in the order of their threads."""
    heads: list[tuple[Any, ...]] = []
    records: list[tuple[Any, ...]] = []
    blobs: list[tuple[Any, ...]] = []
    verdicts: list[tuple[Any, ...]] = []
    cards: list[tuple[Any, ...]] = []
    for n, append in enumerate(batch, 1):
        head, expected = append.head, append.expected
        before = (
            (None, None, None)
            if expected is None
            else (expected.seq, expected.epoch, expected.link)
        )
        heads.append((*head.key, *before, *head_values(head)))
        records += [
            (n, r.seq, r.kind, r.checkpoint, r.digest, r.link, r.header, r.body)
            for r in append.records
        ]
        if append.blobs:
            blobs += [(n, digest, data) for digest, data in append.blobs.items()]
        if append.settled:
            verdicts += [(n, id, verdict.encode()) for id, verdict in append.settled.items()]
        if append.card is not None:
            cards.append((n, *card_arguments(head.key, append.card)))
    return (
        patience,
        *_columns(heads, _HEADS),
        *_columns(records, _RECORDS),
        *_columns(blobs, _BLOBS),
        *_columns(verdicts, _VERDICTS),
        *_columns(cards, _CARDS),
        *(_NO_PROCESS if beat is None else process_arguments(beat)),
    )


def _columns(rows: list[tuple[Any, ...]], width: int) -> Iterable[Sequence[Any] | None]:
    # NULL for what is not there, as most is most of the time: an empty array costs both sides more.
    return zip(*rows, strict=True) if rows else (None,) * width


def process_arguments(process: Process) -> tuple[Any, ...]:
    """A process as the function `beat` takes it."""
    identity = process.identity
    return process.id, identity.host, identity.pid, identity.started, process.lease


def card_arguments(key: ThreadKey, card: Card) -> tuple[Any, ...]:
    """A card as functions take it: version, terms, expires, archived, and all of it."""
    terms = orjson.dumps(_terms(card.owner, card.tags, card.metadata.items())).decode()
    return card.version, terms, card.expires, card.archived is not None, pack_card(key, card)


def wanted_terms(query: ThreadQuery) -> list[str]:
    """What the terms of a card must have among them to be asked for."""
    return _terms(query.owner, query.tags, query.metadata.items())


def _terms(
    owner: str | None, tags: Iterable[str], metadata: Iterable[tuple[str, Scalar]]
) -> list[str]:
    found = [] if owner is None else [f"owner {_json(owner)}"]
    found += [f"tag {_json(tag)}" for tag in tags]
    found += [f"{_json(name)}: {_plain(value)}" for name, value in metadata]
    return [
        term if len(term) <= _LONGEST_TERM else f"# {hashlib.sha256(term.encode()).hexdigest()}"
        for term in found
    ]


def _plain(value: Scalar) -> str:
    """A value as text, the same for values that are the same: 1 and 1.0, but not `True`."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _json(value)


def _json(value: str | bool | None) -> str:
    # ASCII only, so that there is no character that PostgreSQL's text cannot hold.
    return orjson.dumps(value).decode().replace("\x7f", "\\u007f")


@dataclass(slots=True)
class Found:
    """What a statement with a column `what` has found of a thread.

    Attributes:
        key: the thread.
        head: its head.
        card: its card, if it has no log.
        records: the records of the ranges that were asked for.
        messages: what waits, oldest first.
        next: where the next commit is.
    """

    key: ThreadKey
    head: Head | None = None
    card: Card | None = None
    records: list[Record] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    next: int | None = None

    @classmethod
    def of(cls, key: ThreadKey, rows: Iterable[Any]) -> Found:
        """Put together what was found.

        Raises:
            IntegrityError: head or card are not what was written.
        """
        found = cls(key)
        spans: dict[int, tuple[int, int, Any]] = {}
        records: dict[int, list[tuple[Any, ...]]] = {}
        messages: list[tuple[int, Message]] = []
        for row in rows:
            what, seq, epoch, kind, name, header, body, digest, link, created, updated, n = row
            if what == "record":
                records.setdefault(n, []).append((seq, kind, name, header, body, digest, link))
            elif what == "span":
                spans[n] = seq, epoch, link
            elif what == "head":
                values = (seq, epoch, link, digest, kind, name, header, created, updated, n)
                found.head = to_head(*key, values)
            elif what == "message":
                messages.append((seq, to_posted((name, header, body, digest, created, link))))
            elif what == "card":
                found.card = unpack_card(key, header)
            else:
                found.next = seq
        messages.sort(key=itemgetter(0))
        found.messages = [message for _, message in messages]
        for n in sorted(spans):
            first, last, link = spans[n]
            rest = sorted(records.get(n, ()), key=itemgetter(0))
            found.records += chained(first, last, rest, link)
        return found

    @property
    def position(self) -> Position | None:
        """Where its log stands."""
        return None if self.head is None else Position.of(self.head)


def spans_of(ranges: Ranges) -> tuple[list[int], list[int]]:
    """Ranges as two columns."""
    return [first for first, _ in ranges], [last for _, last in ranges]


def to_thread(tenant: str, row: Sequence[Any]) -> Thread:
    """The thread in a row.

    Raises:
        IntegrityError: its head or its card are not what was written.
    """
    name, *head, card = row
    key = ThreadKey(tenant, name)
    return Thread(
        key,
        to_head(tenant, name, head) if head[0] is not None else None,
        unpack_card(key, card) if card is not None else None,
    )


def to_posted(row: Sequence[Any]) -> Message:
    """The message in a row; see `durable_graph.ports.rows.to_message`."""
    id, kind, body, author, time, verdict = row
    return to_message((id, _text(kind), body, _text(author), time, _text(verdict)))


def _text(data: bytes | None) -> Any:
    """Text that was stored as bytes; if it was damaged, something that is no text."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def to_living(row: Sequence[Any]) -> tuple[Process, float] | None:
    """A process and the age of its last sign of life; ``None`` if the row is damaged."""
    id, host, pid, started, lease, age = row
    known = to_process((id, host, pid, started, None, age, lease))
    return None if known is None else (known[0], known[2])
