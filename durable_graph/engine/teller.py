"""What a run tells its watcher, mode by mode.

Nothing is told before it is written down at the run's durability level, and everything is decoded
from what was written, anew for each mode: what one watcher does to an event changes nothing else.
Where nobody watches, nothing is decoded.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

from durable_graph.engine import shapes
from durable_graph.engine.execute import Failure, node_input
from durable_graph.engine.live import LiveThread
from durable_graph.engine.runlog import Receipt
from durable_graph.engine.stream import Event, MessageEvent, Stream, Within
from durable_graph.log.delta import Encoded
from durable_graph.log.fold import Due
from durable_graph.log.records import Outcome
from durable_graph.state.messages import Message, is_message, message_id
from durable_graph.types import StreamMode

__all__ = ["Teller", "Told"]

_PLACES: Final = 3

Told = tuple[Due, int, Outcome, Mapping[str, Encoded]]
"""A task, its step, its result, and the values that this refers to, from before the commit."""


class Teller:
    """Tells what happens in a run.

    An event's cursor is its record and its place there, which does not depend on what is watched:
    three places for each result (its messages, counted apart; the update; the task's end), then
    one for the values and one for the checkpoint.

    Args:
        live: the thread.
        stream: where to.
    """

    def __init__(self, live: LiveThread, stream: Stream | Within) -> None:
        self._live = live
        self._stream = stream
        self._modes = stream.modes
        self._messages_told: set[str] = set()
        self._held: list[tuple[Receipt, int, StreamMode, Any]] = []
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()

    # -- from nodes ----------------------------------------------------------------------------

    def custom(self, data: Any) -> None:
        """A node's own event, from whatever thread the node runs in."""
        if "custom" in self._modes:
            self._from_anywhere(Event("custom", data))

    def piece_of_message(self, due: Due, chunk: Any, id: str | None) -> None:
        """A token that a node emits, from whatever thread the node runs in."""
        if "messages" not in self._modes:
            return
        name = id or message_id(chunk) or due.id
        self._messages_told.add(name)
        shown = self._message(due, self._live.scope.step + 1, _piece(chunk, name))
        self._from_anywhere(Event("messages", shown))

    # -- from the run --------------------------------------------------------------------------

    def started(self, index: int) -> None:
        """A task is about to run."""
        if self._modes.isdisjoint(("messages", "tasks", "debug")):
            return
        live, due = self._live, self._live.scope.due[index]
        if "messages" in self._modes:  # what a node was given it does not say
            given = _messages_in(node_input(live, index))
            self._messages_told.update(filter(None, map(message_id, given)))
        metadata = self._metadata(due)
        if tags := live.call.config.get("tags"):
            metadata["tags"] = list(tags)

        def payload() -> Any:
            return shapes.task_payload(live.definition, due, node_input(live, index), metadata)

        self._task("task", live.scope.step + 1, payload, None)

    def call_started(self, due: Due, step: str, name: str, given: Any) -> None:
        """A function of the functional API is about to run, with these arguments."""
        if not self._modes.isdisjoint(("tasks", "debug")):
            id = shapes.call_id(due, step)
            payload = partial(shapes.call_payload, id, name, copy.copy(given))
            self._task("task", self._live.scope.step + 1, payload, None)

    def call_result(self, due: Due, step: str, name: str, value: bytes, receipt: Receipt) -> None:
        """A function of the functional API has ended, and its result has been written down."""
        if not self._modes:
            return
        thaw, seq, place = self._live.freezer.thaw, receipt.seq, _PLACES * receipt.item
        if "updates" in self._modes:
            self._emit("updates", {name: thaw(value)}, _cursor(seq, place + 1))

        def payload() -> Any:
            return shapes.call_result_payload(shapes.call_id(due, step), name, thaw(value))

        self._task("task_result", self._live.scope.step + 1, payload, _cursor(seq, place + 2))

    def keep(self, outcomes: Sequence[Outcome]) -> list[Told]:
        """What telling these results takes, before the commit that moves the thread on."""
        if not self._modes:
            return []
        scope = self._live.scope
        return [
            (
                scope.due[outcome.index],
                scope.step + 1,
                outcome,
                {k: scope.values[k] for u in outcome.writes for k in u if k in scope.values},
            )
            for outcome in outcomes
        ]

    def result(self, outcome: Outcome, receipt: Receipt) -> None:
        """A task has ended, or stopped at a question, and has been written down."""
        for told in self.keep([outcome]):
            self._result(told, receipt.seq, _PLACES * receipt.item)

    def failure(self, failure: Failure, receipt: Receipt) -> None:
        """A task has failed for good, and that has been written down."""
        due, error = failure.due, cast("Any", failure.error)

        def payload() -> Any:
            return shapes.task_result_payload(due, {}, error, ())

        cursor = _cursor(receipt.seq, _PLACES * receipt.item + 2)
        self._task("task_result", self._live.scope.step + 1, payload, cursor)

    def step(self, results: Sequence[Told], receipt: Receipt, *, written: bool) -> None:
        """A superstep has been committed: its last results, the values, the checkpoint."""
        if not self._modes:
            return
        self.release()
        place = 0
        for told in results:
            self._result(told, receipt.seq, place)
            place += _PLACES
        if "values" in self._modes and written:
            self._emit("values", self._values(), _cursor(receipt.seq, place))
        for mode, payload in self._checkpoint():
            self._emit(mode, payload, _cursor(receipt.seq, place + 1))

    def asking(self, receipt: Receipt | None = None) -> None:
        """The run ends with questions.

        Args:
            receipt: the place behind the results that ask, if this run has written them down.
        """
        if "values" in self._modes:
            shown = self._live.shown(self._live.with_results())
            asked = self._live.interrupts()
            if self._live.definition.entry is not None or not isinstance(shown, dict):
                shown = {}  # what an entrypoint returned before is no result of this run
            at = receipt or Receipt()
            cursor = _cursor(at.seq, _PLACES * at.item)
            self._emit("values", {**shown, "__interrupt__": asked}, cursor)

    def breakpoint(self, receipt: Receipt) -> None:
        """The run stops at a breakpoint.

        Args:
            receipt: the place behind the results of the step that reached it.
        """
        if "updates" in self._modes:
            cursor = _cursor(receipt.seq, _PLACES * receipt.item + 2)
            self._emit("updates", {"__interrupt__": ()}, cursor)

    def unchanged(self) -> None:
        """The call found nothing to run: what it returns is all there is to see."""
        asked = self._live.interrupts() if self._modes else ()
        if not asked and "values" in self._modes:
            self._emit("values", self._values())
        for mode, payload in self._checkpoint():
            self._emit(mode, payload)
        if asked and "updates" in self._modes:
            self._emit("updates", {"__interrupt__": asked})
        if asked:
            self.asking()

    def hold(self, receipt: Receipt, place: int = 0, *, values: bool = True) -> None:
        """Keep what there is to show of a checkpoint until it is written; see `release`.

        Args:
            receipt: of its record.
            place: where the values stand there.
            values: whether to show the values, and not only the checkpoint.
        """
        if values and "values" in self._modes:
            self._held.append((receipt, place, "values", self._values()))
        for mode, payload in self._checkpoint():
            self._held.append((receipt, place + 1, mode, payload))

    def release(self) -> None:
        """What was kept has been written."""
        held, self._held = self._held, []
        for receipt, place, mode, payload in held:
            self._emit(mode, payload, _cursor(receipt.seq, place))

    # -- how -----------------------------------------------------------------------------------

    def _emit(self, mode: StreamMode, data: Any, cursor: str | None = None) -> None:
        self._stream.emit(Event(mode, data, cursor))

    def _from_anywhere(self, event: Event) -> None:
        if threading.get_ident() == self.thread:
            self._stream.emit(event)
        else:
            self._stream.post(event, self.loop)

    def _values(self) -> Any:
        return self._live.shown(self._live.scope.values)

    def _checkpoint(self) -> list[tuple[StreamMode, Any]]:
        live = self._live
        if live.log is None or self._modes.isdisjoint(("checkpoints", "debug")):
            return []
        scope, thread, thaw = live.scope, live.log.key.thread, live.freezer.thaw

        def payload() -> Any:
            values = self._values()
            return shapes.checkpoint_payload(live.definition, scope, thread, values, thaw)

        shown: list[tuple[StreamMode, Any]] = []
        if "checkpoints" in self._modes:
            shown.append(("checkpoints", payload()))
        if "debug" in self._modes:
            debug = shapes.debug_payload("checkpoint", scope.step, scope.time, payload())
            shown.append(("debug", debug))
        return shown

    def _result(self, told: Told, seq: int, place: int) -> None:
        due, step, outcome, base = told
        if outcome.caught is not None:
            due = replace(due, handler=True)
        definition, thaw = self._live.definition, self._live.freezer.thaw
        if "messages" in self._modes:
            self._messages((due, *told[1:]), _cursor(seq, place))
        if "updates" in self._modes:
            shown = (
                {"__interrupt__": shapes.interrupts_of(outcome.asks, thaw)}
                if outcome.asks
                else shapes.update_payload(definition, base, due.name, outcome, thaw)
            )
            self._emit("updates", shown, _cursor(seq, place + 1))

        def payload() -> Any:
            result = shapes.result_of(definition, base, outcome, thaw)
            asks = shapes.interrupts_of(outcome.asks, thaw)
            return shapes.task_result_payload(due, result, outcome.error, asks)

        self._task("task_result", step, payload, _cursor(seq, place + 2))

    def _task(self, kind: str, step: int, payload: Callable[[], Any], cursor: str | None) -> None:
        if "tasks" in self._modes:
            self._emit("tasks", payload(), cursor)
        if "debug" in self._modes:
            now = self._live.clock.time()
            self._emit("debug", shapes.debug_payload(kind, step, now, payload()), cursor)

    def _messages(self, told: Told, cursor: str | None) -> None:
        due, step, outcome, base = told
        definition, thaw = self._live.definition, self._live.freezer.thaw
        found: list[Any] = []
        for update in outcome.writes:
            shown = shapes.result_of(definition, base, Outcome(0, [update]), thaw)
            found += [message for value in shown.values() for message in _messages_in(value)]
        for count, message in enumerate(found):
            name = message_id(message) or ""
            if name not in self._messages_told and message.type != "remove":
                self._messages_told.add(name)
                own = None if cursor is None else f"{cursor}.{count}"
                self._emit("messages", self._message(due, step, message), own)

    def _message(self, due: Due, step: int, message: Any) -> MessageEvent:
        live, own = self._live, self._metadata(due)
        if live.call.thread is not None:
            own["thread_id"] = live.call.thread
        return MessageEvent((message, shapes.message_metadata(live.definition, due, step, own)))

    def _metadata(self, due: Due) -> dict[str, Any]:
        """What the caller and the node say about themselves."""
        live = self._live
        given = live.call.config.get("metadata") or {}
        return {**given, **(live.definition.nodes[due.node].metadata or {})}


def _cursor(seq: int, place: int) -> str | None:
    return f"{seq}.{place}" if seq else None


def _piece(chunk: Any, name: str) -> Any:
    """A piece of a message as it is now, with the message's id."""
    if isinstance(chunk, str):
        return Message("assistant", chunk, id=name)
    piece = copy.copy(chunk)  # the node may go on changing its own
    if message_id(piece) is None:
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # it cannot have one
            piece.id = name
    return piece


def _messages_in(value: Any) -> list[Any]:
    """The messages in a value: itself, or what is in its lists, or in those of its values."""
    if is_message(value):
        return [value]
    parts = value.values() if isinstance(value, dict) else [value]
    found = []
    for part in parts:
        candidates = part if isinstance(part, (list, tuple)) else [part]
        found += [item for item in candidates if is_message(item)]
    return found
