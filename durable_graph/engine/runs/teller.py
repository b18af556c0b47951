"""What a run tells its watcher while it runs.

Nothing is told before it is written down at the run's durability level: what a record says (see
`durable_graph.engine.streams.narrator`) is held back until then. What no record has, tokens, custom
events and beginnings of tasks, is told at once. Where nobody watches, nothing is decoded.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from durable_graph.decisions.advance import with_results
from durable_graph.engine.runs.live import LiveThread
from durable_graph.engine.storage.runlog import Receipt
from durable_graph.engine.streams import shapes
from durable_graph.engine.streams.narrator import Narrator
from durable_graph.engine.streams.stream import Event, Stream, Within
from durable_graph.engine.tasks.execute import Failure, node_input
from durable_graph.log.fold import Due
from durable_graph.log.records import Commit, Mark, Outcome, Step
from durable_graph.state.messages import Message, message_id

__all__ = ["Teller"]


class Teller:
    """Tells what happens in a run.

    Args:
        live: the thread.
        stream: where to.
    """

    def __init__(self, live: LiveThread, stream: Stream | Within) -> None:
        self._live = live
        self._stream = stream
        self._modes = stream.modes
        self._held: list[tuple[Receipt, int, Event]] = []
        self.loop = asyncio.get_running_loop()
        self.thread = threading.get_ident()
        self._narrator = Narrator(
            live.definition,
            stream.modes,
            live.call.thread,
            live.freezer.thaw,
            partial(with_results, live.definition, live.reducers),
        )
        self._narrator.metadata = live.call.metadata

    # -- from nodes ----------------------------------------------------------------------------

    def custom(self, data: Any) -> None:
        """A node's own event, from whatever thread the node runs in."""
        if "custom" in self._modes:
            self._from_anywhere(Event("custom", data))

    def piece_of_message(
        self, due: Due, chunk: Any, id: str | None, more: Mapping[str, Any] | None = None
    ) -> None:
        """A token that a node emits, from whatever thread the node runs in."""
        if "messages" not in self._modes:
            return
        name = id or message_id(chunk) or due.id
        self._narrator.spoken.add(name)
        shown = self._narrator.message(due, self._live.scope.step + 1, _piece(chunk, name), more)
        self._from_anywhere(Event("messages", shown))

    # -- what begins ---------------------------------------------------------------------------

    def started(self, index: int) -> None:
        """A task is about to run."""
        if self._modes.isdisjoint(("tasks", "debug")):
            return
        live, due = self._live, self._live.scope.due[index]
        metadata = self._narrator.said(due)
        if tags := live.call.config.get("tags"):
            metadata["tags"] = list(tags)
        self._begins(
            lambda: shapes.task_payload(live.definition, due, node_input(live, index), metadata)
        )

    def call_started(self, due: Due, step: str, name: str, given: Any) -> None:
        """A function of the functional API is about to run, with these arguments."""
        if not self._modes.isdisjoint(("tasks", "debug")):
            id = shapes.call_id(due, step)
            self._begins(partial(shapes.call_payload, id, name, copy.copy(given)))

    # -- what is written -----------------------------------------------------------------------

    def results(
        self,
        outcomes: Sequence[Outcome],
        receipt: Receipt,
        failures: Mapping[int, Failure] | None = None,
    ) -> None:
        """Tasks have ended, or stopped at questions."""
        if self._modes:
            at, item = receipt, receipt.item
            told = self._narrator.results(
                self._live.scope, outcomes, at.seq, self._time(at), item, failures
            )
            self._hold(receipt, told)

    def call_result(self, step: Step, receipt: Receipt) -> None:
        """A function of the functional API has ended, and its result has been written down."""
        if self._modes:
            at, item = receipt, receipt.item
            told = self._narrator.steps(self._live.scope, [step], at.seq, self._time(at), item)
            self._hold(receipt, told)
            self.release(receipt)

    def shows_values(self, body: Commit) -> bool:
        """See `Narrator.shows_values`."""
        return self._narrator.shows_values(self._live.scope, body)

    def checkpoint(self, body: Commit, receipt: Receipt, *, changed: bool) -> None:
        """A commit has moved the thread on."""
        results = len(body.outcomes)
        scope = self._live.scope
        self._hold(receipt, self._narrator.checkpoint(scope, receipt.seq, results, changed=changed))

    def mark(self, body: Mark, receipt: Receipt) -> None:
        """A run ends before its graph does."""
        if self._modes:
            self._hold(receipt, self._narrator.mark(self._live.scope, body, receipt.seq))

    def present(self) -> None:
        """A call goes on with what there is: unless it has begun with a commit, show that."""
        if self._modes and not self._held:
            self._hold(Receipt(), self._narrator.checkpoint(self._live.scope))

    def unchanged(self) -> None:
        """The call found nothing to run: what it returns is all there is to see."""
        if not self._modes:
            return
        asked = self._live.interrupts()
        for event in self._narrator.checkpoint(self._live.scope):
            if not (asked and event.mode == "values"):
                self._stream.emit(event)
        if asked and "updates" in self._modes:
            self._stream.emit(Event("updates", {"__interrupt__": asked}))
        if asked:
            self.mark(Mark("asking"), Receipt())
            self.release()

    def release(self, receipt: Receipt | None = None) -> None:
        """What was held back has been written; up to this record, if one is named."""
        if not self._held:
            return
        held, self._held = self._held, []
        head = self._live.log.head if self._live.log is not None else None
        durable = head.seq if head is not None else 0
        for at, expected, event in held:
            if receipt is not None and at.seq > receipt.seq:
                self._held.append((at, expected, event))
            elif at.seq > durable:
                # In "async" durability: a crash may put something else under that cursor.
                self._stream.emit(event._replace(cursor=None))
            elif at.seq == expected:
                self._stream.emit(event)
            else:  # it has come to stand elsewhere
                places = (event.cursor or "").partition(".")[2]
                self._stream.emit(event._replace(cursor=f"{at.seq}.{places}"))

    # -- how -----------------------------------------------------------------------------------

    def _hold(self, receipt: Receipt, events: Iterable[Event]) -> None:
        self._held += [(receipt, receipt.seq, event) for event in events]

    def _time(self, receipt: Receipt) -> float:
        """When a record was written; now, if it was not."""
        return receipt.time if receipt.seq else self._live.clock.time()

    def _begins(self, payload: Callable[[], Any]) -> None:
        step = self._live.scope.step + 1
        if "tasks" in self._modes:
            self._stream.emit(Event("tasks", payload()))
        if "debug" in self._modes:
            now = self._live.clock.time()
            self._stream.emit(Event("debug", shapes.debug_payload("task", step, now, payload())))

    def _from_anywhere(self, event: Event) -> None:
        if threading.get_ident() == self.thread:
            self._stream.emit(event)
        else:
            self._stream.post(event, self.loop)


def _piece(chunk: Any, name: str) -> Any:
    """A piece of a message as it is now, with the message's id."""
    if isinstance(chunk, str):
        return Message("assistant", chunk, id=name)
    piece = copy.copy(chunk)  # the node may go on changing its own
    if message_id(piece) is None:
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # it cannot have one
            piece.id = name
    return piece
