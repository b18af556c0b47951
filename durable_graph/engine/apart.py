"""Doing something long in a thread, so that others have the event loop meanwhile."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TypeVar

from durable_graph.engine.workers import workers
from durable_graph.ports.shielded import to_its_end

__all__ = ["apart"]

T = TypeVar("T")


async def apart(work: Callable[[], T]) -> T:
    """Do something in a thread, to its end even if the caller is cancelled, who is told then.

    What it works on may be shared with the loop: nobody must go on while it is being used.
    """
    return await to_its_end(workers.run(work, contextvars.copy_context()))
