"""An append as a change, and what becomes of one that was refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from durable_graph.ports.backend import Append, Outcome, next_card
from durable_graph_dynamodb.changes import Change
from durable_graph_dynamodb.keys import (
    THREAD,
    blob_key,
    checkpoint_key,
    list_partition,
    listed,
    message_key,
    minute_of,
    partition,
    waiting_key,
)
from durable_graph_dynamodb.parts import Parts, Spill, split
from durable_graph_dynamodb.requests import Delete, Put, Request, Update, Where
from durable_graph_dynamodb.segments import segments_of
from durable_graph_dynamodb.threads import Found, card_attributes, head_attributes
from durable_graph_dynamodb.values import Item

__all__ = ["NOTHING", "Seen", "change_of", "is_decided", "is_large", "moved", "seen_in"]

_LARGE = 1_000_000


class Seen(NamedTuple):
    """What a writer believes of a thread's item; a transaction checks it.

    Attributes:
        life: of its log; ``None`` if it has none.
        minute: under which it is listed; ``None`` if there is no item.
        version: of its card, if it has one.
        head_at: which change's the head is that is not in the item, if one is known.
    """

    life: str | None
    minute: str | None
    version: int | None = None
    head_at: str | None = None


NOTHING = Seen(None, None)


def seen_in(found: Found | None) -> Seen:
    """What was found, as a writer remembers it."""
    if found is None:
        return NOTHING
    return Seen(
        found.life,
        found.minute,
        found.card.version if found.card is not None else None,
        found.head_at.change if found.head_at is not None else None,
    )


def is_large(append: Append) -> bool:
    """Whether preparing an append is dear, so that one should look before."""
    size = sum(len(r.body or b"") + len(r.header) for r in append.records)
    return size + sum(map(len, append.blobs.values())) > _LARGE


def is_decided(append: Append, found: Found | None) -> Outcome | None:
    """Whether an append is refused, going by where the log stands; ``None`` if it may be made.

    One that is refused may have been made before; that is for others to see.
    """
    position = found.position if found is not None else None
    if position != append.expected:
        return Outcome.REFUSED
    if append.expected is not None:
        return None
    card = found.card if found is not None else None
    if append.card is None:
        is_here = card is None or card.archived is None
        return None if is_here else Outcome.REFUSED
    return None if next_card(append.card, card) else Outcome.REFUSED


def change_of(append: Append, seen: Seen, id: str, messages: Mapping[str, Item]) -> Change:
    """What an append does.

    Args:
        append: the append.
        seen: what is believed of its thread. A new log begins a life that is named by the change.
        id: names the change.
        messages: the messages that it settles, by sort key, as they are.

    Raises:
        StorageError: its card is too large.
    """
    key, head, expected = append.head.key, append.head, append.expected
    pk, life, minute = partition(key), seen.life or id, minute_of(append.head.updated)
    spill = Spill(life, id)
    told, apart = head_attributes(head, id)
    sets = {**told, "life": life, "minute": minute}
    if append.card is not None:
        sets |= card_attributes(key, append.card)
    if expected is not None:
        at = {"seq": expected.seq, "epoch": expected.epoch, "link": expected.link}
        where = Where({"life": life, "minute": seen.minute, **at}, absent=("pending",))
    elif seen.minute is None:
        where = Where(absent=("pk",))
    else:
        where = Where({"minute": seen.minute, "version": seen.version}, absent=("life",))
    before = expected.link if expected is not None else b""
    puts = [segment.item(life) for segment in segments_of(append.records, before, spill)]
    puts += [
        {"sk": checkpoint_key(life, record.checkpoint), "seq": record.seq}
        for record in append.records
        if record.checkpoint is not None
    ]
    puts += [
        {"sk": blob_key(life, digest), **spill.attributes(data)}
        for digest, data in append.blobs.items()
    ]
    deletes: list[str] = []
    for message, verdict in append.settled.items():
        sk = message_key(life, message)
        if sk in messages:
            item = {name: value for name, value in messages[sk].items() if name != "pk"}
            puts.append({**item, "verdict": verdict})
            deletes.append(waiting_key(life, item["place"]))
    return Change(
        id=id,
        pk=pk,
        life=life,
        thread=Update(pk, THREAD, sets, where),
        beside=list(moved(key.tenant, key.thread, seen.minute, minute)),
        puts=puts,
        deletes=deletes,
        parts=spill.items,
        head=list(split(apart, Parts(id, 0, told["head_parts"]), life, "h")) if apart else [],
    )


def moved(tenant: str, thread: str, old: str | None, new: str | None) -> Iterable[Request]:
    """What moves a thread in its tenant's list."""
    pk = list_partition(tenant)
    if old != new and old is not None:
        yield Delete(pk, listed(old, thread))
    if old != new and new is not None:
        yield Put({"pk": pk, "sk": listed(new, thread), "thread": thread})
