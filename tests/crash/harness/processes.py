"""Real processes: started in milliseconds, spoken to through a pipe, killed for good.

They are forked from a server that has imported everything and started nothing. Whatever a worker
does not do within the limit fails the test that waits for it, so that no wait is endless.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, Self

__all__ = ["LIMIT", "Line", "Worker", "working"]

LIMIT: Final = 30.0
"""Seconds for which a worker is waited for."""

JOBS: Final = (
    "closing",
    "contention",
    "files",
    "forking",
    "jobs",
    "payments",
    "replay",
    "stepping",
    "swarm",
)

_context = multiprocessing.get_context("forkserver")
# Jobs live in modules that import no more than they need: what a job's module imports beyond these
# is imported once for every worker.
# So are the drivers of servers, where they are installed.
DRIVERS: Final = ("durable_graph_redis", "durable_graph_postgres", "durable_graph_s3")
_context.set_forkserver_preload(
    ["__main__", *(f"tests.crash.harness.{name}" for name in JOBS), *DRIVERS]
)


class Line:
    """A worker's end of the pipe to whoever started it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def say(self, *message: Any) -> None:
        """Say something; from any thread."""
        with self._lock:
            self._pipe.send(message)

    def hear(self) -> Any:
        """What is said next; blocks the thread until then."""
        return self._pipe.recv()

    async def heard(self) -> Any:
        """What is said next."""
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._pipe.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._pipe.fileno())
        return self._pipe.recv()


class Worker:
    """A process that does one job.

    It says ``("ended", result)`` or ``("failed", name of the error, its text)`` at the end, and
    ``("unheard", text)`` about errors that nobody in it hears of.

    Args:
        job: what it does; an async function that takes its `Line` and the arguments.
        arguments: what else it takes.
    """

    def __init__(self, job: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(
            target=_work, args=(theirs, job, arguments), name=job.__name__, daemon=True
        )
        self._process.start()
        theirs.close()
        self.pid: int = self._process.pid or 0
        self._over = False

    def __repr__(self) -> str:
        return f"<Worker {self._process.name}, pid {self.pid}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._over:
            self.kill()
        self._pipe.close()
        self._process.close()

    def next(self, limit: float = LIMIT) -> tuple[Any, ...] | None:
        """What it says next; ``None`` once it is gone.

        Raises:
            TimeoutError: it has said nothing within the limit.
        """
        if not self._pipe.poll(limit):
            raise TimeoutError(f"{self!r} has said nothing for {limit} s.")
        try:
            message: tuple[Any, ...] = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return None
        assert message[0] != "unheard", f"I8: {message[1]}"
        return message

    def poll(self, seconds: float) -> bool:
        """Whether it says something within so many seconds; at most so long it is waited for."""
        return self._pipe.poll(seconds)

    def all(self) -> Iterator[tuple[Any, ...]]:
        """Everything it still says."""
        while (message := self.next()) is not None:
            yield message

    def until(self, *kinds: str) -> tuple[Any, ...]:
        """The next message of one of these kinds; what comes before is passed over.

        Raises:
            AssertionError: it is gone, or has ended otherwise.
        """
        for message in self.all():
            if message[0] in kinds:
                return message
            assert message[0] not in ("ended", "failed"), f"{self!r} said {message}"
        raise AssertionError(f"{self!r} went without saying any of {kinds}.")

    def end(self) -> tuple[Any, ...]:
        """How it ended; ``("gone",)`` if it was killed. Waits until it has exited."""
        last: tuple[Any, ...] = ("gone",)
        for message in self.all():
            if message[0] in ("ended", "failed"):
                last = message
        self._join()
        return last

    def tell(self, *message: Any) -> None:
        """Say something to it; in vain if it is gone."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._pipe.send(message)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, as long as it has not been waited for."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def stop(self) -> None:
        """Stop it, and see that none of its threads does anything any more.

        The signal takes effect thread by thread, and on a busy machine not at once.
        """
        self.signal(signal.SIGSTOP)
        until = time.monotonic() + LIMIT
        while not _stopped(self.pid):
            assert time.monotonic() < until, f"{self!r} does not stop."
            os.sched_yield()

    def go_on(self) -> None:
        """Let it go on after `stop`."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, and wait until it is dead."""
        self.signal(signal.SIGKILL)
        self._join()

    def _join(self) -> None:
        self._process.join(LIMIT)
        assert self._process.exitcode is not None, f"{self!r} does not exit."
        self._over = True


def _stopped(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.exists():  # not Linux: then nobody can tell
        return True
    try:
        stats = [task.read_text() for task in tasks.glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):  # a thread has just ended, so they still run
        return False
    return all(stat.rpartition(")")[2].split()[0] in "TtZX" for stat in stats)


@contextlib.contextmanager
def working(*workers: Worker) -> Iterator[tuple[Worker, ...]]:
    """Several workers, none of which outlives the block."""
    with contextlib.ExitStack() as stack:
        for worker in workers:
            stack.enter_context(worker)
        yield workers


def _work(pipe: Connection, job: Callable[..., Awaitable[Any]], arguments: Any) -> None:
    line = Line(pipe)
    threading.excepthook = lambda failed: line.say("unheard", repr(failed.exc_value))

    async def run() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: line.say("unheard", repr(context)))
        return await job(line, *arguments)

    try:
        result = asyncio.run(run())
    except BaseException as error:  # whoever started this process judges it
        line.say("failed", type(error).__name__, str(error))
    else:
        line.say("ended", result)
