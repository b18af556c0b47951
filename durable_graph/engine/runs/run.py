"""A run: superstep after superstep, each a durable fact before the next begins.

The loop of `Run.drive` is the engine in small: run what is due, write down how it ended, say what
happened, go on. What results *mean* is decided in `durable_graph.decisions`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from durable_graph.decisions.advance import advance, faded
from durable_graph.decisions.answers import all_answers
from durable_graph.decisions.claims import Claims
from durable_graph.decisions.plan import plan
from durable_graph.engine.control import RunControl
from durable_graph.engine.runs.inbox import take_answers
from durable_graph.engine.runs.live import LiveThread, Onto
from durable_graph.engine.runs.questions import Questions
from durable_graph.engine.runs.teller import Teller
from durable_graph.engine.storage.runlog import Receipt, RunLog
from durable_graph.engine.streams.stream import Stream, Within
from durable_graph.engine.tasks.attempts import attempts
from durable_graph.engine.tasks.context import ParentCommand, TaskContext
from durable_graph.engine.tasks.execute import (
    Failure,
    choose_route,
    describe,
    new_context,
)
from durable_graph.engine.tasks.remembering import Gathered
from durable_graph.engine.tasks.steps import Calls, Running, end_all
from durable_graph.errors import (
    GraphDrained,
    GraphInterrupt,
    GraphRecursionError,
    InvalidUpdateError,
    StoreConflictError,
)
from durable_graph.log.delta import SAME, Encoded, diff, flat
from durable_graph.log.fold import Due, Scope
from durable_graph.log.records import (
    Commit,
    DueTask,
    Mark,
    Outcome,
    Status,
    Steps,
    TaskResults,
)
from durable_graph.log.seal import CommitInfo
from durable_graph.ports.backend import Backend
from durable_graph.state.channel import PREVIOUS, Channel
from durable_graph.types import START, RunnableConfig

if TYPE_CHECKING:
    from durable_graph.store import BaseStore

__all__ = ["BREAKPOINT", "DRAINED", "Run", "Stop"]

# After so many seconds without a pause, others get the event loop.
_SLICE = 0.005
BREAKPOINT: Final = "breakpoint"
DRAINED: Final = "drained"
# How many tasks are started between two looks at the clock.
_STARTS = 64


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a run ends with a commit: the thread's status, a reason, and an error to raise."""

    status: Status
    reason: str | None = None
    error: Exception | None = None


