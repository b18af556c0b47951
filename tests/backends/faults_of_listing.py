"""Backends that lose their place in a list, or think that time itself removes things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import (
    Capabilities,
    Card,
    Liveness,
    Process,
    Thread,
    ThreadPage,
    ThreadQuery,
)
from tests.backends.faults_of_damage import SoundMemory
from tests.backends.faulty import Faulty

_NOW = 1e9


class CountsToItsPlace(Faulty):
    """Goes on after so many threads, whichever these are by then."""

    found_by = "paging"

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        begin = int(query.after or 0)
        every = await super().threads(replace(query, after=None, limit=100_000))
        end = begin + query.limit
        more = str(end) if end < len(every.threads) else None
        return ThreadPage(every.threads[begin:end], more)


class TrustsTheCursor(Faulty):
    """Takes the tenant from the cursor."""

    found_by = "paging"

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        if query.after is not None:
            tenant, _, after = query.after.partition("|")
            query = replace(query, tenant=tenant, after=after)
        page = await super().threads(query)
        return replace(page, next=page.next and f"{query.tenant}|{page.next}")


class PutsCardsLast(Faulty):
    """Lists threads without a log after all others."""

    found_by = "paging"

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        page = await super().threads(replace(query, after=None, limit=100_000))
        found = sorted(page.threads, key=lambda thread: thread.head is None)
        names = [f"{thread.updated!r} {thread.key.thread}" for thread in found]
        begin = 0 if query.after is None else names.index(query.after) + 1
        shown = found[begin : begin + query.limit]
        more = begin + len(shown) < len(found)
        return ThreadPage(shown, names[begin + len(shown) - 1] if more else None)


class LooksAtTheFirstLetter(Faulty):
    """Believes that every cursor is one of its own."""

    found_by = "paging"

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        if query.after is not None and query.after[0] == "+":
            query = replace(query, after=query.after[1:])
        return await super().threads(query)


class RemembersItsCursors(SoundMemory):
    """Gives out numbers, and keeps what they stand for to itself."""

    found_by = "paging"
    capabilities = Capabilities(durable=False, shared=True, groups=False)

    def __init__(self) -> None:
        super().__init__()
        self._cursors: list[str] = []

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        if query.after is not None:
            known = dict(enumerate(self._cursors))
            query = replace(query, after=known.get(int(query.after)))
        page = await super().threads(query)
        if page.next is None:
            return page
        self._cursors.append(page.next)
        return replace(page, next=str(len(self._cursors) - 1))


class DropsTheExpired(Faulty):
    """Does not tell a thread any more whose time is over, as databases do of themselves."""

    found_by = "expiry"

    async def thread(self, thread: ThreadKey) -> Thread | None:
        found = await super().thread(thread)
        if found is None or found.card is None or (found.card.expires or _NOW) >= _NOW:
            return found
        return None


class KeepsOldTimes(Faulty):
    """Finds threads by the first time that a card of theirs said."""

    found_by = "expiry"

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[ThreadKey, float | None] = {}

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        self._first.setdefault(thread, card.expires)
        return await super().label(thread, card)

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        if query.expired is None:
            return await super().threads(query)
        every = await super().threads(replace(query, expired=None, limit=100_000))
        by = query.expired
        found = [t for t in every.threads if (self._first.get(t.key) or _NOW) <= by]
        return ThreadPage(found, None)


class RemembersAFew(Faulty):
    """Knows the ten processes that it heard of last."""

    found_by = "expiry"

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        await super().beat(process)
        self._beats = dict(list(self._beats.items())[-10:])
        return await super().beat(None)
