"""What calling a step gives: its result to come, for async and for synchronous code."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Generator
from typing import Any, TypeVar

__all__ = ["StepFuture"]

T = TypeVar("T")


class StepFuture(concurrent.futures.Future[T]):
    """The result of a step that has been started: ``await`` it, or call `result()` in code that
    runs in a thread.

    Whoever stops waiting for it, in being cancelled or after a timeout of his own, cancels it.

    Args:
        what: the step, for messages.
        loop: where it runs.
        thread: that loop's thread.
    """

    def __init__(self, what: str, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        super().__init__()
        self.seen = False
        """Whether somebody has asked how it ended."""
        self._what = what
        self._loop = loop
        self._thread = thread
        self._task: asyncio.Task[T] | None = None

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done() else "running"
        return f"<StepFuture of {self._what}, {state}>"

    def __await__(self) -> Generator[Any, None, T]:
        self.seen = True
        if self.done():
            return super().result()
        if self._task is not None and threading.get_ident() == self._thread:
            return (yield from self._task.__await__())
        return (yield from asyncio.wrap_future(self).__await__())

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result; from a thread that the event loop does not need.

        Raises:
            RuntimeError: called on the event loop, which would then wait for itself.
        """
        self._check_thread()
        self.seen = True
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end; what it failed with. See `result`."""
        self._check_thread()
        self.seen = True
        return super().exception(timeout)

    def cancel(self) -> bool:
        """Cancel the step. What it has done already stays done."""
        if self._task is None:
            return super().cancel()
        if self.done():
            return False
        if threading.get_ident() == self._thread:
            return self._task.cancel()
        self._loop.call_soon_threadsafe(self._task.cancel)
        return True

    def follow(self, task: asyncio.Task[T]) -> None:
        """It ends as this task does."""
        self._task = task
        task.add_done_callback(self._end)

    @property
    def error(self) -> BaseException | None:
        """What it failed with; ``None`` as long as it has not."""
        return super().exception() if self.done() and not self.cancelled() else None

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            super().cancel()
            self.set_running_or_notify_cancel()
        elif (error := task.exception()) is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())

    def _check_thread(self) -> None:
        if not self.done() and threading.get_ident() == self._thread:
            raise RuntimeError(
                f"result() of {self._what} was called on the event loop that runs it, which would "
                f"wait for itself. Await it."
            )
