"""A store on any storage of items: all of a store but keeping them."""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, cast

from durable_graph.decisions.filters import check_filter, matches, matches_namespace
from durable_graph.decisions.items import ABSENT, Entry, Namespace, Pending, Place, next_version
from durable_graph.decisions.lifetimes import TTLConfig, check_ttl, check_ttl_config, prolonged
from durable_graph.decisions.vectors import cosines
from durable_graph.decisions.words import check_key, check_namespace, check_page, check_words
from durable_graph.encryption import Encryption
from durable_graph.encryption.items import EncryptedItems
from durable_graph.errors import ConfigError, StoreConflictError, StoreError, StoreWarning
from durable_graph.ports.clock import Chance, Clock, SystemChance, SystemClock
from durable_graph.ports.items import Items, ItemsCapabilities, Puts, Ranking, Write
from durable_graph.ports.store import (
    GetOp,
    Item,
    ListNamespacesOp,
    NotGiven,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
)
from durable_graph.store.base import BaseStore
from durable_graph.store.gathering import Gathering
from durable_graph.store.index import Index, IndexConfig, parse_paths
from durable_graph.store.values import Values

__all__ = ["ItemStore"]

# How many entries are looked at at once, where it cannot be told how many it will take.
_PAGE: Final = 200
_MOST: Final = 1000
_SWEEP: Final = 500
# How often a search looks for what was put while it was going on.
_LOOKS: Final = 8
# How many more than are wanted storage is asked for, to see that all others are farther away.
_SPARE: Final = 16


