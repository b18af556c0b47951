"""Others' SQL within a transaction of ours: what a guest may do with the connection.

His is what lies between the transaction's beginning and its end, in tables of his own. He gets one
statement at a time, so the first word of each says whether it is about transactions or sessions;
and since he cannot end the transaction, it is enough to look at its end what he has locked.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from asyncpg.exceptions import InFailedSQLTransactionError, InterfaceError

from durable_graph.errors import TransactionError
from durable_graph_postgres.failures import FAILURES, is_lost

if TYPE_CHECKING:
    from durable_graph_postgres.connections import Connection

__all__ = ["Guest", "GuestError", "host"]

T = TypeVar("T")

_IGNORED: Final = re.compile(r"(?:[\s;(]|--[^\n]*\n?)*")
_EDGE: Final = re.compile(r"/\*|\*/")
_WORD: Final = re.compile(r"\w+")
_TRANSACTIONS: Final = frozenset({"ABORT", "BEGIN", "COMMIT", "END", "START"})
_SESSIONS: Final = frozenset(
    {"DEALLOCATE", "DISCARD", "LISTEN", "LOAD", "PREPARE", "RESET", "UNLISTEN"}
)

_ARRIVE: Final = """
SELECT pg_current_xact_id()::text, current_setting('synchronous_commit'), array_agg(oid),
    EXISTS (
        SELECT FROM pg_depend
        WHERE refclassid = 'pg_namespace'::regclass AND refobjid = pg_my_temp_schema()
    )
FROM pg_class WHERE relnamespace = to_regnamespace($1)
"""
# Drops all that is temporary in the session, so that who has it next finds nothing. Not where there
# was something before, as there may be in the sessions of a user's pool.
_CLEAR: Final = "CLOSE ALL; DISCARD TEMP"
# What is checked at the end of the transaction only is his affair as well. What follows is ours, as
# whoever we are; and no reset of a session sets back these two.
_SETTLE: Final = "SET CONSTRAINTS ALL IMMEDIATE; RESET SESSION AUTHORIZATION; RESET ROLE"
_LEAVE: Final = """
SELECT pg_current_xact_id_if_assigned()::text,
    ARRAY(
        SELECT coalesce(c.relname, 'a table') FROM pg_locks AS l
            LEFT JOIN pg_class AS c ON c.oid = l.relation
        WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.relation = ANY ($1::oid[])
            AND l.mode NOT IN ('AccessShareLock', 'RowShareLock')
        ORDER BY 1
    ),
    set_config('synchronous_commit', $2, true)
"""


class GuestError(Exception):
    """Carries what a guest raised past those who would take it for an error of ours."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


