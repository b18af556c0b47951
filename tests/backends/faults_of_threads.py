"""Backends that list, remove or tell wrongly, or mistake one name for another."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from durable_graph.log.records import Ranges, Record, ThreadKey
from durable_graph.ports.backend import (
    Append,
    Liveness,
    Message,
    Outcome,
    Position,
    Process,
    Reading,
    Removal,
    ThreadPage,
    ThreadQuery,
)
from tests.backends.faulty import Faulty

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED


# -- threads ---------------------------------------------------------------------------------------


class SkipsTies(Faulty):
    """Goes on after a time, not after a thread."""

    found_by = "threads"

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        if query.after is not None:
            query = replace(query, after=query.after.partition(" ")[0] + " ")
        return await super().threads(query)


class RepeatsTies(Faulty):
    """Tells the last thread of a page on the next one, too."""

    found_by = "threads"

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        if query.after is not None and query.limit > 1:
            query = replace(query, after=query.after + "\0")
        return await super().threads(query)


class EndsEarly(Faulty):
    """Takes a full page for the last one."""

    found_by = "threads"

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        return replace(await super().threads(query), next=None)


class FiltersThePage(Faulty):
    """Looks at the status after it has cut the page."""

    found_by = "threads"

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        page = await super().threads(replace(query, status=None))
        found = [thread for thread in page.threads if query.wants(thread)]
        return ThreadPage(found, page.next if found else None)


class ListsAllTenants(Faulty):
    """Tells the threads of everybody."""

    found_by = "threads"

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        tenants = sorted({key.tenant for key in self._threads})
        pages = [
            await super(ListsAllTenants, self).threads(replace(query, tenant=t)) for t in tenants
        ]
        found = [thread for page in pages for thread in page.threads]
        return ThreadPage(found[: query.limit], next((p.next for p in pages if p.next), None))


class ResurrectsTheDeleted(Faulty):
    """Makes a thread of whatever is appended."""

    found_by = "remove"

    def _append(self, append: Append) -> Outcome:
        if append.head.key not in self._threads:
            append = replace(append, expected=None)
        return super()._append(append)


class LeavesBlobsBehind(Faulty):
    """Forgets to remove the large values of a thread."""

    found_by = "remove"

    def __init__(self) -> None:
        super().__init__()
        self._left: dict[ThreadKey, dict[str, bytes]] = {}

    def _remove(self, thread: ThreadKey, what: Removal) -> bool:
        if what.everything and thread in self._threads:
            self._left[thread] = self._threads[thread].blobs
        return super()._remove(thread, what)

    def _append(self, append: Append) -> Outcome:
        outcome = super()._append(append)
        left = self._left.pop(append.head.key, {})
        if outcome is APPLIED:
            self._threads[append.head.key].blobs.update(left)
        return outcome


class PrunesWhatMovedOn(Faulty):
    """Prunes without comparing positions."""

    found_by = "remove"

    def _remove(self, thread: ThreadKey, what: Removal) -> bool:
        return super()._remove(thread, replace(what, expected=self.at(thread)))


class PrunesHeaders(Faulty):
    """Takes digests away with the bodies."""

    found_by = "remove"

    def _remove(self, thread: ThreadKey, what: Removal) -> bool:
        removed = super()._remove(thread, what)
        for record in self._threads[thread].records if thread in self._threads else ():
            if record.body is None:
                record.digest = b""
        return removed


class DoesNotTellRemovals(Faulty):
    """Wakes nobody when a thread is removed."""

    found_by = "changed"

    def _remove(self, thread: ThreadKey, what: Removal) -> bool:
        if thread in self._threads:
            self._threads[thread].watchers.clear()
        return super()._remove(thread, what)


class WakesForNothing(Faulty):
    """Takes every turn of the loop for a change."""

    found_by = "changed"

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        await asyncio.sleep(0)


# -- inbox and beat --------------------------------------------------------------------------------


class ForgetsVerdicts(Faulty):
    """Forgets a message once it is settled."""

    found_by = "inbox"

    def _append(self, append: Append) -> Outcome:
        outcome = super()._append(append)
        for name in append.settled if outcome is APPLIED else ():
            self._threads[append.head.key].messages.pop(name, None)
        return outcome


class OverwritesMessages(Faulty):
    """Takes the last message under an id for the right one."""

    found_by = "inbox"

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        known = self._threads[thread].messages if thread in self._threads else {}
        if message.id in known and known[message.id].verdict is None:
            known.pop(message.id)
        return await super().post(thread, message)


class SortsMessages(Faulty):
    """Tells messages by their senders' times."""

    found_by = "inbox"

    def _read(
        self, thread: ThreadKey, checkpoint: str | None, unless: Position | None
    ) -> Reading | None:
        reading = super()._read(thread, checkpoint, unless)
        if reading is None:
            return None
        return replace(reading, messages=sorted(reading.messages, key=lambda m: m.time))


