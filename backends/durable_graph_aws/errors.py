"""What an error of AWS says about the request: done, surely not done, or nobody knows."""

from __future__ import annotations

from enum import Enum
from typing import Final

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
)

from durable_graph.errors import (
    ConfigError,
    DurableGraphError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageError,
    StorageFullError,
)

__all__ = ["Fate", "NothingDoneError", "code_of", "fate_of", "told", "unknown"]

_BUSY: Final = frozenset(
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionConflictException",
    }
)
_FULL: Final = frozenset(
    {
        "InsufficientStorage",
        "ItemCollectionSizeLimitExceededException",
        "QuotaExceeded",
        "XMinioStorageFull",
    }
)
# A transaction under the same token is under way: what becomes of it is not known yet.
_UNDER_WAY: Final = frozenset({"TransactionInProgressException"})

_NO_CONNECTION: Final = (ConnectTimeoutError, EndpointConnectionError, ProxyConnectionError)
_NOT_SENT: Final = (
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)


class NothingDoneError(Exception):
    """A request was refused for now and has done nothing; it may be asked for again."""


class Fate(Enum):
    """What became of a request that ended in an error."""

    BUSY = "busy"
    """Nothing was done, because the service has too much to do."""
    UNREACHED = "unreached"
    """Nothing was done: there was no connection."""
    UNKNOWN = "unknown"
    """It was sent, and there was no clear answer."""
    REFUSED = "refused"
    """Nothing was done, and asking again would not help."""


def code_of(error: BaseException) -> str:
    """The error's code, such as ``"ConditionalCheckFailedException"``; empty if it has none."""
    if not isinstance(error, ClientError):
        return ""
    return str(error.response.get("Error", {}).get("Code", ""))


def fate_of(error: BaseException) -> Fate | None:
    """What an error says of its request; ``None`` if it is none of AWS's."""
    if isinstance(error, NothingDoneError):
        return Fate.BUSY
    if isinstance(error, ClientError):
        return _fate_of_answer(error)
    if isinstance(error, _NO_CONNECTION):
        return Fate.UNREACHED
    if isinstance(error, _NOT_SENT):
        return Fate.REFUSED
    # One of aiohttp's own comes through where an answer ends within its body.
    if isinstance(error, (BotoCoreError, OSError, aiohttp.ClientError)):
        return Fate.UNKNOWN
    return None


def _fate_of_answer(error: ClientError) -> Fate:
    code = code_of(error)
    if code in _BUSY:
        return Fate.BUSY
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    # 408: the server gave up on the request. 5xx: it may have stumbled after it was done.
    if code in _UNDER_WAY or status >= 500 or status == 408:
        return Fate.REFUSED if code in _FULL else Fate.UNKNOWN
    return Fate.REFUSED


def told(error: BaseException, fate: Fate, what: str, seconds: float) -> DurableGraphError:
    """The error that a caller is told where nothing was done.

    Args:
        error: what was raised.
        fate: what that means.
        what: what was asked, for the message.
        seconds: for how long it was.
    """
    reason = str(error) or type(error).__name__
    if fate is Fate.BUSY:
        return StorageBusyError(
            f"{what}: refused for {seconds:.1f} s because the service is busy; nothing was "
            f"written. Try again later, or raise its capacity or busy_timeout. ({reason})"
        )
    if fate is Fate.UNREACHED:
        return StorageBusyError(
            f"{what}: the service cannot be reached; nothing was written. {reason}"
        )
    if isinstance(error, NoRegionError):
        return ConfigError(f"{what}: say in which region=, or set AWS_DEFAULT_REGION.")
    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return StorageError(
            f"{what}: there are no credentials. Give access_key_id= and secret_access_key=, or "
            f"set them up as for AWS's own tools. {reason}"
        )
    if code_of(error) in _FULL:
        return StorageFullError(f"{what}: there is no space left; nothing was written. {reason}")
    return StorageError(f"{what} failed, and nothing was written: {reason}")


def unknown(error: BaseException, what: str, *, writes: bool) -> DurableGraphError:
    """The error that a caller is told where there was no clear answer."""
    reason = str(error) or type(error).__name__
    if not writes:
        return StorageBusyError(
            f"{what}: there was no answer. Calling again does no harm. {reason}"
        )
    return OutcomeUnknownError(f"{what}: it is not known whether it was done. {reason}")
