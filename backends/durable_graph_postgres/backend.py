"""The backend: threads in a schema of a PostgreSQL database."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import asyncpg

from durable_graph.errors import (
    ConfigError,
    IntegrityError,
    OutcomeUnknownError,
    StorageError,
    ThreadArchivedError,
    ThreadNotFoundError,
)
from durable_graph.ports.addresses import ESCAPES, cut_password
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
from durable_graph.ports.loops import PerLoop
from durable_graph.ports.owned import nobody_cancels
from durable_graph.ports.paging import cursor_of, place_of
from durable_graph.ports.rows import head_values, until_commit
from durable_graph.ports.shielded import to_its_end, until_done
from durable_graph_postgres.connections import Connections, Lent, Source, terminate
from durable_graph_postgres.failures import FAILURES, is_lost, may_pass, translate, unreachable
from durable_graph_postgres.guest import GuestError, host
from durable_graph_postgres.items import PostgresItems, put_arguments
from durable_graph_postgres.lineage import Lineage
from durable_graph_postgres.opening import Demands, Synchronous, examine, history_of, migrate
from durable_graph_postgres.rows import (
    Found,
    append_arguments,
    card_arguments,
    extend_arguments,
    process_arguments,
    spans_of,
    to_living,
    to_posted,
    to_thread,
    wanted_terms,
)
from durable_graph_postgres.sql import checked_schema, queries

if TYPE_CHECKING:
    from durable_graph_postgres.connections import Connection

__all__ = ["PostgresBackend"]

T = TypeVar("T")

_POLL: Final = 0.05
_CONNECT_AGAIN: Final = 0.1
_BODIES: Final = True
_RESTS: Final = frozenset({"asking", "failed", "stopped"})  # that `threads_by_rest` knows
_NO_CARD: Final = (None,) * 5
_NO_POSITION: Final = (None,) * 3
_NO_LOG: Final = (0, None, None)
_UNDO: Final = "ROLLBACK; SELECT pg_advisory_unlock_all(); BEGIN"

# A field, an array of them and a message of the protocol each have less than 1 GiB; a batch that
# has more is written append by append.
_LONGEST: Final = 2**30 - 2**24


class PostgresBackend:
    """Threads in a schema of a PostgreSQL database, for any number of processes and hosts.

    Args:
        dsn: ``postgresql://user:password@host:port/database``. Each event loop that uses the
            backend has connections of its own there.
        pool: a pool of asyncpg's in the place of that. It is used on the event loop that it
            belongs to, and not closed.
        schema: where the tables are; it is made if it does not exist.
        max_connections: for each event loop, at most.
        busy_timeout: seconds to wait for a connection, for a lock, or for a server that starts.
        call_timeout: seconds after which a call that was not answered is given up.
        synchronous: "local" (default): what is acknowledged survives a crash of the server.
            "remote": the loss of its disk as well, since a standby has it, too.
        allow_weaker: use the server even if it keeps less than that.
        prepared: whether a session can keep prepared statements; not behind a pooler that gives
            each transaction another session, unless it knows about them. Costs a round trip.
        row_security: have the database keep tenants apart; see `durable_graph_postgres`.
        clock: where time comes from, other than that of leases, which is the server's.

    Raises:
        ConfigError: the arguments make no sense.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        pool: asyncpg.Pool[Any] | None = None,
        schema: str = "durable_graph",
        max_connections: int = 10,
        busy_timeout: float = 10.0,
        call_timeout: float = 30.0,
        synchronous: Synchronous = "local",
        allow_weaker: bool = False,
        prepared: bool = True,
        row_security: bool = False,
        clock: Clock | None = None,
    ) -> None:
        if (dsn is None) == (pool is None):
            raise ConfigError("Give either a connection string or pool=.")
        if pool is not None and not isinstance(pool, asyncpg.Pool):
            raise ConfigError(f"pool= is one of asyncpg.create_pool(...), not {_kind(pool)}.")
        if synchronous not in ("local", "remote"):
            raise ConfigError(f"synchronous is 'local' or 'remote', not {synchronous!r}.")
        if max_connections < 1:
            raise ConfigError(f"max_connections is 1 or more, not {max_connections!r}.")
        if not 0 < busy_timeout <= call_timeout < math.inf:
            raise ConfigError(
                f"busy_timeout is greater than 0 and not greater than call_timeout, which has an "
                f"end; these are {busy_timeout!r} and {call_timeout!r}."
            )
        self.schema = checked_schema(schema)
        self.capabilities = Capabilities(
            durable=True,
            shared=True,
            groups=True,
            lanes=2,
            transactions="async",
            stores=True,
            max_record_bytes=_LONGEST,
            max_append_bytes=_LONGEST,
        )
        self.where = _where(dsn) if dsn is not None else "The database of the pool"
        self._dsn = dsn
        self._pool = pool
        self._home: asyncio.AbstractEventLoop | None = getattr(pool, "_loop", None)
        self._max_connections = max_connections
        self._busy_timeout = busy_timeout
        self._call_timeout = call_timeout
        self._patience = f"{max(1, round(1000 * busy_timeout))}ms"
        # Longer than a guest may take: he is told so by us, and not by a connection that is gone.
        self._idle = f"{round(2000 * call_timeout) + 1}ms"
        self._prepared = prepared
        self._row_security = row_security
        self._demands = Demands(schema, synchronous, allow_weaker, row_security, self._patience)
        self._lineage = Lineage()
        self._clock = clock or SystemClock()
        self._sql = queries(schema)
        self._ready = False
        self._reached = False
        self._calls = self._lost = 0
        self._sources: PerLoop[Source] = PerLoop(
            f"The connection to {self.where}", self._make_source, _close, _abandon
        )

    def __repr__(self) -> str:
        return f"<PostgresBackend {self.where!r}, schema={self.schema!r}>"

    # -- the port ------------------------------------------------------------------------------

    def keeps(self, items: Items) -> bool:
        """Whether these are in the same schema; see `Remembering`."""
        other = items.backend if isinstance(items, PostgresItems) else None
        return other is not None and other.place == self.place

    @property
    def place(self) -> tuple[object, str]:
        """What two backends on the same tables have in common."""
        return self._pool if self._pool is not None else self._dsn, self.schema

    @property
    def patience(self) -> str:
        """For how long to wait for a lock, as the server has it."""
        return self._patience

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        if len(batch) == 1 and not batch[0].puts:
            return await self._append_one(batch, beat)
        told: dict[int, Outcome] = {}
        for places in self._transactions(batch, beat):
            appends = [batch[place] for place in places]
            try:
                if appends and appends[0].puts:
                    answers = [await self._append_with_items(appends[0])]
                else:
                    answers = await self._append(appends, beat)
                    beat = None
            except StorageError as error:
                if not told or isinstance(error, OutcomeUnknownError):
                    raise
                # Those before it are stored, so it must not be told that nothing is.
                raise OutcomeUnknownError(f"Of some appends, not all were made. {error}") from error
            told.update(zip(places, answers, strict=True))
        return [told[place] for place in range(len(batch))]

    def _transactions(self, batch: Sequence[Append], beat: Process | None) -> list[list[int]]:
        """Which appends go into one transaction each, in which order."""
        order = sorted(range(len(batch)), key=lambda place: batch[place].head.key)
        plain = [place for place in order if not batch[place].puts]
        # With row level security, each transaction is for one tenant.
        groups = _by_tenant(batch, plain) if self._row_security else [plain] if plain else []
        if beat is not None and not plain:
            groups = [[]]  # whoever sees the thread as this process's must find the process alive
        return [*groups, *([place] for place in order if batch[place].puts)]

    async def _append_one(self, batch: Sequence[Append], beat: Process | None) -> list[Outcome]:
        (append,) = batch
        arguments = extend_arguments(append, self._patience) if beat is None else None
        if arguments is not None:
            tenant = append.head.key.tenant
            if await self._fetch(tenant, "extend", *arguments, writes=True):
                return [Outcome.APPLIED]
        return await self._append(batch, beat)

    async def _append(self, batch: Sequence[Append], beat: Process | None) -> list[Outcome]:
        arguments = append_arguments(batch, beat, self._patience)
        tenant = batch[0].head.key.tenant if batch else None
        ((applied,),) = await self._fetch(tenant, "append", *arguments, writes=True)
        return [Outcome.APPLIED if done else Outcome.REFUSED for done in applied or ()]

    async def _append_with_items(self, append: Append) -> Outcome:
        """Extend a log, and put items, in one transaction."""

        async def work(connection: Connection) -> Outcome:
            transaction = connection.transaction()
            await transaction.start()
            outcome = Outcome.REFUSED
            try:
                outcome = await self._put_and_append(connection, append)
            finally:
                if outcome is Outcome.APPLIED:
                    await transaction.commit()
                elif not connection.is_closed():
                    await transaction.rollback()
            return outcome

        return await self._call(work, writes=True)

    async def _put_and_append(self, connection: Connection, append: Append) -> Outcome:
        await connection.fetch(self._sql["patience"], self._patience, self._idle)
        if self._row_security:
            await connection.fetch(self._sql["tenant"], append.head.key.tenant)
        found = await connection.fetchrow(self._sql["locked"], *append.head.key)
        position = None if found is None else Position(*found)
        if position == append.expected:
            # The very first time; whoever asks again finds the log further on, and the items as
            # others may have left them since.
            for puts in append.puts:
                arguments = put_arguments(puts.writes, puts.now, self._patience)
                if await connection.fetchval(self._sql["put_items"], *arguments):
                    return Outcome.CONFLICTING
        appended = append_arguments([append], None, self._patience)
        (done,) = await connection.fetchval(self._sql["append"], *appended)
        return Outcome.APPLIED if done else Outcome.REFUSED

    async def transact(
        self,
        thread: ThreadKey,
        expected: Position,
        work: Callable[[Any], Append | Awaitable[Append]],
    ) -> Append | None:
        async def transaction(connection: Connection) -> Append | None:
            async with self._within(connection, thread.tenant):
                await connection.fetch(self._sql["patience"], self._patience, self._idle)
                found = await connection.fetchrow(self._sql["locked"], *thread)
                if found is None or Position(*found) != expected:
                    return None
                try:
                    return await visited(connection)
                except BaseException:
                    await self._undo(connection)
                    raise

        async def visited(connection: Connection) -> Append:
            append = await host(connection, self.schema, work, self._call_timeout)
            arguments = append_arguments([append], None, self._patience)
            if await connection.fetchval(self._sql["append"], *arguments) != [True]:
                raise ValueError("What is to be appended does not follow what it was made for.")
            # Set back what the guest may have set in the session. Within the transaction, after
            # which a pooler gives the session to others.
            await connection.execute(connection.get_reset_query())
            return append

        async def told(connection: Connection) -> Append | None:
            try:
                return await transaction(connection)
            except Exception as error:
                # A connection that was closed for what the guest did cannot end the transaction;
                # the server does, and nothing was committed.
                if isinstance(error, FAILURES) and isinstance(error.__context__, GuestError):
                    raise error.__context__ from error.__context__.__cause__
                raise

        try:
            return await self._call(told, writes=True, limit=3 * self._call_timeout)
        except GuestError as raised:
            raise raised.error from raised.error.__cause__

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        if checkpoint is not None:
            return await self._read_at(thread, checkpoint)
        known = _NO_POSITION if unless is None else (unless.seq, unless.epoch, unless.link)
        try:
            rows = await self._fetch(thread.tenant, "read", *thread, *known)
        except IntegrityError as damage:  # its path cannot be made out
            told = f"The head of thread {thread.thread!r} is damaged: {damage}"
            raise IntegrityError(told) from damage
        found = Found.of(thread, rows)
        head = _head(found)
        return None if head is None else Reading(head, found.records, (), found.messages)

    async def _read_at(self, thread: ThreadKey, checkpoint: str) -> Reading | None:
        async def work(connection: Connection) -> Reading | None:
            rows = await connection.fetch(self._sql["checkpoint"], *thread, checkpoint)
            found = Found.of(thread, rows)
            head = _head(found)
            if head is None:
                return None
            if not found.records:
                return Reading(head, (), (), found.messages)
            (commit,) = found.records
            path = checkpoint_path(commit, thread.thread)
            rest = (commit.seq + 1, head.seq if found.next is None else found.next)
            spans = spans_of((*path, rest))
            rows = await connection.fetch(self._sql["scan"], *thread, *spans, _BODIES)
            records = Found.of(thread, rows).records
            return Reading(
                head,
                [record for record in records if record.seq <= commit.seq],
                until_commit(record for record in records if record.seq > commit.seq),
                found.messages,
            )

        async def at_one_moment(connection: Connection) -> Reading | None:
            async with self._within(connection, thread.tenant, snapshot=True):
                return await work(connection)

        return await self._call(at_one_moment, writes=False)

    async def scan(
        self,
        thread: ThreadKey,
        ranges: Ranges,
        *,
        bodies: bool = True,
    ) -> Sequence[Record]:
        rows = await self._fetch(thread.tenant, "scan", *thread, *spans_of(ranges), bodies)
        return Found.of(thread, rows).records

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        return dict(await self._fetch(thread.tenant, "blobs", *thread, list(digests)))

    async def thread(self, thread: ThreadKey) -> Thread | None:
        rows = await self._fetch(thread.tenant, "thread", *thread)
        return to_thread(thread.tenant, rows[0]) if rows else None

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        place = place_of(query.after) if query.after is not None else (math.inf, "")
        found: list[Thread] = []
        while len(found) <= query.limit:
            size = query.limit + 1 - len(found)
            threads = await self._list(query, place, size)
            # The database has looked at terms and not at values.
            found += filter(query.wants, threads)
            if len(threads) < size:
                break
            place = place_of(cursor_of(threads[-1]))
        page = found[: query.limit]
        more = len(found) > query.limit
        return ThreadPage(page, cursor_of(page[-1]) if more else None)

    async def _list(self, query: ThreadQuery, place: tuple[float, str], size: int) -> list[Thread]:
        terms = wanted_terms(query)
        wanted = [
            query.tenant,
            query.status,
            -math.inf if query.since is None else query.since,
            math.inf if query.until is None else query.until,
            *place,
            size,
        ]
        if query.expired is not None:
            rows = await self._fetch(query.tenant, "threads_by_end", *wanted, terms, query.expired)
        elif terms:
            rows = await self._fetch(query.tenant, "threads_by_term", *wanted, terms)
        elif query.status in _RESTS:
            rows = await self._fetch(query.tenant, "threads_by_rest", *wanted)
        else:
            rows = await self._fetch(query.tenant, "threads", *wanted)
        return [to_thread(query.tenant, row) for row in rows]

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        arguments = card_arguments(thread, card)
        return await self._do(thread.tenant, "label", *thread, *arguments, card.time)

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        by = None if message.by is None else message.by.encode()
        values = (message.id, message.kind.encode(), message.body, by, message.time)
        rows = await self._fetch(
            thread.tenant, "post", self._patience, *thread, *values, writes=True
        )
        if rows:
            return to_posted(rows[0])
        known = await self.thread(thread)
        if known is not None:
            _refuse_archived(known.key, known.card)
        raise ThreadNotFoundError(f"There is no thread {thread.thread!r}.")

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        if process is not None:
            await self._do(None, "beat", *process_arguments(process))
        rows = await self._fetch(None, "processes")
        known = filter(None, map(to_living, rows))
        return [Liveness(process, age) for process, age in known]

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        expected = what.expected
        checksum = None
        if not what.everything:
            found = await self.thread(thread)
            if found is None or found.head is None or expected != Position.of(found.head):
                return False
            # As long as the log is at this position, this is its head.
            checksum = head_values(replace(found.head, epoch=found.head.epoch + 1))[-1]
        position: tuple[Any, ...] = _NO_LOG if what.without_log else _NO_POSITION
        if expected is not None:
            position = (expected.seq, expected.epoch, expected.link)
        card, version = what.card, None if what.before is None else what.before + 1
        return await self._do(
            thread.tenant,
            "remove",
            *thread,
            what.everything,
            *position,
            *spans_of(what.bodies),
            list(what.blobs),
            checksum,
            *((version, *_NO_CARD[1:]) if card is None else card_arguments(thread, card)),
            None if card is None else card.time,
        )

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        while True:
            rows = await self._fetch(thread.tenant, "position", *thread)
            if not rows or Position(*rows[0]) != seen:
                return
            await self._clock.sleep(_POLL)

    def statistics(self) -> Mapping[str, float]:
        """``connections`` there are, and ``idle`` ones among them; ``calls`` that were made, and
        ``lost`` connections in the middle of one."""
        counts = [source.counts for source in self._sources.every()]
        return {
            "connections": sum(count for count, _ in counts),
            "idle": sum(idle for _, idle in counts),
            "calls": self._calls,
            "lost": self._lost,
        }

    async def aclose(self) -> None:
        await self._sources.aclose()

    async def fetch(self, name: str, *arguments: Any, writes: bool = False) -> list[Any]:
        """The rows of a statement about items, which belong to no tenant."""
        return await self._fetch(None, name, *arguments, writes=writes)

    async def run(self, work: Callable[[Connection], Awaitable[T]], *, writes: bool) -> T:
        """Do something about items on a connection, to its end."""
        return await self._call(work, writes=writes)

    # -- calls ---------------------------------------------------------------------------------

    async def _fetch(
        self, tenant: str | None, name: str, *arguments: Any, writes: bool = False
    ) -> list[Any]:
        """The rows of a statement."""
        query = self._sql[name]

        async def work(connection: Connection) -> list[Any]:
            return await connection.fetch(query, *arguments)

        async def secured(connection: Connection) -> list[Any]:
            async with self._within(connection, tenant):
                return await connection.fetch(query, *arguments)

        return await self._call(secured if self._row_security else work, writes=writes)

    async def _do(self, tenant: str | None, name: str, *arguments: Any) -> bool:
        """What a function that writes returns."""
        rows = await self._fetch(tenant, name, self._patience, *arguments, writes=True)
        return bool(rows[0][0])

    @asynccontextmanager
    async def _within(
        self, connection: Connection, tenant: str | None, *, snapshot: bool = False
    ) -> AsyncIterator[None]:
        """A transaction, for a tenant if the database keeps them apart."""
        level: Any = "repeatable_read" if snapshot else "read_committed"
        async with connection.transaction(isolation=level, readonly=snapshot):
            if self._row_security:
                await connection.fetch(self._sql["tenant"], tenant or "")
            yield

    async def _call(
        self,
        work: Callable[[Connection], Awaitable[T]],
        *,
        writes: bool,
        limit: float | None = None,
    ) -> T:
        """Do something on a connection, to its end.

        Where somebody may cancel it, it is a task of its own: cancelling asyncpg would leave the
        connection to somebody who asks the server to stop, and the caller without a way to know
        when it has. So whoever is cancelled waits for the end, and what he does next comes after
        it.
        """
        if self._pool is not None and (home := self._home_of_pool()) is not None:
            return await self._at_home(home, work, writes=writes, limit=limit)
        source = await self._sources.get()
        doing = self._on_connection(source, work, writes, limit or self._call_timeout)
        if nobody_cancels():
            return await doing
        loop = asyncio.get_running_loop()
        # Not `asyncio.shield`, which takes the loop one turn more.
        answer: asyncio.Future[T] = loop.create_future()
        task = loop.create_task(_tell(answer, doing))
        try:
            return await answer
        except asyncio.CancelledError:
            await until_done(task)
            if answer.done() and not answer.cancelled():
                answer.exception()  # nobody is left to be told
            raise

    def _home_of_pool(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the user's pool, if that is not the running one."""
        loop = asyncio.get_running_loop()
        self._home = self._home or loop
        return None if self._home is loop else self._home

    async def _at_home(
        self,
        home: asyncio.AbstractEventLoop,
        work: Callable[[Connection], Awaitable[T]],
        *,
        writes: bool,
        limit: float | None,
    ) -> T:
        """Have the loop of the user's pool do it, such as a sign of life from another loop."""
        turned: Future[None] = Future()
        with suppress(RuntimeError):  # it was closed
            home.call_soon_threadsafe(turned.set_result, None)
            await asyncio.wait([asyncio.wrap_future(turned)], timeout=self._busy_timeout)
        if not turned.done():
            raise ConfigError(
                "The pool that was passed in belongs to an event loop that has ended, or that "
                "waits for this call. Give the saver a connection string, with which each loop "
                "gets connections of its own."
            )
        call = self._call(work, writes=writes, limit=limit)
        answer = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, home))
        return await to_its_end(answer)

    async def _on_connection(
        self,
        source: Source,
        work: Callable[[Connection], Awaitable[T]],
        writes: bool,
        limit: float,
    ) -> T:
        self._calls += 1
        again = not writes
        while True:
            connection = await source.take()
            try:
                with source.deadlines.within(limit):
                    return await work(connection)
            except FAILURES as error:
                if is_lost(error):
                    self._lost += 1
                    terminate(connection)
                    # A connection may have died while nobody used it. To read once more on
                    # another one does no harm; what was to be written may be written by now.
                    if again and not isinstance(error, TimeoutError):
                        again = False
                        source.forget()
                        continue
                raise translate(error, self.where, writes=writes) from error
            except asyncio.CancelledError:  # its loop ends; what the server makes of it is unknown
                terminate(connection)
                raise
            finally:
                await source.give_back(connection)

    async def _undo(self, connection: Connection) -> None:
        """Undo what a guest has done in a transaction, and what he may have locked for the session,
        which stays locked when the transaction is undone.

        In one message: once a transaction has ended, a pooler gives the session to others. The
        caller's transaction is then another one, with nothing in it.
        """
        if connection.is_closed():
            return
        try:
            await connection.execute(_UNDO, timeout=self._busy_timeout)
        except FAILURES:
            terminate(connection)

    # -- connections ---------------------------------------------------------------------------

    def _make_source(self) -> Source:
        if self._pool is not None:
            return Lent(self._pool, self._reach, self._examine, self._busy_timeout)
        return Connections(self._connect, self._max_connections, self._busy_timeout)

    async def _reach(self, connect: Callable[[], Awaitable[Connection]]) -> Connection:
        """A connection, also to a server that only starts."""
        deadline = self._clock.monotonic() + self._busy_timeout
        while True:
            try:
                connection = await connect()
                break
            except StorageError:  # one of them is an `OSError`, too
                raise
            except FAILURES as error:
                # Nothing was sent, so trying again is harmless; where nothing has ever answered,
                # waiting would only hide a wrong address.
                passes = may_pass(error) or (self._reached and isinstance(error, OSError))
                if not passes or self._clock.monotonic() > deadline:
                    raise unreachable(error, self.where) from error
            await self._clock.sleep(_CONNECT_AGAIN)
        self._reached = True
        return connection

    async def _connect(self) -> Connection:
        connection = await self._reach(
            lambda: asyncpg.connect(
                self._dsn,
                timeout=self._busy_timeout,
                statement_cache_size=100 if self._prepared else 0,
            )
        )
        try:
            await self._examine(connection)
        except BaseException:
            terminate(connection)
            raise
        return connection

    async def _examine(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._call_timeout):
                ready = await examine(connection, self._demands, self.where)
                self._follow(await history_of(connection))
                if not ready:
                    await migrate(connection, self._demands, self.where)
        except FAILURES as error:
            raise translate(error, self.where, writes=False) from error

    def _follow(self, history: tuple[int, int] | None) -> None:
        """Go with a failover, and never back behind one."""
        if history is not None and self._lineage.meet(*history, self.where):
            for source in self._sources.every():
                source.outdate()


