"""The backend: threads in one SQLite file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from durable_graph.errors import ThreadArchivedError, ThreadNotFoundError
from durable_graph.ports.backend import (
    Append,
    Capabilities,
    Card,
    Head,
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
    checkpoint_path,
)
from durable_graph.ports.clock import Clock, SystemClock
from durable_graph.ports.items import Items
from durable_graph.ports.paging import cursor_of, place_of
from durable_graph.ports.rows import (
    card_values,
    head_values,
    to_card,
    to_head,
    to_message,
    to_process,
    until_commit,
)
from durable_graph_sqlite.file import DatabaseFile, Synchronous
from durable_graph_sqlite.guest import GuestError, guest
from durable_graph_sqlite.items import SqliteItems, refused_items, write_items
from durable_graph_sqlite.rows import find_checkpoint, read_records
from durable_graph_sqlite.sql import QUERIES

__all__ = ["SqliteBackend", "Synchronous"]


_POLL: Final = 0.05
_RESTS: Final = frozenset({"asking", "failed", "stopped"})  # that `threads_by_rest` knows
# Processes whose sign of life is this many leases old are forgotten.
_FORGOTTEN: Final = 100.0
_HEAD: Final = 10  # columns of a head in a list; those of the card come after

# The driver's statements keep copies of what was bound to them last, until they are used again.
# Those of more bytes are used again at once, so that no copy of a large value stays in memory.
_HELD: Final = 2**20
# SQLITE_MAX_LENGTH is 10**9 for a whole row, in which there is more than a record.
_LONGEST: Final = 10**9 - 2**20


class SqliteBackend:
    """Threads in one SQLite file, which several processes of one host may use at once.

    Args:
        path: the file; it is made if it does not exist. ``":memory:"`` keeps it in memory.
        synchronous: "full" (default): what was acknowledged survives a power loss. "normal": only
            the death of processes; a power loss may take the last commits, never the file.
        busy_timeout: seconds to wait while another process writes.
        allow_weaker: use the file even if it cannot give what `synchronous` promises.
        clock: where time comes from.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "full",
        busy_timeout: float = 10.0,
        allow_weaker: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._file = DatabaseFile(path, synchronous, busy_timeout, allow_weaker, self._configure)
        self._writer, self._reader = self._file.writer, self._file.reader
        self._clock = clock or SystemClock()
        self._boot = _boot_id()
        kept = not self._file.in_memory
        self.capabilities = Capabilities(
            durable=kept,
            shared=kept,
            groups=True,
            transactions="sync",
            stores=kept,
            max_record_bytes=_LONGEST,
        )

    def __repr__(self) -> str:
        return f"<SqliteBackend {self.path!r}, synchronous={self._file.synchronous}>"

    @property
    def path(self) -> str:
        """The file."""
        return self._file.path

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        def work(db: sqlite3.Connection) -> list[Outcome]:
            db.execute("BEGIN IMMEDIATE")
            rows: list[tuple[Any, ...]] = []
            outcomes = [_append(db, append, rows) for append in batch]
            _add_records(db, rows)
            if beat is not None:
                self._beat(db, beat)
            db.execute("COMMIT")
            return outcomes

        return await self._writer.call(work, writes=True)

    def keeps(self, items: Items) -> bool:
        """Whether these are in the same file; see `Remembering`."""
        file = items.file if isinstance(items, SqliteItems) else None
        return file is not None and file.is_same(self._file)

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[sqlite3.Connection], Append]
    ) -> Append | None:
        def transaction(db: sqlite3.Connection) -> Append | None:
            db.execute("BEGIN IMMEDIATE")
            found = _head(db, thread)
            if found is None or Position.of(found[1]) != expected:
                db.execute("ROLLBACK")
                return None
            append = guest(db, work)
            rows: list[tuple[Any, ...]] = []
            if _append(db, append, rows) is Outcome.REFUSED:
                raise ValueError("What is to be appended does not follow what it was made for.")
            _add_records(db, rows)
            db.execute("COMMIT")
            return append

        try:
            return await self._writer.call(transaction, writes=True)
        except GuestError as raised:
            raise raised.error from raised.error.__cause__

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        def work(db: sqlite3.Connection) -> Reading | None:
            found = _head(db, thread)
            if found is None:
                _refuse_archived(db, thread)
                return None
            row, head = found
            messages = _waiting(db, row)
            if checkpoint is None:
                known = unless is not None and unless == Position.of(head)
                records = [] if known else read_records(db, row, head.seq, head.path)
                return Reading(head, records, (), messages)
            commit = find_checkpoint(db, row, checkpoint)
            if commit is None:
                return Reading(head, (), (), messages)
            path = checkpoint_path(commit, thread.thread)
            (last,) = db.execute(QUERIES["next_commit"], (row, commit.seq)).fetchone()
            rest = ((commit.seq + 1, last if last is not None else head.seq),)
            return Reading(
                head,
                read_records(db, row, head.seq, path),
                until_commit(read_records(db, row, head.seq, rest)),
                messages,
            )

        return await self._file.look(work)

    async def scan(
        self,
        thread: ThreadKey,
        ranges: Ranges,
        *,
        bodies: bool = True,
    ) -> Sequence[Record]:
        def work(db: sqlite3.Connection) -> list[Record]:
            found = _head(db, thread)
            if found is None:
                return []
            row, head = found
            return read_records(db, row, head.seq, ranges, bodies=bodies)

        return await self._file.look(work)

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        def work(db: sqlite3.Connection) -> dict[str, bytes]:
            found = _head(db, thread)
            if found is None:
                return {}
            rows = (
                (digest, db.execute(QUERIES["blob"], (found[0], digest)).fetchone())
                for digest in digests
            )
            return {
                digest: row[0]
                for digest, row in rows
                if row is not None and type(row[0]) is bytes  # anything else is not what was stored
            }

        return await self._file.look(work)

    async def thread(self, thread: ThreadKey) -> Thread | None:
        def work(db: sqlite3.Connection) -> Thread | None:
            found, card = _head(db, thread), _card(db, thread)
            if found is None and card is None:
                return None
            return Thread(thread, found[1] if found is not None else None, card)

        return await self._file.look(work)

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        updated, name = place_of(query.after) if query.after is not None else (None, None)
        wanted = {
            "tenant": query.tenant,
            "status": query.status,
            "owner": query.owner,
            "expired": query.expired,
            "since": query.since,
            "until": query.until,
            "updated": updated,
            "thread": name,
        }

        def work(db: sqlite3.Connection) -> list[Thread]:
            # A cursor that an error keeps open would show what there was then for ever after.
            statement = "threads_by_rest" if query.status in _RESTS else "threads"
            with contextlib.closing(db.execute(QUERIES[statement], wanted)) as rows:
                every = (_thread(query.tenant, row) for row in rows)
                return list(islice(filter(query.wants, every), query.limit + 1))

        found = await self._file.look(work)
        page = found[: query.limit]
        more = len(found) > query.limit
        return ThreadPage(page, cursor_of(page[-1]) if more else None)

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            db.execute("BEGIN IMMEDIATE")
            done = _put_card(db, thread, card) or _card(db, thread) == card
            db.execute("COMMIT")
            return done

        return await self._writer.call(work, writes=True)

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        def work(db: sqlite3.Connection) -> Message:
            db.execute("BEGIN IMMEDIATE")
            found = _head(db, thread)
            if found is None:
                _refuse_archived(db, thread)
                raise ThreadNotFoundError(f"There is no thread {thread.thread!r}.")
            values = (message.id, message.kind, message.body, message.by, message.time)
            db.execute(QUERIES["post"], (found[0], *values))
            stored = db.execute(QUERIES["message"], (found[0], message.id)).fetchone()
            db.execute("COMMIT")
            return to_message(stored)

        return await self._writer.call(work, writes=True)

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        def work(db: sqlite3.Connection) -> list[Liveness]:
            if process is not None:
                db.execute("BEGIN IMMEDIATE")
                self._beat(db, process)
                db.execute("COMMIT")
            return self._processes(db)

        if process is None:
            return await self._file.look(work)
        return await self._writer.call(work, writes=True)

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            db.execute("BEGIN IMMEDIATE")
            done = _remove_all(db, thread, what) if what.everything else _prune(db, thread, what)
            db.execute("COMMIT" if done else "ROLLBACK")
            return done

        return await self._writer.call(work, writes=True)

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        def work(db: sqlite3.Connection) -> Position | None:
            found = _head(db, thread)
            return Position.of(found[1]) if found is not None else None

        while await self._file.look(work) == seen:
            await self._clock.sleep(_POLL)

    def statistics(self) -> Mapping[str, float]:
        """``calls`` that waited for or were at work in the file, and ``writes`` among them."""
        calls = {id(each): each for each in (self._writer, self._reader)}.values()
        return {
            "calls": sum(each.calls for each in calls),
            "writes": self._writer.writes,
        }

    async def aclose(self) -> None:
        await self._file.close()

    def _configure(self, db: sqlite3.Connection) -> None:
        self._file.configure(db)

    def _beat(self, db: sqlite3.Connection, process: Process) -> None:
        identity, now = process.identity, self._clock.monotonic()
        db.execute(
            QUERIES["beat"],
            (
                process.id,
                identity.host,
                identity.pid,
                identity.started,
                self._boot,
                now,
                process.lease,
            ),
        )
        db.execute(QUERIES["forget"], (self._boot, now, _FORGOTTEN))

    def _processes(self, db: sqlite3.Connection) -> list[Liveness]:
        now = self._clock.monotonic()
        found = []
        for row in db.execute(QUERIES["processes"]).fetchall():
            known = to_process(row)
            if known is None:
                continue
            process, boot, beat = known
            # All processes of a host share one monotonic clock, which starts with the host.
            age = now - beat if boot == self._boot else float("inf")
            found.append(Liveness(process, age))
        return found


