"""A thread's own item: where its log stands, its head, and its card."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Final

from durable_graph.errors import IntegrityError, StorageError
from durable_graph.ports.backend import Card, Head, Position, Thread, ThreadKey
from durable_graph.ports.rows import pack_card, pack_head, unpack_card, unpack_head
from durable_graph_dynamodb.parts import PART, Parts
from durable_graph_dynamodb.values import Item

__all__ = ["Found", "card_attributes", "found_in", "head_attributes", "without_log"]

_LONG: Final = 4096
_LONGEST_HEAD: Final = 200 * 1024
_LONGEST_CARD: Final = 100 * 1024
# What nobody has written cannot blow up memory.
_INFLATED: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Found:
    """A thread's item as it was found.

    Attributes:
        key: the thread.
        minute: under which it is listed.
        life: names the items of its log; ``None`` if it has none.
        position: where its log stands.
        head: the head of its log, unless that is elsewhere.
        head_at: where it is then.
        card: its card.
        pending: the change whose parts are still to be put in their places.
    """

    key: ThreadKey
    minute: str
    life: str | None = None
    position: Position | None = None
    head: Head | None = None
    head_at: Parts | None = None
    card: Card | None = None
    pending: str | None = None

    @property
    def thread(self) -> Thread:
        """As the port tells it."""
        return Thread(self.key, self.head, self.card)


def found_in(key: ThreadKey, item: Item, head: bytes | None = None) -> Found:
    """What a thread's item says.

    Args:
        key: the thread.
        item: its item.
        head: its head, if that was elsewhere and has been fetched.

    Raises:
        IntegrityError: it is not what was written.
    """
    try:
        minute, life, pending = item["minute"], item.get("life"), item.get("pending")
        card = unpack_card(key, _inflated(item["card"])) if "card" in item else None
        texts = type(minute) is str and all(type(t) in (str, type(None)) for t in (life, pending))
        if not texts or (card is None and life is None):
            raise ValueError("not what anybody writes")
        if life is None:
            return Found(key, minute, card=card)
        position = Position(item["seq"], item["epoch"], item["link"])
        at = Parts(item["head_at"], 0, item["head_parts"]) if "head_at" in item else None
        if at is not None and head is None:
            return Found(key, minute, life, position, None, at, card, pending)
        known = unpack_head(key, _inflated(item["head"] if at is None else head))
        if Position.of(known) != position:
            raise ValueError("not what its head says")
        return Found(key, minute, life, position, known, at, card, pending)
    except (ValueError, TypeError, LookupError) as error:
        raise IntegrityError(f"The item of thread {key.thread!r} is damaged.") from error


def head_attributes(head: Head, change: str) -> tuple[dict[str, Any], bytes]:
    """The attributes that a head is, and the part of it that has to be elsewhere.

    Args:
        head: the head.
        change: what stores it.
    """
    packed = _deflated(pack_head(head))
    told: dict[str, Any] = {
        "seq": head.seq,
        "epoch": head.epoch,
        "link": head.link,
        "head": packed,
        "head_at": None,
        "head_parts": None,
    }
    if len(packed) <= _LONGEST_HEAD:
        return told, b""
    parts = -(-len(packed) // PART)
    return {**told, "head": None, "head_at": change, "head_parts": parts}, packed


def card_attributes(key: ThreadKey, card: Card) -> dict[str, Any]:
    """The attributes that a card is.

    Raises:
        StorageError: it is too large to be one.
    """
    packed = _deflated(pack_card(key, card))
    if len(packed) > _LONGEST_CARD:
        raise StorageError(
            f"The card of thread {key.thread!r} has {len(packed)} bytes; in DynamoDB it may have "
            f"{_LONGEST_CARD}. Keep less in its metadata. Nothing was written."
        )
    return {"card": packed, "version": card.version}


def without_log() -> dict[str, Any]:
    """What takes the log out of a thread's item."""
    names = ("life", "seq", "epoch", "link", "head", "head_at", "head_parts", "pending", "posts")
    return dict.fromkeys(names)


def _deflated(data: bytes) -> bytes:
    return data if len(data) <= _LONG else zlib.compress(data, 1)


def _inflated(data: Any) -> bytes:
    """What was packed, which is JSON and begins with a bracket."""
    if type(data) is not bytes:
        raise TypeError("no bytes")
    if data[:1] == b"[":
        return data
    inflating = zlib.decompressobj()
    try:
        plain = inflating.decompress(data, _INFLATED)
    except zlib.error as error:
        raise ValueError("not what was packed") from error
    if not inflating.eof:
        raise ValueError("not what was packed, or not all of it")
    return plain
