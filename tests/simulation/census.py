"""What happened in simulated histories, counted: whether they are as eventful as they look."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final
from unittest import mock

from durable_graph.log.records import Answers, Body, Commit, Mark, TaskResults
from durable_graph.log.seal import open_record
from durable_graph.ports.backend import Append, Head, Outcome, Position, Removal, ThreadKey
from durable_graph.testing.simulation.calls import CallRecord
from durable_graph.testing.simulation.network import StorageCall
from durable_graph.testing.simulation.simulate import Simulation
from durable_graph.testing.simulation.storage import SimulatedStorage
from durable_graph.testing.simulation.witness import Witness

__all__ = ["census"]

_NOTED: Final = ("start", "crash", "pause", "resume", "cancel", "node", "node fails")


@contextlib.contextmanager
def census() -> Iterator[Counter[str]]:
    """Count what happens in the one history that runs inside the block."""
    seen: Counter[str] = Counter()
    arrived: set[int] = set()
    note, take_effect, rot = Simulation.note, StorageCall.take_effect, SimulatedStorage.rot
    appended, removed, ended = Witness.appended, Witness.removed, Witness.ended

    def count_note(self: Simulation, *what: Any) -> None:
        if what[0] == "call" and len(what) == 4:
            seen[f"storage {what[3]}"] += 1
        elif what[0] in _NOTED:
            seen[what[0]] += 1
        note(self, *what)

    def count_arrival(self: StorageCall[Any], *arguments: Any, **options: Any) -> None:
        if self.effect is not None:
            seen["arrives again"] += self.number in arrived
            arrived.add(self.number)
        take_effect(self, *arguments, **options)

    def count_rot(self: SimulatedStorage, *arguments: Any) -> None:
        seen["rot"] += 1
        rot(self, *arguments)

    def count_append(self: Witness, before: Head | None, append: Append, outcome: Outcome) -> None:
        seen.update(_append(before, append, outcome))
        appended(self, before, append, outcome)

    def count_removal(
        self: Witness, before: Head | None, thread: ThreadKey, what: Removal, done: bool
    ) -> None:
        if done:
            seen["removes a thread" if what.everything else "removes bodies"] += 1
        removed(self, before, thread, what, done)

    def count_ending(self: Witness, call: CallRecord) -> None:
        seen[f"{call.kind} {call.ended}"] += 1
        seen[call.durability] += call.kind in ("input", "go on", "answer", "command")
        if call.error is not None:
            seen[type(call.error).__name__] += 1
        ended(self, call)

    with contextlib.ExitStack() as stack:
        for kind, name, counting in (
            (Simulation, "note", count_note),
            (StorageCall, "take_effect", count_arrival),
            (SimulatedStorage, "rot", count_rot),
            (Witness, "appended", count_append),
            (Witness, "removed", count_removal),
            (Witness, "ended", count_ending),
        ):
            stack.enter_context(mock.patch.object(kind, name, counting))
        yield seen


def _append(before: Head | None, append: Append, outcome: Outcome) -> Iterator[str]:
    if outcome is Outcome.REFUSED:
        yield "append refused"
        return
    if append.expected != (None if before is None else Position.of(before)):
        yield "append known already"
        return
    if before is not None and before.run != append.head.run and before.status == "running":
        yield "take-over"
    if append.blobs:
        yield "large values"
    for verdict in append.settled.values():
        yield f"message {verdict or 'taken up'}"
    for record in append.records:
        header, body = open_record(record, append.head.secret, append.head.key.thread)
        yield from _record(body)
        if header.commit is not None:
            yield f"commit by {header.commit.source}"
            if header.commit.parent is not None and header.commit.branch == header.commit.id:
                yield "branch"


def _record(body: Body) -> Iterator[str]:
    match body:
        case Commit():
            yield "delta" if body.values is None else "snapshot"
            if any(entry.arg is not None for entry in body.due):
                yield "packets due"
            if body.joins:
                yield "join waits"
        case TaskResults(outcomes):
            yield "task results"
            for outcome in outcomes:
                if outcome.asks:
                    yield "question"
                if outcome.retry_at is not None:
                    yield "retry"
        case Answers(answers):
            yield "answers" if answers else "no answers"
        case Mark(status):
            yield f"mark {status}"
        case _:
            yield type(body).__name__
