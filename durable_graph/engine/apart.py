"""Doing something long in a thread, so that others have the event loop meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TypeVar

from durable_graph.engine.workers import workers

__all__ = ["apart"]

T = TypeVar("T")


async def apart(work: Callable[[], T]) -> T:
    """Do something in a thread, to its end even if the caller is cancelled, who is told then.

    What it works on may be shared with the loop: nobody must go on while it is being used.
    """
    task = asyncio.ensure_future(workers.run(work, contextvars.copy_context()))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()  # nobody is told, and nobody need be
    raise cancelled
