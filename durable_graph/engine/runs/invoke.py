"""One call from beginning to end, and the task that it runs in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from durable_graph.decisions.freeze import Freezer
from durable_graph.decisions.reduce import Reducers
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.apart import apart
from durable_graph.engine.ownership.hot import Hot
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.runs.call import Call
from durable_graph.engine.runs.live import LiveThread
from durable_graph.engine.runs.opening import leave_answer, open_run, open_unstored
from durable_graph.engine.runs.run import Run
from durable_graph.engine.statistics import RunStatistics, Tally
from durable_graph.engine.streams.stream import Event, Stream
from durable_graph.errors import DurableGraphError
from durable_graph.log.fold import Scope
from durable_graph.log.records import ThreadKey
from durable_graph.ports import owned
from durable_graph.ports.clock import SystemChance, SystemClock
from durable_graph.ports.shielded import until_done
from durable_graph.types import Interrupt

__all__ = ["Result", "RunTask", "invoke", "result_of"]


@dataclass(frozen=True, slots=True)
class Result:
    """How a call left its thread.

    Attributes:
        values: the values of the output's keys.
        interrupts: the questions that are open.
    """

    values: Any
    interrupts: tuple[Interrupt, ...]


async def invoke(
    definition: GraphDefinition, keeper: Keeper | None, call: Call, stream: Stream
) -> Result:
    """Run a call to its end.

    Raises:
        Exception: what a node raised.
        DurableGraphError: see `durable_graph.errors`.
    """
    if keeper is None or call.thread is None:
        return await _invoke_unstored(definition, call, stream)
    key = keeper.key(call.thread)
    posted = None
    while call.answers and keeper.runs(key):
        # A server that runs the thread and receives the answer: the usual case.
        here = keeper.owner()
        posted = await leave_answer(keeper, here, definition, call, key, posted, beside=True)
    async with keeper.running(key, call.run) as owner:
        run, go_on = await open_run(keeper, owner, definition, call, key, stream, posted)
        log = run.live.log
        try:
            if go_on:
                await _drive(run)
            return await result_of(run)
        finally:
            if log is not None and log.broken and go_on:
                # Its end could not be stored; the owner's heart tries again.
                owner.leave(log)
            elif log is not None and log.head is not None and call.checkpoint is None:
                _keep_hot(keeper, run)


async def _invoke_unstored(definition: GraphDefinition, call: Call, stream: Stream) -> Result:
    chance = SystemChance()
    freezer = Freezer(definition, definition.codec.holding(), b"", chance.id)
    live = LiveThread(
        definition, call, Scope(), freezer, Reducers(freezer), None, SystemClock(), chance
    )
    run = await open_unstored(definition, call, live, stream)
    await run.drive()
    return await result_of(run)


async def _drive(run: Run) -> None:
    thrown_away = False
    try:
        await run.drive()
    except GeneratorExit:  # its loop is gone, and with it everything that could be awaited
        thrown_away = True
        raise
    except BaseException as error:
        with contextlib.suppress(DurableGraphError):  # the first error says more
            await run.stop(None if isinstance(error, asyncio.CancelledError) else error)
        raise
    finally:
        if not thrown_away:
            await run.close()
    refusal = run.refusal or run.questions.refusal
    if refusal is not None:
        raise refusal


async def result_of(run: Run) -> Result:
    """How a run that has ended left its thread."""
    live, keys = run.live, run.live.definition.output.channels
    if (live.log is not None and live.log.small) or not live.freezer.is_bulky(
        map(live.scope.values.get, keys)
    ):
        return _result_of(run)
    return await apart(partial(_result_of, run))


def _result_of(run: Run) -> Result:
    live = run.live
    values = live.with_results() if live.scope.outcomes else live.scope.values
    asked = live.interrupts()
    if asked and live.definition.entry is not None:
        return Result(None, asked)  # what it returned before is no result of this run
    return Result(live.shown(values, live.definition.output.channels), asked)


def _keep_hot(keeper: Keeper, run: Run) -> None:
    live = run.live
    if live.log is not None and live.log.head is not None and not live.log.pending:
        keeper.hot.put(Hot(live.log.head, live.scope, live.freezer, live.reducers, live.definition))


class RunTask:
    """A call in a task of its own, which whoever made the call owns.

    No cancel scope spans a ``yield``: whoever reads the events is not inside the run, and
    leaving it cancels this run and nothing else.

    Args:
        work: the call.
        stream: its events.
        name: of the task.
        ending: where it is to be known, and for which thread, that the run has been left.
        tally: where it is counted.
    """

    def __init__(
        self,
        work: Coroutine[Any, Any, Result],
        stream: Stream,
        name: str,
        tally: Tally,
        ending: tuple[Keeper, ThreadKey] | None = None,
    ) -> None:
        self._tally = tally
        tally.begun()
        self._ending = ending
        self._behind: tuple[asyncio.AbstractEventLoop, Future[None]] | None = None
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._ended: Future[None] = Future()
        self._left = False
        self._task = self._loop.create_task(work, name=name)
        # Not a `finally` of the task: one that is cancelled before its first step has none.
        self._task.add_done_callback(self._after)

    @classmethod
    def of(
        cls,
        definition: GraphDefinition,
        keeper: Keeper | None,
        call: Call,
        tally: Tally,
        stream: Stream,
    ) -> Self:
        """A call of a graph that is in no other.

        Args:
            definition: the graph.
            keeper: where threads are stored; ``None`` for a run that is not stored.
            call: the call.
            tally: where it is counted.
            stream: its events.
        """
        ending = None
        if keeper is not None and call.thread is not None:
            ending = (keeper, keeper.key(call.thread))

        async def run() -> Result:
            if ending is not None:
                await ending[0].until_ended(ending[1])
            return await invoke(definition, keeper, call, stream)

        return cls(run(), stream, f"durable_graph run {call.run}", tally, ending)

    def _after(self, task: asyncio.Task[Result]) -> None:
        self._stream.close()
        self._tally.ended(self._stream.supersteps, self._stream.events)
        if self._ending is not None:
            keeper, key = self._ending
            ending = keeper.ending.get(key)
            if ending is not None and ending[1] is self._ended:
                del keeper.ending[key]
                if self._behind is not None and not self._behind[1].done():
                    keeper.ending[key] = self._behind  # which it has been waiting for
        self._ended.set_result(None)
        if self._left and not task.cancelled():
            # Nobody is there to be told; that it failed stands in the thread's status.
            task.exception()

    def statistics(self) -> RunStatistics:
        """How far it is."""
        stream = self._stream
        state = "ended" if self._task.done() else "running"
        return RunStatistics(state, stream.supersteps, stream.events, stream.waiting)

    def when_ended(self, then: Callable[[], object]) -> None:
        """Have something called once the run has ended."""
        self._task.add_done_callback(lambda _: then())

    async def next(self) -> Event | None:
        """The next event; ``None`` once the run has ended.

        Raises:
            Exception: what the run ended with.
        """
        event = await self._stream.next()
        if event is None:
            await self.result()
        return event

    async def result(self) -> Result:
        """Wait for the run's end; cancelling the wait cancels the run.

        Raises:
            Exception: what the run ended with.
        """
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            await self.cancel()
            raise

    def cancel_soon(self) -> None:
        """Have the run end, without waiting for it. From any thread."""
        if self._task.done():
            if not self._task.cancelled():
                self._task.exception()  # it failed behind the last event that was asked for
            return
        if self._loop.is_closed():
            return
        self._left = True
        self._is_ending()
        with contextlib.suppress(RuntimeError):  # the loop was closed in the meantime
            self._loop.call_soon_threadsafe(self._end)

    async def cancel(self) -> None:
        """Have the run end, and wait until it has: its last step is stored, no task is left."""
        if not self._task.done():
            self._is_ending()
            self._end()
        cancelled = await until_done(self._task)
        if not self._task.cancelled():
            self._task.exception()  # being cancelled is what caused it, or it has been told
        if cancelled:
            raise asyncio.CancelledError

    def _end(self) -> None:
        # In one go: a run that is woken by the closed stream must find itself cancelled.
        self._stream.close()
        owned.cancel(self._task)

    def _is_ending(self) -> None:
        if self._ending is not None:
            keeper, key = self._ending
            before = keeper.ending.get(key)
            if before is None or before[1] is not self._ended:
                self._behind = before
            keeper.ending[key] = (self._loop, self._ended)
