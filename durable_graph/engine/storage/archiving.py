"""Threads that rest, moved to an archive as one file each, and brought back when they are used.

A thread is in the backend, or in the archive with a card that says so. Both ways the copy is
durable before what it was copied from goes, and the step between is one atomic operation of the
backend, which is refused if anything has moved. So whenever a process dies, the thread is in one
place that is known; what may be left over is a file that no card names, and that goes with the
thread's next file, or with the thread.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from durable_graph.decisions.cards import Act, read_notes
from durable_graph.errors import (
    IntegrityError,
    StorageError,
    ThreadArchivedError,
    ThreadBusyError,
)
from durable_graph.ports.archive import Archive, file_name, folder_of, name_in
from durable_graph.ports.backend import (
    Append,
    Backend,
    Capabilities,
    Card,
    Liveness,
    Message,
    Outcome,
    Position,
    Process,
    Ranges,
    Reading,
    Record,
    Removal,
    Thread,
    ThreadKey,
    ThreadPage,
    ThreadQuery,
)
from durable_graph.ports.clock import Chance, Clock
from durable_graph.ports.items import Items
from durable_graph.ports.limits import check_append
from durable_graph.ports.threadfile import read_thread, whole_thread, write_thread

__all__ = ["ArchivingBackend", "archived_card"]

# How often a thread that changes while it is moved is looked at again.
_LOOKS = 8


class ArchivingBackend:
    """A backend whose threads can be moved to an archive, and come back when they are read.

    It stands right before storage, below whatever encrypts: what is archived is what storage
    would hold.

    Args:
        stored: where threads are while they are used.
        archive: where they go.
        clock: where time comes from.
        chance: where the names of files come from.
    """

    def __init__(self, stored: Backend, archive: Archive, clock: Clock, chance: Chance) -> None:
        self._stored = stored
        self._archive = archive
        self._clock = clock
        self._chance = chance
        self._moved = {"archived": 0.0, "restored": 0.0}

    def __repr__(self) -> str:
        return f"<{self._stored!r} with {self._archive!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self._stored.capabilities

    async def archive(
        self, thread: ThreadKey, expected: Position, card: Card | None, by: str | None = None
    ) -> bool:
        """Move a thread to the archive; ``False`` if it is not as it was seen.

        Args:
            thread: the thread.
            expected: where its log was seen at rest.
            card: its card then.
            by: who has this done.

        Raises:
            ThreadBusyError: messages wait in its inbox.
            IntegrityError: its log is damaged.
        """
        # What is there now is no use any more once this thread is moved, since a file that is
        # named later is made from a log that is there later.
        before = await self._archive.names(folder_of(thread))
        try:
            whole = await whole_thread(self._stored, thread)
        except ThreadArchivedError:  # somebody else was faster
            return False
        if whole is None or Position.of(whole.head) != expected or whole.card != card:
            return False
        if whole.messages:
            # An append that brings a log back cannot bring messages: a crash would lose them.
            raise ThreadBusyError(
                f"{len(whole.messages)} answers wait in the inbox of thread {thread.thread!r}. "
                f"Call it with None, so that they are taken up, and archive it then."
            )
        name = file_name(thread, whole.head.seq, self._chance.id())
        act = Act("archived", self._clock.time(), by)
        moved = archived_card(card, f"{self._archive.url}/{name}", act, thread)
        await self._archive.put(name, write_thread(whole))
        removal = Removal(everything=True, expected=expected, card=moved)
        if not await self._stored.remove(thread, removal):
            # Before the file goes, see that nothing leads to it: a removal that was done and
            # asked for again on its way finds nothing to remove.
            now = await self._stored.thread(thread)
            if now is None or now.card is None or now.card.archived != moved.archived:
                await self._archive.delete(name)
                return False
        self._moved["archived"] += 1
        await self._discard(before)
        return True

    async def _restore(self, thread: ThreadKey, where: str) -> None:
        """Bring a thread back, if it still is where it was seen."""
        name = name_in(where, thread)
        data = await self._archive.get(name) if name is not None else None
        seen = await self._stored.thread(thread)
        card = seen.card if seen is not None else None
        if seen is None or seen.head is not None or card is None or card.archived != where:
            return  # somebody else was faster
        if name is None or data is None:
            raise IntegrityError(
                f"Thread {thread.thread!r} was archived as {where}, and {self._archive!r} has no "
                f"such file. If it is in another archive, use that one."
            )
        try:
            whole = read_thread(data)
            if whole.head.key != thread:
                raise IntegrityError(f"It is a file of thread {whole.head.key.thread!r}.")
        except IntegrityError as error:
            raise IntegrityError(f"{where}: {error}") from error
        # The epoch grows: whoever owned the thread before it was archived would find it just
        # where it was, and must not write to it.
        head = replace(whole.head, epoch=whole.head.epoch + 1)
        back = archived_card(card, None, Act("restored", self._clock.time()), thread)
        append = Append(None, head, whole.records, whole.blobs, {}, back)
        check_append(append, self._stored.capabilities)
        (outcome,) = await self._stored.append([append])
        if outcome is Outcome.APPLIED:
            self._moved["restored"] += 1
            await self._discard([name])

    async def _discard(self, names: Sequence[str]) -> None:
        # What the files were for is done. One that stays goes with the next, or with the thread.
        with contextlib.suppress(StorageError):
            for name in names:
                await self._archive.delete(name)

    # -- a backend -------------------------------------------------------------------------------

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        return await self._stored.append(batch, beat)

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        for _ in range(_LOOKS):
            try:
                return await self._stored.read(thread, checkpoint, unless=unless)
            except ThreadArchivedError as archived:
                where = archived.where
            await self._restore(thread, where)
        raise ThreadArchivedError(thread.thread, where)

    async def scan(
        self, thread: ThreadKey, ranges: Ranges, *, bodies: bool = True
    ) -> Sequence[Record]:
        return await self._stored.scan(thread, ranges, bodies=bodies)

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        return await self._stored.blobs(thread, digests)

    async def thread(self, thread: ThreadKey) -> Thread | None:
        return await self._stored.thread(thread)

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        return await self._stored.threads(query)

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        return await self._stored.label(thread, card)

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        for _ in range(_LOOKS):
            try:
                return await self._stored.post(thread, message)
            except ThreadArchivedError as archived:
                where = archived.where
            await self._restore(thread, where)
        raise ThreadArchivedError(thread.thread, where)

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        return await self._stored.beat(process)

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        moves = what.card is not None and what.card.archived is not None
        if moves or not what.everything:
            return await self._stored.remove(thread, what)
        for _ in range(_LOOKS):
            # The files are looked up first: where there is no thread, a later one would be of a
            # later thread of that name.
            names = await self._archive.names(folder_of(thread))
            seen = await self._stored.thread(thread)
            card = seen.card if seen is not None else None
            where = card.archived if card is not None else None
            if where is not None and name_in(where, thread) not in names:
                # It was archived since. What is removed is the thread that was seen, and nothing
                # later can be there while it is.
                names = await self._archive.names(folder_of(thread))
            # Where somebody archives it from now on, its file is not among these.
            here = Position.of(seen.head) if seen is not None and seen.head is not None else None
            expected = what.expected or here
            version = what.version
            if version is None:
                version = card.version if card is not None else 0
            removed = await self._stored.remove(
                thread,
                replace(what, expected=expected, without_log=expected is None, version=version),
            )
            if removed or seen is None:
                # Last: whoever is told that the thread is gone may rely on it, and where the
                # process dies before, it can be deleted again with what is left of it.
                for name in names:
                    await self._archive.delete(name)
                return removed
            if what.expected is not None or what.before is not None or what.without_log:
                return False
        return await self._stored.remove(thread, what)

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        await self._stored.changed(thread, seen)

    def keeps(self, items: Items) -> bool:
        """See `Remembering`, which not every backend is."""
        inner: Any = self._stored
        kept: bool = inner.keeps(items)
        return kept

    async def transact(
        self,
        thread: ThreadKey,
        expected: Position,
        work: Callable[[Any], Append | Awaitable[Append]],
    ) -> Append | None:
        """See `Transactional`; there is one only where the backend has it."""
        stored: Any = self._stored
        extended: Append | None = await stored.transact(thread, expected, work)
        return extended

    def statistics(self) -> Mapping[str, float]:
        return {**self._stored.statistics(), **self._moved}

    async def aclose(self) -> None:
        try:
            await self._stored.aclose()
        finally:
            await self._archive.aclose()


def archived_card(card: Card | None, where: str | None, act: Act, thread: ThreadKey) -> Card:
    """The next card of a thread that is moved to an archive, or brought back from one."""
    before = card or Card(0)
    body = read_notes(before.body, thread.thread).after(act).encode()
    return replace(before, version=before.version + 1, archived=where, time=act.time, body=body)
