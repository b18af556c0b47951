"""Rows: heads and cards, under checksums that were made to fit by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from durable_graph.decisions.cards import read_notes
from durable_graph.errors import IntegrityError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Card
from durable_graph.ports.rows import (
    _card_checksum,
    _checksum,
    pack_card,
    to_message,
    to_process,
    unpack_card,
    unpack_head,
)
from tests.fuzz.stored import stored_heads
from tests.fuzz.target import Target

__all__ = ["CARDS", "HEADS", "OTHERS", "fitting_card", "fitting_head"]

_KEY: Final = ThreadKey("", "the thread")


def _fitting(data: bytes, checksum: Callable[[list[Any]], int]) -> bytes:
    """The same with a checksum that fits, if one can be computed of it."""
    try:
        *values, _ = orjson.loads(data)
        return orjson.dumps([*values, checksum(values)])
    except (AttributeError, LookupError, TypeError, ValueError):
        return data


def fitting_head(data: bytes, key: ThreadKey = _KEY) -> bytes:
    """A packed head with a checksum that fits."""

    def checksum(values: list[Any]) -> int:
        seq, epoch, link, secret, status, owner, state, created, updated = values
        parts = [seq, epoch, bytes.fromhex(link), bytes.fromhex(secret), status, owner]
        return _checksum(*key, [*parts, orjson.dumps(state), created, updated])

    return _fitting(data, checksum)


def fitting_card(data: bytes, key: ThreadKey = _KEY) -> bytes:
    """A packed card with a checksum that fits."""
    return _fitting(data, lambda values: _card_checksum(key, (*values[:-1], values[-1].encode())))


def _read_head(data: bytes) -> None:
    unpack_head(_KEY, fitting_head(data))


def _read_card(data: bytes) -> None:
    card = unpack_card(_KEY, fitting_card(data))
    read_notes(card.body, _KEY.thread)


def _read_other(data: bytes) -> None:
    """A message and a process, whose readers refuse nothing."""
    for read, columns in ((to_message, 6), (to_process, 7)):
        try:
            row = list(orjson.loads(data))[:columns]
        except (TypeError, ValueError):
            return
        row += [None] * (columns - len(row))
        read(
            [
                part.encode() if index == 2 and type(part) is str else part
                for index, part in enumerate(row)
            ]
        )


def _head_seed(head: dict[str, Any]) -> bytes:
    values = [head[name] for name in ("seq", "epoch")]
    values += [head["link"].hex(), head["secret"].hex(), head["status"], head["owner"]]
    values += [orjson.Fragment(head["state"]), head["created"], head["updated"], 0]
    return orjson.dumps(values)


_NOTES: Final = (
    b'{"id":"x","created":1.0,"ttl":60,"acts":[{"what":"created","time":1.0,"by":"me"}]}'
)

HEADS: Final = Target("heads", _read_head, (IntegrityError,), [*map(_head_seed, stored_heads())])
CARDS: Final = Target(
    "cards",
    _read_card,
    (IntegrityError,),
    [
        pack_card(_KEY, Card(3, "me", ("a", "ä"), {"a": 1, "b": None}, 1e9, None, 2.0, _NOTES)),
        pack_card(_KEY, Card(1, None, (), {}, None, "file:///x/1.thread", 2.0, b"{}")),
    ],
)
OTHERS: Final = Target(
    "others",
    _read_other,
    (),
    [
        b'["id","answer","{}","me",1.5,null]',
        b'["id","host",7,3,"boot",1.5,10.0]',
        b"[]",
    ],
)