async def _tell(answer: asyncio.Future[T], doing: Awaitable[T]) -> None:
    """Do something, and tell how it ended whoever still waits for that."""
    try:
        result = await doing
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            answer.cancel()
        elif not answer.done():
            answer.set_exception(error)
        if not isinstance(error, Exception):
            raise
    else:
        if not answer.done():
            answer.set_result(result)


def _head(found: Found) -> Head | None:
    if found.head is None:
        _refuse_archived(found.key, found.card)
    return found.head


def _refuse_archived(thread: ThreadKey, card: Card | None) -> None:
    if card is not None and card.archived is not None:
        raise ThreadArchivedError(thread.thread, card.archived)


def _by_tenant(batch: Sequence[Append], order: Sequence[int]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for place in order:
        groups.setdefault(batch[place].head.key.tenant, []).append(place)
    return list(groups.values())


def _where(dsn: str) -> str:
    """A database as messages name it, without its password.

    Raises:
        ConfigError: it is no address.
    """
    if not isinstance(dsn, str):
        raise ConfigError(
            f"A database is named by a connection string, not by {_kind(dsn)}. Connections of your "
            f"own are taken as pool=, one of asyncpg.create_pool(...)."
        )
    try:
        parts = urlsplit(dsn)
        if parts.scheme not in ("postgres", "postgresql"):  # libpq's own form may hold a password
            raise ValueError
        hosts = parts.netloc.rpartition("@")[2]
        if cut_password(parts):
            raise ValueError
        for host in hosts.split(","):  # several, of which the primary is looked for
            _ = urlsplit(f"//{host}").port
    except ValueError:  # which might show the password
        raise ConfigError(
            "A database is at postgresql://user:password@host:port/database, with ports from 1 to "
            f"65535; several hosts are host1:port,host2:port. {ESCAPES}"
        ) from None
    return f"{parts.scheme}://{hosts}{parts.path}"


def _kind(value: object) -> str:
    """What somebody has given instead of what was wanted; not its value, which may be secret."""
    return f"something of type {type(value).__qualname__}"


async def _close(source: Source) -> None:
    await source.aclose()


def _abandon(source: Source) -> None:
    if isinstance(source, Connections):
        source.abandon()
