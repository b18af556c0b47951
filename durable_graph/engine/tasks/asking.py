"""`interrupt()`: a node asks somebody outside, and has the answer when it runs again."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

from durable_graph.decisions.answers import DEADLINE
from durable_graph.engine.tasks.context import TaskContext, running_task
from durable_graph.errors import (
    GraphInterrupt,
    InterruptTimeoutError,
    InvalidAnswerError,
    SwallowedInterruptError,
)
from durable_graph.log.records import Ask
from durable_graph.types import UNSET, Interrupt

__all__ = ["interrupt", "stems_from_question", "swallowed"]

# How far back an error is followed to what was being handled when it was raised.
_DEPTH = 32


def interrupt(
    value: Any,
    *,
    response_schema: Any = None,
    timeout: float | timedelta | None = None,
    default: Any = UNSET,
) -> Any:
    """Ask somebody outside; returns the answer.

    The first time, the node stops here and the run returns the question. After
    ``Command(resume=answer)`` the node runs again from its first line, and this call returns the
    answer. Answers belong to questions by what is asked, so a node that runs again has to ask
    the same again to get them.

    Args:
        value: the question; anything that can be stored.
        response_schema: what an answer must look like: a JSON schema as a dict, or a type, such as
            a pydantic model, a TypedDict or a dataclass, of which the answer is then made. An
            answer to such a question is JSON data, or an object of that type. One that does not
            fit is refused before anything is stored. Needs ``durable-graph[schema]``.
        timeout: seconds, counted from the first time that this is asked, after which no answer
            is taken any more; ``None`` for ever. Nothing wakes a thread that waits: the next
            call with ``None``, with the same input or with an answer to something else goes on.
        default: the answer that holds from then on. Without one, this raises
            `InterruptTimeoutError` then.

    Raises:
        GraphInterrupt: to stop the node. Not an `Exception`: let it pass.
        InterruptTimeoutError: the time is over, and there is no default.
        ResponseSchemaError: the schema is none, or the packages that check answers are missing.
        MissingCheckpointerError: the graph has no checkpointer.
        InvalidUpdateError: the question or its default cannot be stored.
        ValueError: the timeout is no length of time, or there is a default but no timeout.
        RuntimeError: called outside a node.
    """
    task = running_task("interrupt()")
    seconds = _seconds(timeout)
    if default is not UNSET and seconds is None:
        raise ValueError("A default is what holds once the timeout is over: give timeout=, too.")
    questions, node = task.host.questions, task.due.node
    plain, form = questions.form(node, value, response_schema)
    earlier: Ask | None = None
    while True:
        name = task.next_id(plain)
        answer = questions.answer(name)
        if answer is None:
            break
        if answer.value is None:
            raise InterruptTimeoutError(
                f"Node {node!r} asked {value!r} and got no answer in time. Give the question a "
                f"default, or catch this where it is asked."
            )
        found = questions.thaw(answer.value)
        if form is None:
            return found
        try:
            return form.take(found)
        except InvalidAnswerError as error:
            if answer.by == DEADLINE:
                raise  # to ask again would find the deadline passed again
            # Whoever gave it had no way to know. It is as if the node asked the same once more.
            questions.refused(name, error)
            earlier = questions.asked(name)
    ask = earlier  # which has its deadline, whatever the node says now
    if ask is None and seconds is not None:
        held = questions.default(node, plain, default, form)
        ask = replace(plain, deadline=questions.now() + seconds, default=held)
    ask = replace(ask or plain, id=name, step=task.step, handler=task.due.handler)
    task.questions[name] = ask
    shown = None if form is None else form.schema
    raise GraphInterrupt((Interrupt(value, name, shown, ask.deadline),))


def stems_from_question(error: BaseException) -> bool:
    """Whether an error was raised while a question was on its way out of the node.

    One that came from beside it, as from a sibling in `asyncio.gather`, says more than that a
    question was lost: going on asks it again.
    """
    before: BaseException | None = error
    for _ in range(_DEPTH):
        if before is None or isinstance(before, GraphInterrupt):
            break
        before = before.__cause__ or before.__context__
    return isinstance(before, GraphInterrupt)


def swallowed(task: TaskContext, error: Exception | None = None) -> SwallowedInterruptError:
    """The error of a node, or of a step in it, that ends although it has asked something."""
    mistake = SwallowedInterruptError(
        f"Node {task.due.node!r} asked {len(task.questions)} question(s) that nobody can answer: "
        f"what interrupt() raises was caught inside the node. Let it pass: catch Exception there, "
        f"not everything; or, to clean up, raise it again."
    )
    mistake.__cause__ = error
    return mistake


def _seconds(timeout: float | timedelta | None) -> float | None:
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not (number and 0 <= seconds < math.inf):
        raise ValueError(f"A timeout is some seconds, or a timedelta, not {timeout!r}.")
    return float(seconds)