class Run:
    """One run of a graph on one thread.

    Args:
        live: the thread.
        stream: who watches.
        backend: where the thread's inbox is; ``None`` for a run that is not stored.
    """

    def __init__(self, live: LiveThread, stream: Stream | Within, backend: Backend | None) -> None:
        self.live = live
        self.stream = stream
        self.teller = Teller(live, stream)
        self.questions = Questions(live)
        if stream.modes:
            live.teller = self.teller
        self.refusal: Exception | None = None
        """What to raise at the end: why the caller's own answer was not taken up."""
        self.around = False
        """Whether there is a graph around this one, which commands can go to."""
        self._backend = backend
        self.root = self
        """The run of the thread's root graph."""
        self.calling: set[str] = set()
        """Of that run: the graphs within that are being run, by namespace."""
        self.lone = True
        """Whether only one of its tasks is running."""
        self.begun = False
        """Whether its call has been accepted, so that there is something to stop."""
        self.stopped: Stop | None = None
        """Why the run has ended, once it has."""
        self._unwritten: list[Outcome] = []
        self._failures: Mapping[int, Failure] = {}
        self._calling: dict[int, dict[str, Running]] = {}
        self._pause_at = live.clock.monotonic() + _SLICE
        self._gathered: Gathered | None = None
        self._claims: Claims | None = None
        self._first_attempts: dict[tuple[int, str, int | None], float] = {}
        self.halted: str | None = None
        """Why a graph that one of its tasks calls has stopped in the middle, if one has."""
        self.caller: TaskContext | None = None
        """The execution that waits for this run, if it is one of a graph within another."""
        self.onto: Onto | None = None
        """Path and weight of the checkpoint that the run branched off, if it did."""
        self._before: dict[str, tuple[str | None, dict[str, Encoded]]] = {}
        self.starts_here()

    def starts_here(self) -> None:
        """What is in storage is what the thread is now: "exit" durability writes what changes."""
        live = self.live
        exit_only = live.log is not None and live.log.durability == "exit"
        scopes = {"": live.scope, **live.scope.nested} if exit_only else {}
        self._before = {ns: (s.checkpoint or None, dict(s.values)) for ns, s in scopes.items()}

    # -- the loop ------------------------------------------------------------------------------

    async def drive(self) -> None:
        """Run until nothing is due, something is asked, or the run is to stop.

        Raises:
            Exception: what a node raised, as it raised it.
            InvalidUpdateError: results exclude each other.
            GraphRecursionError: the run took too many supersteps.
            FencedError: another owner has taken the thread over.
            StorageError: something could not be stored.
        """
        scope = self.live.scope
        clock, watched = self.live.clock, bool(self.stream.modes)
        # Who waits for storage in every superstep leaves the event loop to others meanwhile.
        waits = self.live.log is not None and self.live.log.waits
        control = self.live.call.control
        while self.stopped is None and scope.due:
            if self.stream.closed:  # cancelled, and a node has swallowed it
                raise asyncio.CancelledError
            if watched:
                await self.stream.turn()
            if not waits and clock.monotonic() >= self._pause_at:
                await self._pause()
            if scope.due[0].node == START:
                await self.enter()
                continue
            if control is not None and control.drain_requested:
                await self._drain(control)
                break
            await self._superstep()
            if self.halted is not None:
                await self._halt(self.halted)
            elif not scope.all_open_asks():
                await self._close_step()
            elif not await self._take_answers():
                await self._ask()
        if self.stopped is not None and self.stopped.error is not None:
            raise self.stopped.error

    async def enter(self) -> None:
        """The virtual first superstep: where the input's own edges lead."""
        live = self.live
        start, outcome = live.definition.start, live.scope.outcomes[0]
        goto, sends = list(outcome.goto), list(outcome.sends)
        if start.branches:
            task = TaskContext(self, live.scope.due[0], 1)
            _, after = live.change([(START, outcome)])
            merged = {**live.scope.values, **after}
            for branch in start.branches:
                state = live.view(branch.input or live.definition.state, merged)
                try:
                    chosen = await choose_route(self, START, branch, new_context(task), state)
                except GraphInterrupt:
                    raise InvalidUpdateError(
                        f"The conditional entry {branch.name!r} asks a question; only a node can."
                    ) from None
                more, packets = live.targets(START, chosen)
                goto += more
                sends += packets
        live.scope.outcomes[0] = Outcome(0, outcome.writes, tuple(goto), tuple(sends))
        await self._close_step()

    async def stop(self, error: BaseException | None) -> None:
        """Write down that the run ended before its graph did, and the results it has.

        Args:
            error: what a task or a decision failed with; ``None`` for a cancelled run.
        """
        log = self.live.log
        if log is None:
            self._write_rest()
            self.teller.release()
            return
        if log.broken or log.status != "running":
            return
        if not log.claimed and not (log.durability == "exit" and self.begun):
            return  # the thread never was this run's
        log.status = "stopped" if error is None else "failed"
        log.reason = "cancelled" if error is None else type(error).__name__
        self._write_rest()
        log.add(Mark(log.status, log.reason))
        await log.flush()
        self.teller.release()

    async def close(self) -> None:
        """Make sure that everything is durable before the caller hears of the run's end."""
        log = self.live.log
        if log is None or log.broken:
            return
        if log.durability == "exit":
            self._keep_last(log)
        await log.flush(wait=True)

    # -- the parts of a superstep --------------------------------------------------------------

    async def _superstep(self) -> None:
        """Run all due tasks at once; their results are in the scope afterwards."""
        todo = self.live.scope.runnable()
        self.lone = len(todo) == 1
        try:
            if self.lone:
                # A lone task runs in the run's own: a task and a group for it would cost more than
                # all the rest of the superstep.
                self.teller.started(todo[0])
                failure = await attempts(self, todo[0], lambda: True, self._take_in)
                failures = [] if failure is None else [failure]
            else:
                failures = await self._all(todo)
        finally:
            for index in list(self._calling):
                await self.end_calls(index)
        if failures:
            await self._fail(failures)

    async def _fail(self, failures: Sequence[Failure]) -> None:
        """End the run with what tasks failed with: one error as itself, several as a group.

        Raises:
            BaseException: that.
        """
        self._unwritten += [failure.outcome for failure in failures]
        self._failures = {failure.outcome.index: failure for failure in failures}
        error = failures[0].error
        if self._collects and len(failures) > 1:
            names = [self.live.scope.due[failure.outcome.index].node for failure in failures]
            error = BaseExceptionGroup(
                f"{len(names)} tasks of a superstep failed: {', '.join(names)}",
                [failure.error for failure in failures],
            )
        await self.stop(error)
        raise error

    @property
    def _collects(self) -> bool:
        return self.live.call.policies.step == "collect"

    async def _all(self, todo: Sequence[int]) -> list[Failure]:
        """Run several tasks at once; returns the failures that end the run.

        The first to fail ends the others, unless failures are to be collected.
        """
        collects = self._collects
        workers = min(self.live.call.max_concurrency or len(todo), len(todo))
        at_once = workers == len(todo)
        for count, index in enumerate(todo if at_once else ()):
            self.teller.started(index)
            await self._pause_at_times(count)
        unfinished = len(todo)
        failures: list[Failure] = []
        broken: list[BaseException] = []
        queue = iter(todo)

        def last() -> bool:
            nonlocal unfinished
            unfinished -= 1
            return unfinished == 0

        working: list[asyncio.Task[None]] = []
        ended = False

        def end_others() -> None:
            # Each is cancelled once. anyio's groups cancel again and again, at every `await`: of
            # what nodes await to clean up, nothing would be done.
            nonlocal ended
            ended = True
            this = asyncio.current_task()
            for task in working:
                if task is not this and not task.cancelling():
                    task.cancel()

        async def work() -> None:
            for index in queue:
                if not at_once:
                    self.teller.started(index)
                try:
                    failure = await attempts(self, index, last, self._take_in)
                except asyncio.CancelledError:  # a node may raise it by itself
                    end_others()
                    raise
                except (Exception, ParentCommand, SystemExit, KeyboardInterrupt) as error:
                    # The log's error, or a node that ends the program or this graph. Out of a
                    # task group it would come in an ExceptionGroup, and callers would have to know.
                    broken.append(error)
                    end_others()
                    return
                if failure is not None:
                    failures.append(failure)
                    if collects:
                        last()
                        continue
                    end_others()
                    return

        async with asyncio.TaskGroup() as group:
            for count in range(1, workers + 1):
                working.append(group.create_task(work()))
                await self._pause_at_times(count)
                if ended:
                    break
        if broken:
            raise broken[0]
        return sorted(failures, key=lambda failure: failure.outcome.index) if collects else failures

    async def end_calls(self, index: int) -> None:
        """End the steps of a task that are still being run: its node has failed for good."""
        if index in self._calling:
            await end_all(self._calling.pop(index).values())

    async def _take_in(self, outcome: Outcome, last: bool) -> None:
        """Take in a task's result. The last one's is written with what ends the superstep."""
        live = self.live
        gathered = self._gathered
        if gathered is not None:
            if live.log is None:
                await gathered.hand_on(outcome.index)
            else:
                late = live.log.durability == "exit"
                await gathered.prepare(outcome.index, self.root.gathered if late else None)
        live.scope.record([outcome])
        if last or live.log is None or self._misfit(outcome) is not None:
            self._unwritten.append(outcome)
            return
        self._check_puts()
        puts = gathered.take(outcome.index) if gathered is not None else ()
        receipt = live.write_results([outcome], puts=puts)
        try:
            await live.log.flush()
        finally:
            # Cancelled or not: what has been written has happened.
            if not live.log.broken:
                self.teller.release(receipt)
        await self.stream.wait_for_room()

    async def _close_step(self) -> None:
        """Commit the superstep: its results into the state, and what is due next."""
        live, scope, log = self.live, self.live.scope, self.live.log
        results = [(due.node, scope.outcomes[index]) for index, due in enumerate(scope.due)]
        try:
            self._check_puts()
            delta, after = live.change(results)
        except InvalidUpdateError as error:
            self._refuse(error, self._later(error.tasks))
            await self.stop(error)
            raise
        if live.definition.fading:
            delta, after = faded(live.definition, scope.values, delta, after)
        planned = plan(live.definition, scope.joins, results)
        if scope.due[0].node != START:
            live.steps += 1
            self.stream.supersteps += 1
        stop = self.stopped = self._stop_after(results, planned.due)
        riders, self._unwritten = self._unwritten, []
        self._claims = None
        if self._first_attempts:
            self._first_attempts.clear()
        snapshot = log is not None and log.snapshot_due(scope.whole.size)
        body = advance(delta, after, scope, planned, riders, snapshot=snapshot)
        info = live.next_info("loop", [node for node, _ in results])
        puts = self._gathered.take_all() if self._gathered is not None else ()
        live.commit(body, info, after, puts=puts)
        if stop is not None:
            self._end(stop)
        if log is not None:
            await self._write_step(log, stop)
        self.teller.release()

    def _end(self, stop: Stop) -> None:
        """The thread's status from the next write on; why it is not running, the log says too."""
        log = self.live.log
        if log is not None:
            log.status, log.reason = stop.status, stop.reason
        if stop.status != "finished":
            mark = Mark(stop.status, stop.reason)
            self.teller.mark(mark, log.add(mark) if log is not None else Receipt())

    async def _write_step(self, log: RunLog, stop: Stop | None) -> None:
        """Have the commit of a superstep written; if the run ends there, along with that."""
        await log.flush(here=True)

    async def _halt(self, reason: str) -> None:
        """End the run because a graph that one of its tasks calls has stopped in the middle."""
        control = self.live.call.control if reason == DRAINED else None
        stop = _drained(control) if control is not None else Stop("stopped", reason)
        await self._stop_with(stop)

    async def _stop_with(self, stop: Stop) -> None:
        """End the run before its graph ends, with the results it has."""
        self.stopped = stop
        self._write_down()
        self._end(stop)
        if self.live.log is not None:
            await self.live.log.flush()
        self.teller.release()

    def _check_puts(self) -> None:
        """See that what is to be put next agrees with what waits to be written before it.

        Once the state has moved on it would be too late: the result would stay, and without them.

        Raises:
            StoreConflictError: it does not; the tasks that have put it are to run again.
        """
        gathered, log = self._gathered, self.live.log
        if gathered is None or log is None:
            return
        try:
            gathered.check(log)
        except StoreConflictError as error:
            self._refuse(error, gathered.ready)
            raise

    @property
    def _atomic(self) -> bool:
        store = self.live.call.store
        return store is not None and store.atomic and self.live.log is not None

    def _misfit(self, outcome: Outcome) -> InvalidUpdateError | None:
        """Why a result, were it on record now, would be refused as the superstep closes.

        What a task has put into an atomic store is there once its result is on record: it cannot
        be taken back, nor may the task run again and put it twice. So a result that does not fit
        those on record is held until the superstep closes, whether it has put something or not.
        """
        if not self._atomic:
            return None
        live, scope = self.live, self.live.scope
        if self._claims is None:
            self._claims = Claims(self.channels)
            held = {waiting.index for waiting in self._unwritten} | {outcome.index}
            for index, known in scope.outcomes.items():
                if known.done and index not in held:
                    self._claims.add(known)
        tasks = self._claims.rivals(outcome)
        if tasks or (self._gathered is not None and self._gathered.waits(outcome.index)):
            tasks.add(outcome.index)
            try:
                live.change(
                    [(scope.due[index].node, scope.outcomes[index]) for index in sorted(tasks)]
                )
            except InvalidUpdateError as error:
                return error
        self._claims.add(outcome)
        return None

    def _later(self, tasks: frozenset[int]) -> frozenset[int]:
        """Of tasks whose results exclude each other, those that are to run again: all, or with an
        atomic store those whose results are not on record; see `_misfit`.

        A reducer is told of at the task where it failed, in their order: that may be one on record,
        with which one that came later does not go. Only if those on record do not go together
        either, which no result is held for, they have to run again.
        """
        if not self._atomic:
            return tasks
        held = frozenset(waiting.index for waiting in self._unwritten)
        return tasks & held or (held if held and self._go_together(without=held) else tasks)

    def _go_together(self, without: frozenset[int]) -> bool:
        """Whether all results of the superstep but these can be taken in."""
        scope = self.live.scope
        rest = [
            (due.node, scope.outcomes[index])
            for index, due in enumerate(scope.due)
            if index not in without
        ]
        try:
            self.live.change(rest)
        except InvalidUpdateError:
            return False
        return True

    def _refuse(self, error: Exception, tasks: Collection[int]) -> None:
        """Results that cannot be taken in are failures: going on runs their tasks again."""
        refused = [Outcome(index, error=describe(error), attempts=1) for index in sorted(tasks)]
        self.live.scope.record(refused)
        self._unwritten += refused
        if self._gathered is not None:
            for outcome in refused:
                self._gathered.drop(outcome.index)

    def _stop_after(
        self, ended: Sequence[tuple[str, Outcome]], due: Sequence[DueTask]
    ) -> Stop | None:
        if not due:
            return Stop("finished")
        call = self.live.call
        if call.interrupt_before or call.interrupt_after:
            before, after = set(call.interrupt_before), set(call.interrupt_after)
            ran = {node for node, _ in ended} - {START}
            if "*" in before or not before.isdisjoint(entry.node for entry in due):
                return Stop("stopped", BREAKPOINT)
            if ran and ("*" in after or not after.isdisjoint(ran)):
                return Stop("stopped", BREAKPOINT)
        if call.control is not None and call.control.drain_requested:
            return _drained(call.control)
        if self.live.steps < call.recursion_limit:
            return None
        names = ", ".join(sorted({entry.node for entry in due}))
        return Stop(
            "stopped",
            "recursion limit",
            GraphRecursionError(
                f"The run took {call.recursion_limit} supersteps without coming to an end; "
                f"{names} would be next. If that is no endless loop, call with None and a larger "
                f"recursion_limit: the thread goes on from here."
            ),
        )

    async def _drain(self, control: RunControl) -> None:
        """Stop before a superstep, having been asked to since the last one was committed."""
        await self._stop_with(_drained(control))

    async def _take_answers(self) -> bool:
        """Take up answers that others have left, and what holds where a deadline has passed;
        whether a task can go on with them."""
        log = self.live.log
        if log is None or self._backend is None:
            return False
        if log.pending:
            # Messages that were taken up, but not yet settled, would be taken up again.
            await log.flush(wait=True)
        reading = await self._backend.read(log.key, unless=log.position)
        messages = () if reading is None else reading.messages
        if not messages and not self.questions.late(self.live.clock.time()):
            return False
        self._write_down()
        take_answers(log, self.live, self.questions, messages)
        self.questions.take_expired()
        await log.flush()
        self.teller.release()
        return bool(self.live.scope.runnable())

    async def _ask(self) -> None:
        """End the run with the questions that its tasks ask."""
        await self._stop_with(Stop("asking"))

    def _write_down(self) -> None:
        """Results that would ride in the superstep's commit get a record of their own."""
        if self._unwritten:
            self._check_puts()
            for outcome in list(self._unwritten) if self._atomic else ():
                if self.live.scope.outcomes[outcome.index] is outcome and outcome.done:
                    error = self._misfit(outcome)
                    if error is not None:
                        self._refuse(error, [outcome.index])
            results, self._unwritten = self._unwritten, []
            puts = self._gathered.take_all() if self._gathered is not None else ()
            self.live.write_results(results, self._failures, puts=puts)

    def _write_rest(self) -> None:
        """See `_write_down`; the run ends in any case, and not with what is refused here."""
        try:
            self._write_down()
        except StoreConflictError:
            self._write_down()  # the refusals, now that nothing is put any more

    def _keep_last(self, log: RunLog) -> None:
        """In "exit" durability: the state at the end, as one commit on what there was.

        Graphs within that are in the middle have one each.
        """
        root, by = self.live.scope, self.live.call.by
        blobs, onto = self.live.freezer.take_new(), self.onto
        for ns in ("", *sorted(root.nested, key=len)):  # a graph before those within it
            scope = root.nested[ns] if ns else root
            results = [outcome for index, outcome in sorted(scope.outcomes.items()) if index >= 0]
            parent, before = self._before.get(ns, (None, {}))
            if parent == scope.checkpoint:
                if results or not ns:
                    log.add(TaskResults(results), ns=ns, blobs=blobs, last=True)
                continue
            scope.parent = parent  # what came between was never written
            body, info = _last_commit(scope, before, results), _last_info(scope)
            log.add(body, scope.time, commit=info, onto=onto, ns=ns, by=by, blobs=blobs, last=True)
            onto = None
        for ns in ("", *root.nested):
            calls = (root.nested[ns] if ns else root).steps
            if steps := [step for of_task in calls.values() for step in of_task.values()]:
                log.add(Steps(steps), ns=ns, last=True)
        for answers, who, given in all_answers(root.answers):
            log.add(answers, given, by=who, last=True)
        if log.status != "finished":
            log.add(Mark(log.status, log.reason), last=True)
        graphs = {scope.graph or "" for scope in root.nested.values()}
        log.keep_only({*root.blobs(), self.live.definition.fingerprint, *graphs})

    # -- for its tasks -------------------------------------------------------------------------

    @property
    def tenant(self) -> str:
        """Whose thread it is."""
        log = self.root.live.log  # a graph within may have none of its own
        return log.key.tenant if log is not None else ""

    @property
    def thread(self) -> str | None:
        """The thread; ``None`` for a run that is not stored."""
        return self.live.call.thread

    @property
    def run_id(self) -> str:
        """The run."""
        return self.live.call.run

    @property
    def checkpoint(self) -> str:
        """The checkpoint that its tasks are due at."""
        return self.live.scope.checkpoint

    @property
    def context(self) -> Any:
        """What the caller hands to all nodes."""
        return self.live.call.context

    @property
    def store(self) -> BaseStore | None:
        """The graph's store."""
        return self.live.call.store

    @property
    def gathered(self) -> Gathered:
        """What its tasks have put into an atomic store, and is to be written with their results."""
        if self._gathered is None:
            self._gathered = Gathered(self.store, self.caller)
        return self._gathered

    async def settle_puts(self) -> None:
        """Wait until what tasks have put into an atomic store is stored, where it is on its way;
        on any event loop, such as that of a synchronous node's call.

        Raises:
            FencedError: another owner has taken the thread over.
            StorageError: it could not be stored.
        """
        log = self.live.log
        if log is None or not log.puts_wait:
            return
        written = log.flush(wait=True)
        if asyncio.get_running_loop() is not self.loop:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(written, self.loop))
        else:
            await written

    @property
    def control(self) -> RunControl | None:
        """What asks the run to stop."""
        return self.live.call.control

    def first_attempt(self, due: Due, began: float | None = None) -> float:
        """When the first attempt at a task began, Unix time; now, if it was not known before."""
        task = (due.step, due.node, due.push)
        now = self.live.clock.time() if began is None else began
        return self._first_attempts.setdefault(task, now)

    @property
    def node_config(self) -> RunnableConfig:
        """The call's config, as a node gets it: its own to change."""
        call = self.live.call
        metadata = dict(call.config.get("metadata") or {})  # not what is stored: that stays ours
        if "run_id" in call.metadata:
            metadata["run_id"] = call.metadata["run_id"]
        return {
            **call.config,
            "recursion_limit": call.recursion_limit,
            "metadata": metadata,
            "run_id": call.run,
            "configurable": {
                **call.config.get("configurable", {}),
                "checkpoint_ns": self.live.scope.ns,
            },
        }

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that runs it."""
        return self.teller.loop

    @property
    def loop_thread(self) -> int:
        """The thread of that loop."""
        return self.teller.thread

    @property
    def channels(self) -> Mapping[str, Channel]:
        """The keys of the graph's state."""
        return self.live.definition.channels

    @property
    def has_steps(self) -> bool:
        """Whether its tasks have called steps that their superstep does not have behind it."""
        return bool(self._calling)

    def calls(self, task: TaskContext) -> Calls:
        """What makes the durable calls of an execution.

        Raises:
            RuntimeError: it is a router's that belongs to no task.
        """
        if task.index < 0:
            raise RuntimeError(
                "Steps, tasks and transactions work only inside a node; this is a router of none."
            )
        return Calls(self, task, self._calling.setdefault(task.index, {}))

    @property
    def previous(self) -> Any:
        """What the last run of an entrypoint saved, a fresh copy; ``None`` if there is nothing."""
        value = self.live.scope.values.get(PREVIOUS)
        return None if value is None else self.live.freezer.thaw(value)

    def emit(self, data: Any) -> None:
        """Emit a custom event."""
        self.teller.custom(data)

    def emit_message(
        self, due: Due, chunk: Any, id: str | None, more: Mapping[str, Any] | None = None
    ) -> None:
        """Emit a piece of a message."""
        self.teller.piece_of_message(due, chunk, id, more)

    async def _pause_at_times(self, count: int) -> None:
        if count % _STARTS == 0 and self.live.clock.monotonic() >= self._pause_at:
            await self._pause()

    async def _pause(self) -> None:
        """Let others have the event loop: this run has had it for long."""
        await asyncio.sleep(0)
        self._pause_at = self.live.clock.monotonic() + _SLICE


def _drained(control: RunControl) -> Stop:
    return Stop("stopped", DRAINED, GraphDrained(control.drain_reason or "shutdown"))


def _last_commit(scope: Scope, before: Mapping[str, Encoded], results: Sequence[Outcome]) -> Commit:
    changed = {key: diff(before.get(key), flat(value)) for key, value in scope.values.items()}
    changed |= {key: ("-",) for key in before if key not in scope.values}
    return Commit(
        delta={key: op for key, op in changed.items() if op != SAME},
        joins=scope.joins,
        due=[DueTask(due.node, due.arg, timeout=due.timeout) for due in scope.due],
        known=results,
        caller=scope.caller,
    )


def _last_info(scope: Scope) -> CommitInfo:
    return CommitInfo(
        id=scope.checkpoint,
        parent=scope.parent,
        branch=scope.branch,
        step=scope.step,
        source=scope.source,
        nodes=scope.nodes,
        meta=scope.meta,
        graph=scope.graph,
    )
