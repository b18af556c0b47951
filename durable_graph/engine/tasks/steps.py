"""Durable steps within a node: each result is written down, and what is written down is not done
again when the node is.

A step that is not idempotent is claimed before it begins: the claim is durable first, so that
after a crash it is known that the step *may* have happened. Then nobody guesses: its `reconcile`
function finds out, or the node fails. Results belong to steps by key and arguments, not by the
order of calls, so code that does other things before or beside them changes nothing.

Steps run in asyncio tasks of their own. The run owns those: they end before their superstep does.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, overload

from durable_graph.decisions.keeping import task_key
from durable_graph.decisions.retry import retry_in
from durable_graph.decisions.steps import Move, move, spelt, step_id
from durable_graph.definition.annotations import types_of
from durable_graph.definition.node import Injection, name_of
from durable_graph.definition.policies import retries_of, timeout_of
from durable_graph.engine.storage.runlog import Receipt
from durable_graph.engine.tasks.asking import swallowed
from durable_graph.engine.tasks.caching import Slot
from durable_graph.engine.tasks.context import TaskContext, running_task
from durable_graph.engine.tasks.deadline import Deadline, within
from durable_graph.engine.tasks.execute import describe, in_context, new_context
from durable_graph.engine.tasks.future import StepFuture
from durable_graph.engine.tasks.runtime import supplied
from durable_graph.engine.workers import workers
from durable_graph.errors import (
    ConfigError,
    GraphInterrupt,
    IntegrityError,
    MissingCheckpointerError,
    NodeTimeoutError,
    OutcomeUnknownError,
    StepConflictError,
    StepOutcomeUnknownError,
    TransactionError,
    UnsupportedError,
)
from durable_graph.log.records import Step, Steps
from durable_graph.log.seal import blob_digest
from durable_graph.ports.later import then
from durable_graph.ports.shielded import until_done
from durable_graph.types import NOT_DONE, CachePolicy, RetryPolicy, StepClaim, TimeoutPolicy

if TYPE_CHECKING:
    from durable_graph.engine.runs.run import Run

__all__ = ["Call", "Calls", "Reconcile", "Running", "end_all", "make_call", "step"]

T = TypeVar("T")
Reconcile = Callable[[StepClaim], Any]

_writing: Final[ContextVar[str | None]] = ContextVar("durable_graph_writing", default=None)
"""The transaction whose function this code is in, which nothing else of the log can overtake."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a step.

    Attributes:
        kind: "step"; "task" for a function of the functional API; "transaction" for SQL in the
            log's own database.
        name: its key, or the name of the function.
        function: what it does.
        args: with what.
        kwargs: and with what by name.
        keyed: whether the name alone tells it apart from others; else its arguments do, too.
        idempotent: whether it may be run again when it may have happened.
        reconcile: finds out whether it has happened.
        retry: its retry policies.
        timeout: how long one attempt may take, if there is a limit.
        cache: when its result may be one that the graph's cache has kept.
        injected: the parameters that the engine supplies.
    """

    kind: str
    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    keyed: bool = False
    idempotent: bool = True
    reconcile: Reconcile | None = None
    retry: tuple[RetryPolicy, ...] = ()
    timeout: TimeoutPolicy | None = None
    cache: CachePolicy | None = None
    injected: tuple[Injection, ...] = ()

    @property
    def what(self) -> str:
        """What it is, for messages."""
        return f"{self.kind.capitalize()} {self.name!r}"


@dataclass(slots=True)
class Running:
    """A step that is being run, and the executions that wait for it: also those of later attempts
    of their node, which find it running."""

    task: asyncio.Task[Any]
    digest: str
    owners: list[TaskContext]


@overload
def step(
    key: str,
    fn: Callable[..., Awaitable[T]],
    /,
    *args: Any,
    idempotent: bool = False,
    reconcile: Reconcile | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    timeout: float | timedelta | TimeoutPolicy | None = None,
    **kwargs: Any,
) -> StepFuture[T]: ...


@overload
def step(
    key: str,
    fn: Callable[..., T],
    /,
    *args: Any,
    idempotent: bool = False,
    reconcile: Reconcile | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    timeout: float | timedelta | TimeoutPolicy | None = None,
    **kwargs: Any,
) -> StepFuture[T]: ...


def step(
    key: str,
    fn: Callable[..., Any],
    /,
    *args: Any,
    idempotent: bool = False,
    reconcile: Reconcile | None = None,
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    timeout: float | timedelta | TimeoutPolicy | None = None,
    **kwargs: Any,
) -> StepFuture[Any]:
    """Do something within a node once, however often the node runs.

    It starts at once; ``await`` what is returned, or call its `result()` in a synchronous node.
    Once the result is stored, every later execution of the node gets it, and `fn` is not called.

    That it begins is stored before it does. If the process then dies before the result is stored,
    nobody knows whether `fn` has done its work; see `reconcile`. If `fn` raises, it counts as not
    done, and is called again when the node runs again; if it cannot know, as after a timeout, it
    raises `OutcomeUnknownError`. Within `fn`, ``get_runtime().idempotency_key`` is the step's own.
    A sync `fn` that is cancelled runs on in its thread, which nothing can stop: its outcome, too,
    is for `reconcile` to find out.

    With `max_concurrency` in the call's config, at most so many steps of one execution run at once.

    Args:
        key: what it is called; of one execution of a node, each step has another key.
        fn: what to do, sync or async; a sync one runs in a thread. What it returns must be
            storable, and comes back as it was stored.
        args: its arguments. A stored result belongs to them, so pass in what the result depends
            on. One that cannot be stored counts by its type.
        idempotent: doing it twice does no harm: then nothing is stored before it begins, and it
            is simply done again if its outcome is unknown.
        reconcile: called with a `StepClaim`, sync or async, if the outcome is unknown. It
            returns the result if the step has happened, or `NOT_DONE` if it has not.
        retry_policy: when to try again at once, without running the whole node again.
        timeout: how long one attempt may take: seconds, a timedelta or a `TimeoutPolicy`. What was
            given up may have happened, so unless it is idempotent, its outcome is unknown.
        kwargs: arguments by name.

    Raises:
        RuntimeError: called outside a node.
        StepConflictError: the key stands for another call in this execution; or, in waiting for
            the result, its stored result is one for other arguments.
        StepOutcomeUnknownError: in waiting for the result: it may have happened, and there is no
            `reconcile`.
        InvalidUpdateError: in waiting for the result: it cannot be stored.
        NodeTimeoutError: in waiting for the result: it took too long.
        GraphDefinitionError: a policy is none, or cannot work.
    """
    if not isinstance(key, str) or not key:
        raise TypeError(f"The key of a step is a text that is not empty, not {key!r}.")
    if not callable(fn):
        raise TypeError(f"Step {key!r} needs a function: step(key, fn, *args), not {fn!r}.")
    call = Call(
        "step",
        key,
        fn,
        args,
        kwargs,
        keyed=True,
        idempotent=idempotent,
        reconcile=reconcile,
        retry=() if retry_policy is None else retries_of(retry_policy, f"step {key!r}"),
        timeout=None if timeout is None else timeout_of(timeout, f"step {key!r}"),
    )
    return make_call(call, "step()")


def make_call(call: Call, what: str) -> StepFuture[Any]:
    """Start a step of the node that is being run.

    Raises:
        RuntimeError: no node is being run here.
        StepConflictError: its key stands for another call in this execution.
    """
    return running_task(what).durable_calls().start(call)


class Calls:
    """The steps that one execution calls: of a node, or of a step within it.

    Args:
        run: its run.
        owner: the execution.
        running: the steps of its task that are being run, by id.
    """

    def __init__(self, run: Run, owner: TaskContext, running: dict[str, Running]) -> None:
        self._run = run
        self._owner = owner
        self._running = running
        self._made: dict[str, StepFuture[Any]] = {}
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        # Of one execution's, and not of all: a step that waits for steps of its own would hold a
        # place that those need.
        at_once = run.live.call.max_concurrency
        self._places = asyncio.Semaphore(at_once) if at_once else None

    def start(self, call: Call) -> StepFuture[Any]:
        """Start a step; from any thread.

        Raises:
            RuntimeError: the execution is over.
            StepConflictError: its key stands for another call in this execution.
            TransactionError: a transaction is being made, which would wait for it.
        """
        run, owner = self._run, self._owner
        if owner.closed:
            raise RuntimeError(
                f"{call.what} was called for an execution of node {owner.due.node!r} that is over."
            )
        if (writing := _writing.get()) is not None:
            raise TransactionError(
                f"{call.what} was called within {writing}, which holds the log until it has "
                f"ended. Call it before or after that."
            )
        owner.progress()
        self._learn(call.function)
        digest = self._digest(call)
        future: StepFuture[Any] = StepFuture(call.what, run.loop, run.loop_thread)
        with self._lock:  # a synchronous node may call from threads of its own
            id = self._identify(call, digest)
            self._made[id] = future
        if threading.get_ident() == run.loop_thread:
            self._begin(call, id, digest, future)
        else:
            run.loop.call_soon_threadsafe(self._begin, call, id, digest, future)
        return future

    def transaction(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        key: str | None,
    ) -> StepFuture[Any]:
        """Start a step that is SQL in the log's own database; see `Runtime.transaction`.

        Raises:
            TypeError: the function is none, or not of the kind that the storage system takes.
            MissingCheckpointerError: there is no log.
            UnsupportedError: its storage system has no transactions for others.
            ConfigError: the log is written only when the run ends.
        """
        if not callable(function):
            raise TypeError(
                f"transaction() needs a function, which gets the connection, not {function!r}."
            )
        log = self._run.live.log
        if log is None:
            raise MissingCheckpointerError(
                "transaction() writes with the log, and the graph has no checkpointer. Compile it "
                "with one: compile(checkpointer=SqliteSaver('state.db'))."
            )
        if not log.transactional:
            raise UnsupportedError(
                "transaction() needs a storage system with SQL of its own; of this library's, "
                "SqliteSaver and PostgresSaver have it. Use step() with an idempotency key "
                "elsewhere."
            )
        if log.durability == "exit":
            raise ConfigError(
                'transaction() writes with the log, and durability="exit" writes none until the '
                'run ends. Call the graph with "sync" or "async".'
            )
        if inspect.iscoroutinefunction(_bare(function)) != (log.transactional == "async"):
            kind = "is async" if log.transactional == "async" else "is not async"
            raise TypeError(
                f"transaction() with this saver needs a function that {kind}, which gets the "
                f"connection, not {function!r}."
            )
        name = key or name_of(function) or "<lambda>"
        call = Call("transaction", name, function, args, kwargs, keyed=key is not None)
        return self.start(call)

    async def settle(self, stop: BaseException | None = None) -> None:
        """Wait for the steps that nobody has waited for.

        Args:
            stop: the question, or group of them, at which the execution has stopped.

        Raises:
            GraphInterrupt: one of them asks.
            BaseExceptionGroup: several ask, what has stopped it included.
            Exception: one failed, and nobody has asked how it ended.
        """
        futures = list(self._made.values())
        while waiting := [future for future in futures if not future.done()]:
            await _wait(waiting)
        stops = [stop] if stop is not None else []
        for future in futures:
            seen, future.seen = future.seen, True
            error = future.error
            if error is None or error is stop or (seen and stop is None):
                continue
            if _asks(error):
                stops.append(error)
            elif not seen:
                raise error
        if len(stops) > 1:
            raise BaseExceptionGroup("several questions", stops)
        if stops and stop is None:
            raise stops[0]

    # -- beginning -----------------------------------------------------------------------------

    def _identify(self, call: Call, digest: str) -> str:
        # A node and its error handler have steps of their own; no step's id has a colon.
        within = self._owner.step or (":handler" if self._owner.due.handler else "")
        if call.keyed:
            id = step_id(within, call.kind, call.name)
            before = self._made.get(id)
            if before is not None and before.error is None:
                raise StepConflictError(
                    f"Node {self._owner.due.node!r} calls a second step {call.name!r} in one "
                    f"execution. The result of a step is found by its key: give each its own."
                )
            return id
        alike = f"{call.kind}\0{call.name}\0{digest}"
        number = self._numbers.get(alike, 0)
        self._numbers[alike] = number + 1
        return step_id(within, call.kind, call.name, digest, number)

    def _begin(self, call: Call, id: str, digest: str, future: StepFuture[Any]) -> None:
        if future.done():  # cancelled before it got here
            return
        live, owner = self._run.live, self._owner
        running = self._running.get(id)
        if running is not None and running.digest == digest:
            running.owners.append(owner)
            future.follow(running.task)
            return
        recorded = live.scope.steps.get(owner.index, {}).get(id)
        next = move(recorded, digest, idempotent=call.idempotent)
        if running is not None or next == "mismatch":
            future.set_exception(
                StepConflictError(
                    f"{call.what} of node {owner.due.node!r} was called with other arguments "
                    f"before, and that call is the one on record. Give the new call a key of its "
                    f"own, for example one that has the argument in it; or call it as before."
                )
            )
            return
        if next == "return" and recorded is not None and recorded.value is not None:
            try:
                future.set_result(live.freezer.thaw(recorded.value))
            except Exception as error:  # damaged, or of a type that is not known any more
                future.set_exception(error)
            return
        name = f"durable_graph {call.kind} {call.name}"
        task = self._run.loop.create_task(self._in_turn(call, id, digest, next), name=name)
        self._running[id] = Running(task, digest, [owner])
        future.follow(task)
        task.add_done_callback(lambda _: self._running.pop(id, None))

    # -- doing ---------------------------------------------------------------------------------

    async def _in_turn(self, call: Call, id: str, digest: str, next: Move) -> Any:
        if self._places is None:
            return await self._do(call, id, digest, next)
        async with self._places:
            return await self._do(call, id, digest, next)

    async def _do(self, call: Call, id: str, digest: str, next: Move) -> Any:
        entry = partial(Step, self._owner.index, id, call.name, call.kind, digest)
        if call.kind == "transaction":
            return await self._transact(call, entry)
        slot = None if next == "reconcile" else self._slot(call)
        if slot is not None and (kept := await slot.look(self._unpacked)) is not None:
            return await self._done(call, id, partial(entry, cached=True), kept[0])
        if next == "reconcile":
            value = await self._reconciled(call, id)
            if value is not NOT_DONE:
                return await self._done(call, id, entry, value)
        elif next == "claim":
            await self._write(entry("claimed"), durable=True)
        teller = self._run.teller
        if call.kind == "task":
            teller.call_started(self._owner.due, id, call.name, (call.args, dict(call.kwargs)))
        try:
            value = await self._attempts(call, id)
        except BaseException as error:
            # A claim that is known to have come to nothing is given up, or the next attempt of
            # the node would have to ask whether it did.
            log = self._run.live.log
            if next != "run" and _is_known(error) and not (log is not None and log.broken):
                await self._write(entry("failed", error=describe(error)))
            raise
        result = await self._done(call, id, entry, value)
        if slot is not None:
            slot.fix(partial(self._run.live.definition.codec.encode, result))
            await slot.keep()
        return result

    def _slot(self, call: Call) -> Slot | None:
        """The place in the graph's cache for a call's result, if it is to be kept."""
        cache = self._run.live.call.policies.cache
        if call.cache is None or cache is None:
            return None
        codec = self._run.live.definition.codec
        key = task_key(codec, call.name, call.function, call.cache, call.args, call.kwargs)
        return Slot(cache, key, call.cache.ttl, f"Task {call.name!r}")

    def _unpacked(self, data: bytes) -> tuple[Any] | None:
        try:
            return (self._run.live.definition.codec.decode(data),)
        except IntegrityError:  # kept by a program that knew other types
            return None

    async def _reconciled(self, call: Call, id: str) -> Any:
        child = self._owner.within(id, 1)
        if call.reconcile is None:
            raise StepOutcomeUnknownError(
                f"{call.what} of node {child.due.node!r} in thread {child.host.thread!r} was "
                f"begun, and its process died or was stopped before the result was stored. It may "
                f"have happened or not. Give it reconcile=, a function that finds out; or, if "
                f"doing it twice does no harm, idempotent=True."
            )
        claim = StepClaim(
            call.name,
            child.idempotency_key,
            call.args,
            call.kwargs,
            child.due.node,
            child.host.thread,
        )
        return await self._invoked(partial(call.reconcile, claim), child)

    async def _attempts(self, call: Call, id: str) -> Any:
        clock, chance = self._run.live.clock, self._run.live.chance
        attempt = 1
        while True:
            child = self._owner.within(id, attempt)
            supply = {entry.parameter: supplied(child, entry) for entry in call.injected}
            function = partial(call.function, *call.args, **call.kwargs, **supply)
            try:
                if call.timeout is None:
                    return await self._invoked(function, child)
                deadline = child.deadline = Deadline(call.name, call.timeout, clock)
                invoked = self._invoked(function, child, deadline)
                return await within(deadline, invoked, child.close)
            except Exception as error:
                # What may have happened is not simply tried again.
                if not (call.idempotent or _is_known(error)):
                    raise
                wait = retry_in(call.retry, error, attempt, chance.uniform)
                if wait is None:
                    raise
            await clock.sleep(wait)
            attempt += 1

    async def _invoked(
        self, function: Callable[[], Any], child: TaskContext, deadline: Deadline | None = None
    ) -> Any:
        """Call a function with the context of a step; what it asks is asked by its owners."""
        stream, context = self._run.stream, new_context(child)
        stop: BaseException | None = None
        try:
            try:
                if inspect.iscoroutinefunction(_bare(function)):
                    result = await in_context(context, function(), stream, deadline)
                else:
                    result = await workers.run(function, context)
                    if inspect.isawaitable(result):
                        result = await in_context(context, _awaiting(result), stream, deadline)
            except (GraphInterrupt, BaseExceptionGroup) as error:
                stop = error
            if stop is not None:
                # Not while it is being handled: see `execute`.
                if child.calls is not None and _asks(stop):
                    await child.calls.settle(stop)
                raise stop
            if child.calls is not None:
                await child.calls.settle()
            if child.questions:  # before there is a result that would be found next time
                raise swallowed(child)
            return result
        finally:
            if child.inner is not None:
                await child.inner.end()
            child.close()
            running = self._running.get(child.step)
            if running is not None and (child.questions or child.halted is not None):
                for owner in running.owners:
                    owner.questions.update(child.questions)
                    owner.halted = child.halted or owner.halted

    async def _done(self, call: Call, id: str, entry: Callable[..., Step], value: Any) -> Any:
        freezer, due = self._run.live.freezer, self._owner.due
        encoded = freezer.value(value, f"What {call.what} of node {due.node!r} returned")
        done = entry("done", encoded)
        self._run.teller.call_result(done, await self._write(done))
        return freezer.thaw(encoded)

    async def _transact(self, call: Call, entry: Callable[..., Step]) -> Any:
        """The function's SQL and the record of its result are one transaction: there is no moment
        in which the one is stored and the other is not."""
        live, node = self._run.live, self._owner.due.node
        log, freezer = live.log, live.freezer
        if log is None:
            raise MissingCheckpointerError(f"{call.what} has no log to be written with.")
        made: list[Step] = []

        def done(value: Any) -> Steps:
            encoded = freezer.inline(value, f"What {call.what} of node {node!r} returned")
            made.append(entry("done", encoded))
            return Steps([made[-1]])

        def work(connection: Any) -> Steps | Awaitable[Steps]:
            _writing.set(call.what)  # this context is the transaction's own
            return then(call.function(connection, *call.args, **call.kwargs), done)

        await log.transact(work, lambda: live.scope.take_steps(made[-1:]), ns=live.scope.ns)
        return freezer.thaw(made[-1].value or b"")

    async def _write(self, entry: Step, *, durable: bool = False) -> Receipt:
        live = self._run.live
        live.scope.take_steps([entry])
        if live.log is None:
            return Receipt()
        blobs, ns = live.freezer.take_new(), live.scope.ns
        receipt = live.log.add(Steps([entry]), ns=ns, blobs=blobs)
        await live.log.flush(wait=durable)
        return receipt

    # -- arguments and types -------------------------------------------------------------------

    def _digest(self, call: Call) -> str:
        live = self._run.live
        secret = live.log.secret if live.log is not None else b""
        return blob_digest(spelt(live.definition.codec, call.args, call.kwargs), secret)[:32]

    def _learn(self, function: Callable[..., Any]) -> None:
        types = types_of(function)
        if types:
            self._run.live.definition.codec.learn(types)
            self._run.live.freezer.learn(types)


async def end_all(running: Iterable[Running]) -> None:
    """Cancel the steps that are still being run, and wait for their end."""
    tasks = [entry.task for entry in running]
    for task in tasks:
        task.cancel()
    if await until_done(*tasks):
        raise asyncio.CancelledError


async def _wait(futures: Sequence[StepFuture[Any]]) -> None:
    """Wait until one of them has ended, without cancelling it in being cancelled."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def end() -> None:
        if not ended.done():
            ended.set_result(None)

    for future in futures:
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(end))
    await ended


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _asks(error: BaseException) -> bool:
    """Whether an error is a question, or several, and nothing else."""
    if isinstance(error, BaseExceptionGroup):
        return error.split(GraphInterrupt)[1] is None
    return isinstance(error, GraphInterrupt)


_UNKNOWN: Final = (OutcomeUnknownError, NodeTimeoutError)


def _is_known(error: BaseException) -> bool:
    """Whether an error says that what it ended did not happen."""
    if isinstance(error, BaseExceptionGroup):
        _, rest = error.split((Exception, GraphInterrupt))
        return rest is None and error.subgroup(_UNKNOWN) is None
    if isinstance(error, _UNKNOWN):
        return False
    return isinstance(error, (Exception, GraphInterrupt))


def _bare(call: Any) -> Any:
    while isinstance(call, partial):
        call = call.func
    return call