def _append(db: sqlite3.Connection, append: Append, rows: list[tuple[Any, ...]]) -> Outcome:
    """Move a head on, if it is where it should be; what its records are goes to `rows`."""
    head, expected = append.head, append.expected
    tenant, thread = head.key
    values = head_values(head)
    if any(refused_items(db, puts.writes, puts.now) for puts in append.puts):
        # Before anything of it is written; unless it was written by an earlier try.
        return Outcome.APPLIED if _is_stored(db, append) else Outcome.CONFLICTING
    if expected is not None:
        key = (tenant, thread, expected.seq, expected.epoch, expected.link)
        row = db.execute(QUERIES["extend"], (*values, *key)).fetchone()
    else:
        row = None
        if _may_begin(db, append):
            row = db.execute(QUERIES["create"], (tenant, thread, *values)).fetchone()
    if row is None:
        return Outcome.APPLIED if _is_stored(db, append) else Outcome.REFUSED
    (id,) = row
    rows += [
        (
            id,
            record.seq,
            record.kind,
            record.checkpoint,
            record.digest,
            record.link,
            record.header,
            record.body,
        )
        for record in append.records
    ]
    for digest, data in append.blobs.items():
        db.execute(QUERIES["add_blob"], (id, digest, data))
        if len(data) > _HELD:
            db.execute(QUERIES["add_blob"], (id, digest, b""))  # it is there: nothing happens
    for puts in append.puts:
        write_items(db, puts.writes, puts.now)
    for message, verdict in append.settled.items():
        db.execute(QUERIES["settle"], (verdict, id, message))
    return Outcome.APPLIED


