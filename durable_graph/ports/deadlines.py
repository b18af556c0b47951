"""Limits of time for many short calls, with one timer for all of them.

`asyncio.timeout` makes a timer for each call, sorts it in and takes it out again: for a call that
takes a third of a millisecond and is given half a minute, that is a tenth of what it costs. Here a
call only says until when it must have ended, and a timer that is there already looks after it.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from types import TracebackType
from typing import Self

__all__ = ["Deadlines"]


class Deadlines:
    """The calls of one event loop that have a limit of time."""

    def __init__(self) -> None:
        self._running: set[_Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._moment = 0.0

    def within(self, seconds: float) -> _Deadline:
        """A block that is cancelled once it has taken so long, and raises `TimeoutError` then.

        It is entered with ``with`` and may await whatever it likes, as in `asyncio.timeout`.
        """
        return _Deadline(self, seconds)

    def _watch(self, deadline: _Deadline, loop: asyncio.AbstractEventLoop) -> None:
        self._running.add(deadline)
        if self._timer is None or deadline.at < self._moment:
            self._look_at(deadline.at, loop)

    def _look_at(self, moment: float, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # Not asked for later: what uvloop gives for a moment that is almost there cannot say it.
        self._moment = moment
        # In an empty context: it outlives the call, and what that has in its own.
        self._timer = loop.call_at(moment, self._look, loop, context=Context())

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for deadline in self._running:
            if deadline.at <= now:
                deadline.expire()
        left = [deadline.at for deadline in self._running if not deadline.expired]
        if left:
            self._look_at(min(left), loop)


class _Deadline:
    """One of them; see `Deadlines.within`."""

    __slots__ = ("_cancelling", "_of", "_seconds", "_task", "at", "expired")

    def __init__(self, of: Deadlines, seconds: float) -> None:
        self._of = of
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self.at = 0.0
        self.expired = False

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._task = task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("A limit of time is for what runs in a task.")
        self._cancelling = task.cancelling()
        self.at = loop.time() + self._seconds
        self._of._watch(self, loop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._of._running.discard(self)
        if (
            self.expired
            and self._task is not None
            # Else somebody else has cancelled it as well, who is to be obeyed.
            and self._task.uncancel() <= self._cancelling
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from error

    def expire(self) -> None:
        """It has taken too long."""
        if not self.expired and self._task is not None:
            self.expired = True
            self._task.cancel()
