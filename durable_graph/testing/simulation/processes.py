"""Several processes in one: what the engine keeps once a process is kept once a simulated one.

The engine has two registries of its process: of its owners, to see without asking the storage
whether one of them is alive, and of its threads for synchronous nodes. In a simulation the one
is divided by simulated process, and the other runs no threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from unittest import mock

from durable_graph.engine.ownership import owner
from durable_graph.engine.tasks import execute, steps
from durable_graph.testing.simulation.loop import process

__all__ = ["separate_processes"]

T = TypeVar("T")


class _Owners:
    """Owners by id, as the process that asks knows them."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str | None, str], owner.Owner] = {}

    def __setitem__(self, name: str, value: owner.Owner) -> None:
        self._owners[process.get(), name] = value

    def get(self, name: str) -> owner.Owner | None:
        """The owner, if it is one of this process."""
        return self._owners.get((process.get(), name))


class _Threads:
    """Runs synchronous functions as threads do, which nobody can stop: to their end."""

    def __init__(self, numbers: random.Random) -> None:
        self._numbers = numbers
        self.abandoned = 0

    async def run(self, call: Callable[[], T], context: contextvars.Context) -> T:
        """What the function returns; if the caller is cancelled, it is called all the same."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        loop.call_later(self._numbers.uniform(0, 0.01), self._work, call, context, future)
        return await future

    def _work(
        self, call: Callable[[], Any], context: contextvars.Context, future: asyncio.Future[Any]
    ) -> None:
        result, error = None, None
        try:
            result = context.run(call)
        except BaseException as raised:  # the node's task decides what it means
            error = raised
        if future.done():
            self.abandoned += 1
        elif error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


@contextlib.contextmanager
def separate_processes(numbers: random.Random) -> Iterator[None]:
    """Keep apart what belongs to different simulated processes, as long as the block runs."""
    threads = _Threads(numbers)
    with (
        mock.patch.object(owner, "_owners", _Owners()),
        mock.patch.object(execute, "workers", threads),
        mock.patch.object(steps, "workers", threads),
    ):
        yield
