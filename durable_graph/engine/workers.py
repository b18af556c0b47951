"""Threads for synchronous nodes.

They are our own, and daemons: a node that hangs in ``time.sleep(1000)`` is abandoned when its
run is cancelled, and must hold up neither the interpreter's exit nor the nodes that come after
it. anyio's and asyncio's pools wait for their threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from contextvars import Context
from queue import SimpleQueue
from typing import Any, Final, TypeVar

__all__ = ["Workers", "workers"]

T = TypeVar("T")
_Job = tuple[
    Callable[[], Any], Context, asyncio.AbstractEventLoop, "asyncio.Future[Any]", "Workers"
]

_IDLE_KEPT: Final = 32


class Workers:
    """A pool of daemon threads that grows with need; `abandoned` counts late results dropped."""

    def __init__(self) -> None:
        self._idle: list[SimpleQueue[_Job | None]] = []
        self._lock = threading.Lock()
        self.abandoned = 0

    async def run(self, call: Callable[[], T], context: Context) -> T:
        """Run a function in a thread and return what it returns.

        If the caller is cancelled, the thread is left to itself and its result dropped.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._worker().put((call, context, loop, future, self))
        return await future

    def _worker(self) -> SimpleQueue[_Job | None]:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        jobs: SimpleQueue[_Job | None] = SimpleQueue()
        thread = threading.Thread(
            target=_work, args=(jobs,), name="durable_graph node", daemon=True
        )
        thread.start()
        return jobs

    def forget(self) -> None:
        """Start afresh: a forked child has none of its parent's threads."""
        self._idle = []
        self._lock = threading.Lock()

    def release(self, jobs: SimpleQueue[_Job | None]) -> None:
        """Take a thread back that has done its job."""
        with self._lock:
            if len(self._idle) < _IDLE_KEPT:
                self._idle.append(jobs)
                return
        jobs.put(None)


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        call, context, loop, future, pool = job
        result, error = None, None
        try:
            result = context.run(call)
        except BaseException as raised:  # the node's task decides what it means
            error = raised
        # Back before the result is told, or the next node would find no thread idle.
        pool.release(jobs)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_deliver, pool, future, result, error)
        del job, call, context, loop, future, pool, result, error


def _deliver(
    pool: Workers, future: asyncio.Future[Any], result: Any, error: BaseException | None
) -> None:
    if future.done():
        pool.abandoned += 1
    elif error is None:
        future.set_result(result)
    elif isinstance(error, (StopIteration, GeneratorExit)):
        # A future refuses the one; the other would look as if the run were thrown away.
        future.set_exception(RuntimeError(f"The node raised {error!r}."))
    else:
        future.set_exception(error)


workers: Final = Workers()
"""The threads of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers.forget)
