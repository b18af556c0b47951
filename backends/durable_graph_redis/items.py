"""Items of a store in Redis.

An atomic write may touch any of them, so all of one store have the same text in braces, and live
on one node of a cluster. Each is in the list of its namespace and of every namespace above it, in
the order in which items are found: so a search reads what it finds, and nothing else.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import quote

from durable_graph.errors import IntegrityError, StorageError
from durable_graph.ports.items import (
    Entry,
    ItemsCapabilities,
    Namespace,
    Place,
    Write,
    beneath,
    checksum,
    damaged,
    from_bytes,
    pack_vectors,
    to_bytes,
    unpack_vectors,
)
from durable_graph_redis.keys import checked_prefix
from durable_graph_redis.scripts import (
    DROP_ITEMS,
    GET_ITEMS,
    LIST_ITEMS,
    PROLONG_ITEMS,
    PUT_ITEMS,
    Argument,
    Call,
)
from durable_graph_redis.sessions import Sessions

__all__ = ["RedisItems"]

# How many expired items a write removes beside its own, and a listing at once.
_SWEEP: Final = 8
_PIECE: Final = 500

# Created, updated, time to live (a number that is none: for ever), checksum.
_PARTS: Final = struct.Struct(">dddI")
_VERSION: Final = 16  # hex digits


class RedisItems:
    """Entries in a hash, and their order in lists.

    Args:
        sessions: the server; closed with this.
        prefix: what all keys begin with.

    Raises:
        ValueError: the prefix could be taken for something else.
    """

    capabilities = ItemsCapabilities(durable=True, shared=True)

    def __init__(self, sessions: Sessions, prefix: str) -> None:
        self._sessions = sessions
        base = f"{checked_prefix(prefix)}:{{{prefix}:store}}"
        self._items, self._vectors = f"{base}:items", f"{base}:vectors"
        self._ends, self._names, self._counts = f"{base}:ends", f"{base}:names", f"{base}:counts"
        self._list = f"{base}:list:"

    async def fetch(self, places: Sequence[Place], now: float) -> Sequence[Entry | None]:
        if not places:
            return []
        fields = [_field(place) for place in places]
        told = await self._sessions.look(Call(GET_ITEMS, (self._items, self._ends), fields))
        found = (
            None if value is None else _entry(place, value, ends, None)
            for place, value, ends in zip(places, told[::2], told[1::2], strict=True)
        )
        return [entry if entry is not None and entry.lives(now) else None for entry in found]

    async def scan(
        self,
        prefix: Namespace,
        now: float,
        *,
        limit: int,
        after: Entry | None = None,
        vectors: bool = False,
    ) -> Sequence[Entry]:
        keys = (self._list_of(prefix), self._items, self._ends, self._vectors)
        top = b"+" if after is None else b"(" + _digits(after.version) + _field(after.place)
        found: list[Entry] = []
        while len(found) < limit:
            wanted = limit - len(found)
            call = Call(LIST_ITEMS, keys, (top, wanted, "v" if vectors else ""))
            told = await self._sessions.look(call)
            members = told[::4]
            for member, value, ends, packed in zip(
                members, told[1::4], told[2::4], told[3::4], strict=True
            ):
                place, version = _place(member[_VERSION:]), member[:_VERSION]
                entry = _entry(place, value or b"", ends, packed, version)
                if entry.lives(now):
                    found.append(entry)
            if len(members) < wanted:
                break
            top = b"(" + members[-1]
        return found

    async def namespaces(
        self, prefix: Namespace, now: float, *, limit: int, after: Namespace | None = None
    ) -> Sequence[Namespace]:
        # What has expired would be counted otherwise: how many of its items live, no one keeps.
        while await self.sweep(now, limit=_PIECE) == _PIECE:
            pass
        first, end = beneath(prefix)
        low = b"[" + first if after is None else b"(" + to_bytes(after)
        (names,) = await self._sessions.get(
            [("ZRANGEBYLEX", self._names, low, b"(" + end, "LIMIT", 0, limit)]
        )
        return [from_bytes(name) for name in names]

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        arguments: list[Argument] = [repr(now), len(writes) + _SWEEP]
        for write in writes:
            entry = write.entry
            expects = b"" if write.expects is None else _digits(write.expects)
            arguments += (
                _field(write.place),
                b"" if entry is None else _value(entry),
                b"" if entry is None else pack_vectors(entry.vectors) or b"",
                "" if entry is None or entry.expires is None else repr(entry.expires),
                expects,
                "fresh" if write.fresh else "",
                to_bytes(write.place[0]),
                len(write.place[0]) + 1,
            )
        keys = self._keys(write.place for write in writes)
        refused, expired = await self._sessions.write(Call(PUT_ITEMS, keys, arguments))
        if expired:
            # It is written; what has expired can be removed by the next.
            with contextlib.suppress(StorageError):
                await self._drop(expired, now)
        return [writes[number].place for number in refused]

    async def prolong(self, entries: Sequence[tuple[Entry, float]], now: float) -> None:
        arguments: list[Argument] = [repr(now)]
        for entry, until in entries:
            arguments += (_field(entry.place), _digits(entry.version), repr(until))
        await self._sessions.write(Call(PROLONG_ITEMS, (self._items, self._ends), arguments))

    async def sweep(self, now: float, *, limit: int) -> int:
        (expired,) = await self._sessions.get(
            [("ZRANGEBYSCORE", self._ends, "-inf", repr(now), "LIMIT", 0, limit)]
        )
        return await self._drop(expired, now) if expired else 0

    async def aclose(self) -> None:
        await self._sessions.aclose()

    async def _drop(self, fields: Sequence[bytes], now: float) -> int:
        places = [_place(field) for field in fields]
        arguments: list[Argument] = [repr(now)]
        for field, (namespace, _) in zip(fields, places, strict=True):
            arguments += (field, to_bytes(namespace), len(namespace) + 1)
        dropped: int = await self._sessions.write(Call(DROP_ITEMS, self._keys(places), arguments))
        return dropped

    def _keys(self, places: Iterable[Place]) -> list[str]:
        keys = [self._items, self._vectors, self._ends, self._names, self._counts]
        for namespace, _ in places:
            keys += (self._list_of(namespace[:end]) for end in range(len(namespace) + 1))
        return keys

    def _list_of(self, namespace: Namespace) -> str:
        return self._list + "/".join(quote(word, safe="") for word in namespace)


def _digits(version: int) -> bytes:
    return b"%016x" % version


def _field(place: Place) -> bytes:
    """A place as bytes, which sort as places do: no word is empty, so two zero bytes end it."""
    namespace, key = place
    return to_bytes(namespace) + b"\0" + key.encode()


def _place(field: bytes) -> Place:
    words, _, key = field.partition(b"\0\0")
    try:
        return from_bytes(words + b"\0"), key.decode()
    except UnicodeDecodeError as error:
        raise IntegrityError(f"A stored item's key is damaged: {key!r:.200}.") from error


def _value(entry: Entry) -> bytes:
    ttl = entry.ttl if entry.ttl is not None else float("nan")
    parts = _PARTS.pack(entry.created, entry.updated, ttl, _crc(entry))
    return _digits(entry.version) + parts + entry.value


def _entry(
    place: Place, value: bytes, ends: bytes | None, packed: bytes | None, listed: bytes = b""
) -> Entry:
    """An entry of what is stored of it; `listed` is the version that it has in lists."""
    try:
        created, updated, ttl, crc = _PARTS.unpack_from(value, _VERSION)
        entry = Entry(
            *place,
            value[_VERSION + _PARTS.size :],
            int(value[:_VERSION], 16),
            created,
            updated,
            ttl if ttl == ttl else None,  # noqa: PLR0124 - the number that is none
            float(ends) if ends is not None else None,
            unpack_vectors(packed),
        )
        if _crc(entry) == crc:
            return entry
    except (struct.error, ValueError, IntegrityError):
        pass
    try:
        version: int | None = int(listed or value[:_VERSION], 16)
    except ValueError:
        version = None
    raise damaged(*place, version)


def _crc(entry: Entry) -> int:
    # The time of its creation is taken over from what was there, in the very operation.
    return checksum(replace(entry, created=entry.updated))
