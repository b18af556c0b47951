"""Questions and answers: which is meant for which."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final

from durable_graph.errors import AlreadyAnsweredError, AmbiguousAnswerError, UnknownInterruptError
from durable_graph.log.records import Answer, Answers, Ask

__all__ = [
    "DEADLINE",
    "all_answers",
    "interrupt_id",
    "is_over",
    "late_answer",
    "match_answers",
]

_ID: Final = re.compile(r"[0-9a-f]{32}\Z")


DEADLINE: Final = "deadline"
"""Who answers a question whose deadline has passed. Callers cannot be called that."""


def is_over(ask: Ask, now: float) -> bool:
    """Whether a question's deadline has passed."""
    return ask.deadline is not None and now >= ask.deadline


def interrupt_id(task: str, question: bytes, nth: int) -> str:
    """The id of a question.

    It is bound to what is asked: when a task runs again and asks something else, an earlier
    answer does not fit any more.

    Args:
        task: the asking task's id.
        question: the question's content; see `durable_graph.log.records.Ask`.
        nth: how often the task has asked exactly this before, in this execution.
    """
    text = b"%b\0%d\0%b" % (task.encode(), nth, question)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def all_answers(
    given: Mapping[str, Answer],
) -> Iterator[tuple[Answers, str | None, float]]:
    """Answers as they are written down: those of one hand and moment together, with both."""
    hands = dict.fromkeys((answer.by, answer.time) for answer in given.values())
    for by, time in hands:
        mine = {name: a.value for name, a in given.items() if (a.by, a.time) == (by, time)}
        values = {name: value for name, value in mine.items() if value is not None}
        yield Answers(values, tuple(name for name in mine if name not in values)), by, time


def late_answer(thread: str) -> AlreadyAnsweredError:
    """What is said to an answer that comes after the deadline."""
    return AlreadyAnsweredError(
        f"The deadline for the answer has passed; nothing was changed. Call with None: thread "
        f"{thread!r} goes on with what its question says holds now."
    )


def match_answers(
    resume: Any,
    open_ids: Sequence[str],
    answered: Collection[str],
    thread: str,
    late: Collection[str] = (),
) -> Mapping[str, Any]:
    """Answers by interrupt id.

    Args:
        resume: one answer, or a mapping whose keys are all interrupt ids.
        open_ids: the questions that are open, in order.
        answered: those that have been answered already.
        thread: its id, for messages.
        late: those of the open ones whose deadline has passed.

    Raises:
        AmbiguousAnswerError: one answer, but several questions.
        AlreadyAnsweredError: an answer to a question that has one, or whose deadline has passed;
            or one answer, where no question is open any more.
        UnknownInterruptError: an answer to a question that nobody asked, or an empty mapping.
    """
    if not isinstance(resume, dict) or not all(
        isinstance(key, str) and _ID.match(key) for key in resume
    ):
        if late and len(late) == len(open_ids):
            raise late_answer(thread)
        open_ids = [name for name in open_ids if name not in late]
        if len(open_ids) > 1:
            raise AmbiguousAnswerError(
                f"Thread {thread!r} asks {len(open_ids)} questions. Say which one this answers: "
                f"Command(resume={{id: answer}}), with ids from {list(open_ids)}."
            )
        if not open_ids:
            raise AlreadyAnsweredError(
                f"What thread {thread!r} asked has an answer, from somebody who was faster."
            )
        return {open_ids[0]: resume}
    if not resume:
        raise UnknownInterruptError(
            f"An empty mapping answers nothing. Thread {thread!r} asks {list(open_ids)}."
        )
    for name in resume:
        if name in answered:
            raise AlreadyAnsweredError(f"The question {name} of thread {thread!r} has an answer.")
        if name in late:
            raise late_answer(thread)
        if name not in open_ids:
            raise UnknownInterruptError(
                f"Thread {thread!r} has no open question {name}; it asks {list(open_ids)}."
            )
    return resume
