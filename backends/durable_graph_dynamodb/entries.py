"""How items of a store are kept in a table; no I/O.

They are in partitions beside those of threads::

    store <first word>        entries, by the other words of their namespace and their key's digest
    store-words               the first words that there have ever been
    store-ends <first word>   when to look at which entry, as it expires then
    store-parts <change>      what is too large for an entry

The last three are written before the entry that needs them. So what there is can be found, and of
what was not written in the end something may be found in vain.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from durable_graph.errors import IntegrityError
from durable_graph.ports.items import (
    Entry,
    Namespace,
    Place,
    checksum,
    damaged,
    pack_vectors,
    unpack_vectors,
)
from durable_graph_dynamodb.parts import Parts, parts_in
from durable_graph_dynamodb.values import Item

__all__ = [
    "BRIEFLY",
    "LIFE",
    "LAST",
    "WORDS",
    "Key",
    "Stored",
    "beneath",
    "behind",
    "body_of",
    "end_of",
    "ends_partition",
    "entry_of",
    "item_of",
    "key_of",
    "partition_of",
    "part_keys",
    "parts_partition",
    "until",
]

Key: TypeAlias = tuple[str, str]
"""Partition and sort key."""

WORDS: Final = "store-words"
"""The partition of first words."""

LAST: Final = "\U0010ffff" * 255
"""A text that no word comes after."""

LIFE: Final = "store"
"""What the names of parts begin with."""

BRIEFLY: Final = (
    *("pk", "sk", "key", "version", "times", "ends", "gone"),
    *("at", "first", "count", "drop"),
)
"""All attributes of an entry but its value."""

_PARTITION: Final = "store "
_TIMES: Final = struct.Struct(">ddd")
_BYTES: Final = 1000  # of a namespace
_FAR: Final = 10**19  # milliseconds


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as it was found, without its value.

    Attributes:
        place: namespace and key.
        version: of the put it is from.
        expires: when it is gone, Unix time; ``None`` for never.
        gone: whether it was removed, and only its parts are left to be.
        parts: where its value is, if that is not within.
        drop: parts of the value before, which nobody needs any more.
    """

    place: Place
    version: int
    expires: float | None
    gone: bool
    parts: Parts | None
    drop: Parts | None

    @classmethod
    def of(cls, item: Item) -> Stored:
        """What an item says.

        Raises:
            IntegrityError: it is damaged.
        """
        try:
            version, ends, drop = (item.get(name) for name in ("version", "ends", "drop"))
            place = (_namespace(item), item["key"])
            if type(version) is int and key_of(place)[1] == item["sk"]:
                return cls(
                    place,
                    version,
                    None if ends is None else float(ends),
                    "gone" in item,
                    parts_in(item),
                    None if drop is None else Parts.of(json.loads(drop)),
                )
        except (ValueError, TypeError, LookupError, AttributeError):
            pass
        at = f"{item.get('sk')!r:.500} of {item.get('pk')!r:.500}"
        raise IntegrityError(f"The item stored under {item.get('key')!r:.200}, {at}, is damaged.")

    @property
    def order(self) -> tuple[int, Namespace, str]:
        """What items are sorted by, as `Entry.order`."""
        return self.version, *self.place

    def lives(self, now: float) -> bool:
        """Whether it is there."""
        return not self.gone and (self.expires is None or now < self.expires)


# -- names -----------------------------------------------------------------------------------------


def partition_of(word: str) -> str:
    """The partition of what is beneath a first word."""
    return f"{_PARTITION}{word}"


def key_of(place: Place) -> Key:
    """Where an entry is."""
    (word, *rest), key = place
    digest = hashlib.blake2b(key.encode(), digest_size=16).digest()
    short = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    # A sort key has 1024 bytes at most. This has two less, of the longest namespace.
    return partition_of(word), f"/{_joined(rest)}\0{short}"


def beneath(prefix: Namespace) -> tuple[str, str] | None:
    """The sort keys of a namespace and what is beneath it: from the one on, up to the other;
    ``None`` if there can be none."""
    try:
        size = sum(len(word.encode()) + 1 for word in prefix)
    except UnicodeEncodeError:
        return None
    if size > _BYTES or not all(word and "\0" not in word for word in prefix):
        return None
    first = f"/{_joined(prefix[1:])}"
    return first, first[:-1] + chr(ord(first[-1]) + 1)


def behind(namespace: Namespace) -> str:
    """The lowest sort key that may follow on those of a namespace's own entries."""
    return f"/{_joined(namespace[1:])}\1"


def ends_partition(word: str) -> str:
    """The partition of the ends of what is beneath a first word."""
    return f"store-ends {word}"


def parts_partition(change: str) -> str:
    """The partition of what a change has put aside."""
    return f"store-parts {change}"


def part_keys(parts: Parts) -> list[Key]:
    """Where parts are."""
    return [(parts_partition(parts.change), sk) for sk in parts.keys(LIFE)]


def until(now: float) -> str:
    """The end of the sort keys of ends that have come."""
    return f"{_moment(now)}0"  # a digit comes after the slash


def end_of(place: Place, expires: float) -> Item:
    """What says when to look at an entry."""
    (word, *_), _ = place
    _, sk = key_of(place)
    digest = hashlib.blake2b(sk.encode(), digest_size=16).hexdigest()
    return {"pk": ends_partition(word), "sk": f"{_moment(expires)}/{digest}", "of": sk}


def _moment(time: float) -> str:
    return f"{int(min(max(time * 1000, 0), _FAR)):020}"


def _joined(words: Any) -> str:
    """Words, so that they sort as namespaces do: each ends with what is in none of them."""
    return "".join(f"{word}\0" for word in words)


def _namespace(item: Item) -> Namespace:
    words: str = item["sk"][1:].rpartition("\0")[0]
    return item["pk"].removeprefix(_PARTITION), *words.split("\0")[:-1]


# -- values ----------------------------------------------------------------------------------------


def body_of(entry: Entry) -> bytes:
    """What an entry holds: its value, and then its vectors."""
    return entry.value + (pack_vectors(entry.vectors) or b"")


def item_of(entry: Entry) -> Item:
    """An entry as an item, without its body."""
    pk, sk = key_of(entry.place)
    lifetime = entry.ttl if entry.ttl is not None else float("nan")
    return {
        "pk": pk,
        "sk": sk,
        "key": entry.key,
        "version": entry.version,
        "times": _TIMES.pack(entry.created, entry.updated, lifetime),
        "ends": None if entry.expires is None else repr(entry.expires),
        "size": len(entry.value),
        "crc": checksum(entry),
    }


def entry_of(stored: Stored, item: Item, body: bytes | None = None) -> Entry:
    """The entry that an item holds.

    Args:
        stored: what it says.
        item: the item.
        body: value and vectors. Without them, the entry is good for its times only.

    Raises:
        IntegrityError: it is damaged.
    """
    try:
        created, updated, lifetime = _TIMES.unpack(item["times"])
        entry = Entry(
            *stored.place,
            b"",
            stored.version,
            created,
            updated,
            lifetime if lifetime == lifetime else None,  # noqa: PLR0124 - the number that is none
            stored.expires,
        )
        if body is None:
            return entry
        entry = replace(entry, value=body[: item["size"]])
        if checksum(entry) == item["crc"]:
            return replace(entry, vectors=unpack_vectors(body[item["size"] :]))
    except (struct.error, ValueError, TypeError, LookupError, IntegrityError):
        pass
    raise damaged(*stored.place, stored.version)
