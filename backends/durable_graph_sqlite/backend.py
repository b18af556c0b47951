"""The backend: threads in one SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar

from durable_graph.errors import StorageError, ThreadNotFoundError, UnknownTypeError
from durable_graph.ports.backend import (
    Append,
    Capabilities,
    Head,
    HeadPage,
    HeadQuery,
    Liveness,
    Message,
    Outcome,
    Position,
    Process,
    Ranges,
    Reading,
    Record,
    Removal,
    ThreadKey,
    checkpoint_path,
)
from durable_graph.ports.clock import Clock, SystemClock
from durable_graph_sqlite.connection import Connection
from durable_graph_sqlite.guest import GuestError, guest
from durable_graph_sqlite.rows import (
    find_checkpoint,
    from_cursor,
    head_values,
    read_records,
    to_cursor,
    to_head,
    to_message,
    to_process,
)
from durable_graph_sqlite.sql import QUERIES, schema

__all__ = ["SqliteBackend", "Synchronous"]

T = TypeVar("T")
Synchronous: TypeAlias = Literal["full", "normal"]

_VERSION: Final = 1
_APPLICATION: Final = 0x64677068  # "dgph", so that `file` knows what it is
_LEVELS: Final = {"off": 0, "normal": 1, "full": 2, "extra": 3}
_POLL: Final = 0.05
# Processes whose sign of life is this many leases old are forgotten.
_FORGOTTEN: Final = 100.0
_IN_MEMORY: Final = ":memory:"


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
        if synchronous not in ("full", "normal"):
            raise ValueError(f"synchronous is 'full' or 'normal', not {synchronous!r}.")
        name = os.fsdecode(path)
        # Absolute: it is opened later than now, and more than once.
        self.path = name if name == _IN_MEMORY else str(Path(name).absolute())
        self._synchronous = synchronous
        self._busy_timeout = busy_timeout
        self._allow_weaker = allow_weaker
        self._clock = clock or SystemClock()
        self._boot = _boot_id()
        in_memory = self.path == _IN_MEMORY
        self.capabilities = Capabilities(
            durable=not in_memory, shared=not in_memory, groups=True, transactions=True
        )
        self._writer = Connection(self.path, self._configure, busy_timeout)
        # Readers have a connection of their own, so that they do not wait for the disk. A
        # database in memory is its connection's own.
        self._reader = (
            self._writer if in_memory else Connection(self.path, self._configure, busy_timeout)
        )

    def __repr__(self) -> str:
        return f"<SqliteBackend {self.path!r}, synchronous={self._synchronous}>"

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        def work(db: sqlite3.Connection) -> list[Outcome]:
            db.execute("BEGIN IMMEDIATE")
            rows: list[tuple[Any, ...]] = []
            outcomes = [_append(db, append, rows) for append in batch]
            db.executemany(QUERIES["add_record"], rows)
            if beat is not None:
                self._beat(db, beat)
            db.execute("COMMIT")
            return outcomes

        return await self._writer.call(work, writes=True)

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
            db.executemany(QUERIES["add_record"], rows)
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
                return None
            row, head = found
            messages = [to_message(m) for m in db.execute(QUERIES["waiting"], (row,))]
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
                _until_commit(read_records(db, row, head.seq, rest)),
                messages,
            )

        return await self._look(work)

    async def scan(
        self,
        thread: ThreadKey,
        ranges: Ranges,
        *,
        bodies: bool = True,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Sequence[Record]:
        def work(db: sqlite3.Connection) -> list[Record]:
            found = _head(db, thread)
            if found is None:
                return []
            row, head = found
            return read_records(
                db, row, head.seq, ranges, bodies=bodies, limit=limit, newest_first=newest_first
            )

        return await self._look(work)

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

        return await self._look(work)

    async def heads(self, query: HeadQuery) -> HeadPage:
        updated, name = from_cursor(query.after)

        def work(db: sqlite3.Connection) -> list[Head]:
            rows = db.execute(
                QUERIES["heads"],
                {
                    "tenant": query.tenant,
                    "status": query.status,
                    "updated": updated,
                    "thread": name,
                    "limit": query.limit + 1,
                },
            )
            return [to_head(row) for row in rows]

        found = await self._look(work)
        page = found[: query.limit]
        more = len(found) > query.limit
        return HeadPage(page, to_cursor(page[-1]) if more else None)

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        def work(db: sqlite3.Connection) -> Message:
            db.execute("BEGIN IMMEDIATE")
            found = _head(db, thread)
            if found is None:
                raise ThreadNotFoundError(f"There is no thread {thread.thread!r}.")
            values = (message.id, message.kind, message.body, message.by, message.time)
            db.execute(QUERIES["post"], (found[0], *values))
            stored = db.execute(QUERIES["message"], (found[0], message.id)).fetchone()
            db.execute("COMMIT")
            return to_message(stored)

        return await self._writer.call(work, writes=True)

    async def beat(self, process: Process | None, *, leaving: bool = False) -> Sequence[Liveness]:
        def work(db: sqlite3.Connection) -> list[Liveness]:
            if process is not None:
                db.execute("BEGIN IMMEDIATE")
                if leaving:
                    db.execute(QUERIES["leave"], (process.id,))
                else:
                    self._beat(db, process)
                db.execute("COMMIT")
            return self._processes(db)

        if process is None:
            return await self._look(work)
        return await self._writer.call(work, writes=True)

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            db.execute("BEGIN IMMEDIATE")
            found = _head(db, thread)
            if found is None:
                return False
            row, head = found
            if what.everything:
                for name in ("drop_thread", "drop_records", "drop_blobs", "drop_messages"):
                    db.execute(QUERIES[name], (row,))
            elif what.expected != Position.of(head):
                return False
            else:
                spans = [(row, first, last) for first, last in what.bodies]
                db.executemany(QUERIES["drop_bodies"], spans)
                db.executemany(QUERIES["drop_blob"], [(row, digest) for digest in what.blobs])
                fenced = head_values(replace(head, epoch=head.epoch + 1))
                key = (*thread, head.seq, head.epoch, head.link)
                db.execute(QUERIES["extend"], (*fenced, *key))
            db.execute("COMMIT")
            return True

        def rolled_back(db: sqlite3.Connection) -> bool:
            done = work(db)
            if not done:
                db.execute("ROLLBACK")
            return done

        return await self._writer.call(rolled_back, writes=True)

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        def work(db: sqlite3.Connection) -> Position | None:
            found = _head(db, thread)
            return Position.of(found[1]) if found is not None else None

        while await self._look(work) == seen:
            await self._clock.sleep(_POLL)

    async def aclose(self) -> None:
        await self._reader.close()
        await self._writer.close()

    async def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def reading(db: sqlite3.Connection) -> T:
            db.execute("BEGIN")  # one snapshot for all that is read
            result = work(db)
            db.execute("COMMIT")
            return result

        return await self._reader.call(reading, writes=False)

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
        for row in db.execute(QUERIES["processes"]):
            known = to_process(row)
            if known is None:
                continue
            process, boot, beat = known
            # All processes of a host share one monotonic clock, which starts with the host.
            age = now - beat if boot == self._boot else float("inf")
            found.append(Liveness(process, age))
        return found

    def _configure(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA cell_size_check = ON")
        db.execute(f"PRAGMA synchronous = {_LEVELS[self._synchronous]}")
        db.execute("BEGIN")
        known = self._is_ours(db)  # before anything of it is changed
        db.execute("COMMIT")
        if self.path != _IN_MEMORY:
            self._write_ahead(db)
        if not known:
            self._create(db)

    def _is_ours(self, db: sqlite3.Connection) -> bool:
        """Whether the file holds threads already; it does not if it is new.

        Raises:
            StorageError: it is a database of something else.
            UnknownTypeError: it was written by a newer version.
        """
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (application,) = db.execute("PRAGMA application_id").fetchone()
        if application != _APPLICATION:
            if version or application or db.execute("SELECT 1 FROM sqlite_schema").fetchone():
                raise StorageError(
                    f"{self.path} is a SQLite file of something else. Use another file."
                )
            return False
        if version != _VERSION:
            raise UnknownTypeError(
                f"{self.path} has schema version {version}; this version reads {_VERSION}. "
                f"It was written by a newer one: upgrade."
            )
        return True

    def _write_ahead(self, db: sqlite3.Connection) -> None:
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        (level,) = db.execute("PRAGMA synchronous").fetchone()
        if (mode != "wal" or level < _LEVELS[self._synchronous]) and not self._allow_weaker:
            raise StorageError(
                f"{self.path} cannot be used with synchronous={self._synchronous!r}: its journal "
                f"mode is {mode!r}. A file system without shared memory, such as a network share, "
                f"is the usual cause. Move the file, or accept less with allow_weaker=True."
            )

    def _create(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        if not self._is_ours(db):  # nobody has been faster
            for statement in schema().split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {_VERSION}")
            db.execute(f"PRAGMA application_id = {_APPLICATION}")
        db.execute("COMMIT")


def _append(db: sqlite3.Connection, append: Append, rows: list[tuple[Any, ...]]) -> Outcome:
    """Move a head on, if it is where it should be; what its records are goes to `rows`."""
    head, expected = append.head, append.expected
    tenant, thread = head.key
    values = head_values(head)
    if expected is not None:
        key = (tenant, thread, expected.seq, expected.epoch, expected.link)
        row = db.execute(QUERIES["extend"], (*values, *key)).fetchone()
    else:
        row = db.execute(QUERIES["create"], (tenant, thread, *values)).fetchone()
    if row is None:
        last = append.records[-1]
        again = db.execute(QUERIES["is_stored"], (tenant, thread, last.seq, last.link)).fetchone()
        return Outcome.REFUSED if again is None else Outcome.APPLIED
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
    for message, verdict in append.settled.items():
        db.execute(QUERIES["settle"], (verdict, id, message))
    return Outcome.APPLIED


def _until_commit(records: Sequence[Record]) -> Sequence[Record]:
    for place, record in enumerate(records):
        if record.kind == "commit":
            return records[: place + 1]
    return records


def _head(db: sqlite3.Connection, thread: ThreadKey) -> tuple[int, Head] | None:
    row = db.execute(QUERIES["head"], thread).fetchone()
    return None if row is None else (row[0], to_head(row))


def _boot_id() -> str | None:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
