"""Graphs within graphs: what a task's code calls, as runs of their own in the same thread.

Such a run writes to its thread's log under its namespace, and its input, its end and its
questions are its caller's: nothing of it but its supersteps needs a write of its own. What it
has done is found again when its task runs again, so it goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal, TypeAlias

from durable_graph.decisions.plan import plan_goto, without_deferred
from durable_graph.decisions.reduce import Reducers
from durable_graph.decisions.results import read_command
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.runs.call import Call
from durable_graph.engine.runs.input import input_digest, take_input
from durable_graph.engine.runs.invoke import Result, RunTask, result_of
from durable_graph.engine.runs.live import LiveThread
from durable_graph.engine.runs.questions import Questions
from durable_graph.engine.runs.run import BREAKPOINT, DRAINED, Run, Stop
from durable_graph.engine.statistics import Tally
from durable_graph.engine.storage.runlog import Receipt, RunLog
from durable_graph.engine.streams.stream import Stream, Within
from durable_graph.engine.tasks.context import ParentCommand, TaskContext
from durable_graph.errors import (
    ConfigError,
    EmptyInputError,
    GraphInterrupt,
    ThreadBusyError,
)
from durable_graph.log.fold import Scope
from durable_graph.log.namespace import called_ns, kept_ns, numbered, parts
from durable_graph.log.records import Caller, DueTask, Mark, Outcome
from durable_graph.types import START, UNSET, Command

__all__ = ["InnerRun", "Keeps", "call_inside"]

Keeps: TypeAlias = Literal["call", "thread", "nothing"]
"""For how long a graph within another keeps its state: for one call, until the thread is deleted,
or not at all."""


def call_inside(
    task: TaskContext,
    definition: GraphDefinition,
    call: Call,
    stream: Stream,
    *,
    keeps: Keeps,
    node: bool,
    tally: Tally,
) -> RunTask:
    """Begin a call of a graph by a task of another one.

    Args:
        task: the calling execution.
        definition: the graph that is called.
        call: the call.
        stream: its events, for whoever asked the call for them.
        keeps: for how long its state is kept.
        node: whether the graph is the task's node, and nothing comes after it.
        tally: where it is counted.

    Raises:
        RuntimeError: the execution is over.
        ConfigError: the call asks for what only a call from outside can have.
        ThreadBusyError: the graph keeps its state in the thread and is being run there already.
    """
    host = task.host
    if not isinstance(host, Run):
        raise TypeError(host)
    call.thread, call.run, call.control = host.live.call.thread, host.live.call.run, None
    if call.context is None:
        call.context = host.live.call.context
    metadata = {**host.live.call.metadata, **call.metadata}
    if "run_id" not in host.live.call.metadata:
        metadata.pop("run_id", None)  # it is what the engine has called the run
    call.metadata = metadata
    _check_call(task, call)
    if not isinstance(task.inner, Inner):
        task.inner = Inner()
    stored = host.live.log is not None and keeps != "nothing"
    place = _Place(task, host, definition, call, keeps if stored else "nothing", task.inner.taken)
    ended = _run(task, host, place, definition, call, stream, node=node)
    run = RunTask(ended, stream, f"durable_graph run {call.run} of {place.ns}", tally)
    task.inner.add(place.ns, run)
    host.root.calling.add(place.ns)
    run.when_ended(lambda: host.root.calling.discard(place.ns))
    return run


def _check_call(task: TaskContext, call: Call) -> None:
    if task.closed:
        raise RuntimeError(
            f"The execution of node {task.due.node!r} that calls this graph is over. Await what a "
            f"node calls before it returns."
        )
    if isinstance(call.input, Command) and call.input.resume is not UNSET:
        raise ConfigError(
            "What a graph within another asks is answered where the outermost one is called: "
            "its Command(resume=...) reaches all graphs within."
        )


class Inner:
    """The graphs that one execution of a task calls.

    Attributes:
        taken: their namespaces.
    """

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self._runs: set[RunTask] = set()

    def add(self, ns: str, run: RunTask) -> None:
        """One more is called."""
        self.taken.add(ns)
        self._runs.add(run)
        run.when_ended(lambda: self._runs.discard(run))

    @property
    def several(self) -> bool:
        """Whether more than one is running."""
        return len(self._runs) > 1

    async def end(self) -> None:
        """Have those end that are still running: nobody waits for them any more."""
        for run in list(self._runs):
            await run.cancel()


class _Place:
    """Where in the thread a call belongs: the state that it goes on with, or where it begins.

    A task that runs again calls again what it has called before. What is on record with the same
    input is that call; else the first that is left of that graph, since inputs may have a time or
    a random id in them.

    Attributes:
        ns: the namespace.
        scope: its state.
        stored: whether the thread has it.
        caller: who calls, to be written down with the input; ``None`` to go on without it.
    """

    def __init__(
        self,
        task: TaskContext,
        host: Run,
        definition: GraphDefinition,
        call: Call,
        keeps: Keeps,
        taken: set[str],
    ) -> None:
        due, root, log = task.due, host.live.scope.whole, host.live.log
        base = called_ns(due.ns, due.node, due.id)
        if keeps == "thread":
            base = kept_ns(due.ns, due.node)
        digest = input_digest(definition, call.input, log.secret) if log is not None else None
        # What a step within the task calls is that step's.
        caller = Caller(due.id + task.step, definition.name, digest or "")
        recorded = {} if keeps == "nothing" else root.nested
        busy = host.root.calling if keeps != "thread" else taken
        found = None
        number = 0
        while (ns := numbered(base, number)) in recorded or ns in taken or ns in busy:
            scope = recorded.get(ns)
            of = None if scope is None or ns in taken or ns in busy else scope.caller
            if scope is not None and of is not None and _may_be(of, caller):
                rank = (scope.graph != definition.fingerprint, of != caller, number)
                if found is None or rank < found[0]:
                    found = (rank, scope)
            number += 1
        self.scope = Scope(ns, root=root) if found is None else found[1]
        self.stored = keeps != "nothing"
        self.ns = self.scope.ns
        again = self.scope.caller is not None and self.scope.caller.task == caller.task
        self.caller = None if again else caller
        if keeps == "thread" and self.caller is not None:
            self._check_free(host, root)

    def _check_free(self, host: Run, root: Scope) -> None:
        """Whoever has called the graph before must be through with it."""
        before = self.scope.caller
        waiting = before is not None and any(
            before.due == scope.executed(index)
            for scope in (root, *root.nested.values())
            for index in scope.unfinished()
        )
        if waiting or self.ns in host.root.calling:
            raise ThreadBusyError(
                f"The graph at {self.ns!r} keeps its state in the thread, and another task is in "
                f"the middle of a call of it. Call it from one task at a time, or give each call "
                f"a state of its own: compile() without checkpointer=True."
            )


def _may_be(recorded: Caller, caller: Caller) -> bool:
    """Whether a call may go on with what another has begun: of another task only what keeps its
    state is there."""
    same = recorded.task == caller.task or recorded.due != caller.due
    return same and recorded.graph == caller.graph


async def _run(
    task: TaskContext,
    host: Run,
    place: _Place,
    definition: GraphDefinition,
    call: Call,
    stream: Stream,
    *,
    node: bool,
) -> Result:
    around, root = host.live, host.live.scope.whole
    log = around.log if place.stored else None
    if place.stored:
        root.nested[place.ns] = place.scope
    freezer = around.freezer.inside(definition)
    reducers, clock, chance = Reducers(freezer), around.clock, around.chance
    live = LiveThread(definition, call, place.scope, freezer, reducers, log, clock, chance)
    run = InnerRun(live, Within(parts(place.ns), stream, host.stream), host, task, rides=node)
    try:
        if place.caller is not None:
            await run.begin(place.caller)
        else:
            run.go_on()
        await run.drive()
    except ParentCommand:
        await run.gathered.hand_on_all()  # what they go with is the caller's result
        raise
    except (GraphInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        await run.stop(None if isinstance(error, asyncio.CancelledError) else error)
        if not place.scope.checkpoint:  # its input was refused
            root.nested.remove(place.ns)
        raise
    run.check_halted()
    return await result_of(run)


class InnerRun(Run):
    """A run of a graph that a task of another run calls.

    Args:
        live: the thread, as the graph has it.
        stream: who watches.
        host: the run whose task calls it.
        task: the calling execution.
        rides: whether its last commit is written with what its task writes next.
    """

    def __init__(
        self, live: LiveThread, stream: Within, host: Run, task: TaskContext, *, rides: bool
    ) -> None:
        super().__init__(live, stream, None)
        self.around = True
        self.root = host.root
        self._host = host
        self._task = self.caller = task
        self._rides = rides
        self._entering = False
        live.beside = self._beside
        # What its nodes ask is asked by the task that calls it, and so by those around that.
        self.questions = Questions(live, host.questions)

    async def begin(self, caller: Caller) -> None:
        """Take the call's input. It needs no write of its own: what made the task due leads to the
        very same again."""
        live, given = self.live, self.live.call.input
        if given is None:
            raise EmptyInputError(
                f"Node {self._task.due.node!r} calls a graph without an input, and it has not "
                f"begun anything in this thread that it could go on with."
            )
        if live.scope.due:
            live.promote()  # a task that is not due any more has left it in the middle
        if isinstance(given, Command):
            outcome = live.outcome_of(START, read_command(live.definition, given))
            info = live.next_info("input", ())
            joins = without_deferred(live.scope.joins)
            planned = plan_goto(live.definition, joins, outcome)
            live.add_results([(START, outcome)], info, planned, caller=caller)
        else:
            await take_input(live, caller=caller)
        entering = bool(live.scope.due) and live.scope.due[0].node == START
        if entering and not live.definition.start.branches:
            await self.enter()
        elif self.stream.modes and live.log is not None:
            await live.log.flush()
        self.teller.release()

    async def _superstep(self) -> None:
        self._task.progress()
        await super()._superstep()

    def go_on(self) -> None:
        """Go on where an earlier execution of the task has left it."""
        live = self.live
        thread = live.call.thread or ""
        live.definition.check_due((due.node for due in live.scope.due), thread)
        self.teller.present()  # of one that is over, its end is all there is to see
        self.teller.release()

    def check_halted(self) -> None:
        """Stop the task as well if the run has stopped in the middle.

        Raises:
            GraphInterrupt: it has.
        """
        if self.stopped is not None and self.stopped.status == "stopped":
            self._task.halted = self.stopped.reason or BREAKPOINT
            raise GraphInterrupt

    async def enter(self) -> None:
        """See `Run.enter`."""
        self._entering = True
        try:
            await super().enter()
        finally:
            self._entering = False

    async def stop(self, error: BaseException | None) -> None:
        """Write down the results it has; that it ended is for its caller to write."""
        self._write_rest()
        if error is not None:
            await self._flush_if_watched()
            self.teller.release()

    def _end(self, stop: Stop) -> None:
        """How it ended is for its caller to write, too."""

    async def _write_step(self, log: RunLog, stop: Stop | None) -> None:
        rides = self._entering or (self._rides and stop is not None and stop.status == "finished")
        if self.stream.modes or not rides:
            await log.flush(here=not self._beside())

    def _stop_after(
        self, ended: Sequence[tuple[str, Outcome]], due: Sequence[DueTask]
    ) -> Stop | None:
        control = self.root.live.call.control
        if due and control is not None and control.drain_requested:
            return Stop("stopped", DRAINED)
        return super()._stop_after(ended, due)

    async def _halt(self, reason: str) -> None:
        await self._tell_results()
        self.stopped = Stop("stopped", reason)

    async def _ask(self) -> None:
        """End with the questions of its tasks, as questions of the task that calls it."""
        await self._tell_results()
        self.teller.mark(Mark("asking"), Receipt())
        self.teller.release()
        self._task.questions.update({ask.id: ask for ask in self.live.scope.all_open_asks()})
        raise GraphInterrupt(self.live.interrupts())

    async def _take_answers(self) -> bool:
        return False  # whoever owns the thread looks for them once all its tasks have stopped

    async def _tell_results(self) -> None:
        self._write_down()
        await self._flush_if_watched()
        self.teller.release()

    async def _flush_if_watched(self) -> None:
        log = self.live.log
        if self.stream.modes and log is not None and not log.broken:
            await log.flush()

    def _beside(self) -> bool:
        inner = self._task.inner
        several = isinstance(inner, Inner) and inner.several
        return several or not self._host.lone or self._host.has_steps or self._host.live.beside()
