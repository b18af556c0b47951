"""What is there or may be awaited: one way to go on with either."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

__all__ = ["then"]

T = TypeVar("T")
R = TypeVar("R")


def then(value: Any, function: Callable[[T], R]) -> R | Awaitable[R]:
    """What a function makes of a value: now, or once the value is there."""
    if not inspect.isawaitable(value):
        return function(value)
    awaited: Awaitable[T] = value

    async def later() -> R:
        return function(await awaited)

    return later()
