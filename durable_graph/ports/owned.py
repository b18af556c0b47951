"""Tasks that nobody cancels, and how what runs in one knows that it does.

A call to a driver that is torn by being cancelled has to be shielded, for a task and two turns of
the event loop. What the engine writes is in tasks of its own anyway: there it need not be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any
from weakref import WeakSet

__all__ = ["nobody_cancels", "start"]

# Weak, so that a loop that was closed over its tasks takes them along.
_OWNED: WeakSet[asyncio.Task[Any]] = WeakSet()


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Have something run to its end: the task is the caller's to keep, and not to cancel.

    Only the end of its event loop cancels it, and with it everything else. What runs in it is
    nobody else's code, which might have a limit of time around what it calls.
    """
    task = asyncio.get_running_loop().create_task(work)
    _OWNED.add(task)
    return task


def nobody_cancels() -> bool:
    """Whether the running task is one of those; not one that it has started."""
    return asyncio.current_task() in _OWNED
