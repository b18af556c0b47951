"""One execution of a task: from its input to its outcome."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from durable_graph.decisions.keeping import key_of, pack, unpack
from durable_graph.decisions.results import Result, read_result, read_route
from durable_graph.decisions.retry import retry_in
from durable_graph.definition.node import Branch, Function, Node
from durable_graph.engine.streams.stream import Stream, Within
from durable_graph.engine.tasks.asking import stems_from_question, swallowed
from durable_graph.engine.tasks.caching import Slot
from durable_graph.engine.tasks.context import ParentCommand, TaskContext, current_task
from durable_graph.engine.tasks.deadline import Deadline, within
from durable_graph.engine.tasks.large import is_large, outcome_apart
from durable_graph.engine.tasks.runtime import supplied
from durable_graph.engine.workers import workers
from durable_graph.errors import GraphInterrupt, NodeCancelledError, NodeError
from durable_graph.log.codec import ABSENT
from durable_graph.log.fold import Due
from durable_graph.log.records import Outcome
from durable_graph.types import Send, TimeoutPolicy

if TYPE_CHECKING:
    from durable_graph.engine.runs.live import LiveThread
    from durable_graph.engine.runs.run import Run

__all__ = [
    "Failure",
    "Halt",
    "choose_route",
    "describe",
    "execute",
    "in_context",
    "input_is_bulky",
    "new_context",
    "node_input",
    "retry_in",
]


@dataclass(slots=True)
class Failure:
    """A task that ended with an error.

    Attributes:
        outcome: what is written down about it.
        due: what was executed: the task, or its error handler.
        error: what the node raised.
        retry_in: seconds until its next attempt; ``None`` if there is none.
    """

    outcome: Outcome
    due: Due
    error: BaseException
    retry_in: float | None


@dataclass(frozen=True, slots=True)
class Halt:
    """A task in which a graph it calls has stopped in the middle, as at a breakpoint.

    Attributes:
        reason: why.
    """

    reason: str


async def execute(
    run: Run, index: int, attempt: int, value: Any, handled: NodeError | None = None
) -> Outcome | Failure | Halt:
    """Execute a due task once, or its node's error handler.

    Args:
        run: its run.
        index: which of the due tasks.
        attempt: which attempt this is, from 1.
        value: its input, which is its own to change.
        handled: the error that the handler is to handle; ``None`` for the node itself.
    """
    live = run.live
    due = live.scope.due[index]
    node = live.definition.nodes[due.node]
    limits = due.timeout or node.timeout
    if handled is not None and node.handler is not None:
        # Another execution than the node's, with ids, keys and questions of its own.
        node, due = node.handler, replace(due, handler=True)
        limits = node.timeout
    task = TaskContext(run, due, attempt, index)
    task.error = handled
    context = _context_of(run, task)
    sizes = _list_sizes(value) if node.branches else {}
    try:
        stop: BaseException | None = None
        try:
            if limits is None and node.cache is None:
                returned = await _call(run.stream, node.function, context, value)
            else:
                returned = await _call_by_policy(run, node, context, value, limits)
        except ParentCommand as above:
            returned = above.command
        except (GraphInterrupt, BaseExceptionGroup) as error:
            stop = error
        if stop is not None:
            # Not while it is being handled: a step's failure does not stem from the question.
            if task.calls is not None:
                await task.calls.settle(stop)
            raise stop
        if task.inner is not None:
            await task.inner.end()
        result = returned if type(returned) is Result else _result_of(run, task, node, returned)
        outcome = (
            live.outcome_of(node.name, result, index, task.spoken)
            if not is_large(result)
            else await outcome_apart(live, node.name, result, index, task.spoken)
        )
        outcome.attempts = attempt - 1
        if handled is not None:
            outcome.caught = handled.text
        if node.branches:
            await _follow_branches(run, node, context, value, due, outcome, sizes)
        if task.calls is not None:
            await task.calls.settle()
        if task.questions:
            return _failed(run, task, node, index, swallowed(task))
        if task.slot is not None:
            outcome.cached = await task.slot.keep()
        if task.gathering is not None:
            run.gathered.keep(task)
        return outcome
    except BaseException as error:
        return _stopped(run, task, node, index, error)
    finally:
        if task.inner is not None:
            await task.inner.end()
        task.close()


async def _follow_branches(
    run: Run,
    node: Node,
    context: contextvars.Context,
    value: Any,
    due: Due,
    outcome: Outcome,
    sizes: Mapping[str, int],
) -> None:
    """Have an outcome go where its node's conditional edges lead.

    Raises:
        InvalidUpdateError: to nowhere known.
    """
    for branch in node.branches:
        state = _after(run.live, branch, node, value, due, outcome, sizes)
        chosen = await choose_route(run, node.name, branch, context, state)
        if chosen:
            goto, sends = run.live.targets(node.name, chosen)
            outcome.goto = tuple(dict.fromkeys((*outcome.goto, *goto)))
            outcome.sends = (*outcome.sends, *sends)


def _result_of(run: Run, task: TaskContext, node: Node, returned: Any) -> Result:
    """What a node returned, with the messages that it has pushed.

    Raises:
        ParentCommand: it is for the graph around this one.
    """
    result = read_result(run.live.definition, node.name, returned, around=run.around)
    if result.above is not None:
        if task.gathering is not None:
            run.gathered.keep(task)
        raise ParentCommand(result.above)
    if task.pushed is not None:
        kept = [{key: [message]} for key, message in task.pushed if key is not None]
        result.updates[:0] = kept
    return result


def _context_of(run: Run, task: TaskContext) -> contextvars.Context:
    context = new_context(task)
    if "messages" in run.stream.modes and "langchain_core" in sys.modules:
        from durable_graph.engine.tasks.chatmodels import listen

        listen(task, context)
    return context


def new_context(task: TaskContext) -> contextvars.Context:
    """Context variables for an execution: the caller's, and what makes the task known.

    What the node changes in them stays with it, and with its routers.
    """
    context = contextvars.copy_context()
    context.run(current_task.set, task)
    return context


def node_input(live: LiveThread, index: int) -> Any:
    """The input of a due task: fresh objects, which the node may change."""
    due = live.scope.due[index]
    if due.arg is not None:
        return live.freezer.thaw(due.arg)
    return live.view(live.definition.nodes[due.node].input)


def input_is_bulky(live: LiveThread, index: int) -> bool:
    """Whether it takes long to make the input of a due task."""
    due = live.scope.due[index]
    if due.arg is not None:
        return live.freezer.is_bulky((due.arg,))
    keys = live.definition.nodes[due.node].input.channels
    return live.freezer.is_bulky(map(live.scope.values.get, keys))


async def choose_route(
    run: Run, node: str, branch: Branch, context: contextvars.Context, state: Any
) -> list[str | Send]:
    """Where a conditional edge leads.

    Raises:
        InvalidUpdateError: to nowhere known.
    """
    chosen = await _call(run.stream, branch.path, context, state)
    who = f"The conditional edge {branch.name!r} of {node!r}"
    if branch.ends is not None:
        parts = chosen if isinstance(chosen, (list, tuple)) else [chosen]
        try:
            chosen = [p if isinstance(p, Send) else branch.ends[p] for p in parts]
        except (KeyError, TypeError):
            raise ValueError(
                f"{who} returned {chosen!r}, which is not among {list(branch.ends)}."
            ) from None
    elif chosen is None:
        raise ValueError(f"{who} returned None; return a node's name, a Send, or END.")
    return read_route(run.live.definition, who, chosen)


async def _call(
    stream: Stream | Within,
    function: Function,
    context: contextvars.Context,
    state: Any,
    deadline: Deadline | None = None,
) -> Any:
    call = function.call
    if function.injected or not function.takes_state:
        call = _prepared(function, context[current_task])
    if function.is_async:
        return await in_context(context, call(state), stream, deadline)
    result = await workers.run(lambda: call(state), context)
    if inspect.isawaitable(result):  # a plain function that returned a coroutine
        return await in_context(context, _awaiting(result), stream, deadline)
    return result


async def _call_by_policy(
    run: Run,
    node: Node,
    context: contextvars.Context,
    state: Any,
    limits: TimeoutPolicy | None,
) -> Any:
    """Call a node's function, unless the cache has what it returns; give it up if it takes long.

    Raises:
        NodeTimeoutError: it took longer than it may.
        InvalidUpdateError: its input cannot be a key of the cache.
    """
    task, cache = context[current_task], run.live.call.policies.cache
    if node.cache is not None and cache is not None:
        definition, policy = run.live.definition, node.cache
        key = key_of(definition, node, policy, state)
        task.slot = Slot(cache, key, policy.ttl, f"Node {node.name!r}")
        kept = await task.slot.look(partial(unpack, definition))
        if kept is not None:
            return kept
    if limits is None:
        returned = await _call(run.stream, node.function, context, state)
    else:
        deadline = task.deadline = Deadline(node.name, limits, run.live.clock)
        attempt = _call(run.stream, node.function, context, state, deadline)
        returned = await within(deadline, attempt, task.close)
    if task.slot is None:
        return returned
    try:
        result = _result_of(run, task, node, returned)
    except ParentCommand:  # out of here it would look like one that a graph within meant for us
        return returned
    if task.gathering is not None and task.gathering.puts:
        task.slot.decline("What it puts into an atomic store would be missing from what is kept.")
        return result
    # Now, before the node can change it; it is kept if it is taken in.
    task.slot.fix(partial(pack, run.live.definition, result))
    return result


def _prepared(function: Function, task: TaskContext) -> Callable[[Any], Any]:
    """The function with what it asks for by name, as a function of the state."""
    values = {injection.parameter: supplied(task, injection) for injection in function.injected}
    if function.takes_state:
        return lambda state: function.call(state, **values)
    return lambda state: function.call(**values)


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


@types.coroutine
def in_context(
    context: contextvars.Context,
    coroutine: Coroutine[Any, Any, Any],
    stream: Stream | Within,
    deadline: Deadline | None = None,
) -> Generator[Any, Any, Any]:
    """Await a coroutine in a context of its own, without a task of its own.

    What the node does to context variables stays with it. And each time it is about to go on
    after having waited, it lets a watcher catch up who has fallen behind. That time is not the
    node's, so its deadline does not count it; and a node that outlives its deadline by swallowing
    its cancellation is not gone on with.
    """
    step: Callable[[Any], Any] = coroutine.send
    value: Any = None
    try:
        while True:
            awaited = context.run(step, value)
            try:
                value = yield awaited
                step = coroutine.send
                if stream.full:
                    if deadline is not None:
                        deadline.hold()
                    yield from stream.wait_for_room().__await__()
                    if deadline is not None:
                        deadline.go_on()
            except BaseException as error:
                if deadline is not None and deadline.dead:
                    raise
                step, value = coroutine.throw, error
    except StopIteration as end:
        return end.value
    except GeneratorExit as error:
        if isinstance(value, GeneratorExit):  # thrown in: the run itself is being thrown away
            raise
        raise RuntimeError(f"The node raised {error!r}.") from error
    finally:
        coroutine.close()


def _after(
    live: LiveThread,
    branch: Branch,
    node: Node,
    value: Any,
    due: Due,
    outcome: Outcome,
    sizes: Mapping[str, int],
) -> Any:
    """What a router sees: the state, and in it what its own node has just written.

    It shares the node's copy of what was not written, so that a long conversation is not decoded
    twice for the router's sake.
    """
    schema = branch.input or node.input
    copy = value if type(value) is dict and due.arg is None else {}
    delta, after = live.change([(node.name, outcome)])
    thaw, before, initial = live.freezer.thaw, live.scope.values, live.definition.initial
    values: dict[str, Any] = {}
    for key in schema.channels:
        op = delta.get(key)
        if op is None and key in copy:
            values[key] = copy[key]
        elif op is not None and op[0] == "a" and key in sizes:
            # The node may have grown its own copy in place; what it was given ends here.
            added = [item for entry in outcome.written(key) for item in thaw(entry)]  # type: ignore[arg-type]
            values[key] = copy[key][: sizes[key]] + added
        else:
            shown = after[key] if op is not None else before.get(key, initial.get(key))
            if shown is not None and (one := thaw(shown)) is not ABSENT:
                values[key] = one
    if schema.managed:
        values |= live.managed(schema)
    return schema.make(values)


def _list_sizes(value: Any) -> dict[str, int]:
    if type(value) is not dict:
        return {}
    return {key: len(item) for key, item in value.items() if type(item) is list}


def _stopped(
    run: Run, task: TaskContext, node: Node, index: int, error: BaseException
) -> Outcome | Failure | Halt:
    """What it means that an execution ended with this.

    Raises:
        BaseException: the error, if it is not the node's: the run is cancelled, or the program
            is to end.
    """
    if isinstance(error, GraphInterrupt):
        asked = _asked(task, index, error)
        return asked or _failed(run, task, node, index, _not_asked(node, error))
    if isinstance(error, BaseExceptionGroup):
        questions, rest = error.split(GraphInterrupt)
        if questions is None or rest is not None:
            return _failed(run, task, node, index, rest or error)
        asked = _asked(task, index, *_leaves(questions))
        return asked or _failed(run, task, node, index, _not_asked(node, error))
    if isinstance(error, asyncio.CancelledError):
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise error
        mistake = NodeCancelledError(
            f"Node {node.name!r} raised CancelledError although nobody cancelled its run."
        )
        mistake.__cause__ = error
        return _failed(run, task, node, index, mistake)
    if isinstance(error, Exception):
        if task.questions and stems_from_question(error):
            error = swallowed(task, error)
        return _failed(run, task, node, index, error)
    raise error


def _asked(task: TaskContext, index: int, *stops: GraphInterrupt) -> Outcome | Halt | None:
    """The questions that an execution stopped at, or why a graph that it called has stopped;
    ``None`` if it is neither."""
    names = dict.fromkeys(interrupt.id for stop in stops for interrupt in stop.interrupts)
    if not names and task.halted is not None:
        return Halt(task.halted)
    if not names or not task.questions.keys() >= names.keys():
        return None
    asks = tuple(task.questions[name] for name in names)
    caught = None if task.error is None else task.error.text
    return Outcome(index, asks=asks, attempts=task.attempt - 1, caught=caught)


def _not_asked(node: Node, stop: BaseException) -> RuntimeError:
    mistake = RuntimeError(
        f"Node {node.name!r} raised a GraphInterrupt that is no question of this execution. "
        f"Ask with interrupt(), and let what it raises pass."
    )
    mistake.__cause__ = stop
    return mistake


def _leaves(group: BaseExceptionGroup[Any]) -> list[GraphInterrupt]:
    found: list[GraphInterrupt] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def _failed(run: Run, task: TaskContext, node: Node, index: int, error: BaseException) -> Failure:
    wait = None
    attempt, due = task.attempt, task.due
    if isinstance(error, Exception):
        error.add_note(f"While running node {node.name!r}, task {due.id}, attempt {attempt}.")
        wait = retry_in(node.retry, error, attempt, run.live.chance.uniform)
    outcome = Outcome(index, error=describe(error), attempts=attempt)
    if wait is not None:
        outcome.retry_in, outcome.retry_at = wait, run.live.clock.time() + wait
        outcome.caught = None if task.error is None else task.error.text
    return Failure(outcome, due, error, wait)


def describe(error: BaseException) -> str:
    """An error as it is written down."""
    try:
        return f"{type(error).__name__}: {error}"[:10_000]
    except Exception:  # an error whose text cannot be had is still an error
        return type(error).__name__
