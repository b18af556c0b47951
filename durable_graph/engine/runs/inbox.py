"""The inbox: answers from those who do not own the thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from durable_graph.decisions.answers import is_over, late_answer
from durable_graph.engine.runs.live import LiveThread
from durable_graph.engine.runs.questions import Questions
from durable_graph.engine.storage.runlog import RunLog
from durable_graph.errors import (
    AlreadyAnsweredError,
    IntegrityError,
    InvalidAnswerError,
    UnknownInterruptError,
)
from durable_graph.log.records import Answers, decode_body, encode_body
from durable_graph.ports.backend import Message

__all__ = ["answer_message", "raise_verdict", "take_answers", "verdict_error"]

_ANSWERED = "answered"
_INVALID = "invalid"
_LATE = "late"
_UNKNOWN = "unknown"


def answer_message(id: str, answers: Mapping[str, bytes], by: str | None, time: float) -> Message:
    """Answers, as a message to the owner."""
    return Message(id, "answer", encode_body(Answers(answers)), by, time)


def take_answers(
    log: RunLog, live: LiveThread, questions: Questions, messages: Sequence[Message]
) -> dict[str, str]:
    """Take up what waits in the inbox, each message as a whole or not at all; the verdicts.

    What is taken up is appended to the log along with the verdicts; the caller flushes it.
    """
    verdicts = {}
    now = live.clock.time()
    for message in messages:
        if log.settles(message.id):
            continue  # in "exit" durability that is written at the end only
        # When it was given, not when it was seen; if the sender's clock makes sense.
        given = message.time if 0.0 <= message.time <= now else now
        verdict, answers = _judge(live, questions, message, given)
        body = Answers({} if verdict else answers)
        log.add(body, given, by=message.by, settled={message.id: verdict})
        live.scope.answer(body, message.by, given)
        verdicts[message.id] = verdict
    return verdicts


def raise_verdict(message: Message, thread: str) -> None:
    """Tell the sender why a message was not taken up.

    Raises:
        AlreadyAnsweredError: somebody else's answer came first, or it came after the deadline.
        InvalidAnswerError: it is not what is asked for.
        UnknownInterruptError: the question is not open any more.
    """
    error = verdict_error(message.verdict or "", thread)
    if error is not None:
        raise error


def verdict_error(verdict: str, thread: str) -> Exception | None:
    """What a verdict means to the sender; ``None`` for a message that was taken up."""
    if verdict == _ANSWERED:
        return AlreadyAnsweredError(
            f"The question of thread {thread!r} was answered by somebody else first."
        )
    if verdict == _LATE:
        return late_answer(thread)
    if verdict == _INVALID:
        return InvalidAnswerError(
            f"The run of thread {thread!r} found that the answer does not fit the response_schema "
            f"of its question. Nothing was changed; answer again."
        )
    if verdict:
        return UnknownInterruptError(
            f"Thread {thread!r} does not ask this any more; the answer changed nothing."
        )
    return None


def _judge(
    live: LiveThread, questions: Questions, message: Message, given: float
) -> tuple[str, Mapping[str, bytes]]:
    scope = live.scope
    try:
        body = decode_body("answers", message.body)
    except IntegrityError:
        return _UNKNOWN, {}
    answers = body.answers if isinstance(body, Answers) else {}
    if any(name in scope.answers for name in answers):
        return _ANSWERED, {}
    asked = {ask.id: ask for ask in scope.all_open_asks()}
    if not answers or not asked.keys() >= answers.keys():
        return _UNKNOWN, {}
    if any(is_over(asked[name], given) for name in answers):
        return _LATE, {}
    if any(asked[name].schema is not None for name in answers):
        # Its sender has looked, but knew no more than the schema; and may not be a friend.
        try:
            questions.checked({name: live.freezer.thaw(v) for name, v in answers.items()})
        except Exception:  # of the user's own validators, too: nothing in an inbox stops a run
            return _INVALID, {}
    return "", answers
