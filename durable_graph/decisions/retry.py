"""Whether a failed attempt is followed by another one, and when."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from durable_graph.types import RetryPolicy

__all__ = ["retry_in", "time_left"]


def retry_in(
    policies: Sequence[RetryPolicy],
    error: Exception,
    attempt: int,
    uniform: Callable[[], float],
) -> float | None:
    """Seconds until the next attempt; ``None`` if there is none.

    Args:
        policies: the node's; the first that matches the error decides.
        error: what the attempt failed with.
        attempt: which attempt that was, from 1.
        uniform: a number from 0 up to 1, for policies with jitter.
    """
    for policy in policies:
        if not _matches(policy, error):
            continue
        if attempt >= policy.max_attempts:
            return None
        try:
            grown = float(policy.backoff_factor) ** (attempt - 1)
        except OverflowError:  # after a thousand attempts
            grown = math.inf
        wait = policy.initial_interval * grown if policy.initial_interval else 0.0
        return min(policy.max_interval, wait) + (uniform() if policy.jitter else 0.0)
    return None


def time_left(retry_at: float, wait: float | None, now: float) -> float:
    """Seconds that are left of a wait, as it was written down, at this time of day.

    The time of day may have been changed since; nothing makes the wait longer than it was.
    """
    return min(max(0.0, retry_at - now), wait or 0.0)


def _matches(policy: RetryPolicy, error: Exception) -> bool:
    retry_on: Any = policy.retry_on
    if isinstance(retry_on, type) and issubclass(retry_on, BaseException):
        return isinstance(error, retry_on)
    if isinstance(retry_on, (list, tuple, set, frozenset)):
        return isinstance(error, tuple(retry_on))
    return bool(retry_on(error))
