"""Items of a store in a table of DynamoDB's.

What a batch writes is one transaction, under the condition that each entry is as it was read. A
value that is too large for it is put aside before, as those of threads are, and what a crash
leaves of that is collected as theirs is. A value that is replaced is removed after that: the entry
says which one that is for as long as it is not done.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Final

from durable_graph.errors import IntegrityError, StorageBusyError, StorageError, StoreError
from durable_graph.ports.clock import Chance
from durable_graph.ports.items import (
    Entry,
    ItemsCapabilities,
    Namespace,
    Place,
    Write,
    damaged,
)
from durable_graph.ports.shielded import to_its_end
from durable_graph_aws import together
from durable_graph_dynamodb.changes import Change, Changes
from durable_graph_dynamodb.collecting import Collector
from durable_graph_dynamodb.entries import (
    BRIEFLY,
    LAST,
    LIFE,
    WORDS,
    Key,
    Stored,
    behind,
    beneath,
    body_of,
    end_of,
    ends_partition,
    entry_of,
    item_of,
    key_of,
    part_keys,
    partition_of,
    parts_partition,
    until,
)
from durable_graph_dynamodb.parts import PART, Parts, Spill, join
from durable_graph_dynamodb.requests import (
    MOST_BYTES,
    MOST_ITEMS,
    Check,
    Delete,
    Put,
    Request,
    Update,
    Where,
)
from durable_graph_dynamodb.table import Table
from durable_graph_dynamodb.values import Item, size_of

__all__ = ["DynamoDBItems"]

_MOST: Final = 100
# How often entries that change while they are looked at are looked at again.
_LOOKS: Final = 50
_PAGE: Final = 100
_WORDS_AT_ONCE: Final = 16
# How many expired items a write removes beside its own.
_SWEEP: Final = 8
# The name of what was put aside, and where its parts are.
_ASIDE: Final = 120
# Of how many searches is remembered what comes next, and how many first words are known.
_SEARCHES: Final = 8
_KNOWN: Final = 10_000


class DynamoDBItems:
    """Entries, by the first word of their namespace in partitions.

    Args:
        table: where.
        changes: makes the changes that are too large for a transaction.
        collector: collects what they have left behind.
        chance: where names of changes come from.
    """

    capabilities = ItemsCapabilities(durable=True, shared=True, most_writes=_MOST)

    def __init__(
        self, table: Table, changes: Changes, collector: Collector, chance: Chance
    ) -> None:
        self._table = table
        self._changes = changes
        self._collector = collector
        self._chance = chance
        self._known: set[str] = set()
        # By prefix and the last that was found: what follows on it, in order.
        self._rests: OrderedDict[object, list[tuple[int, Namespace, str]]] = OrderedDict()

    # -- reading -----------------------------------------------------------------------------------

    async def fetch(self, places: Sequence[Place], now: float) -> Sequence[Entry | None]:
        await self._table.open()
        found = await self._read([key_of(place) for place in places], now)
        return [found.get(key_of(place)) for place in places]

    async def _read(self, keys: Sequence[Key], now: float) -> dict[Key, Entry]:
        """Entries by their keys, those that are there."""
        found: dict[Key, Entry] = {}
        left = list(keys)
        missed: dict[Key, int] = {}
        for _ in range(_LOOKS):
            items = await self._table.get_all(left)
            stored = {key: Stored.of(item) for key, item in items.items()}
            living = {key: one for key, one in stored.items() if one.lives(now)}
            parts = await self._table.get_all(
                [at for one in living.values() if one.parts for at in part_keys(one.parts)]
            )
            left = []
            for key, one in living.items():
                body = _body(items[key], one.parts, parts)
                if body is not None:
                    found[key] = entry_of(one, items[key], body)
                elif missed.get(key) == one.version:
                    raise damaged(*one.place, one.version)
                else:  # it may have been replaced just now
                    missed[key] = one.version
                    left.append(key)
            if not left:
                return found
        raise StorageBusyError("Items change all the time. Try again later.")

    async def scan(
        self,
        prefix: Namespace,
        now: float,
        *,
        limit: int,
        after: Entry | None = None,
        vectors: bool = False,
    ) -> Sequence[Entry]:
        await self._table.open()
        # DynamoDB knows no order but that of keys. All is looked at for the first page; for the
        # next ones it is known what comes, up to what has changed since and comes earlier now.
        rest = None if after is None else self._rests.pop((prefix, after.order), None)
        if rest is None:
            rest = await self._in_order(prefix, now, after)
        found: list[Entry] = []
        while rest and len(found) < limit:
            some = rest[: limit - len(found)]
            rest = rest[len(some) :]
            entries = await self._read([key_of(order[1:]) for order in some], now)
            found += (e for e in entries.values() if after is None or e.order < after.order)
        found.sort(key=lambda entry: entry.order, reverse=True)
        if found and rest:
            self._rests[prefix, found[-1].order] = rest
            if len(self._rests) > _SEARCHES:
                self._rests.popitem(last=False)
        return found

    async def _in_order(
        self, prefix: Namespace, now: float, after: Entry | None
    ) -> list[tuple[int, Namespace, str]]:
        span = beneath(prefix)
        if span is None:
            return []

        async def of(word: str) -> list[tuple[int, Namespace, str]]:
            orders: list[tuple[int, Namespace, str]] = []
            async for page in self._table.range(partition_of(word), *span, only=BRIEFLY):
                stored = [Stored.of(item) for item in page]
                orders += (
                    one.order
                    for one in stored
                    if one.lives(now) and (after is None or one.order < after.order)
                )
            return orders

        words = [prefix[0]] if prefix else await self._words()
        found = [order for orders in await together(of, words) for order in orders]
        return sorted(found, reverse=True)

    async def namespaces(
        self, prefix: Namespace, now: float, *, limit: int, after: Namespace | None = None
    ) -> Sequence[Namespace]:
        await self._table.open()
        span = beneath(prefix)
        if span is None:
            return []
        first, last = span

        async def of(word: str) -> list[Namespace]:
            begun = after is not None and after[0] == word
            start = max(first, behind(after)) if after is not None and begun else first
            return await self._names(word, start, last, now, limit)

        words = prefix[:1] or await self._words()
        left = [word for word in words if after is None or word >= after[0]]
        found: list[Namespace] = []
        while left and len(found) < limit:
            for names in await together(of, left[:_WORDS_AT_ONCE]):
                found += names
            left = left[_WORDS_AT_ONCE:]
        return found[:limit]

    async def _names(
        self, word: str, first: str, last: str, now: float, limit: int
    ) -> list[Namespace]:
        """The namespaces of a range that hold something."""
        found: list[Namespace] = []
        while True:
            entries = self._table.range(partition_of(word), first, last, limit=_PAGE, only=BRIEFLY)
            async with aclosing(entries) as pages:
                async for page in pages:
                    stored = [Stored.of(item) for item in page]
                    for namespace in (one.place[0] for one in stored if one.lives(now)):
                        if not found or found[-1] != namespace:
                            found.append(namespace)
                    if len(found) >= limit:
                        return found[:limit]
                    if found and stored[-1].place[0] == found[-1]:
                        break  # no need to read all of a large one
                else:
                    return found
            first = behind(found[-1])
            if first > last:
                return found

    async def _words(self) -> list[str]:
        """The first words of all namespaces."""
        return [item["sk"] for item in await self._table.everything(WORDS, "\0", LAST)]

    # -- writing -----------------------------------------------------------------------------------

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        return await to_its_end(self._apply(writes, now))

    async def _apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        await self._table.open()
        for _ in range(_LOOKS):
            attempt = _Attempt(writes, await self._met(writes), now)
            if attempt.refused:
                return attempt.refused
            if attempt.drops:
                await self._table.delete_all(attempt.drops)
            await self._announce(attempt)
            if await self._make(attempt):
                # It is written; what is left to do can be done by the next.
                with suppress(StorageError, IntegrityError):
                    await together(self._settle, attempt.unsettled)
                    await self._sweep_beside(writes, now)
                    await self._collector.some()
                return ()
        raise StorageBusyError(
            "The items of this batch change all the time; nothing was written. Try again later."
        )

    async def _met(self, writes: Sequence[Write]) -> list[tuple[Stored, Item] | None]:
        """What is there already, expired or not."""
        keys = [key_of(write.place) for write in writes]
        found = await self._table.get_all(keys, only=BRIEFLY)
        return [(Stored.of(found[key]), found[key]) if key in found else None for key in keys]

    async def _announce(self, attempt: _Attempt) -> None:
        """Write what is needed to find what will be there."""
        words = {entry.namespace[0] for entry in attempt.entries} - self._known
        items = [*({"pk": WORDS, "sk": word} for word in words), *attempt.ends]
        if items:
            await self._table.put_all(items)
        if len(self._known) > _KNOWN:
            self._known.clear()
        self._known |= words

    async def _make(self, attempt: _Attempt) -> bool:
        change = self._chance.id()
        spill = Spill(LIFE, change)
        requests = attempt.requests(spill)
        what = f"Writing {len(requests)} items"
        if not requests:
            return True
        if not spill.items:
            (request, *others) = requests
            if not others and not isinstance(request, Check):
                return await self._table.write(request, what, repeatable=False)
            return await self._table.transact(requests, what)
        if len(requests) > MOST_ITEMS:
            raise StoreError(
                f"Of more than {MOST_ITEMS} items of a batch, the values have {MOST_BYTES} bytes "
                f"at most in DynamoDB, since they are all written or none; nothing was. Make two "
                f"batches of it."
            )
        partition = parts_partition(change)
        made = Change(change, partition, LIFE, requests[0], requests[1:], parts=spill.items)
        return await self._changes.make(made, what)

    async def _settle(self, replaced: tuple[Stored, Entry | None]) -> None:
        """Remove a value that was replaced or removed, and the note of it."""
        stored, entry = replaced
        pk, sk = key_of(stored.place)
        if stored.parts is not None:
            await self._table.delete_all(part_keys(stored.parts))
        over: Delete | Update
        if entry is None:
            over = Delete(pk, sk, Where(equal={"version": stored.version, "gone": True}))
        else:
            over = Update(pk, sk, {"drop": None}, Where(equal={"version": entry.version}))
        await self._table.write(over, "Clearing up")

    # -- ends --------------------------------------------------------------------------------------

    async def prolong(self, entries: Sequence[tuple[Entry, float]], now: float) -> None:
        # What has expired since it was read is gone, though it may not be removed yet.
        living = [(entry, ends) for entry, ends in entries if entry.lives(now)]
        await to_its_end(self._prolong(living))

    async def _prolong(self, entries: Sequence[tuple[Entry, float]]) -> None:
        await self._table.open()
        await self._table.put_all(end_of(entry.place, ends) for entry, ends in entries)

        async def one(prolonged: tuple[Entry, float]) -> None:
            entry, ends = prolonged
            # By its end, too: who has prolonged it meanwhile has done so for longer.
            found = {"version": entry.version, "ends": repr(entry.expires)}
            same = Where(equal=found, absent=("gone",))
            update = Update(*key_of(entry.place), {"ends": repr(ends)}, same)
            await self._table.write(update, "Prolonging an item")

        await together(one, entries)

    async def sweep(self, now: float, *, limit: int) -> int:
        return await to_its_end(self._sweep_all(now, limit))

    async def _sweep_all(self, now: float, limit: int) -> int:
        await self._table.open()
        removed = 0
        for word in await self._words():
            more = True
            while more and removed < limit:
                count, more = await self._sweep(word, now, limit - removed)
                removed += count
        return removed

    async def _sweep_beside(self, writes: Sequence[Write], now: float) -> None:
        """Remove some of what has expired, where items expire."""
        expiring = [w.entry for w in writes if w.entry is not None and w.entry.expires is not None]
        for word in sorted({entry.namespace[0] for entry in expiring}):
            await self._sweep(word, now, len(writes) + _SWEEP)

    async def _sweep(self, word: str, now: float, limit: int) -> tuple[int, bool]:
        """Remove some of what has expired beneath a first word.

        Returns:
            How many items it were, and whether there may be more.
        """
        size = min(limit, _PAGE)
        ends: list[Item] = []
        come = self._table.range(ends_partition(word), "0", until(now), limit=size)
        async with aclosing(come) as pages:
            async for page in pages:
                ends = page
                break
        keys = [(partition_of(word), end["of"]) for end in ends]
        found = await self._table.get_all(keys, only=BRIEFLY)
        stored = [Stored.of(item) for item in found.values()]
        dead = [one for one in stored if not one.lives(now)]
        removed = await together(self._remove, dead)
        # What was changed meanwhile, or perhaps by this very call, is looked at again.
        unsure = {
            key_of(one.place)[1] for one, count in zip(dead, removed, strict=True) if count is None
        }
        # Of what was put anew or prolonged, the end is another one, unless it is so near.
        near = {
            end_of(one.place, one.expires)["sk"]
            for one in stored
            if one.expires is not None and one.lives(now)
        }
        over = [
            (end["pk"], end["sk"])
            for end in ends
            if end["sk"] not in near and end["of"] not in unsure
        ]
        await self._table.delete_all(over)
        return sum(filter(None, removed)), len(ends) == size and bool(over)

    async def _remove(self, stored: Stored) -> int | None:
        """Remove an entry that has expired, or its remains.

        Returns:
            How many items it was; ``None`` if it is not as it was found.
        """
        if stored.drop is not None:
            await self._table.delete_all(part_keys(stored.drop))
        request = _removal(stored, _as_found(stored, dead=True))
        if not stored.gone and not await self._table.write(request, "Removing what has expired"):
            return None
        if stored.parts is not None:
            await self._settle((stored, None))
        return 0 if stored.gone else 1

    async def aclose(self) -> None:
        await self._table.service.aclose()


@dataclass(frozen=True, slots=True)
class _Planned:
    """A write, and what it meets: `lives` says whether that counts."""

    place: Place
    entry: Entry | None
    conditional: bool
    stored: Stored | None
    lives: bool


class _Attempt:
    """What a batch comes to, given what is there already.

    Args:
        writes: the batch.
        met: for each place what is there, expired or not.
        now: Unix time.
    """

    def __init__(
        self, writes: Sequence[Write], met: Sequence[tuple[Stored, Item] | None], now: float
    ) -> None:
        self._planned: list[_Planned] = []
        self.refused: list[Place] = []
        for write, found in zip(writes, met, strict=True):
            stored = found[0] if found is not None else None
            lives = stored is not None and stored.lives(now)
            before = entry_of(*found) if found is not None and lives else None
            if not write.allows(before):
                self.refused.append(write.place)
            conditional = write.expects is not None
            self._planned.append(
                _Planned(write.place, write.over(before), conditional, stored, lives)
            )

    @property
    def entries(self) -> list[Entry]:
        """What is put."""
        return [one.entry for one in self._planned if one.entry is not None]

    @property
    def drops(self) -> list[Key]:
        """Parts that nobody needs, of values before those that are there."""
        found = (one.stored.drop for one in self._planned if one.stored is not None)
        return [key for parts in found if parts is not None for key in part_keys(parts)]

    @property
    def ends(self) -> list[Item]:
        """When to look at what is written."""
        return [
            *(end_of(e.place, e.expires) for e in self.entries if e.expires is not None),
            *(end_of(stored.place, 0.0) for stored, entry in self.unsettled if entry is None),
        ]

    @property
    def unsettled(self) -> list[tuple[Stored, Entry | None]]:
        """Values beside that are replaced, and by what."""
        return [
            (one.stored, one.entry)
            for one in self._planned
            if one.stored is not None and one.stored.parts is not None
        ]

    def requests(self, spill: Spill) -> list[Request]:
        """What is to be done, as one transaction; what is too large for it is put aside."""
        items = {entry.place: item_of(entry) for entry in self.entries}
        bodies = {entry.place: body_of(entry) for entry in self.entries}
        room = MOST_BYTES - sum(size_of(item) + _ASIDE for item in items.values())
        total = sum(map(len, bodies.values()))
        most = PART if total <= room else min(PART, room // len(bodies))
        requests: list[Request] = []
        for one in self._planned:
            place, stored = one.place, one.stored
            where = _as_found(stored, dead=not one.lives)
            if one.entry is not None:
                drop = stored.parts.to_json() if stored is not None and stored.parts else None
                item = items[place] | _held(bodies[place], most, spill)
                requests.append(Put(item | {"drop": drop and json.dumps(drop)}, where))
            elif stored is not None:
                requests.append(_removal(stored, where))
            elif one.conditional:
                requests.append(Check(*key_of(place), where))
        return requests


def _held(body: bytes, most: int, spill: Spill) -> Item:
    if len(body) <= most:
        return {"data": body}
    at = spill(body)
    return {"at": at.change, "first": at.first, "count": at.count}


def _body(item: Item, parts: Parts | None, found: dict[Key, Item]) -> bytes | None:
    """Value and vectors; ``None`` if a part is missing."""
    if parts is None:
        data = item.get("data")
        return data if type(data) is bytes else None
    keys: Iterable[Key] = part_keys(parts)
    return join(parts, LIFE, {sk: found[pk, sk] for pk, sk in keys if (pk, sk) in found})


def _removal(stored: Stored, where: Where) -> Delete | Update:
    """How an entry is removed; one with parts stays as a note of them until those are."""
    pk, sk = key_of(stored.place)
    if stored.parts is None:
        return Delete(pk, sk, where)
    return Update(pk, sk, {"gone": True, "drop": None}, where)


def _as_found(stored: Stored | None, *, dead: bool) -> Where:
    """That an entry is as it was found; of one that has expired, that it was not prolonged."""
    if stored is None:
        return Where(absent=("pk",))
    same = {"version": stored.version}
    if stored.gone:
        return Where(equal={**same, "gone": True})
    ends = {"ends": repr(stored.expires)} if dead and stored.expires is not None else {}
    return Where(equal={**same, **ends}, absent=("gone",))
