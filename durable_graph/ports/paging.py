"""Where a list of threads goes on: after a place, which moves only if its thread changes."""

from __future__ import annotations

import math

from durable_graph.errors import ConfigError
from durable_graph.ports.backend import Thread

__all__ = ["cursor_of", "place", "place_of"]


def place(thread: Thread) -> tuple[float, str]:
    """A thread's place in its tenant's list, in which the greatest comes first."""
    return thread.updated, thread.key.thread


def cursor_of(thread: Thread) -> str:
    """A thread's place, as text."""
    return f"{thread.updated!r} {thread.key.thread}"


def place_of(cursor: str) -> tuple[float, str]:
    """The place that a cursor names.

    Raises:
        ConfigError: it is no cursor.
    """
    updated, _, thread = cursor.partition(" ")
    try:
        at = float(updated)
    except ValueError:
        at = math.nan
    if not math.isfinite(at) or not thread:
        raise ConfigError(
            f"{cursor!r} is not where a list of threads goes on; take what the page before says."
        )
    return at, thread
