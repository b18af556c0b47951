"""The inbox: answers from those who do not own the thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from durable_graph.engine.runlog import RunLog
from durable_graph.errors import AlreadyAnsweredError, IntegrityError, UnknownInterruptError
from durable_graph.log.fold import Scope
from durable_graph.log.records import Answers, decode_body, encode_body
from durable_graph.ports.backend import Message

__all__ = ["answer_message", "raise_verdict", "take_answers", "verdict_error"]

_ANSWERED = "answered"
_UNKNOWN = "unknown"


def answer_message(id: str, answers: Mapping[str, bytes], by: str | None, time: float) -> Message:
    """Answers, as a message to the owner."""
    return Message(id, "answer", encode_body(Answers(answers)), by, time)


def take_answers(
    log: RunLog, scope: Scope, messages: Sequence[Message], now: float
) -> dict[str, str]:
    """Take up what waits in the inbox, each message as a whole or not at all; the verdicts.

    What is taken up is appended to the log along with the verdicts; the caller flushes it. `now`
    is the time of day.
    """
    verdicts = {}
    for message in messages:
        if log.settles(message.id):
            continue  # in "exit" durability that is written at the end only
        verdict, answers = _judge(scope, message)
        body = Answers({} if verdict else answers)
        # When it was given, not when it was seen; if the sender's clock makes sense.
        given = message.time if 0.0 <= message.time <= now else now
        log.add(body, given, by=message.by, settled={message.id: verdict})
        scope.answer(body, message.by, given)
        verdicts[message.id] = verdict
    return verdicts


def raise_verdict(message: Message, thread: str) -> None:
    """Tell the sender why a message was not taken up.

    Raises:
        AlreadyAnsweredError: somebody else's answer came first.
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
    if verdict:
        return UnknownInterruptError(
            f"Thread {thread!r} does not ask this any more; the answer changed nothing."
        )
    return None


def _judge(scope: Scope, message: Message) -> tuple[str, Mapping[str, bytes]]:
    try:
        body = decode_body("answers", message.body)
    except IntegrityError:
        return _UNKNOWN, {}
    answers = body.answers if isinstance(body, Answers) else {}
    asked = {ask.id for ask in scope.all_open_asks()}
    if any(name in scope.answers for name in answers):
        return _ANSWERED, {}
    if not answers or not asked.issuperset(answers):
        return _UNKNOWN, {}
    return "", answers
