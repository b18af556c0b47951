"""Records to state: what reading a thread means.

`Scope` is the state of one graph in a thread at one position of its log: the values, what is
due, and what has become of the due tasks so far. A run keeps one and moves it on with the same
operations that it writes down, so that the live state and the folded state are the same by
construction. Folding never runs user code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from durable_graph.errors import IntegrityError
from durable_graph.log.codec import blobs_in
from durable_graph.log.delta import Encoded, Op, Written, apply_op, flat, size
from durable_graph.log.records import (
    Answers,
    Ask,
    Body,
    Commit,
    DueTask,
    Mark,
    Outcome,
    Ranges,
    Source,
    TaskResults,
)
from durable_graph.log.seal import CommitInfo, Header, extend

__all__ = ["Answer", "Due", "Scope", "task_id"]


def task_id(branch: str, ns: str, step: int, node: str, push: int | None) -> str:
    """The id of a task: the same for every execution of it, on every machine.

    It depends on the branch and the step, not on the checkpoint, which gets a new id if a crash
    loses an unacknowledged commit and the superstep runs again.
    """
    text = f"{branch}\0{ns}\0{step}\0{node}\0{'' if push is None else push}"
    name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"


@dataclass(slots=True)
class Due:
    """A task that a checkpoint made due.

    Attributes:
        branch: the branch it belongs to.
        ns: the namespace of its graph.
        step: the step of the checkpoint that made it due.
        node: the node to run.
        arg: the encoded argument, for a `Send`.
        push: its number among the sends, for a `Send`.
    """

    branch: str
    ns: str
    step: int
    node: str
    arg: bytes | None = None
    push: int | None = None

    @property
    def id(self) -> str:
        """See `task_id`."""
        return task_id(self.branch, self.ns, self.step, self.node, self.push)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question was answered.

    Attributes:
        value: the answer, encoded; ``None`` if the deadline passed without one.
        by: who gave it, if they said so.
        time: when, Unix time.
    """

    value: bytes | None
    by: str | None = None
    time: float = 0.0


