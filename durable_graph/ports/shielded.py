"""Waiting for an end that is waited for, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio

__all__ = ["to_its_end", "until_done"]

T = TypeVar("T")
_FIRST, _ALL = asyncio.FIRST_COMPLETED, asyncio.ALL_COMPLETED


async def to_its_end(call: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
    """Make a call to its end even if the caller is cancelled, who is told only then.

    Else what has been sent could take effect after somebody has looked whether it did, and what
    is being used in a thread could be changed by who goes on.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        await until_done(task)
        if not task.cancelled():
            task.exception()  # nobody is told, and nobody need be
        raise
    return task.result()


async def until_done(*tasks: asyncio.Future[Any], first: bool = False) -> bool:
    """Wait until all of these have ended, come what may.

    Args:
        tasks: what is waited for; none of it is cancelled.
        first: whether the first end is enough.

    Returns:
        Whether somebody cancelled that, who is still to be obeyed.
    """
    cancelled = False
    # The shield keeps anyio from cancelling over and over; the loop is for those who call
    # `Task.cancel` again.
    with anyio.CancelScope(shield=True):
        while left := [task for task in tasks if not task.done()]:
            if first and len(left) < len(tasks):
                break
            try:
                await asyncio.wait(left, return_when=_FIRST if first else _ALL)
            except asyncio.CancelledError:
                cancelled = True
    return cancelled
