"""What the records of a thread say to those who watch it, mode by mode.

One function for each kind of record, whether it is being written or is read back: so that who
watches a run and who reads its events afterwards are told the same, under the same cursors.

Everything is decoded from what was written, anew for each mode: what one watcher does to an event
changes nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.streams import shapes
from durable_graph.engine.streams.stream import Event, MessageEvent
from durable_graph.log.delta import Encoded
from durable_graph.log.fold import Due, Scope
from durable_graph.log.records import Commit, Mark, Outcome, Step
from durable_graph.state.messages import is_message, message_id
from durable_graph.types import START, StreamMode

if TYPE_CHECKING:
    from durable_graph.engine.tasks.execute import Failure

__all__ = ["PLACES", "Narrator", "cursor_at", "messages_in"]

PLACES: Final = 4
"""What each result has of places in its record: its messages, its update, its end for "tasks" and
for "debug". Behind the results, a commit has its values, and its checkpoint for "checkpoints" and
for "debug"."""

_MESSAGES, _UPDATE, _TASK, _DEBUG = range(PLACES)

Thaw = Callable[[Encoded], Any]


def cursor_at(seq: int, *places: int) -> str | None:
    """Where the log has an event; ``None`` if it does not have it."""
    return ".".join(map(str, (seq, *places))) if seq else None


class Narrator:
    """Turns records into events.

    An event's cursor is its record and its place there, which does not depend on what is watched.

    Args:
        definition: the graph.
        modes: what is watched.
        thread: the thread; ``None`` for a run that is not stored, which has no checkpoints.
        thaw: decodes a value.
        merged: the state with the results of finished tasks in it.

    Attributes:
        metadata: what the caller of the run said about it.
        spoken: ids of messages whose pieces were emitted: they are not said again as a whole.
    """

    def __init__(
        self,
        definition: GraphDefinition,
        modes: Collection[StreamMode],
        thread: str | None,
        thaw: Thaw,
        merged: Callable[[Scope], Mapping[str, Encoded]],
    ) -> None:
        self._definition = definition
        self._modes = modes
        self._thread = thread
        self._thaw = thaw
        self._merged = merged
        self._step: str | None = None
        self._said: set[str] = set()
        self._caught: set[int] = set()
        self.metadata: Mapping[str, Any] = {}
        self.spoken: set[str] = set()

    # -- records -------------------------------------------------------------------------------

    def results(
        self,
        scope: Scope,
        outcomes: Sequence[Outcome],
        seq: int,
        time: float,
        item: int = 0,
        failures: Mapping[int, Failure] | None = None,
    ) -> Iterator[Event]:
        """Results of tasks, written in a record of their own or with a commit.

        Args:
            scope: the state that the tasks are due in.
            outcomes: the results.
            seq: number of the record.
            time: when it was written.
            item: where in the record the results begin.
            failures: what the tasks have failed with, by index, where that is at hand.
        """
        if self._step != scope.checkpoint:
            self._begin_step(scope, {outcome.index for outcome in outcomes})
        for place, outcome in enumerate(outcomes, item):
            # What a caller wrote is no task's; what is tried again has not ended.
            if outcome.index >= 0 and outcome.retry_at is None:
                failure = None if failures is None else failures.get(outcome.index)
                due = self._whose(scope, outcome) if failure is None else failure.due
                error: Any = outcome.error if failure is None else failure.error
                yield from self._result(scope, due, outcome, seq, PLACES * place, time, error)

    def steps(
        self, scope: Scope, steps: Sequence[Step], seq: int, time: float, item: int = 0
    ) -> Iterator[Event]:
        """Calls of the functional API: those that have come to a result."""
        thaw = self._thaw
        for place, step in enumerate(steps, item):
            if step.kind != "task" or step.value is None:
                continue
            due, value = scope.due[step.index], step.value
            if "updates" in self._modes:
                at = cursor_at(seq, PLACES * place + _UPDATE)
                yield Event("updates", shapes.call_update_payload(step, thaw(value)), at)

            def payload(due: Due = due, step: Step = step, value: bytes = value) -> Any:
                name = shapes.call_id(due, step.id)
                return shapes.call_result_payload(name, step.name, thaw(value))

            yield from self._ended(payload, scope.step + 1, seq, PLACES * place, time)

    def shows_values(self, scope: Scope, body: Commit) -> bool:
        """Whether a commit has values to show: asked of the state before it."""
        results = (*scope.outcomes.values(), *body.outcomes)
        return any(outcome.writes for outcome in results)

    def checkpoint(
        self, scope: Scope, seq: int = 0, results: int = 0, *, changed: bool = True
    ) -> Iterator[Event]:
        """A commit: the values and the checkpoint.

        Args:
            scope: the state that it has led to.
            seq: number of its record; 0 to show what was shown before, once more.
            results: how many results it has in it.
            changed: whether it has values to show; see `shows_values`.
        """
        place = PLACES * results
        if "values" in self._modes and _values_count(scope, changed):
            yield Event("values", self._values(scope.values), cursor_at(seq, place))
        if self._thread is None:
            return
        if "checkpoints" in self._modes:
            yield Event("checkpoints", self._payload(scope), cursor_at(seq, place + 1))
        if "debug" in self._modes:
            shown = shapes.debug_payload("checkpoint", scope.step, scope.time, self._payload(scope))
            yield Event("debug", shown, cursor_at(seq, place + 2))

    def mark(self, scope: Scope, body: Mark, seq: int) -> Iterator[Event]:
        """A run's end before that of its graph: with questions, or at a breakpoint."""
        if body.event == "asking" and "values" in self._modes:
            shown = self._values(self._merged(scope))
            if self._definition.entry is not None or not isinstance(shown, dict):
                shown = {}  # what an entrypoint returned before is no result of this run
            asked = shapes.interrupts_of(scope.all_open_asks(), self._thaw)
            yield Event("values", {**shown, "__interrupt__": asked}, cursor_at(seq, 0))
        elif (body.event, body.detail) == ("stopped", "breakpoint") and "updates" in self._modes:
            yield Event("updates", {"__interrupt__": ()}, cursor_at(seq, 1))

    # -- parts of events -----------------------------------------------------------------------

    def said(self, due: Due) -> dict[str, Any]:
        """What the caller and the node say about themselves."""
        node = self._definition.nodes.get(due.node)  # one that is gone says nothing
        own = node.metadata if node is not None else None
        return {**copy.deepcopy({**self.metadata}), **(own or {})}

    def message(
        self, due: Due, step: int, message: Any, more: Mapping[str, Any] | None = None
    ) -> MessageEvent:
        """A message or a piece of one, with where it comes from."""
        own = {**self.said(due), **(more or {})}
        if self._thread is not None:
            own["thread_id"] = self._thread
        return MessageEvent((message, shapes.message_metadata(self._definition, due, step, own)))

    def _result(
        self,
        scope: Scope,
        due: Due,
        outcome: Outcome,
        seq: int,
        place: int,
        time: float,
        error: Any,
    ) -> Iterator[Event]:
        definition, thaw, base = self._definition, self._thaw, scope.values
        if "messages" in self._modes:
            yield from self._messages(scope, due, outcome, seq, place)
        asks = outcome.asks
        if "updates" in self._modes and outcome.error is None:
            shown = (
                {"__interrupt__": shapes.interrupts_of(asks, thaw)}
                if asks
                else shapes.update_payload(definition, base, due.name, outcome, thaw)
            )
            yield Event("updates", shown, cursor_at(seq, place + _UPDATE))

        def payload() -> Any:
            result = shapes.result_of(definition, base, outcome, thaw)
            return shapes.task_result_payload(due, result, error, shapes.interrupts_of(asks, thaw))

        yield from self._ended(payload, scope.step + 1, seq, place, time)

    def _ended(
        self, payload: Callable[[], Any], step: int, seq: int, place: int, time: float
    ) -> Iterator[Event]:
        if "tasks" in self._modes:
            yield Event("tasks", payload(), cursor_at(seq, place + _TASK))
        if "debug" in self._modes:
            shown = shapes.debug_payload("task_result", step, time, payload())
            yield Event("debug", shown, cursor_at(seq, place + _DEBUG))

    def _messages(
        self, scope: Scope, due: Due, outcome: Outcome, seq: int, place: int
    ) -> Iterator[Event]:
        known = self._known(scope, due, outcome)
        count = 0
        for message in self._messages_of(scope, outcome):
            name = message_id(message) or ""
            if name not in known and message.type != "remove":
                if name not in self.spoken:
                    at = cursor_at(seq, place + _MESSAGES, count)
                    yield Event("messages", self.message(due, scope.step + 1, message), at)
                count += 1
                known.add(name)
                self._said.add(name)

    def _whose(self, scope: Scope, outcome: Outcome) -> Due:
        """The task as whose end a result counts: its node's, or its error handler's."""
        due = scope.due[outcome.index]
        if outcome.index in self._caught:
            return replace(due, handler=True)
        if outcome.caught is None:
            return due
        self._caught.add(outcome.index)
        # Its handler is still to run, or it has begun before anybody watched.
        return due if outcome.caught == outcome.error else replace(due, handler=True)

    def _begin_step(self, scope: Scope, telling: Collection[int]) -> None:
        """Note what siblings have said that had finished before anybody watched."""
        self._step, self._said, self._caught = scope.checkpoint, set(), set()
        for index, outcome in scope.outcomes.items():
            if "messages" in self._modes and index not in telling:
                said = (message_id(message) for message in self._messages_of(scope, outcome))
                self._said.update(name for name in said if name)

    def _known(self, scope: Scope, due: Due, outcome: Outcome) -> set[str]:
        """Ids of the messages that a result does not say anew: those that its node was given,
        those that stood where it writes, and those that its siblings have said before."""
        keys = {key for update in outcome.writes for key in update}
        node = self._definition.nodes.get(due.node)
        if due.arg is None and node is not None:
            keys.update(node.input.channels)
        given = [self._thaw(scope.values[key]) for key in keys if key in scope.values]
        if due.arg is not None:
            given.append(self._thaw(due.arg))
        names = {message_id(message) or "" for value in given for message in messages_in(value)}
        return names - {""} | self._said

    def _messages_of(self, scope: Scope, outcome: Outcome) -> Iterator[Any]:
        for update in outcome.writes:
            alone = Outcome(0, [update])
            shown = shapes.result_of(self._definition, scope.values, alone, self._thaw)
            for value in shown.values():
                yield from messages_in(value)

    def _values(self, values: Mapping[str, Encoded]) -> Any:
        definition = self._definition
        return shapes.values_of(definition, values, definition.channels, self._thaw)

    def _payload(self, scope: Scope) -> dict[str, Any]:
        values = self._values(scope.values)
        thread = self._thread or ""
        return shapes.checkpoint_payload(self._definition, scope, thread, values, self._thaw)


def _values_count(scope: Scope, changed: bool) -> bool:
    """Whether the values of a checkpoint are of interest: they are the caller's own as long as an
    input waits to be taken in, and the old ones where a superstep has written nothing."""
    if scope.source == "loop":
        return changed
    return scope.source != "input" or not scope.due or scope.due[0].node != START


def messages_in(value: Any) -> list[Any]:
    """The messages in a value: itself, or what is in its lists, or in those of its values."""
    if is_message(value):
        return [value]
    parts = value.values() if isinstance(value, dict) else [value]
    found = []
    for part in parts:
        candidates = part if isinstance(part, (list, tuple)) else [part]
        found += [item for item in candidates if is_message(item)]
    return found