@dataclass(slots=True)
class Scope:
    """State of one graph in a thread at one position of its log.

    Attributes:
        ns: the graph's namespace; empty for the root graph.
        checkpoint: id of the last commit; empty before the first.
        parent: id of the commit before it.
        branch: id of the commit that began this branch.
        step: the last commit's step; -2 before the first.
        source: what made the last commit.
        time: when it was made, Unix time.
        meta: its metadata.
        run: the run that made it.
        graph: fingerprint of the graph that made it.
        values: value of each key that has been written, encoded.
        joins: names seen so far by each waiting join.
        due: the tasks it made due.
        outcomes: what is known of them, by index.
        asked: every question they asked, by index, in order.
        answers: the answers given, by interrupt id.
        nodes: nodes whose results the last commit took in.
        path: what to fold to get here.
        weight: bytes of that.
    """

    ns: str = ""
    checkpoint: str = ""
    parent: str | None = None
    branch: str = ""
    step: int = -2
    source: Source = "input"
    time: float = 0.0
    meta: Mapping[str, Any] = field(default_factory=dict)
    run: str | None = None
    graph: str | None = None
    values: dict[str, Encoded] = field(default_factory=dict)
    joins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    due: list[Due] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    asked: dict[int, list[Ask]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    path: Ranges = ()
    weight: int = 0

    def copy(self) -> Scope:
        """A scope that can move on by itself."""
        return Scope(
            self.ns,
            self.checkpoint,
            self.parent,
            self.branch,
            self.step,
            self.source,
            self.time,
            self.meta,
            self.run,
            self.graph,
            dict(self.values),
            dict(self.joins),
            list(self.due),
            dict(self.outcomes),
            {index: list(asks) for index, asks in self.asked.items()},
            dict(self.answers),
            self.nodes,
            self.path,
            self.weight,
        )

    def size(self) -> int:
        """Bytes of all values."""
        return sum(map(size, self.values.values()))

    def open_asks(self, index: int) -> list[Ask]:
        """Questions of a due task that have no answer."""
        outcome = self.outcomes.get(index)
        if outcome is None or outcome.done:
            return []
        return [ask for ask in outcome.asks if ask.id not in self.answers]

    def all_open_asks(self) -> list[Ask]:
        """Questions of all due tasks that have no answer, in the order of the tasks."""
        if not self.asked:
            return []
        return [ask for index in range(len(self.due)) for ask in self.open_asks(index)]

    def unfinished(self) -> list[int]:
        """Indices of the due tasks that have not finished."""
        return [
            index
            for index in range(len(self.due))
            if not ((outcome := self.outcomes.get(index)) and outcome.done)
        ]

    def runnable(self) -> list[int]:
        """Indices of the unfinished tasks that wait for no answer."""
        if not self.outcomes:
            return list(range(len(self.due)))
        return [index for index in self.unfinished() if not self.open_asks(index)]

    def blobs(self) -> set[str]:
        """Digests of the large values that this position refers to."""
        return {digest for part in self._parts() for digest in blobs_in(part)}

    def apply(self, header: Header, body: Body) -> None:
        """Move on by one record."""
        match body:
            case Commit():
                if header.commit is None:
                    raise IntegrityError(f"Record {header.seq} is a commit without its header.")
                self.commit(body, header.commit, header.time, header.run)
                self.path = extend(header.commit.path, header.seq)
                self.weight = header.commit.weight
            case TaskResults(outcomes):
                self.record(outcomes)
                self.path = extend(self.path, header.seq)
            case Answers():
                self.answer(body, header.by, header.time)
                self.path = extend(self.path, header.seq)
            case Mark():
                self.path = extend(self.path, header.seq)

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Take note of how tasks ended."""
        for outcome in outcomes:
            self.outcomes[outcome.index] = outcome
            if outcome.asks:
                known = self.asked.setdefault(outcome.index, [])
                known.extend(ask for ask in outcome.asks if ask not in known)

    def answer(self, body: Answers, by: str | None, time: float) -> None:
        """Take note of answers."""
        self.answers |= {name: Answer(value, by, time) for name, value in body.answers.items()}
        self.answers |= {name: Answer(None, by, time) for name in body.expired}

    def commit(
        self,
        body: Commit,
        info: CommitInfo,
        time: float,
        run: str | None,
        after: Mapping[str, Encoded | None] | None = None,
    ) -> None:
        """Move on by a commit, which may have no place in the log yet.

        Whoever made the commit knows the values it leads to, and passes them as `after`.
        """
        if body.outcomes:
            self.record(body.outcomes)
        self._settle_carried(body.due)
        if after is not None:
            for key, value in after.items():
                self._set(key, value)
        elif body.values is not None:
            self.values = dict(body.values)
        else:
            for key, op in (body.delta or {}).items():
                self._change(key, op)
        if body.joins or self.joins:
            self.joins = {name: tuple(seen) for name, seen in body.joins.items()}
        self.parent, self.checkpoint, self.branch = info.parent, info.id, info.branch
        self.step, self.source, self.nodes = info.step, info.source, info.nodes
        self.meta, self.graph = info.meta, info.graph
        self.time, self.run = time, run
        self._make_due(body.due)
        if body.known:
            self.record(body.known)

    def _settle_carried(self, due: Sequence[DueTask]) -> None:
        """Results that wait on are changes of the values before this commit: make them values."""
        for entry in due:
            outcome = self.outcomes.get(entry.carried) if entry.carried is not None else None
            if outcome is None or not outcome.writes:
                continue
            writes = [
                {key: self._absolute(key, written) for key, written in update.items()}
                for update in outcome.writes
            ]
            self.outcomes[outcome.index] = replace(outcome, writes=writes)

    def _absolute(self, key: str, written: Written) -> Written:
        if isinstance(written, bytes) or written[0] == "=":
            return written
        value = apply_op(self.values.get(key), written, _no_reference)
        return b"null" if value is None else flat(value)

    def _change(self, key: str, op: Op) -> None:
        def written(task: int) -> Sequence[Written]:
            return self.outcomes[task].written(key)

        self._set(key, apply_op(self.values.get(key), op, written))

    def _set(self, key: str, value: Encoded | None) -> None:
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value

    def _make_due(self, entries: Sequence[DueTask]) -> None:
        before, outcomes, asked, answers = self.due, self.outcomes, self.asked, self.answers
        self.due, self.outcomes, self.asked, self.answers = [], {}, {}, {}
        push = 0
        for index, entry in enumerate(entries):
            number = None
            if entry.arg is not None:
                number, push = push, push + 1
            if entry.carried is None:
                due = Due(self.branch, self.ns, self.step, entry.node, entry.arg, number)
                self.due.append(due)
                continue
            try:
                self.due.append(before[entry.carried])
            except IndexError as error:
                raise IntegrityError(
                    f"Checkpoint {self.checkpoint} carries on a task that was not due."
                ) from error
            if entry.carried in outcomes:
                self.outcomes[index] = replace(outcomes[entry.carried], index=index)
            for ask in asked.get(entry.carried, ()):
                self.asked.setdefault(index, []).append(ask)
                if ask.id in answers:
                    self.answers[ask.id] = answers[ask.id]

    def _parts(self) -> Iterator[bytes]:
        yield from map(flat, self.values.values())
        yield from (due.arg for due in self.due if due.arg is not None)
        for outcome in self.outcomes.values():
            for update in outcome.writes:
                for written in update.values():
                    yield from _bytes_of(written)
            yield from (arg for _, arg in outcome.sends)
        for asks in self.asked.values():  # answered ones are shown as well
            for ask in asks:
                yield from ask.parts
        yield from (a.value for a in self.answers.values() if a.value is not None)


def _no_reference(task: int) -> Iterable[Written]:
    raise LookupError(task)


def _bytes_of(written: Written) -> Iterator[bytes]:
    if isinstance(written, bytes):
        yield written
        return
    for part in written:
        if isinstance(part, bytes):
            yield part
        elif isinstance(part, Mapping):
            yield from part.values()
