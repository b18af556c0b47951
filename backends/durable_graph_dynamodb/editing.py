"""Removals, cards and messages as changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from durable_graph.ports.backend import Card, Message, Ranges, Removal, ThreadKey
from durable_graph_dynamodb.appending import moved
from durable_graph_dynamodb.changes import Change
from durable_graph_dynamodb.keys import (
    THREAD,
    blob_key,
    hashed,
    message_key,
    minute_of,
    partition,
    waiting_key,
)
from durable_graph_dynamodb.parts import Parts, Spill, parts_in, split
from durable_graph_dynamodb.requests import Check, Delete, Put, Request, Update, Where
from durable_graph_dynamodb.segments import Segment
from durable_graph_dynamodb.threads import Found, card_attributes, head_attributes, without_log
from durable_graph_dynamodb.values import Item

__all__ = ["ending_of", "labelled", "posting_of", "pruning_of"]


def labelled(key: ThreadKey, card: Card, found: Found | None) -> list[Request]:
    """What stores a card in the place of the one that was found.

    Raises:
        StorageError: it is too large.
    """
    pk, sets = partition(key), card_attributes(key, card)
    if found is not None and found.life is not None:
        where = _as_found(found, {"life": found.life})
        return [Update(pk, THREAD, sets, where)]
    minute = minute_of(card.time)
    where = Where(absent=("pk",))
    if found is not None:
        where = _as_found(found, {"minute": found.minute}, "life")
    old = found.minute if found is not None else None
    changed = Update(pk, THREAD, {**sets, "minute": minute}, where)
    return [changed, *moved(key.tenant, key.thread, old, minute)]


def ending_of(found: Found, what: Removal, announced: Put | None) -> list[Request]:
    """What ends a thread as it was found.

    Args:
        found: the thread.
        what: its removal.
        announced: the intent to delete what its log has held, if it has one.

    Raises:
        StorageError: the card that is to stay is too large.
    """
    key, pk = found.key, partition(found.key)
    at: dict[str, Any] = {"minute": found.minute}
    if found.life is not None:
        at["life"] = found.life
    if what.expected is not None:
        at |= _position(what)
    where = _as_found(found, at, *(() if found.life is not None else ("life",)))
    thread: Request = Delete(pk, THREAD, where)
    minute: str | None = None
    if what.card is not None:
        minute = minute_of(what.card.time)
        sets = {**without_log(), **card_attributes(key, what.card), "minute": minute}
        thread = Update(pk, THREAD, sets, where)
    rest = [announced] if announced is not None else []
    return [thread, *moved(key.tenant, key.thread, found.minute, minute), *rest]


def pruning_of(
    found: Found, what: Removal, id: str, segments: Sequence[Segment], blobs: Mapping[str, Item]
) -> Change | None:
    """What takes a part out of a thread as it was found; ``None`` if it is not where expected.

    Args:
        found: the thread.
        what: what is removed.
        id: names the change.
        segments: those that hold the records in question.
        blobs: the large values in question, by sort key.
    """
    head, life = found.head, found.life
    if head is None or life is None or what.expected is None or what.expected != found.position:
        return None
    told, apart = head_attributes(replace(head, epoch=head.epoch + 1), id)
    at = {"life": life, **_position(what)}
    deletes = [sk for part in _parts_of(segments, what.bodies) for sk in part.keys(life)]
    for digest in dict.fromkeys(what.blobs):
        sk = blob_key(life, digest)
        if sk in blobs:
            place = parts_in(blobs[sk])
            deletes += [sk, *(place.keys(life) if place is not None else ())]
    pruned = [segment.prune(lambda seq: _is_in(what.bodies, seq)) for segment in segments]
    pk = partition(found.key)
    return Change(
        id=id,
        pk=pk,
        life=life,
        thread=Update(pk, THREAD, told, Where(at, absent=("pending",))),
        puts=[segment.item(life) for segment in pruned],
        deletes=deletes,
        head=list(split(apart, Parts(id, 0, told["head_parts"]), life, "h")) if apart else [],
    )


def posting_of(found: Found, message: Message, id: str, place: int) -> Change:
    """What leaves a message.

    Args:
        found: the thread, which has a log.
        message: the message.
        id: names the change.
        place: the message's among those of the thread.
    """
    life, pk = found.life or "", partition(found.key)
    spill = Spill(life, id)
    item = {
        "sk": message_key(life, message.id),
        "id": message.id,
        "kind": message.kind,
        "by": message.by,
        "time": repr(float(message.time)),
        "verdict": message.verdict,
        "place": place,
        "posted": found.position.seq if found.position is not None else 0,
        **spill.attributes(message.body),
    }
    waiting = {"sk": waiting_key(life, place), "message": hashed(message.id)}
    return Change(
        id=id,
        pk=pk,
        life=life,
        thread=Check(pk, THREAD, Where({"life": life})),
        # Only one of those who post a message puts it in a place.
        beside=[Put({"pk": pk, **item}, Where(absent=("pk",)))],
        puts=[waiting],
        parts=spill.items,
    )


def _as_found(found: Found, equal: Mapping[str, Any], *absent: str) -> Where:
    """That the card is as it was found, and something else."""
    if found.card is not None:
        return Where({**equal, "version": found.card.version}, absent)
    return Where(equal, (*absent, "version"))


def _position(what: Removal) -> dict[str, Any]:
    at = what.expected
    return {} if at is None else {"seq": at.seq, "epoch": at.epoch, "link": at.link}


def _parts_of(segments: Sequence[Segment], bodies: Ranges) -> Iterator[Parts]:
    for segment in segments:
        for record in segment.records:
            if isinstance(record.body, Parts) and _is_in(bodies, record.seq):
                yield record.body


def _is_in(ranges: Ranges, seq: int) -> bool:
    return any(first <= seq <= last for first, last in ranges)
