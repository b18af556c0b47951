"""Backends that mistake, lose or mix up cards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import (
    Append,
    Card,
    Outcome,
    Process,
    Removal,
    Thread,
    ThreadPage,
    ThreadQuery,
)
from tests.backends.faulty import Faulty


class _WithCards(Faulty):
    found_by = "cards"


class TakesAnyVersion(_WithCards):
    """Stores whatever card comes."""

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        self._cards[thread] = card
        return True


class RefusesTheSameAgain(_WithCards):
    """Takes one who asks again for one who comes late."""

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        known = self._cards.get(thread)
        return card != known and await super().label(thread, card)


class ListsLogsOnly(_WithCards):
    """Forgets threads that have no log."""

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        page = await super().threads(query)
        return replace(page, threads=[thread for thread in page.threads if thread.head])


class TakesOneForTrue(_WithCards):
    """Compares metadata as Python does."""

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        every = await super().threads(replace(query, metadata={}, limit=1000))
        found = [thread for thread in every.threads if _fits(query, thread)]
        return ThreadPage(found[: query.limit], None)


class BeginsArchivedAnew(_WithCards):
    """Stores a new log in the place of one that is elsewhere."""

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        for append in batch:
            card = self._cards.get(append.head.key)
            if append.card is None and card is not None:
                self._cards[append.head.key] = replace(card, archived=None)
        return await super().append(batch, beat)


class ForgetsWhatComesAlong(_WithCards):
    """Stores a log that comes back, and not its card."""

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        outcomes = await super().append(batch, beat)
        for append in batch:
            if append.card is not None:
                self._cards.pop(append.head.key, None)
        return outcomes


class RemovesWhatHasMoved(_WithCards):
    """Does not look where the log is that it removes as a whole."""

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        if what.everything:
            what = replace(what, expected=None)
        return await super().remove(thread, what)


class RemovesWhatHasBegun(_WithCards):
    """Does not look whether there is a log where there must be none."""

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        return await super().remove(thread, replace(what, without_log=False))


class RemovesWhatWasChanged(_WithCards):
    """Does not look of which version the card is that it removes."""

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        return await super().remove(thread, replace(what, version=None))


class KeepsTheCard(_WithCards):
    """Removes a thread and leaves its card."""

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        card = self._cards.get(thread)
        done = await super().remove(thread, what)
        if card is not None and what.card is None:
            self._cards[thread] = card
        return done


def _fits(query: ThreadQuery, thread: Thread) -> bool:
    card = thread.card
    if not query.metadata:
        return True
    return card is not None and all(
        name in card.metadata and card.metadata[name] == value
        for name, value in query.metadata.items()
    )