class CreatesAnInbox(Faulty):
    """Answers whoever posts to nobody."""

    found_by = "inbox"

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        return message if thread not in self._threads else await super().post(thread, message)


class SettlesTheRefused(Faulty):
    """Gives verdicts before it compares."""

    found_by = "inbox"

    def _append(self, append: Append) -> Outcome:
        stored = self._threads.get(append.head.key)
        for name in append.settled if stored is not None else ():
            if stored is not None and name in stored.messages:
                stored.messages[name] = replace(stored.messages[name], verdict="")
        return super()._append(append)


class KeepsTheFirstLease(Faulty):
    """Does not hear that a process has another lease."""

    found_by = "beat"

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        if process is not None and process.id in self._beats:
            process = self._beats[process.id][0]
        return await super().beat(process)


# -- hostile ---------------------------------------------------------------------------------------


class _OtherNames(Faulty):
    found_by = "hostile"

    def name(self, thread: ThreadKey) -> ThreadKey:
        """What a thread is filed under."""
        raise NotImplementedError

    def _append(self, append: Append) -> Outcome:
        return super()._append(
            replace(append, head=replace(append.head, key=self.name(append.head.key)))
        )

    def _read(
        self, thread: ThreadKey, checkpoint: str | None, unless: Position | None
    ) -> Reading | None:
        reading = super()._read(self.name(thread), checkpoint, unless)
        if reading is None:
            return None
        return replace(reading, head=replace(reading.head, key=thread))

    async def scan(self, thread: ThreadKey, ranges: Ranges, **options: Any) -> Sequence[Record]:
        return await super().scan(self.name(thread), ranges, **options)


class JoinsNames(_OtherNames):
    """Files tenant and thread under one text."""

    def name(self, thread: ThreadKey) -> ThreadKey:
        return ThreadKey("", f"{thread.tenant}:{thread.thread}")


class IgnoresCase(_OtherNames):
    """Takes names for the same that differ in case."""

    def name(self, thread: ThreadKey) -> ThreadKey:
        return ThreadKey(thread.tenant, thread.thread.lower())


class TrimsNames(_OtherNames):
    """Takes names for the same that differ in blanks at their ends."""

    def name(self, thread: ThreadKey) -> ThreadKey:
        return ThreadKey(thread.tenant, thread.thread.strip() or thread.thread)


class EndsAtNul(Faulty):
    """Keeps bytes as far as the first NUL."""

    found_by = "hostile"

    def _append(self, append: Append) -> Outcome:
        blobs = {digest: data.partition(b"\0")[0] for digest, data in append.blobs.items()}
        return super()._append(replace(append, blobs=blobs))


class CutsLongValues(Faulty):
    """Keeps one megabyte of a large value."""

    found_by = "hostile"

    def _append(self, append: Append) -> Outcome:
        blobs = {digest: data[:1_000_000] for digest, data in append.blobs.items()}
        return super()._append(replace(append, blobs=blobs))


class RoundsTimes(Faulty):
    """Keeps times to the millisecond."""

    found_by = "hostile"

    def _append(self, append: Append) -> Outcome:
        head = replace(append.head, updated=round(append.head.updated, 3))
        return super()._append(replace(append, head=head))
