"""Checks what happens against what may happen, while it happens.

The witness stands inside the storage system, beside every node and behind every caller. So it
knows what is stored at the moment when a caller hears of it, which is the order that promises
are about.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from durable_graph import Runtime, StateSnapshot
from durable_graph.definition.graph import GraphDefinition
from durable_graph.errors import (
    AlreadyAnsweredError,
    DurableGraphError,
    UnknownInterruptError,
)
from durable_graph.log.records import Head, ThreadKey
from durable_graph.ports.backend import Append, Outcome, Position, Process, Removal
from durable_graph.testing.simulation.calls import CallRecord
from durable_graph.testing.simulation.chronicle import Chronicle
from durable_graph.testing.simulation.model import EMPTY, MismatchError, Model
from durable_graph.testing.simulation.simulate import Simulation

__all__ = ["Witness"]

_MEMORY = 90.0
_RUNS = ("input", "go on", "answer", "command")


class Witness:
    """Knows all that has happened in a simulated world, and says what may not have.

    Args:
        simulation: is told of problems.
        definition: the graph.
        model: the graph as sequential code.

    Attributes:
        calls: all calls by id.
        threads: the chronicles of each thread, one for each time it was made anew.
    """

    def __init__(self, simulation: Simulation, definition: GraphDefinition, model: Model) -> None:
        self.calls: dict[str, CallRecord] = {}
        self.threads: dict[str, list[Chronicle]] = {}
        self._simulation = simulation
        self._definition = definition
        self._model = model
        self._exists: set[str] = set()
        self._beats: dict[str, list[float]] = {}
        self._tasks: dict[str, str] = {}
        self._keys: dict[str, str] = {}
        self._steps: dict[str, tuple[str, str]] = {}

    def chronicle(self, thread: str) -> Chronicle | None:
        """What is known of a thread that exists."""
        return self.threads[thread][-1] if thread in self._exists else None

    def existing(self) -> list[str]:
        """The threads that exist."""
        return sorted(self._exists)

    # -- in the storage system -----------------------------------------------------------------

    def appended(self, before: Head | None, append: Append, outcome: Outcome) -> None:
        """An append was answered for."""
        key, last = append.head.key, append.records[-1]
        fits = (None if before is None else Position.of(before)) == append.expected
        if outcome is Outcome.REFUSED:
            self._check(not fits, f"An append to {key.thread} that fits was refused.")
            return
        chronicle = self.chronicle(key.thread)
        if not fits:
            known = chronicle is not None and chronicle.links.get(last.seq) == last.link
            self._check(known, f"A foreign append to {key.thread} was let in: {append.head.run}.")
            return
        if before is None:
            chronicle = Chronicle(self._definition, self._model, self.calls)
            self.threads.setdefault(key.thread, []).append(chronicle)
            self._exists.add(key.thread)
        if chronicle is None:
            self._simulation.fail(f"An append to {key.thread}, which was deleted.")
            return
        if before is not None:
            self._taken_over(before, append)
        try:
            chronicle.extend(append)
        except (MismatchError, DurableGraphError) as problem:
            call = self.calls.get(append.head.run or "")
            self._simulation.fail(f"Thread {key.thread}, record {last.seq}, by {call}: {problem}")

    def removed(self, before: Head | None, thread: ThreadKey, what: Removal, done: bool) -> None:
        """A removal was answered for."""
        chronicle = self.chronicle(thread.thread)
        if not done or chronicle is None:
            return
        if what.everything:
            self._exists.discard(thread.thread)
            return
        chronicle.forget(what.bodies)
        newest = max(chronicle.commits, key=chronicle.commits.__getitem__)
        self._check(chronicle.readable(newest), f"Too much of {thread.thread} was pruned.")

    def beaten(self, process: Process) -> None:
        """A sign of life was stored."""
        self._beats.setdefault(process.id, []).append(self._simulation.loop.time())

    def _taken_over(self, before: Head, append: Append) -> None:
        """A run's thread was taken over: its owner had better been silent for a lease."""
        call = self.calls.get(before.run or "")
        if before.status != "running" or before.run == append.head.run or call is None:
            return
        worker = next(w for w in self._simulation.workers if w.name == call.worker)
        if call.ended is not None or not worker.alive:
            return
        now = self._simulation.loop.time()
        beats = [*self._beats.get(before.owner or "", ()), now]
        recent = [b - a for a, b in pairwise(beats) if b > now - _MEMORY]
        silent = max(recent, default=_MEMORY) > self._simulation.lease.length
        self._check(silent, f"{append.head.run} took {before.key.thread} from {call}, who lives.")

    # -- beside the nodes ----------------------------------------------------------------------

    def started(self, runtime: Runtime) -> None:
        """A node begins to run."""
        thread, task, key = runtime.thread_id or "", runtime.task_id, runtime.idempotency_key
        same = self._keys.setdefault(key, task) == task and self._tasks.setdefault(task, key) == key
        self._check(same, f"Task {task} of {thread} and its key {key} do not go together.")
        chronicle = self.chronicle(thread)
        if chronicle is None or chronicle.head is None:
            return
        # A run that has lost its thread may not know it yet; what it does is in vain.
        if chronicle.head.run == runtime.run_id and chronicle.head.status == "running":
            self._check(
                task not in chronicle.done,
                f"Node {runtime.node} of {thread} runs again, though its result is stored.",
            )

    def step_started(self, runtime: Runtime, name: str) -> None:
        """The function of a step begins to run."""
        thread, step = runtime.thread_id or "", (runtime.task_id, name)
        key = runtime.idempotency_key
        same = self._steps.setdefault(key, step) == step
        self._check(same, f"Two steps of {thread} have the key {key}.")
        chronicle = self.chronicle(thread)
        if chronicle is None or chronicle.head is None:
            return
        if chronicle.head.run == runtime.run_id and chronicle.head.status == "running":
            where = f"Step {name} of {runtime.node} in {thread}"
            self._check(step not in chronicle.steps_done, f"{where} is run again.")
            stored = self.calls[runtime.run_id].durability == "exit" or step in chronicle.claimed
            self._check(stored, f"{where} is run before it is claimed.")

    # -- behind the callers --------------------------------------------------------------------

    def begin(self, call: CallRecord) -> None:
        """A call is about to be made."""
        self.calls[call.id] = call
        call.generation = len(self.threads.get(call.thread, ()))
        chronicle = self.chronicle(call.thread)
        if chronicle is not None:
            call.position = max(chronicle.commits.values(), default=0)

    def heard(self, call: CallRecord, cursor: str | None) -> None:
        """An event arrived that the log has at a cursor."""
        if cursor is None or call.durability != "sync":
            return
        written = max((c.runs.get(call.id, 0) for c in self._since(call)), default=0)
        self._check(
            written >= int(cursor.partition(".")[0]),
            f"{call} heard of {cursor}, but only {written} is stored.",
        )

    def ended(self, call: CallRecord) -> None:
        """A call has ended for its caller."""
        if call.ended == "refused":
            self._refused(call)
        if call.ended != "returned":
            return
        if call.kind in _RUNS:
            self._returned(call)
        elif call.kind == "edit":
            made = call.value["configurable"]["checkpoint_id"]
            known = any(made in chronicle.commits for chronicle in self._since(call))
            self._check(known, f"{call} returned, but nothing is stored.")
        elif call.kind == "state":
            self._read(call, call.value)
        elif call.kind == "delete":
            gone = len(self.threads.get(call.thread, ())) > call.generation
            gone |= call.thread not in self._exists or not call.generation
            self._check(gone, f"{call} returned, but the thread is there.")
        elif call.kind == "history":
            for snapshot in call.value:
                self._recorded(call, snapshot)

    def _since(self, call: CallRecord) -> list[Chronicle]:
        return self.threads.get(call.thread, [])[max(call.generation - 1, 0) :]

    def _refused(self, call: CallRecord) -> None:
        for chronicle in self._since(call):
            taken = [text for text in call.answers.values() if text in chronicle.answered]
            self._check(not taken, f"{call} was refused, but {taken} was taken up.")
            if not isinstance(call.error, (AlreadyAnsweredError, UnknownInterruptError)):
                self._check(call.id not in chronicle.runs, f"{call} was refused, but has written.")

    def _returned(self, call: CallRecord) -> None:
        log = call.value["log"]
        known = any("\n".join(log) in chronicle.shown for chronicle in self._since(call))
        self._check(known, f"{call} returned {log}, which is not stored.")
        answered = {text for c in self._since(call) for text in c.answered}
        given = set(call.answers.values())
        if call.durability == "exit":
            given = set()  # of an answer there may be nothing left but what its node made of it
        self._check(given <= answered, f"{call} returned, but {given - answered} is not stored.")
        if call.update is not None:
            (token,) = call.update["log"]
            taken = token in log or f"input {token}" in answered
            taken |= call.durability == "exit" and any(f"input {token}" in t for t in log)
            self._check(taken, f"{call} returned, but {token} is not in {log}.")

    def _read(self, call: CallRecord, snapshot: StateSnapshot) -> None:
        name = snapshot.checkpoint_id
        if name is None:
            gone = call.thread not in self._exists or len(self._since(call)) > 1
            gone |= not call.generation
            self._check(gone, f"{call} saw nothing of a thread that exists.")
            return
        since = self._since(call)
        chronicle = next((c for c in since if name in c.commits), None)
        if chronicle is None:
            self._simulation.fail(f"{call} saw {name}, which was never stored.")
            return
        if call.checkpoint is not None:
            self._recorded(call, snapshot)
            return
        log = snapshot.values["log"]
        self._check("\n".join(log) in chronicle.shown, f"{call} saw {log}, which never was.")
        fresh = chronicle is not since[0] or chronicle.commits[name] >= call.position
        self._check(fresh, f"{call} saw {name}, though record {call.position} was stored before.")

    def _recorded(self, call: CallRecord, snapshot: StateSnapshot) -> None:
        """A checkpoint, as it was shown, is as it was written."""
        name = snapshot.checkpoint_id or ""
        for chronicle in self._since(call):
            if name in chronicle.states:
                values: Mapping[str, Any] = {**EMPTY, **chronicle.states[name].values}
                same = values == snapshot.values
                self._check(same, f"{call} saw {snapshot.values} instead of {values} at {name}.")
                return
        self._simulation.fail(f"{call} saw {name}, which was never stored.")

    def _check(self, holds: bool, problem: str) -> None:
        self._simulation.check(holds, problem)