def _add_records(db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    db.executemany(QUERIES["add_record"], rows)
    if rows and any(len(row[-1] or b"") > _HELD for row in rows):
        with contextlib.suppress(sqlite3.IntegrityError):  # it is there: nothing happens
            db.execute(QUERIES["add_record"], (*rows[-1][:2], *[None] * (len(rows[-1]) - 2)))


def _is_stored(db: sqlite3.Connection, append: Append) -> bool:
    """Whether the very same append was stored before."""
    last = append.records[-1]
    key = (*append.head.key, last.seq, last.link)
    return db.execute(QUERIES["is_stored"], key).fetchone() is not None


def _may_begin(db: sqlite3.Connection, append: Append) -> bool:
    """Whether a new log may be stored, as far as cards have a say; if so, its card is."""
    key = append.head.key
    if append.card is None:
        card = _card(db, key)
        return card is None or card.archived is None
    # Nothing of an append that is refused may stay, and that of a log that is there already is.
    return _head(db, key) is None and _put_card(db, key, append.card)


def _put_card(db: sqlite3.Connection, key: ThreadKey, card: Card) -> bool:
    """Store a card in the place of the one before it, if that is there."""
    values = (*card_values(key, card), *key)
    if card.version == 1:
        return db.execute(QUERIES["first_card"], values).fetchone() is not None
    return db.execute(QUERIES["next_card"], (*values, card.version - 1)).fetchone() is not None


def _remove_all(db: sqlite3.Connection, thread: ThreadKey, what: Removal) -> bool:
    found = db.execute(QUERIES["head"], thread).fetchone()
    if what.expected is not None and (
        found is None or what.expected != Position.of(to_head(*thread, found[1:]))
    ):
        return False
    if what.without_log and found is not None:
        return False
    card = db.execute(QUERIES["card"], thread).fetchone()
    if found is None and card is None:
        return False
    if what.before not in (None, 0 if card is None else card[0]):
        return False
    if what.card is None:
        db.execute(QUERIES["drop_card"], thread)
    elif not _put_card(db, thread, what.card):
        return False
    if found is not None:
        for name in ("drop_thread", "drop_records", "drop_blobs", "drop_messages"):
            db.execute(QUERIES[name], (found[0],))
    return True


def _prune(db: sqlite3.Connection, thread: ThreadKey, what: Removal) -> bool:
    found = _head(db, thread)
    if found is None or what.expected != Position.of(found[1]):
        return False
    row, head = found
    spans = [(row, first, last) for first, last in what.bodies]
    db.executemany(QUERIES["drop_bodies"], spans)
    db.executemany(QUERIES["drop_blob"], [(row, digest) for digest in what.blobs])
    fenced = head_values(replace(head, epoch=head.epoch + 1))
    db.execute(QUERIES["extend"], (*fenced, *thread, head.seq, head.epoch, head.link))
    return True


def _head(db: sqlite3.Connection, thread: ThreadKey) -> tuple[int, Head] | None:
    row = db.execute(QUERIES["head"], thread).fetchone()
    return None if row is None else (row[0], to_head(*thread, row[1:]))


def _card(db: sqlite3.Connection, thread: ThreadKey) -> Card | None:
    row = db.execute(QUERIES["card"], thread).fetchone()
    return None if row is None else to_card(thread, row)


def _waiting(db: sqlite3.Connection, thread_id: int) -> list[Message]:
    """The messages that wait; without those whose id is none, which could not be answered.

    Their senders find that theirs is not there, and leave it once more.
    """
    rows = db.execute(QUERIES["waiting"], (thread_id,)).fetchall()
    return [to_message(row) for row in rows if type(row[0]) is str]


def _refuse_archived(db: sqlite3.Connection, thread: ThreadKey) -> None:
    card = _card(db, thread)
    if card is not None and card.archived is not None:
        raise ThreadArchivedError(thread.thread, card.archived)


def _thread(tenant: str, row: Sequence[Any]) -> Thread:
    """A thread in a row of the list."""
    _, name, *values = row
    key = ThreadKey(tenant, name)
    head, card = values[:_HEAD], values[_HEAD:]
    return Thread(
        key,
        to_head(tenant, name, head) if head[0] is not None else None,
        to_card(key, card) if card[0] is not None else None,
    )


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
