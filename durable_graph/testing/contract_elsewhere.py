"""Processes beside this one that use the same storage, and can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any, Final

from durable_graph.ports.backend import Backend
from durable_graph.testing.contract_kit import Storage, expect

__all__ = ["Other", "Parent", "other_process"]

# A fork would inherit what this process has open, which no backend allows.
_context: Final = multiprocessing.get_context("spawn")


class Parent:
    """Whoever started this process, as a job knows it."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def say(self, what: Any) -> None:
        """Say something, which is heard also if this process dies the next moment."""
        self._pipe.send(what)

    async def heard(self) -> Any:
        """What is said next."""
        return await asyncio.to_thread(self._pipe.recv)


Job = Callable[..., Awaitable[None]]
"""What a process does: a function of a module, called with a backend, `Parent` and arguments."""


class Other:
    """A process that does a job on the same storage."""

    def __init__(self, open: Callable[[], Backend], job: Job, arguments: Any) -> None:
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_work, args=(theirs, open, job, arguments))
        self._process.daemon = True
        self._process.start()
        theirs.close()  # else the end of the process would not be the end of the pipe

    async def hear(self) -> Any:
        """What it says next; ``None`` once it is gone.

        Raises:
            AssertionError: its job has failed.
        """
        said = await asyncio.to_thread(self._hear)
        expect(not isinstance(said, _Failure), f"In another process: {said}")
        return said

    def tell(self, what: Any) -> None:
        """Say something to it."""
        self._pipe.send(what)

    def kill(self) -> None:
        """Kill it, so that it does not finish anything."""
        self._process.kill()

    async def aclose(self) -> None:
        """See that it is gone."""
        self.kill()
        await asyncio.to_thread(self._process.join)
        self._pipe.close()
        self._process.close()

    def _hear(self) -> Any:
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            return None


@contextlib.asynccontextmanager
async def other_process(storage: Storage, job: Job, *arguments: Any) -> AsyncIterator[Other]:
    """A process that does a job on the same storage; it does not outlive the block."""
    if storage.elsewhere is None:
        raise ValueError("The factory gives no way to open the storage in another process.")
    other = await asyncio.to_thread(Other, storage.elsewhere, job, arguments)
    try:
        yield other
    finally:
        # Whoever waits for it in a thread hears of its end.
        await asyncio.shield(other.aclose())


class _Failure:
    """What a job has failed with."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def _work(pipe: Connection, open: Callable[[], Backend], job: Job, arguments: Any) -> None:
    async def run() -> None:
        backend = open()
        try:
            await job(backend, Parent(pipe), *arguments)
        finally:
            await backend.aclose()

    try:
        asyncio.run(run())
    except (BrokenPipeError, EOFError):
        return  # nobody wants to know any more
    except BaseException:  # whatever it was, who started this process judges it
        with contextlib.suppress(BrokenPipeError):
            pipe.send(_Failure(traceback.format_exc()))
