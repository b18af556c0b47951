"""A due task through as many attempts as its policies allow, and to its error handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from durable_graph.decisions.retry import time_left
from durable_graph.engine.apart import apart
from durable_graph.engine.tasks.execute import Failure, Halt, execute, input_is_bulky, node_input
from durable_graph.errors import NodeError, NodeFailedError
from durable_graph.log.records import Outcome

if TYPE_CHECKING:
    from durable_graph.engine.runs.run import Run

__all__ = ["attempts"]

TakeIn = Callable[[Outcome, bool], Awaitable[None]]


async def attempts(
    run: Run, index: int, last: Callable[[], bool], take_in: TakeIn
) -> Failure | None:
    """Execute a task, again after failures that are worth it, and take in how it ended.

    Once a node has failed for good, that is written down, and its error handler runs in its
    place: whoever goes on after a crash goes on with the handler.

    Args:
        run: its run.
        index: which of the due tasks.
        last: to be called once the task is through; tells whether it was the last.
        take_in: takes in its result, and whether it was the last.

    Returns:
        The failure that ends it, which has been recorded and not written down.
    """
    live = run.live
    attempt = 1
    handled: NodeError | None = None
    due = live.scope.due[index]
    before = live.scope.outcomes.get(index)
    if before is None:
        if live.definition.nodes[due.node].retry:
            run.first_attempt(due)
    else:
        handled = _to_handle(run, index, before)
        if before.retry_at is not None and (handled is None) == (before.caught is None):
            attempt = before.attempts + 1
            run.first_attempt(due, before.retry_at - (before.retry_in or 0.0))
            left = time_left(before.retry_at, before.retry_in, live.clock.time())
            await live.clock.sleep(left)
    while True:
        if (live.log is not None and live.log.small) or not input_is_bulky(live, index):
            value = node_input(live, index)
        else:
            value = await apart(partial(node_input, live, index))
        ended = await execute(run, index, attempt, value, handled)
        del value  # it is the node's, and may be large
        if isinstance(ended, Halt):
            run.halted = ended.reason
            last()
            return None
        if isinstance(ended, Outcome):
            await take_in(ended, last())
            return None
        live.scope.record([ended.outcome])
        if ended.retry_in is not None:
            if live.log is not None:
                live.write_results([ended.outcome])
                await live.log.flush()
            await live.clock.sleep(ended.retry_in)
            attempt += 1
            continue
        if handled is not None or not _can_be_handled(run, index, ended):
            return ended
        handled, attempt = await _to_the_handler(run, index, ended), 1


def _can_be_handled(run: Run, index: int, failure: Failure) -> bool:
    return isinstance(failure.error, Exception) and _has_handler(run, index)


def _has_handler(run: Run, index: int) -> bool:
    live = run.live
    return live.definition.nodes[live.scope.due[index].node].handler is not None


def _to_handle(run: Run, index: int, before: Outcome) -> NodeError | None:
    """What the handler is to handle, if the task had got as far as that."""
    if before.caught is None or not _has_handler(run, index):
        return None
    node = run.live.scope.due[index].node
    return NodeError(node, NodeFailedError(before.caught), before.caught)


async def _to_the_handler(run: Run, index: int, failure: Failure) -> NodeError:
    """Write down that a node has failed for good and its handler is to run."""
    live, outcome = run.live, failure.outcome
    await run.end_calls(index)
    outcome.caught = outcome.error
    receipt = live.write_results([outcome], {outcome.index: failure})
    if live.log is not None:
        await live.log.flush()
    run.teller.release(receipt)
    return NodeError(live.scope.due[index].node, failure.error, outcome.error or "")