class ItemStore(BaseStore):
    """A store on a port to storage; those for a storage system derive from it.

    Args:
        items: where entries are kept.
        index: how items are searched by meaning; without one, they are not.
        ttl: how long items live where a call does not say; without it, for ever.
        clock: dates the items.
        chance: makes their versions.
        encryption: how values are encrypted; ``None`` if they are not.
        atomic: whether what a node puts is written with the node's result, or not at all; see
            `BaseStore`. The graph's saver must keep its threads in the same storage.
    """

    supports_ttl = True

    def __init__(
        self,
        items: Items,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        encryption: Encryption | None = None,
        atomic: bool = False,
    ) -> None:
        self.storage = items
        self.items: Items = items if encryption is None else encryption.over_items(items)
        self.atomic = atomic
        self.ttl_config: TTLConfig | None = check_ttl_config(ttl)
        self._index = None if index is None else Index(index)
        self._clock = clock if clock is not None else SystemClock()
        self._chance = chance if chance is not None else SystemChance()
        self._values = Values()
        self._lock = threading.Lock()
        self._last = 0
        self._warned = False

    @property
    def capabilities(self) -> ItemsCapabilities:
        """What its storage guarantees."""
        return self.items.capabilities

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        """See `Store.abatch`."""
        pending = Pending()
        results = await self.through(pending, ops)
        await self.write(list(pending.writes.values()))
        return results

    async def write(self, writes: Sequence[Write]) -> None:
        """Write what was pending, all of it or nothing.

        Raises:
            StoreConflictError: an item is not of the version that is expected.
        """
        if writes:
            self._check_size(writes)
            refused = await self.items.apply(writes, self._clock.time())
            if refused:
                raise StoreConflictError(refused)

    async def check(self, writes: Sequence[Write]) -> None:
        """See whether what is pending could be written now.

        Raises:
            StoreConflictError: an item is not of the version that is expected.
        """
        if not writes:
            return
        found = await self.items.fetch([write.place for write in writes], self._clock.time())
        refused = [w.place for w, entry in zip(writes, found, strict=True) if not w.allows(entry)]
        if refused:
            raise StoreConflictError(refused)

    async def puts(self, writes: Sequence[Write]) -> Puts:
        """What is pending, to be written with something else."""
        items = self.items
        stored = await items.sealed(writes) if isinstance(items, EncryptedItems) else writes
        return Puts(self.storage, stored, self._clock.time())

    def gathering(self, below: Pending, settle: Callable[[], Awaitable[None]]) -> Gathering:
        """This store as one execution of a node sees it; see `Gathering`."""
        return Gathering(self, below, settle)

    async def asweep_ttl(self) -> int:
        """Remove what has expired; returns how many items it were.

        It is never shown, and puts remove some of it. This is for stores into which nothing is
        put any more.
        """
        removed = 0
        while True:
            swept = await self.items.sweep(self._clock.time(), limit=_SWEEP)
            removed += swept
            if swept < _SWEEP:
                return removed

    async def arotate_keys(self) -> int:
        """Encrypt what is under an older key with the one that is current now; returns how many
        items it was. They stay as they are, with their versions and times.

        Raises:
            ConfigError: this store does not encrypt.
            DecryptionError: some items were altered, or a key is not known here. They are named;
                all others are done.
            IntegrityError: the same for items that are damaged.
        """
        if not isinstance(self.items, EncryptedItems):
            raise ConfigError(
                "This store does not encrypt, so it has no keys. Give it an Encryption(...)."
            )
        return await self.items.rotate(self._clock.time())

    async def aclose(self) -> None:
        """Release what the store holds. Harmless if done twice."""
        await self.items.aclose()

    # -- a batch -----------------------------------------------------------------------------------

    async def through(self, pending: Pending, ops: Iterable[Op]) -> list[Any]:
        """Do these one after the other, except that what is put waits in `pending`."""
        # All is checked, encoded and embedded before any of it is done.
        given = list(ops)
        tasks = [self._task(op) for op in given]
        await self._embed(tasks)
        pending.expire(self._clock.time())
        return [await self._do(task, pending) for task in tasks]

    def _check_size(self, writes: Sequence[Write]) -> None:
        most = self.capabilities.most_writes
        if most is not None and len(writes) > most:
            raise StoreError(
                f"A batch of {type(self).__name__} puts {most} items at most, since they are all "
                f"written or none; this one has {len(writes)}. Make several of it."
            )

    def _task(self, op: Op) -> _Task:
        match op:
            case GetOp(namespace, key):
                check_namespace(namespace)
                check_key(key)
                return _Task(op)
            case PutOp(namespace, key, value, index, ttl, expected):
                check_namespace(namespace)
                check_key(key)
                _check_version(expected)
                lifetime = check_ttl(ttl)
                if index is not None and index is not False:
                    parse_paths(index)
                if value is None:
                    return _Task(op)
                encoded = self._values.encode(namespace, key, value)
                texts = [] if self._index is None else self._index.texts(value, index)
                return _Task(op, encoded, texts, lifetime)
            case SearchOp(prefix, filter, limit, offset, query):
                check_words(prefix)
                check_filter(filter)
                check_page(limit, offset)
                if query is not None and not isinstance(query, str):
                    raise StoreError(f"query is a text, not {query!r:.200}.")
                return _Task(op)
            case ListNamespacesOp(conditions, depth, limit, offset):
                for kind, path in conditions or ():
                    if kind not in ("prefix", "suffix"):
                        raise StoreError(f"Namespaces match by prefix or suffix, not by {kind!r}.")
                    check_words(path)
                if depth is not None and (type(depth) is not int or depth < 1):
                    raise StoreError(f"max_depth is a number of words, at least 1, not {depth!r}.")
                check_page(limit, offset)
                return _Task(op)
            case _:
                raise StoreError(f"{op!r:.200} is no operation on a store.")

    async def _embed(self, tasks: Sequence[_Task]) -> None:
        if self._index is None:
            return
        texts = [text for task in tasks for text in task.texts]
        vectors = await self._index.documents(texts)
        for task in tasks:
            task.vectors = tuple(vectors[text] for text in task.texts)
            if isinstance(task.op, SearchOp) and task.op.query:
                task.vectors = (await self._index.query(task.op.query),)

    async def _do(self, task: _Task, pending: Pending) -> Any:
        match task.op:
            case PutOp():
                self._put(task, task.op, pending)
                return None
            case GetOp():
                return await self._get(task.op, pending)
            case SearchOp():
                return await self._search(task, task.op, pending)
            case ListNamespacesOp():
                return await self._list(task.op, pending)

    def _put(self, task: _Task, op: PutOp, pending: Pending) -> None:
        expected = None if isinstance(op.if_version, NotGiven) else op.if_version or ABSENT
        place, now = (op.namespace, op.key), self._clock.time()
        if task.encoded is None:
            pending.add(place, None, expected)
            return
        expires = None if task.lifetime is None else now + task.lifetime
        entry = Entry(
            *place,
            task.encoded,
            self._version(now),
            now,
            now,
            task.lifetime,
            expires,
            task.vectors,
        )
        pending.add(place, entry, expected)

    def _version(self, now: float) -> int:
        with self._lock:
            self._last = next_version(self._last, now, self._chance.uniform())
            return self._last

    async def _get(self, op: GetOp, pending: Pending) -> Item | None:
        place = (op.namespace, op.key)
        if place in pending.writes:
            entry = (await self._dated([place], pending))[place]
        else:
            (entry,) = await self.items.fetch([place], self._clock.time())
        if entry is not None and op.refresh_ttl:
            (entry,) = await self._prolong([entry], pending)
        return None if entry is None else Item(**self._parts(entry))

    async def _dated(self, places: Sequence[Place], pending: Pending) -> dict[Place, Entry | None]:
        """What pending writes will leave, with the time at which each item was created."""
        found = await self.items.fetch(places, self._clock.time())
        return {
            place: pending.writes[place].over(entry)
            for place, entry in zip(places, found, strict=True)
        }

    # -- searching ---------------------------------------------------------------------------------

    async def _search(self, task: _Task, op: SearchOp, pending: Pending) -> list[SearchItem]:
        if op.query and self._index is None and not self._warned:
            self._warned = True
            warnings.warn(
                f"{type(self).__name__} is searched for {op.query!r:.50} and has no index, so the "
                f"last items come first. Make it with index={{'dims': ..., 'embed': ...}}.",
                StoreWarning,
                stacklevel=2,
            )
        if op.limit == 0:
            return []
        ranked: Sequence[tuple[float | None, Entry]] = (
            await self._ranked(task.vectors[0], op, pending)
            if task.vectors
            else await self._newest(op, pending)
        )
        entries = [entry for _, entry in ranked]
        own = [entry.place for entry in entries if entry.place in pending.writes]
        dated = await self._dated(own, pending) if own else {}
        entries = [dated.get(entry.place) or entry for entry in entries]
        if op.refresh_ttl:
            entries = await self._prolong(entries, pending)
        return [
            SearchItem(**self._parts(entry), score=score)
            for (score, _), entry in zip(ranked, entries, strict=True)
        ]

    async def _newest(self, op: SearchOp, pending: Pending) -> list[tuple[None, Entry]]:
        found: list[tuple[None, Entry]] = []
        seen: set[Place] = set()
        left, most = op.offset, op.offset + op.limit
        async for page in self._pages(op, pending, most if not op.filter else max(most, _PAGE)):
            for entry in page:
                if op.filter and not self._matches(entry, op.filter):
                    continue
                if entry.place in seen:
                    continue
                seen.add(entry.place)
                if left > 0:
                    left -= 1
                    continue
                found.append((None, entry))
                if len(found) == op.limit:
                    return found
        return found

    async def _ranked(
        self, query: bytes, op: SearchOp, pending: Pending
    ) -> list[tuple[float | None, Entry]]:
        # Of the pages seen so far only as many are kept as can be among those that are wanted.
        most = op.offset + op.limit
        best: list[tuple[float, Entry]] = []
        rest: list[tuple[None, Entry]] = []
        async for page, bound in self._candidates(query, op, pending):
            scores = cosines(query, [entry.vectors for entry in page])
            anew = {entry.place for entry in page}
            best = [pair for pair in best if pair[1].place not in anew]
            rest = [pair for pair in rest if pair[1].place not in anew]
            for score, entry in zip(scores, page, strict=True):
                if op.filter and not self._matches(entry, op.filter):
                    continue
                if score is not None:
                    best.append((score, entry))
                elif len(rest) < most:
                    rest.append((None, entry))
            # Of those that come equally near, the last that was put is first.
            best.sort(key=lambda pair: (pair[0], pair[1].order), reverse=True)
            del best[most:]
            if len(best) == most and best[-1][0] > bound:
                break
            if bound == -math.inf and len(best) + len(rest) >= most:
                break
        return [*best, *rest][op.offset : most]

    async def _candidates(
        self, query: bytes, op: SearchOp, pending: Pending
    ) -> AsyncIterator[tuple[Sequence[Entry], float]]:
        """What may come near, and how near all that follows comes at most.

        What storage cannot rank is all of it, the last first.
        """
        ranking = cast("Ranking", self.items) if self.capabilities.ranks else None
        prefix, size = op.namespace_prefix, op.offset + op.limit + _SPARE
        limit = min(max(size, _PAGE) if op.filter else size, _MOST)
        page = ranking and await ranking.nearest(prefix, query, self._clock.time(), limit=limit)
        if ranking is None or page is None:
            async for scanned in self._pages(op, pending, _PAGE, vectors=True):
                yield scanned, math.inf
            return
        yield list(pending.found(prefix)), math.inf
        # What is put anew between two pages may be in both.
        seen = set(pending.writes)
        while page:
            new = [near.entry for near in page if near.entry.place not in seen]
            seen.update(entry.place for entry in new)
            yield new, page[-1].bound
            if len(page) < limit:
                return
            # Each page has storage rank everything anew.
            limit = _MOST
            page = await ranking.nearest(
                prefix, query, self._clock.time(), limit=limit, after=page[-1]
            )

    async def _pages(
        self, op: SearchOp, pending: Pending, size: int, *, vectors: bool = False
    ) -> AsyncIterator[Sequence[Entry]]:
        """What is there and what is pending, the last first.

        What is put anew while pages are read comes to stand before them, whether it was in one
        or was still to be reached. So after the last, those that are newer than the first follow,
        until one look shows them all, or others put faster than can be read.
        """
        own = list(pending.found(op.namespace_prefix))
        if own:
            yield own
        newest: Entry | None = None
        for _ in range(_LOOKS):
            count, down_to = 0, newest
            async for page in self._scanned(op.namespace_prefix, size, down_to, vectors=vectors):
                if not count and page:
                    newest = page[0]
                count += 1
                yield [entry for entry in page if entry.place not in pending.writes]
            if count == 1:
                return
            size = _SPARE if down_to is None else _PAGE  # mostly there are none

    async def _scanned(
        self, prefix: Namespace, size: int, down_to: Entry | None, *, vectors: bool
    ) -> AsyncIterator[Sequence[Entry]]:
        """What is stored, in pages of this size, at least one, the last first."""
        after: Entry | None = None
        limit = min(size, _MOST)
        while True:
            now = self._clock.time()
            page = await self.items.scan(prefix, now, limit=limit, after=after, vectors=vectors)
            if down_to is not None:
                page = [entry for entry in page if entry.order > down_to.order]
            yield page
            if len(page) < limit:
                return
            after = page[-1]

    def _matches(self, entry: Entry, filter: Mapping[str, Any]) -> bool:
        return matches(self._values.decode(*entry.place, entry.value), filter)

    # -- listing -----------------------------------------------------------------------------------

    async def _list(self, op: ListNamespacesOp, pending: Pending) -> list[Namespace]:
        found: list[Namespace] = []
        left = op.offset
        last: Namespace | None = None
        async for namespace in self._namespaces(op, pending):
            if len(found) == op.limit:
                break
            if not all(
                matches_namespace(namespace, kind, path) for kind, path in op.match_conditions or ()
            ):
                continue
            # They come in order, so those that are the same once they are cut stand together.
            cut = namespace[: op.max_depth]
            if cut == last:
                continue
            last = cut
            if left > 0:
                left -= 1
                continue
            found.append(cut)
        return found

    async def _namespaces(self, op: ListNamespacesOp, pending: Pending) -> AsyncIterator[Namespace]:
        """Those that hold something, in order."""
        prefix = _known(op)
        mine = sorted({entry.namespace for entry in pending.found(prefix)}, reverse=True)
        dropped = {name for (name, _), write in pending.writes.items() if write.entry is None}
        after: Namespace | None = None
        limit = min(max(op.offset + op.limit, 1), _MOST)
        while True:
            page = await self.items.namespaces(prefix, self._clock.time(), limit=limit, after=after)
            for namespace in page:
                while mine and mine[-1] < namespace:
                    yield mine.pop()
                if mine and mine[-1] == namespace:
                    mine.pop()
                elif namespace in dropped and not await self._holds_more(namespace, pending):
                    continue
                yield namespace
            if len(page) < limit:
                break
            after = page[-1]
        for namespace in reversed(mine):
            yield namespace

    async def _holds_more(self, namespace: Namespace, pending: Pending) -> bool:
        """Whether something is left in a namespace, of which something is to be removed."""
        async for page in self._pages(SearchOp(namespace), pending, _PAGE):
            if any(entry.namespace == namespace for entry in page):
                return True
        return False

    # -- entries -----------------------------------------------------------------------------------

    async def _prolong(self, entries: Sequence[Entry], pending: Pending) -> list[Entry]:
        """Let the time of entries that were read begin anew."""
        now = self._clock.time()
        ends = {
            entry.place: until for entry in entries if (until := prolonged(entry, now)) is not None
        }
        if not ends:
            return list(entries)
        for place in ends.keys() & pending.writes.keys():
            pending.prolong(place, ends[place])
        stored = [
            (entry, ends[entry.place])
            for entry in entries
            if entry.place in ends and entry.place not in pending.writes
        ]
        if stored:
            await self.items.prolong(stored, now)
        return [replace(entry, expires=ends.get(entry.place, entry.expires)) for entry in entries]

    def _parts(self, entry: Entry) -> dict[str, Any]:
        return {
            "value": self._values.decode(*entry.place, entry.value),
            "key": entry.key,
            "namespace": entry.namespace,
            "created_at": _moment(entry.created),
            "updated_at": _moment(entry.updated),
            "version": entry.version,
            "expires_at": None if entry.expires is None else _moment(entry.expires),
        }


@dataclass(slots=True)
class _Task:
    """An operation with what was made of it beforehand: of a put, or the vector of a query."""

    op: Op
    encoded: bytes | None = None
    texts: Sequence[str] = ()
    lifetime: float | None = None
    vectors: tuple[bytes, ...] = ()


def _known(op: ListNamespacesOp) -> Namespace:
    """The first words that are the same for all namespaces that are asked for."""
    longest: Namespace = ()
    for kind, path in op.match_conditions or ():
        if kind == "prefix":
            words = path[: path.index("*")] if "*" in path else path
            longest = max(longest, words, key=len)
    return longest


def _check_version(version: Any) -> None:
    if isinstance(version, NotGiven) or version is None:
        return
    if type(version) is not int or version < 0:
        raise StoreError(
            f"if_version is the `version` of an item that was read, or 0 if there must be none, "
            f"not {version!r:.200}."
        )


def _moment(time: float) -> datetime:
    return datetime.fromtimestamp(time, UTC)
