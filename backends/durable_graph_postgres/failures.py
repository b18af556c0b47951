"""What goes wrong between us and PostgreSQL, in this library's words.

The one question that matters is whether something may have been written. A statement that the
server has refused has written nothing: each of ours is a transaction by itself. If the connection
was lost, or the server ended it, while a statement was under way, nobody knows.
"""

from __future__ import annotations

from typing import Final

import asyncpg
from asyncpg.exceptions import PostgresError

from durable_graph.errors import (
    DurableGraphError,
    IntegrityError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageError,
    StorageFullError,
)

__all__ = ["FAILURES", "is_lost", "may_pass", "translate", "unreachable"]

FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    EOFError,
)
"""What is raised where PostgreSQL is spoken to; a `TimeoutError` is an `OSError`."""

# SQLSTATEs, or the classes that they begin with.
_BUSY: Final = {
    "40001": "its transaction could not be put in order with others",
    "40P01": "it and others waited for each other",
    "55P03": "another transaction kept it locked",
    "57014": "it was cancelled",
    "53300": "the server has no connection to spare",
    "57P03": "the server is starting or stopping",
    "25P04": "its transaction took too long",
}
_FULL: Final = ("53100",)
_DAMAGED: Final = ("XX001", "XX002", "23")
_ILL_FORMED: Final = "22"
_READ_ONLY: Final = "25006"
_NO_RIGHTS: Final = "42501"
_LOST: Final = ("08", "57P01", "57P02", "57P03", "57P04", "57P05", "25P03")


def is_lost(error: BaseException) -> bool:
    """Whether the connection is of no use any more."""
    if isinstance(error, PostgresError):
        return _is_fatal(error) or _code(error).startswith(_LOST) or _code(error) == _READ_ONLY
    return True


def may_pass(error: BaseException) -> bool:
    """Whether connecting may go well a moment later, without anybody's doing: a server has room
    again, has started, or has become the primary that is looked for."""
    awaited = asyncpg.TargetServerAttributeNotMatched
    return isinstance(error, awaited) or _code(error) in {"53300", "57P03"}


def translate(error: BaseException, where: str, *, writes: bool) -> DurableGraphError:
    """What a failure of a statement means.

    Args:
        error: one of `FAILURES`.
        where: the database, for messages.
        writes: whether the statement was to write something.
    """
    told = _translate(error, f"{where}: {_text(error)}", writes=writes)
    told.__cause__ = error
    return told


def _translate(error: BaseException, text: str, *, writes: bool) -> DurableGraphError:
    code = _code(error)
    if is_lost(error) and code != _READ_ONLY and not _is_refused_by_driver(error):
        if writes:
            return OutcomeUnknownError(
                f"{text}. The connection was lost, so it is not known whether it was written. "
                f"Calling again finds out."
            )
        return StorageBusyError(
            f"{text}. There was no answer; it was only to be read. Call again, and look at the "
            f"server if that does not help."
        )
    if code in _BUSY:
        return StorageBusyError(
            f"{text}; nothing was written, since {_BUSY[code]}. Call again, or raise busy_timeout."
        )
    if code in _FULL:
        return StorageFullError(
            f"{text}; nothing was written. Free some space and call again: the run goes on."
        )
    if code.startswith(_DAMAGED) or (code.startswith(_ILL_FORMED) and not writes):
        return IntegrityError(
            f"{text} ({code}). What is stored is not what was written: restore the database from "
            f"a copy, or delete the thread."
        )
    if code == _READ_ONLY:
        return StorageError(
            f"{text}; nothing was written. The server is a standby, or was made read-only: "
            f"connect to the primary, for instance with target_session_attrs=primary."
        )
    if code == _NO_RIGHTS:
        return StorageError(
            f"{text}; nothing was written. Give this role the right, or use another one."
        )
    return StorageError(f"{text} ({code or type(error).__name__}); nothing was written.")


def unreachable(error: BaseException, where: str) -> StorageError:
    """What it means that no connection could be made; nothing was sent."""
    text = f"{where}: {_text(error)}"
    if may_pass(error) or isinstance(error, OSError):
        told: StorageError = StorageBusyError(
            f"{text}. No connection could be made, and nothing was written. See that the server "
            f"runs and can be reached from here."
        )
    else:
        told = StorageError(
            f"{text} ({_code(error) or type(error).__name__}). No connection could be made, and "
            f"nothing was written."
        )
    told.__cause__ = error
    return told


def _code(error: BaseException) -> str:
    return str(getattr(error, "sqlstate", "") or "") if isinstance(error, PostgresError) else ""


def _is_fatal(error: PostgresError) -> bool:
    return getattr(error, "severity_en", None) in ("FATAL", "PANIC")


def _is_refused_by_driver(error: BaseException) -> bool:
    """Whether asyncpg has found a value that it cannot send, and so has sent nothing."""
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def _text(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "it did not answer in time"
    return str(error) or type(error).__name__
