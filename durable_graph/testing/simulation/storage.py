"""A simulated storage system: what one is to the processes that call it over a bad network.

It holds what `InMemoryBackend` holds. Each process has a backend of its own, whose calls take
time, fail, lose their answers, arrive late or twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from durable_graph.errors import (
    OutcomeUnknownError,
    StorageBusyError,
    StorageError,
    StorageFullError,
)
from durable_graph.ports.backend import (
    Append,
    Backend,
    Head,
    Liveness,
    Outcome,
    Process,
    Record,
    Removal,
    ThreadKey,
)
from durable_graph.ports.clock import Clock
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.testing.simulation.backend import SimulatedBackend
from durable_graph.testing.simulation.faults import CALM, Faults
from durable_graph.testing.simulation.network import StorageCall, at_once

__all__ = ["Observer", "SimulatedStorage"]


class Observer(Protocol):
    """Sees what happens inside the storage system, at the moment when it happens."""

    def appended(self, before: Head | None, append: Append, outcome: Outcome) -> None:
        """An append was answered for."""

    def removed(self, before: Head | None, thread: ThreadKey, what: Removal, done: bool) -> None:
        """A removal was answered for."""

    def beaten(self, process: Process) -> None:
        """A sign of life was stored."""


class SimulatedStorage:
    """A storage system that several processes share.

    Args:
        numbers: decides what befalls each call.
        clock: the clock of the storage system's own machine.
        faults: what goes wrong; can be changed at any time.
        note: told of every call and its fate, for a trace.

    Attributes:
        fate: decides what befalls a call, given a line that spells it; ``None`` leaves it to
            chance. Fates are "fine", "busy", "broken", "lost", "late" and "never"; see `Faults`.
        observer: sees what happens inside.
    """

    def __init__(
        self,
        numbers: random.Random | None = None,
        clock: Clock | None = None,
        faults: Faults = CALM,
        note: Callable[..., None] = lambda *_: None,
    ) -> None:
        self.faults = faults
        self.store: Backend = InMemoryBackend(clock)
        self.fate: Callable[[str], str | None] = lambda _: None
        self.observer: Observer | None = None
        self.note = note
        self.buried = False
        self._numbers = numbers or random.Random(0)  # noqa: S311 - chance, not a secret
        self._under_way: dict[str, set[StorageCall[Any]]] = {}
        self._calls = 0
        self._graves: set[bytes] = set()
        self._rotten: dict[ThreadKey, dict[int, float]] = {}

    def __repr__(self) -> str:
        return f"<SimulatedStorage over {self.store!r}>"

    def backend(self, name: str = "process", *, alone: bool = False) -> SimulatedBackend:
        """The backend of one process.

        Args:
            name: names the process in traces.
            alone: whether it counts as a process of a host of its own, so that only its signs of
                life tell others that it is alive.
        """
        return SimulatedBackend(self, name, alone=alone)

    def lose(self, name: str) -> None:
        """A process is gone: what of its calls has not arrived yet arrives, or does not."""
        for call in sorted(self._under_way.pop(name, ()), key=lambda call: call.number):
            call.wanted = False
            if self._numbers.random() < 0.5:
                call.effect = None

    def bury(self) -> None:
        """Answer nobody any more."""
        self.buried = True
        self.observer = None

    def head(self, thread: ThreadKey) -> Head | None:
        """The head of a thread as it really is."""
        reading = at_once(self.store.read(thread))
        return None if reading is None else reading.head

    def apply(self, batch: Sequence[Append], beat: Process | None) -> list[Outcome]:
        """Do what an append does."""
        outcomes = []
        for append in batch:
            begins = append.expected is None and append.card is None
            if begins and append.records[0].link in self._graves:
                # A late copy of what began, or was to begin, a thread that was deleted since. One
                # with a card needs no grave: its card comes too late as well.
                outcomes.append(Outcome.REFUSED)
                continue
            before = self.head(append.head.key) if self.observer is not None else None
            (outcome,) = at_once(self.store.append([append]))
            outcomes.append(outcome)
            if begins and outcome is Outcome.REFUSED:
                self._graves.add(append.records[0].link)
            if self.observer is not None:
                self.observer.appended(before, append, outcome)
        if beat is not None:
            self.sign(beat)
        return outcomes

    def sign(self, process: Process | None) -> Sequence[Liveness]:
        """Do what a sign of life does."""
        if process is not None and self.observer is not None:
            self.observer.beaten(process)
        return at_once(self.store.beat(process))

    def rot(self, thread: ThreadKey, seq: int, place: float) -> None:
        """Have a stored record be damaged from now on: a bit of its body is another.

        Args:
            thread: whose.
            seq: which.
            place: where in the body, from 0 up to 1.
        """
        self._rotten.setdefault(thread, {})[seq] = place

    def decayed(self, thread: ThreadKey, records: Sequence[Record]) -> list[Record]:
        """Records as they are read: those that are damaged, damaged."""
        rotten = self._rotten.get(thread, {})
        return [
            replace(record, body=_flip(record.body, rotten[record.seq]))
            if record.body is not None and record.seq in rotten
            else record
            for record in records
        ]

    def drop(self, thread: ThreadKey, what: Removal) -> bool:
        """Do what a removal does."""
        before = self.head(thread)
        if what.everything and before is not None:
            first = at_once(self.store.scan(thread, ((1, 1),)))
            self._graves.update(record.link for record in first)
        done = at_once(self.store.remove(thread, what))
        if self.observer is not None:
            self.observer.removed(before, thread, what, done)
        return done

    def send(self, call: StorageCall[Any]) -> None:
        """Take a call on its way; what befalls it is decided here."""
        faults, numbers = self.faults, self._numbers
        there, back = faults.wait(numbers), faults.wait(numbers)
        self._calls += 1
        call.number = self._calls
        self._under_way.setdefault(call.caller, set()).add(call)
        fate = self.fate(call.what) or self._draw(call)
        self.note("call", call.caller, call.what, fate)
        unanswered = partial(call.take_effect, None, broken=True)
        match fate:
            case "busy":
                call.later(there + back, call.fail, StorageBusyError("The storage is busy."))
            case "broken":
                error = StorageFullError("There is no space.") if call.writes else StorageError()
                call.later(there + back, call.fail, error)
            case "lost":
                call.later(there, unanswered)
                call.later(there + back, call.fail, _lost(call))
            case "never":
                call.later(there + back, call.fail, _lost(call))
            case "late":
                call.later(there + back, call.fail, _lost(call))
                late = there + back + numbers.uniform(0, faults.lateness)
                call.later(late, unanswered)
            case _:
                call.later(there, call.take_effect, back)
        arrives = fate not in ("busy", "broken", "never")
        if arrives and call.repeats and numbers.random() < faults.again:
            later = there + numbers.uniform(0, faults.lateness)
            broken = numbers.random() < 0.5
            call.later(later, partial(call.take_effect, None, broken=broken))

    def _draw(self, call: StorageCall[Any]) -> str:
        faults, number = self.faults, self._numbers.random()
        late = faults.late if call.writes else 0.0
        bounds = {
            "busy": faults.busy,
            "broken": faults.broken,
            "lost": faults.lost,
            "late": 0.7 * late,
            "never": 0.3 * late,
        }
        for fate, bound in bounds.items():
            if number < bound:
                return fate
            number -= bound
        return "fine"

    def done(self, call: StorageCall[Any]) -> None:
        """Nothing more is to become of a call."""
        self._under_way.get(call.caller, set()).discard(call)

    def split(self, batch: Sequence[Append]) -> Sequence[Append]:
        """Those appends of a batch that were done before the connection broke."""
        if len(batch) == 1:
            return batch
        return [append for append in batch if self._numbers.random() < 0.5]


def _lost(call: StorageCall[Any]) -> StorageError:
    if call.writes:
        return OutcomeUnknownError("The connection broke before the answer came.")
    return StorageError("The connection broke.")


def _flip(body: bytes, place: float) -> bytes:
    at = int(place * len(body))
    return body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
