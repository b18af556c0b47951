"""Others' SQL within a transaction of ours: what a guest may do with the connection.

His is what lies between the transaction's beginning and its end, in tables of his own. SQLite holds
that itself: it asks for each statement as it compiles it, so no spelling gets around it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Final, TypeVar

from durable_graph.errors import TransactionError
from durable_graph_sqlite.sql import schema

__all__ = ["GuestError", "guest"]

T = TypeVar("T")

_READS: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_NEVER: Final = {
    sqlite3.SQLITE_TRANSACTION: "begin or end a transaction",
    sqlite3.SQLITE_SAVEPOINT: "set a savepoint",
    sqlite3.SQLITE_ATTACH: "attach a database",
    sqlite3.SQLITE_DETACH: "detach a database",
    sqlite3.SQLITE_PRAGMA: "use a pragma",
}
# Actions on a table, by which of their arguments names it.
_NAMED_FIRST: Final = frozenset(
    {
        sqlite3.SQLITE_INSERT,
        sqlite3.SQLITE_UPDATE,
        sqlite3.SQLITE_DELETE,
        sqlite3.SQLITE_DROP_TABLE,
    }
)
_NAMED_SECOND: Final = frozenset(
    {
        sqlite3.SQLITE_ALTER_TABLE,
        sqlite3.SQLITE_CREATE_INDEX,
        sqlite3.SQLITE_DROP_INDEX,
        sqlite3.SQLITE_CREATE_TRIGGER,
        sqlite3.SQLITE_DROP_TRIGGER,
    }
)
_LIMITS: Final = (
    sqlite3.SQLITE_LIMIT_LENGTH,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH,
    sqlite3.SQLITE_LIMIT_COLUMN,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT,
    sqlite3.SQLITE_LIMIT_VDBE_OP,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG,
    sqlite3.SQLITE_LIMIT_ATTACHED,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS,
)
# Errors of the storage itself, wherever they show: they are not the guest's.
_STORAGE: Final = tuple(
    f"SQLITE_{name}"
    for name in ("IOERR", "CORRUPT", "NOTADB", "FULL", "BUSY", "LOCKED", "READONLY", "CANTOPEN")
)


class _Kept:
    """What a connection is set to, which a guest may change and the next user does not expect."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._rows, self._texts = db.row_factory, db.text_factory
        self._isolation = db.isolation_level
        self._limits = [db.getlimit(category) for category in _LIMITS]

    def put_back(self, db: sqlite3.Connection) -> None:
        """Set it as it was.

        Raises:
            GuestError: that cannot be; the connection is closed, and nothing was stored.
        """
        try:
            if db.isolation_level != self._isolation:
                db.close()  # setting it back would commit, and so does much that comes later
            db.set_authorizer(None)
            db.set_progress_handler(None, 0)
            db.set_trace_callback(None)
            for category, limit in zip(_LIMITS, self._limits, strict=True):
                db.setlimit(category, limit)
        except sqlite3.ProgrammingError as error:
            refusal = _refusal("close the connection, or set its isolation_level", error)
            raise GuestError(refusal) from error
        db.row_factory, db.text_factory = self._rows, self._texts


class GuestError(Exception):
    """Carries what a guest raised past those who would take it for an error of ours."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(error)
        self.error = error


def guest(db: sqlite3.Connection, work: Callable[[sqlite3.Connection], T]) -> T:
    """Have somebody else work on a connection, within the transaction that is open.

    Raises:
        GuestError: he raised something, or did what he must not.
        sqlite3.Error: the storage failed.
    """
    refused: list[str] = []
    kept = _Kept(db)
    db.text_factory = str

    def allow(
        action: int, first: str | None, second: str | None, database: str | None, _: str | None
    ) -> int:
        wrong = None if action in _READS else _wrong_with(action, first, second, database)
        if wrong is None:
            return sqlite3.SQLITE_OK
        refused.append(wrong)
        return sqlite3.SQLITE_DENY

    db.set_authorizer(allow)
    try:
        result = work(db)
    except BaseException as error:
        if str(getattr(error, "sqlite_errorname", "")).startswith(_STORAGE):
            raise
        if refused and isinstance(error, sqlite3.DatabaseError):
            raise GuestError(_refusal(refused[-1], error)) from error
        raise GuestError(error) from error
    finally:
        kept.put_back(db)
    if not db.in_transaction:
        raise GuestError(
            TransactionError(
                "The function given to transaction() has rolled its transaction back, as OR "
                "ROLLBACK and RAISE(ROLLBACK) do; let the error pass instead. What it wrote after "
                "that was no part of the step, and stays."
            )
        )
    return result


def _wrong_with(
    action: int, first: str | None, second: str | None, database: str | None
) -> str | None:
    if action in _NEVER:
        return _NEVER[action]
    table = second if action in _NAMED_SECOND else first if action in _NAMED_FIRST else None
    if table is not None and table.lower() in _ours():
        return f"change {table}, in which threads are stored"
    if database == "temp" and first != "sqlite_temp_master":
        # What is temporary stays with the connection, and could stand before our tables.
        return "make anything temporary"
    return None


def _refusal(wrong: str, error: sqlite3.DatabaseError) -> TransactionError:
    refusal = TransactionError(
        f"The function given to transaction() must not {wrong}. It writes to tables of its own; "
        f"the transaction is open already, and is committed once the function has returned."
    )
    refusal.__cause__ = error
    return refusal


@cache
def _ours() -> frozenset[str]:
    return frozenset(re.findall(r"CREATE TABLE (\w+)", schema()))
