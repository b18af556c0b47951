"""Several requests side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

__all__ = ["together"]

T = TypeVar("T")


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> Sequence[T]:
    """Make calls side by side; the first that fails takes the others with it.

    How many are under way at once is limited by the connections that there are.
    """
    made = list(calls)
    if len(made) == 1:
        return [await made[0]]
    tasks = [asyncio.ensure_future(call) for call in made]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
