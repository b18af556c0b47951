"""What Redis's errors mean, in this library's words."""

from __future__ import annotations

from typing import Any, Final

from redis import exceptions as redis

from durable_graph.errors import (
    DurableGraphError,
    IntegrityError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageError,
    StorageFullError,
)

__all__ = ["UnreachableError", "checked", "is_unknown", "translate"]


class UnreachableError(Exception):
    """No connection was to be had, so nothing was sent."""


# The server is on its way to being one that can be written to, or again one.
_PASSING: Final = (
    redis.BusyLoadingError,
    redis.ReadOnlyError,
    redis.ClusterDownError,
    redis.TryAgainError,
    redis.MasterDownError,
    redis.MovedError,
    redis.AskError,
)
_PASSING_CODES: Final = (
    "BUSY ",
    "LOADING ",
    "READONLY ",
    "CLUSTERDOWN ",
    "TRYAGAIN ",
    "NOREPLICAS ",
)


def checked(reply: Any, where: str, *, writes: bool) -> Any:
    """A reply that is no error.

    Raises:
        DurableGraphError: it is one.
    """
    if isinstance(reply, BaseException):
        raise translate(reply, where, writes=writes)
    return reply


def is_unknown(error: BaseException) -> bool:
    """Whether a command that ended in this error may have been done."""
    if isinstance(error, (redis.AuthenticationError, redis.AuthorizationError, *_PASSING)):
        return False
    return isinstance(
        error, (redis.ConnectionError, redis.TimeoutError, redis.InvalidResponse, OSError, EOFError)
    )


def translate(error: BaseException, where: str, *, writes: bool) -> DurableGraphError:
    """What an error means.

    Args:
        error: what redis-py raised, or what the server answered.
        where: the server, as errors name it.
        writes: whether what failed was to change anything.
    """
    if isinstance(error, DurableGraphError):
        return error
    told = _translated(error, where, str(error).rstrip(".") or type(error).__name__, writes)
    told.__cause__ = error
    return told


def _translated(error: BaseException, where: str, text: str, writes: bool) -> DurableGraphError:
    if isinstance(error, UnreachableError):
        return StorageBusyError(
            f"{where} cannot be reached: {text}. Nothing was written. Check that it runs, and the "
            f"address; or raise timeout."
        )
    if isinstance(error, redis.OutOfMemoryError) or text.startswith("OOM "):
        return StorageFullError(
            f"{where}: {text}. Nothing was written. Raise maxmemory or delete threads, and call "
            f"again: the run goes on."
        )
    if text.startswith("MISCONF"):
        kind = StorageFullError if "No space left" in text else StorageError
        return kind(f"{where} cannot save what it is given, so nothing was written: {text}")
    if isinstance(error, _PASSING) or text.startswith(_PASSING_CODES):
        return StorageBusyError(
            f"{where} cannot be written to at the moment: {text}. Nothing was written; call again."
        )
    if isinstance(error, redis.NoPermissionError) or text.startswith("NOPERM"):
        return StorageError(
            f"{where} does not let this user do that: {text}. Allow it +@read, +@write, "
            f"+@scripting and +@connection on the keys of the prefix."
        )
    if isinstance(error, (redis.AuthenticationError, redis.AuthorizationError)):
        return StorageError(f"{where} does not know this user: {text}. Check name and password.")
    if text.startswith("WRONGTYPE"):
        return IntegrityError(
            f"{where}: a key of this prefix holds something else. Use another prefix. ({text})"
        )
    if is_unknown(error):
        if writes:
            return OutcomeUnknownError(
                f"The connection to {where} was lost before the answer ({text}), so it is not "
                f"known whether it was written. Calling again finds out."
            )
        return StorageBusyError(f"The connection to {where} was lost: {text}. Call again.")
    return StorageError(f"{where}: {text}")
