"""Who did what with a thread, and when: what its log and its card say about it.

The headers of records say almost all of it: who gave an input, edited, answered or branched off,
and which run each record is of. Only what a mark is about, which questions were answered, and
whether a run came to its end stand in bodies; those are few, and `telling` says which.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from durable_graph.decisions.cards import Act, ActKind
from durable_graph.log.records import Answers, Body, Commit, Head, Mark, Status
from durable_graph.log.seal import Header

__all__ = ["AuditEntry", "AuditKind", "Story", "telling"]

AuditKind: TypeAlias = (
    Literal[
        "input",
        "edit",
        "answer",
        "deadline",
        "fork",
        "migration",
        "resumed",
        "takeover",
        "ended",
    ]
    | ActKind
)

_TAKEN_OVER: Final = "taken over"
_RESUMED: Final = "resumed"

_ENDS: Final = frozenset(get_args(Status))

_SOURCES: Final[Mapping[str, AuditKind]] = {
    "input": "input",
    "update": "edit",
    "migration": "migration",
}


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done with a thread, or happened to it.

    Attributes:
        what: "input": a run was given one. "edit": the state was edited, or an update came with an
            answer. "answer": questions were answered. "deadline": they passed unanswered. "fork":
            a branch began. "migration": the thread was brought to another version of its graph.
            "resumed": a run went on without an input. "takeover": it took the thread over from
            one that never came to its end. "ended": a run did. The others were done with the
            thread as a whole: "created", "changed" (its tags, metadata, owner or limit),
            "archived", "restored", "pruned", "deleted", "copied", "imported".
        time: when, Unix time, by the clock of whoever wrote it.
        by: who did it, if they said so.
        run_id: the run that wrote it; ``None`` for what was done with the thread as a whole.
        checkpoint_id: the checkpoint that it made; for "fork", the one that the branch began at.
        detail: for "answer" and "deadline", the ids of the questions; for "ended", how the run
            left the thread, with the reason; for what was done with a thread as a whole, more
            about it. ``None`` also where what it says was pruned.
        record: the record of the log that says it; ``None`` for what was done with the thread as
            a whole.
    """

    what: AuditKind
    time: float
    by: str | None = None
    run_id: str | None = None
    checkpoint_id: str | None = None
    detail: str | None = None
    record: int | None = None


def telling(headers: Sequence[Header]) -> list[int]:
    """The records, of a stretch of a log, whose bodies say more than their headers: marks,
    answers, and of each run its last checkpoint of the root graph."""
    told = [header.seq for header in headers if header.kind in ("mark", "answers")]
    last: dict[str | None, int] = {
        header.run: header.seq for header in headers if header.commit is not None and not header.ns
    }
    return sorted({*told, *last.values()})


class Story:
    """A thread's log and its card, told as who did what.

    Args:
        acts: what was done with the thread as a whole, oldest first.
    """

    def __init__(self, acts: Iterable[Act]) -> None:
        self._acts = deque(acts)
        self._last: Header | None = None
        self._rest: _Rest = _GOES_ON

    def tell(self, header: Header, body: Body | None) -> Iterator[AuditEntry]:
        """What a record says; to be called for each one, in order.

        Args:
            header: the record's.
            body: its body, if it was asked for and is there; see `telling`.
        """
        if self._last is not None and header.run != self._last.run:
            yield from self._ended(self._last)
            yield from self._acts_until(header.time)
            if self._rest == _GOES_ON or _is(body, _TAKEN_OVER):
                yield AuditEntry("takeover", header.time, header.by, header.run, record=header.seq)
            self._rest = _GOES_ON
        else:
            yield from self._acts_until(header.time)
        self._rest = _after(self._rest, header, body)
        self._last = header
        yield from _entries(header, body)

    def close(self, head: Head | None) -> Iterator[AuditEntry]:
        """What is to be said when every record has been told.

        Args:
            head: the thread's; ``None`` if it has no log.
        """
        if self._last is not None and head is not None and head.status != "running":
            if self._rest in (_GOES_ON, _UNKNOWN):  # the head says what no record does
                self._rest = _Rest("ended", _how(head.status, head.reason))
            yield from self._ended(self._last)
        yield from self._acts_until(math.inf)

    def _ended(self, last: Header) -> Iterator[AuditEntry]:
        if self._rest.how is not None:
            yield AuditEntry("ended", last.time, None, last.run, None, self._rest.how, last.seq)

    def _acts_until(self, time: float) -> Iterator[AuditEntry]:
        while self._acts and self._acts[0].time <= time:
            act = self._acts.popleft()
            yield AuditEntry(act.what, act.time, act.by, detail=act.detail)


class _Rest(NamedTuple):
    """Whether a run has come to rest, and how; an edit has as soon as it is made."""

    state: Literal["goes on", "unknown", "edited", "ended"]
    how: str | None = None


_GOES_ON: Final = _Rest("goes on")
_UNKNOWN: Final = _Rest("unknown")
_EDITED: Final = _Rest("edited")


def _after(before: _Rest, header: Header, body: Body | None) -> _Rest:
    if header.ns and not (header.commit is not None and header.commit.source == "update"):
        return before  # of a graph within: its caller goes on
    if header.commit is not None:
        if header.commit.source == "update":
            return _EDITED
        if not isinstance(body, Commit):
            return _UNKNOWN
        return _GOES_ON if body.due else _Rest("ended", "finished")
    if header.kind == "mark":
        if not isinstance(body, Mark):
            return _UNKNOWN
        if body.event in (_RESUMED, _TAKEN_OVER):
            return _GOES_ON
        # What is neither a beginning nor an end is no turn of a run.
        return _Rest("ended", _how(body.event, body.detail)) if body.event in _ENDS else before
    # In "exit" durability results follow the last checkpoint. What follows an update is a run.
    return _GOES_ON if before == _EDITED else before


def _entries(header: Header, body: Body | None) -> Iterator[AuditEntry]:
    info = header.commit
    whose = header.time, header.by, header.run
    if info is not None:
        if info.branch == info.id and info.parent is not None and not header.ns:
            yield AuditEntry("fork", *whose, info.parent, None, header.seq)
        what = _SOURCES.get(info.source)
        if what is not None and (not header.ns or what == "edit"):
            yield AuditEntry(what, *whose, info.id, None, header.seq)
    elif header.kind == "answers":
        answers = body if isinstance(body, Answers) else None
        if answers is None or answers.answers:
            given = ", ".join(answers.answers) if answers is not None else None
            yield AuditEntry("answer", *whose, None, given, header.seq)
        if answers is not None and answers.expired:
            passed = ", ".join(answers.expired)
            yield AuditEntry("deadline", *whose, None, passed, header.seq)
    elif _is(body, _RESUMED):
        yield AuditEntry("resumed", *whose, record=header.seq)


def _is(body: Body | None, event: str) -> bool:
    return isinstance(body, Mark) and body.event == event


def _how(status: str, reason: str | None) -> str:
    return status if reason is None else f"{status}: {reason}"
