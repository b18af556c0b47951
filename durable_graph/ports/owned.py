"""Tasks that nobody cancels, and how what runs in one knows that it does.

A call to a driver that is torn by being cancelled has to be shielded, for a task and two turns of
the event loop. What the engine writes is in tasks of its own anyway: there it need not be. Nor
need it be in the task of a run that is alone, which only the engine knows how to cancel.

When an event loop ends, it cancels all the same, also what has not begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

__all__ = ["begin", "cancel", "nobody_cancels", "start", "uncancelled"]

# Weak, so that a loop that was closed over its tasks takes them along.
_OWNED: WeakSet[asyncio.Task[Any]] = WeakSet()

# Those that are so for a while, and whether they are to be cancelled after that.
_FOR_NOW: WeakKeyDictionary[asyncio.Task[Any], bool] = WeakKeyDictionary()


def start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Have something run to its end: the task is the caller's to keep, and not to cancel.

    Only the end of its event loop cancels it, and with it everything else. What runs in it is
    nobody else's code, which might have a limit of time around what it calls.
    """
    task = begin(work)
    _OWNED.add(task)
    return task


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Have something begin in a task of its own, which is the caller's to keep.

    It comes to where it first waits even if it is cancelled before: of what has not begun, no
    ``finally`` tells those who wait for it that it has ended, and a loop that ends waits for them.
    """
    return asyncio.get_running_loop().create_task(_Begun(work))


class _Begun(Coroutine[Any, Any, None]):
    """A coroutine that is told of being cancelled at its first `await`, and not before."""

    __slots__ = ("_begun", "_work")

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._work = work
        self._begun = False

    def __await__(self) -> Generator[Any, Any, None]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        self._begun = True
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        if not self._begun:
            self.send(None)
        return self._work.throw(*error)

    def close(self) -> None:
        self._work.close()


def nobody_cancels() -> bool:
    """Whether the running task is one of those; not one that it has started."""
    task = asyncio.current_task()
    return task in _FOR_NOW or task in _OWNED


async def uncancelled(work: Coroutine[Any, Any, None]) -> None:
    """Await something in the running task, which is not cancelled meanwhile.

    That holds for as long as nobody but `cancel` is used on that task: what else runs in it must
    have ended, with the limits of time it may have set.

    Raises:
        CancelledError: it was to be cancelled; what was awaited has come to its end.
    """
    task: Any = asyncio.current_task()
    _FOR_NOW[task] = False
    try:
        await work
    finally:
        cancelled = _FOR_NOW.pop(task, False)  # gone if the loop was closed over it
        if cancelled:
            task.cancel()
    if cancelled:
        await asyncio.sleep(0)


def cancel(task: asyncio.Task[Any]) -> None:
    """Cancel a task; if it is in the middle of what is not to be cancelled, after that."""
    if task in _FOR_NOW:
        _FOR_NOW[task] = True
    else:
        task.cancel()
