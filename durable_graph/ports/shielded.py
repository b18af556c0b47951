"""Calls that are made to their end, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import anyio

__all__ = ["to_its_end"]

T = TypeVar("T")


async def to_its_end(call: Coroutine[Any, Any, T]) -> T:
    """Make a call to its end even if the caller is cancelled, who is told only then.

    Else what has been sent could take effect after somebody has looked whether it did, and what
    is being used in a thread could be changed by who goes on.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        # The shield keeps anyio from cancelling over and over; the loop is for those who call
        # `Task.cancel` again.
        with anyio.CancelScope(shield=True):
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # nobody is told, and nobody need be
        raise
    return task.result()
