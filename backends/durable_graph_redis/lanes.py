"""Commands in the order in which they are handed in; what waits goes out together.

A call that is cancelled is sent and answered all the same: the lane does that in a task of its
own, which lives while there is something to do. So no cancellation tears a write apart, and what
was under way is over before whatever is handed in next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from durable_graph.ports import owned
from durable_graph.ports.deadlines import Deadlines
from durable_graph_redis.replies import translate
from durable_graph_redis.scripts import Command

__all__ = ["Exchange", "Lane"]

Exchange: TypeAlias = Callable[[Sequence[Command]], Awaitable[Sequence[Any]]]
"""Sends commands and returns their answers, errors among them; raises if there are none."""


@dataclass(slots=True)
class _Waiting:
    commands: Sequence[Command]
    writes: bool
    answers: asyncio.Future[Sequence[Any]]


class Lane:
    """Commands of one event loop, one exchange after the other.

    Args:
        exchange: sends and receives.
        where: the server, as errors name it.
        timeout: seconds that an exchange may take.
    """

    def __init__(self, exchange: Exchange, where: str, timeout: float) -> None:
        self._exchange = exchange
        self._where = where
        self._timeout = timeout
        self._deadlines = Deadlines()
        self._queue: list[_Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def call(self, commands: Sequence[Command], *, writes: bool) -> Sequence[Any]:
        """Have commands done; returns their answers, errors of single ones among them.

        Raises:
            OutcomeUnknownError: they were sent, and nobody knows.
            StorageError: they were not, or not answered; which leaf says how.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(commands, writes, loop.create_future())
        self._queue.append(waiting)
        if self._task is None:
            self._task = owned.begin(self._work())
        return await waiting.answers

    async def drain(self) -> None:
        """Wait until everything that was handed in has been done."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _work(self) -> None:
        try:
            while self._queue:
                queue, self._queue = self._queue, []
                await self._answer(queue)
        finally:
            self._task = None
            self._refuse_the_rest()

    async def _answer(self, queue: Sequence[_Waiting]) -> None:
        commands = [command for waiting in queue for command in waiting.commands]
        try:
            with self._deadlines.within(self._timeout):
                answers = await self._exchange(commands)
        except BaseException as error:
            for waiting in queue:
                if not waiting.answers.done():
                    told = translate(_plain(error), self._where, writes=waiting.writes)
                    waiting.answers.set_exception(told)
            if not isinstance(error, Exception):
                raise
            return
        place = 0
        for waiting in queue:
            end = place + len(waiting.commands)
            if not waiting.answers.done():
                waiting.answers.set_result(answers[place:end])
            place = end

    def _refuse_the_rest(self) -> None:
        """Of a loop that ends, nothing that still waits is sent."""
        queue, self._queue = self._queue, []
        for waiting in queue:
            waiting.answers.cancel()


def _plain(error: BaseException) -> BaseException:
    if isinstance(error, (TimeoutError, asyncio.CancelledError)):
        return EOFError("it took too long" if isinstance(error, TimeoutError) else "cancelled")
    return error
