"""The backend in this process's memory: nothing survives it. The model for all others."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from durable_graph.decisions.liveness import Liveness, Process
from durable_graph.errors import StorageClosedError, ThreadArchivedError, ThreadNotFoundError
from durable_graph.log.records import Head, Ranges, Record, ThreadKey
from durable_graph.ports.backend import (
    Append,
    Capabilities,
    Card,
    Message,
    Outcome,
    Position,
    Reading,
    Removal,
    Thread,
    ThreadPage,
    ThreadQuery,
    checkpoint_path,
    next_card,
)
from durable_graph.ports.clock import Clock, SystemClock
from durable_graph.ports.items import Items, Puts
from durable_graph.ports.memory_items import InMemoryItems
from durable_graph.ports.paging import cursor_of, place, place_of
from durable_graph.ports.rows import until_commit

__all__ = ["InMemoryBackend"]


@dataclass(slots=True)
class _Thread:
    head: Head
    records: list[Record] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    watchers: list[asyncio.Future[None]] = field(default_factory=list)


class InMemoryBackend:
    """Threads in dictionaries.

    No method waits for anything, so each is atomic on its event loop; the lock is for savers that
    several loops, in threads of their own, use at once.
    """

    capabilities = Capabilities(
        durable=False, shared=False, groups=False, immediate=True, stores=True
    )

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        # Reentrant, since a call that is collected while its thread is in here ends in here, too.
        self._lock = threading.RLock()
        self._threads: dict[ThreadKey, _Thread] = {}
        self._cards: dict[ThreadKey, Card] = {}
        self._beats: dict[str, tuple[Process, float]] = {}
        self._closed = False

    def __repr__(self) -> str:
        return f"<InMemoryBackend {len(self._threads)} threads>"

    def keeps(self, items: Items) -> bool:
        """Whether these are in this process's memory, too; see `Remembering`."""
        return isinstance(items, InMemoryItems)

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        with self._lock:
            if beat is not None:
                self._beats[beat.id] = (beat, self._clock.monotonic())
            return [self._append(append) for append in batch]

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        with self._lock:
            return self._read(thread, checkpoint, unless)

    def _read(
        self, thread: ThreadKey, checkpoint: str | None, unless: Position | None
    ) -> Reading | None:
        stored = self._threads.get(thread)
        if stored is None:
            self._refuse_archived(thread)
            return None
        messages = [m for m in stored.messages.values() if m.verdict is None]
        if checkpoint is None and unless is not None and unless == Position.of(stored.head):
            return Reading(stored.head, (), (), messages)
        if checkpoint is None:
            return Reading(stored.head, list(self._pick(stored, stored.head.path)), (), messages)
        commit = next((r for r in stored.records if r.checkpoint == checkpoint), None)
        if commit is None:
            return Reading(stored.head, (), (), messages)
        path = checkpoint_path(commit, thread.thread)
        return Reading(
            stored.head,
            list(self._pick(stored, path)),
            until_commit(self._pick(stored, ((commit.seq + 1, stored.head.seq),))),
            messages,
        )

    async def scan(
        self,
        thread: ThreadKey,
        ranges: Ranges,
        *,
        bodies: bool = True,
    ) -> Sequence[Record]:
        with self._lock:
            stored = self._threads.get(thread)
            found = [] if stored is None else list(self._pick(stored, ranges))
        return found if bodies else [replace(record, body=None) for record in found]

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        with self._lock:
            stored = self._threads.get(thread)
            known = stored.blobs if stored is not None else {}
            return {digest: known[digest] for digest in digests if digest in known}

    async def thread(self, thread: ThreadKey) -> Thread | None:
        with self._lock:
            return self._thread(thread)

    def _thread(self, thread: ThreadKey) -> Thread | None:
        stored, card = self._threads.get(thread), self._cards.get(thread)
        if stored is None and card is None:
            return None
        return Thread(thread, stored.head if stored is not None else None, card)

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        with self._lock:
            every = map(self._thread, {**self._threads, **self._cards})
            found = [thread for thread in every if thread is not None and query.wants(thread)]
        found.sort(key=place, reverse=True)
        if query.after is not None:
            after = place_of(query.after)
            found = [thread for thread in found if place(thread) < after]
        page = found[: query.limit]
        return ThreadPage(page, cursor_of(page[-1]) if len(found) > query.limit else None)

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        with self._lock:
            stored = self._cards.get(thread)
            if next_card(card, stored):
                self._cards[thread] = card
                return True
            return card == stored

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        with self._lock:
            stored = self._threads.get(thread)
            if stored is None:
                self._refuse_archived(thread)
                raise ThreadNotFoundError(f"There is no thread {thread.thread!r}.")
            return stored.messages.setdefault(message.id, message)

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        with self._lock:
            now = self._clock.monotonic()
            if process is not None:
                self._beats[process.id] = (process, now)
            return [Liveness(known, now - seen) for known, seen in self._beats.values()]

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        with self._lock:
            return self._remove(thread, what)

    def _remove(self, thread: ThreadKey, what: Removal) -> bool:
        stored = self._threads.get(thread)
        position = Position.of(stored.head) if stored is not None else None
        if what.expected is not None and what.expected != position:
            return False
        if what.without_log and stored is not None:
            return False
        if what.everything:
            return self._remove_all(thread, stored, what)
        if stored is None or what.expected is None:
            return False
        for first, last in what.bodies:
            for seq in range(max(first, 1), min(last, len(stored.records)) + 1):
                stored.records[seq - 1] = replace(stored.records[seq - 1], body=None)
        for digest in what.blobs:
            stored.blobs.pop(digest, None)
        stored.head = replace(stored.head, epoch=stored.head.epoch + 1)
        _wake(stored)
        return True

    def _remove_all(self, thread: ThreadKey, stored: _Thread | None, what: Removal) -> bool:
        card = self._cards.get(thread)
        if (stored is None and card is None) or not what.meets(card):
            return False
        self._threads.pop(thread, None)
        if what.card is not None:
            self._cards[thread] = what.card
        else:
            self._cards.pop(thread, None)
        if stored is not None:
            _wake(stored)
        return True

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with self._lock:
                stored = self._threads.get(thread)
                if stored is None or Position.of(stored.head) != seen:
                    return
                if self._closed:
                    raise StorageClosedError("The backend was closed.")
                woken = loop.create_future()
                stored.watchers.append(woken)
            try:
                await woken
            finally:
                with self._lock:
                    if woken in stored.watchers:
                        stored.watchers.remove(woken)

    def statistics(self) -> Mapping[str, float]:
        with self._lock:
            return {"threads": len(self._threads), "cards": len(self._cards)}

    async def aclose(self) -> None:
        with self._lock:
            self._closed = True
            for stored in self._threads.values():
                _wake(stored)

    def _append(self, append: Append) -> Outcome:
        key = append.head.key
        stored = self._threads.get(key)
        position = None if stored is None else Position.of(stored.head)
        if position != append.expected:
            return Outcome.APPLIED if _is_stored(stored, append) else Outcome.REFUSED
        return self._append_with(append, append.puts, stored)

    def _append_with(self, append: Append, puts: Sequence[Puts], stored: _Thread | None) -> Outcome:
        if not puts:
            return self._extend(append, stored)
        one, *others = puts
        items = one.items
        if not isinstance(items, InMemoryItems):
            raise TypeError(f"{items!r} is not in this process's memory.")
        with items.lock:
            if items.refused(one.writes, one.now):
                return Outcome.CONFLICTING
            outcome = self._append_with(append, others, stored)
            if outcome is Outcome.APPLIED:
                items.write(one.writes, one.now)
            return outcome

    def _extend(self, append: Append, stored: _Thread | None) -> Outcome:
        key = append.head.key
        if stored is None:
            if not self._may_begin(append):
                return Outcome.REFUSED
            stored = self._threads[key] = _Thread(append.head)
        stored.records.extend(append.records)
        if append.blobs:
            stored.blobs.update(append.blobs)
        for name, verdict in append.settled.items():
            if name in stored.messages:
                stored.messages[name] = replace(stored.messages[name], verdict=verdict)
        stored.head = append.head
        if stored.watchers:
            _wake(stored)
        return Outcome.APPLIED

    def _may_begin(self, append: Append) -> bool:
        """Whether a new log may be stored; if so, its card is."""
        key = append.head.key
        card = self._cards.get(key)
        if append.card is None:
            return card is None or card.archived is None
        if not next_card(append.card, card):
            return False
        self._cards[key] = append.card
        return True

    def _refuse_archived(self, thread: ThreadKey) -> None:
        card = self._cards.get(thread)
        if card is not None and card.archived is not None:
            raise ThreadArchivedError(thread.thread, card.archived)

    def _pick(self, stored: _Thread, ranges: Ranges) -> Iterator[Record]:
        for first, last in ranges:
            yield from stored.records[max(first, 1) - 1 : max(last, 0)]


def _is_stored(stored: _Thread | None, append: Append) -> bool:
    last = append.records[-1]
    return (
        stored is not None
        and last.seq <= len(stored.records)
        and stored.records[last.seq - 1].link == last.link
    )


def _wake(stored: _Thread) -> None:
    watchers, stored.watchers = stored.watchers, []
    for future in watchers:
        # A loop that was closed with its watchers has nobody left to wake.
        with contextlib.suppress(RuntimeError):
            future.get_loop().call_soon_threadsafe(_set, future)


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