class Guest:
    """asyncpg's connection, within a transaction that others begin and end.

    What is here works as it does there, with one statement a call. For a part that may fail by
    itself there are savepoints: ``async with connection.transaction()``.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection: Connection | None = connection

    def __getattr__(self, name: str) -> Any:
        raise TransactionError(
            f"The function given to transaction() must not use {name}() of the connection. It "
            f"writes to tables of its own; the transaction is open already, and is committed once "
            f"the function has returned."
        )

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """Run a statement; returns what PostgreSQL says of it, such as ``INSERT 0 1``."""
        statement = await self._for(query).prepare(query, timeout=timeout)
        await statement.fetch(*args, timeout=timeout)
        return str(statement.get_statusmsg())

    async def executemany(
        self, command: str, args: Iterable[Any], *, timeout: float | None = None
    ) -> None:
        """Run a statement for each of many tuples of arguments."""
        await self._for(command).executemany(command, args, timeout=timeout)

    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Any]:
        """Run a statement; returns its rows."""
        return await self._for(query).fetch(query, *args, timeout=timeout)

    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Any:
        """Run a statement; returns its first row, or ``None``."""
        return await self._for(query).fetchrow(query, *args, timeout=timeout)

    async def fetchval(
        self, query: str, *args: Any, column: int = 0, timeout: float | None = None
    ) -> Any:
        """Run a statement; returns a value of its first row, or ``None``."""
        return await self._for(query).fetchval(query, *args, column=column, timeout=timeout)

    def cursor(self, query: str, *args: Any, **options: Any) -> Any:
        """Iterate over the rows of a statement."""
        return self._for(query).cursor(query, *args, **options)

    async def copy_records_to_table(self, table_name: str, **options: Any) -> str:
        """Write many rows to a table."""
        return str(await self._for("").copy_records_to_table(table_name, **options))

    def transaction(self) -> Any:
        """A savepoint: what fails within it does not spoil the rest."""
        return self._for("").transaction()

    def leave(self) -> None:
        """Take nothing on any more."""
        self._connection = None

    def _for(self, query: str) -> Connection:
        if self._connection is None:
            raise TransactionError(
                "The function given to transaction() has returned, and its connection is not "
                "there any more. Await all that it does before it returns."
            )
        wrong = _wrong_with(query)
        if wrong is not None:
            raise _refusal(wrong)
        return self._connection


async def host(
    connection: Connection,
    schema: str,
    work: Callable[[Guest], T | Awaitable[T]],
    patience: float,
) -> T:
    """Have somebody else work on a connection, within the transaction that is open.

    Args:
        connection: the connection.
        schema: where our tables are.
        work: what he does.
        patience: seconds that he may take.

    Raises:
        GuestError: he raised something, or did what he must not.
        Exception: one of `FAILURES`: the connection was lost.
    """
    ((transaction, durability, tables, others),) = await connection.fetch(_ARRIVE, schema)
    guest = Guest(connection)
    try:
        async with asyncio.timeout(patience) as limit:
            made = work(guest)
            result: T = await made if inspect.isawaitable(made) else made
            await connection.execute(_SETTLE if others else f"{_SETTLE}; {_CLEAR}")
        # How durable it is what he and we write is ours to say.
        ((last, changed, _),) = await connection.fetch(_LEAVE, tables, durability)
    except Exception as error:
        if connection.is_closed() and isinstance(error, FAILURES) and is_lost(error):
            raise
        if isinstance(error, TimeoutError) and limit.expired():
            error = _too_long(patience, error)
        elif isinstance(error, InFailedSQLTransactionError):
            error = _spoilt(error)
        elif _is_in_use(error):
            connection.terminate()  # nothing else can be said on it, not even to undo it all
            error = _in_use(error)
        raise GuestError(error) from error
    finally:
        guest.leave()
    if last != transaction:
        raise GuestError(_refusal("begin or end a transaction"))
    if changed:
        raise GuestError(_refusal(f"change {', '.join(changed)}, in which threads are stored"))
    return result


def _wrong_with(query: str) -> str | None:
    first, second, *_ = [*_first_words(query), "", ""]
    if first in _TRANSACTIONS or (first == "ROLLBACK" and second != "TO"):
        return "begin or end a transaction"
    if first in _SESSIONS or (first == "SET" and second not in {"LOCAL", "CONSTRAINTS"}):
        return f"use {first}, which others who use the connection would find"
    return None


def _first_words(query: str) -> list[str]:
    """The first two words of a statement, fewer if something else comes before."""
    found: list[str] = []
    start = 0
    while len(found) < 2:
        start = _next_word(query, start)
        word = _WORD.match(query, start)
        if word is None:
            break
        found.append(word.group().upper())
        start = word.end()
    return found


def _next_word(query: str, start: int) -> int:
    """Where it goes on after comments, which in PostgreSQL may hold comments."""
    depth = 0
    while True:
        if depth == 0:
            ignored = _IGNORED.match(query, start)
            start = ignored.end() if ignored else start
            if not query.startswith("/*", start):
                return start
        edge = _EDGE.search(query, start)
        if edge is None:
            return len(query)
        depth += 1 if edge.group() == "/*" else -1
        start = edge.end()


def _refusal(wrong: str) -> TransactionError:
    return TransactionError(
        f"The function given to transaction() must not {wrong}. It writes to tables of its own; "
        f"the transaction is open already, and is committed once the function has returned."
    )


def _too_long(patience: float, cause: BaseException) -> TransactionError:
    told = TransactionError(
        f"The function given to transaction() has taken longer than {patience:g} s, for which "
        f"others wait for what it has locked. Let it do its SQL and return, or raise call_timeout."
    )
    told.__cause__ = cause
    return told


def _is_in_use(error: Exception) -> bool:
    return isinstance(error, InterfaceError) and "another operation" in str(error)


def _in_use(cause: BaseException) -> TransactionError:
    told = TransactionError(
        "The function given to transaction() has used its connection for two statements at once. "
        "Await each before the next, and all before it returns."
    )
    told.__cause__ = cause
    return told


def _spoilt(cause: BaseException) -> TransactionError:
    told = TransactionError(
        "The function given to transaction() has caught an error of a statement, after which "
        "PostgreSQL takes no other in the same transaction. Let the error pass, or put what may "
        "fail into a savepoint: async with connection.transaction()."
    )
    told.__cause__ = cause
    return told
