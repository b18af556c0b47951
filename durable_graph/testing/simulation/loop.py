"""An event loop on virtual time: no I/O, no threads, the same from the same seed.

Time stands still while something is ready to run, but for a trifle that each callback costs, and
jumps to the next timer when nothing is. Every callback belongs to the simulated process in whose
context it was scheduled; what belongs to a process that is held waits until it is let go, as if
the operating system had stopped it.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar
from types import EllipsisType
from typing import Any, Final, TypeVar

__all__ = ["DeadlockError", "LivelockError", "SimulationError", "VirtualLoop", "process"]

T = TypeVar("T")

process: Final[ContextVar[str | None]] = ContextVar("simulated process", default=None)
"""The simulated process that the running code belongs to; ``None`` for the world around them."""

_COST: Final = 1e-5


class SimulationError(AssertionError):
    """A simulation found something wrong."""


class DeadlockError(SimulationError):
    """The simulation waits for something that nothing will ever bring about."""


class LivelockError(SimulationError):
    """The simulation took more steps than it was allowed."""


class _Task(asyncio.Task[T]):
    """A task whose place in a set depends on its number, not on its address."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], number: int, owner: str | None, **options: Any
    ) -> None:
        self._number = number  # first: being made, a task is put into a set
        self.process = owner
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop whose time is virtual.

    Attributes:
        steps: how many callbacks have run.
        errors: what nobody handled: exceptions of callbacks, tasks that failed unheard.
    """

    def __init__(self, *, max_steps: int = 5_000_000) -> None:
        super().__init__()
        self.steps = 0
        self.errors: list[dict[str, Any]] = []
        self._now = 0.0
        self._max_steps = max_steps
        self._numbers = itertools.count(1)
        self._queue: deque[tuple[str | None, asyncio.Handle]] = deque()
        self._timers: list[tuple[float, int, str | None, asyncio.TimerHandle]] = []
        self._held: dict[str, list[asyncio.Handle]] = {}
        self._tasks: list[_Task[Any]] = []
        self._prune_at = 1000
        self._thread = threading.get_ident()
        self._abort: BaseException | None = None
        self.set_exception_handler(lambda _, context: self.errors.append(context))

    def __repr__(self) -> str:
        return f"<VirtualLoop at {self._now:.6f} s, {len(self._queue)} ready>"

    # -- time ----------------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now

    # -- processes -----------------------------------------------------------------------------

    def hold(self, name: str) -> None:
        """Stop a process: nothing of it runs until it is released."""
        self._held.setdefault(name, [])

    def release(self, name: str) -> None:
        """Let a stopped process go on where it was."""
        held = self._held.pop(name, None)
        if held:
            # What has become ready since comes after what was ready then.
            since = [entry for entry in self._queue if entry[0] == name]
            others = [entry for entry in self._queue if entry[0] != name]
            self._queue = deque([*others, *((name, handle) for handle in held), *since])

    def tasks(self, owner: str | EllipsisType | None = ...) -> list[asyncio.Task[Any]]:
        """Tasks that have not ended, in the order in which they were made.

        Args:
            owner: only those of this process.
        """
        self._tasks = [task for task in self._tasks if not task.done()]
        return [task for task in self._tasks if owner in (..., task.process)]

    # -- what asyncio asks of a loop -----------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See `asyncio.AbstractEventLoop.call_soon`."""
        if context is None:
            context = contextvars.copy_context()
        handle = asyncio.Handle(callback, args, self, context)
        self._queue.append((context.get(process), handle))
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See `asyncio.AbstractEventLoop.call_soon_threadsafe`; here there are no threads.

        Raises:
            RuntimeError: called from another thread.
        """
        if threading.get_ident() != self._thread:
            raise RuntimeError("A thread takes part in a simulation, which then proves nothing.")
        return self.call_soon(callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio.AbstractEventLoop.call_at`."""
        if context is None:
            context = contextvars.copy_context()
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        entry = (when, next(self._numbers), context.get(process), handle)
        heapq.heappush(self._timers, entry)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `asyncio.AbstractEventLoop.call_later`."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_task(  # type: ignore[override]
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """See `asyncio.AbstractEventLoop.create_task`."""
        number = next(self._numbers)
        owner = process.get() if context is None else context.get(process)
        options = {"loop": self, "name": name or f"task {number}", "context": context}
        task: _Task[T] = _Task(coro, number, owner, **options)  # type: ignore[arg-type]
        # asyncio itself holds no task that waits; one of a held process has nobody else.
        self._tasks.append(task)
        if len(self._tasks) >= self._prune_at:
            self._prune_at = 2 * len(self.tasks()) + 1000
        return task

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Refuse: threads run in an order that no seed decides.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("There are no threads in a simulation.")

    def close(self) -> None:
        """Drop what is still waiting."""
        self._queue.clear()
        self._timers.clear()
        self._held.clear()
        self._tasks.clear()
        super().close()

    # -- running -------------------------------------------------------------------------------

    def abort(self, error: BaseException) -> None:
        """End the run that is under way with this error, after the callback that is running."""
        if self._abort is None:
            self._abort = error

    def settle(self, max_steps: int = 100_000) -> None:
        """Run what can run without anybody waiting for it, but not for longer than so long."""
        last = self.steps + max_steps
        self._abort = None
        self._max_steps = max(self._max_steps, last)
        while (self._queue or self._timers) and self.steps < last:
            if not self._queue:
                self._now = max(self._now, self._timers[0][0])
            self.call_soon(self.stop)
            self.run_forever()

    def _run_once(self) -> None:
        """One turn: `BaseEventLoop.run_forever` calls this over and over."""
        if not self._queue:
            self._advance()
        while self._timers and self._timers[0][0] <= self._now:
            _, _, name, timer = heapq.heappop(self._timers)
            self._queue.append((name, timer))
        for _ in range(len(self._queue)):
            name, handle = self._queue.popleft()
            if handle.cancelled():
                continue
            if name is not None and name in self._held:
                self._held[name].append(handle)
                continue
            self.steps += 1
            self._now += _COST
            handle._run()
            if self._abort is not None:
                error, self._abort = self._abort, None
                raise error
        if self.steps > self._max_steps:
            raise LivelockError(f"{self.steps} steps were taken, to no end.")

    def _advance(self) -> None:
        while self._timers and self._timers[0][3].cancelled():
            heapq.heappop(self._timers)
        if not self._timers:
            if self._stopping:  # type: ignore[attr-defined]
                return
            waiting = [task.get_name() for task in self.tasks()]
            raise DeadlockError(f"Nothing will ever happen any more; these wait: {waiting}.")
        self._now = max(self._now, self._timers[0][0])
