"""What a call does, by the state of the thread: the whole table, in one function."""

from __future__ import annotations

from enum import Enum
from typing import Literal, TypeAlias

from durable_graph.errors import (
    EmptyInputError,
    NothingToResumeError,
    PendingInterruptsError,
    ThreadBusyError,
)
from durable_graph.log.records import Status
from durable_graph.types import OnPending

__all__ = ["Action", "Asked", "Situation", "admit"]

Asked: TypeAlias = Literal["nothing", "same input", "input", "answer"]
"""What a call brings: ``None``; the input of the unfinished run once more; another input, or a
`Command` with an update or a goto; or `Command(resume=...)`."""

Situation: TypeAlias = Literal[Status, "new", "crashed"]
"""A thread's status; "crashed" is a running one whose owner is dead, "new" one that is not."""


class Action(Enum):
    """What a call does."""

    RETURN = "return the state and run nothing"
    GO_ON = "run what is due"
    BEGIN = "take in the finished results of what was due, drop the rest, then take the input"
    ANSWER = "record the answer, then run what it was asked for"
    POST = "leave the answer for the run that owns the thread, and wait for that run"
    ANSWER_WITH_INPUT = "take the input for the answer"
    BRANCH_ON = "branch off the named checkpoint and run what is due there"
    BRANCH_BEGIN = "branch off the named checkpoint and take the input there"
    BRANCH_ANSWER = "branch off the named checkpoint and answer its questions there"


def admit(
    situation: Situation,
    asked: Asked,
    *,
    thread: str,
    questions: int,
    on_pending: OnPending = "reject",
    branch: bool = False,
    posted: bool = False,
    late: int = 0,
    owner: str | None = None,
) -> Action:
    """What a call does.

    Args:
        situation: how the thread stands.
        asked: what the call brings.
        thread: its id, for messages.
        questions: how many questions are open; at the named checkpoint, if it names one.
        on_pending: what becomes of them when there is a new input.
        branch: whether the call names a checkpoint.
        posted: whether answers from other processes wait to be taken up.
        late: of how many questions the deadline has passed.
        owner: who runs the thread, for messages.

    Raises:
        ThreadBusyError: a live run owns the thread.
        EmptyInputError: there is nothing to run.
        NothingToResumeError: there is an answer, but no question.
        PendingInterruptsError: there is a new input, but also a question.
    """
    if situation == "running":
        if asked == "answer" and not branch:
            if questions:
                return Action.POST
            raise NothingToResumeError(f"Thread {thread!r} is being run and asks nothing.")
        raise ThreadBusyError(
            f"Thread {thread!r} is being run{f' by {owner}' if owner else ''}. Wait for that run "
            f"to end, or cancel it."
        )
    if situation == "new" and asked == "nothing":
        raise EmptyInputError(
            f"Thread {thread!r} does not exist yet, so there is nothing to go on with: "
            f"call with an input."
        )
    if asked == "answer":
        if not questions:
            raise NothingToResumeError(
                f"Thread {thread!r} asks nothing, so there is nothing to answer. To go on with "
                f"it, call with None."
            )
        # Naming the head, as people do who pass a snapshot's config, is no branch.
        return Action.BRANCH_ANSWER if branch else Action.ANSWER
    if branch:
        return Action.BRANCH_ON if asked == "nothing" else Action.BRANCH_BEGIN
    if situation in ("new", "finished"):
        return Action.RETURN if asked == "nothing" else Action.BEGIN
    if asked != "input":
        waits = situation == "asking" and not posted and not late
        return Action.RETURN if waits else Action.GO_ON
    if questions and on_pending == "answer":
        return Action.ANSWER_WITH_INPUT
    if questions and on_pending == "reject":
        raise PendingInterruptsError(
            f"Thread {thread!r} asks {questions} question{'s' * (questions > 1)} that a new input "
            f"would drop. Answer with Command(resume=...); or call with on_pending='answer' to "
            f"take the input for the answer, or 'supersede' to drop what is asked."
            + " Of what has no answer in time, a call with None goes on."
            * bool(late)
        )
    return Action.BEGIN
