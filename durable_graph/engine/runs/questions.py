"""The questions of one thread while a call holds it: asked, answered, run out of time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from durable_graph.decisions.answers import DEADLINE, is_over
from durable_graph.engine.runs.live import LiveThread
from durable_graph.errors import (
    InvalidAnswerError,
    MissingCheckpointerError,
    ResponseSchemaError,
)
from durable_graph.log.records import Answer, Answers, Ask
from durable_graph.state.responses import Form, checked
from durable_graph.types import UNSET

__all__ = ["Questions"]


class Questions:
    """What a thread asks, as the call that holds it sees and answers it.

    Args:
        live: the thread, as the graph has it that the call holds, or that is called within.
        around: of a graph within another, the questions of that one: the thread has them all.

    Attributes:
        given: the questions that this call has brought an answer to.
        refusal: what to tell the caller at the end, if a node has refused that answer.
    """

    __slots__ = ("_live", "_top", "given", "refusal")

    def __init__(self, live: LiveThread, around: Questions | None = None) -> None:
        self._live = live
        self._top: Questions = self if around is None else around._top
        self.given: Collection[str] = ()
        self.refusal: InvalidAnswerError | None = None

    # -- for nodes that ask --------------------------------------------------------------------

    def form(self, node: str, value: Any, response_schema: Any) -> tuple[Ask, Form | None]:
        """A question of a node, encoded but without its id and terms, and what answers it.

        Raises:
            MissingCheckpointerError: there is no log to keep it in.
            ResponseSchemaError: the schema is none, or cannot be checked here.
            InvalidUpdateError: it cannot be stored.
        """
        live = self._live
        if self._top._live.log is None:
            raise MissingCheckpointerError(
                f"Node {node!r} asks a question, but its graph has no checkpointer to keep it in. "
                f"Compile it with one: compile(checkpointer=InMemorySaver())."
            )
        question = live.freezer.value(value, f"The question of node {node!r}")
        if response_schema is None:
            return Ask("", question), None
        form = Form.of(response_schema)
        schema = live.freezer.value(form.schema, f"The response_schema of node {node!r}")
        self._top._live.definition.forms.remember(schema, form)
        return Ask("", question, schema), form

    def default(self, node: str, ask: Ask, default: Any, form: Form | None) -> bytes | None:
        """The answer that is to hold after the deadline, encoded; ``None`` for none.

        Raises:
            ResponseSchemaError: the question does not allow it.
            InvalidUpdateError: it cannot be stored.
        """
        if default is UNSET:
            return None
        try:
            data = checked(ask, default, self._live.freezer.thaw, form)
        except InvalidAnswerError as error:
            raise ResponseSchemaError(
                f"The default of node {node!r} is no answer to its own question: {error}"
            ) from error
        return self._live.freezer.value(data, f"The default of node {node!r}")

    def asked(self, name: str) -> Ask | None:
        """A question that was asked before, with the terms of that time."""
        whole = self._live.scope.whole
        for scope in (whole, *whole.nested.values()):
            for asks in scope.asked.values():
                for ask in asks:
                    if ask.id == name:
                        return ask
        return None

    def answer(self, name: str) -> Answer | None:
        """What a question was answered; ``None`` if it is open."""
        return self._live.scope.whole.answers.get(name)

    def thaw(self, value: bytes) -> Any:
        """A fresh copy of an answer."""
        return self._live.freezer.thaw(value)

    def now(self) -> float:
        """The time of day."""
        return self._live.clock.time()

    def refused(self, name: str, error: InvalidAnswerError) -> None:
        """A node does not take an answer that was stored; it is about to ask again."""
        if name in self._top.given:
            self._top.refusal = error

    # -- for those who answer ------------------------------------------------------------------

    def late(self, now: float, asks: Iterable[Ask] | None = None) -> list[str]:
        """Those of some questions, by default of the open ones, whose deadline has passed."""
        which = self._live.scope.all_open_asks() if asks is None else asks
        return [ask.id for ask in which if is_over(ask, now)]

    def checked(self, answers: Mapping[str, Any]) -> dict[str, Any]:
        """Answers as they are to be stored.

        Raises:
            InvalidAnswerError: one of them is not what its question asks for.
            ResponseSchemaError: one of them cannot be checked here.
        """
        scope, thaw = self._live.scope, self._live.freezer.thaw
        found = dict(answers)
        for asks in scope.asked.values():
            for ask in asks:
                if ask.id in answers and ask.schema is not None:
                    form = self._live.definition.forms.find(ask.schema)
                    found[ask.id] = checked(ask, answers[ask.id], thaw, form)
        return found

    def take_expired(self) -> bool:
        """Let what holds after their deadline answer the questions whose deadline has passed.

        It is appended to the log, and the caller flushes it.

        Returns:
            Whether there were any.
        """
        live, now = self._live, self._live.clock.time()
        over = [ask for ask in live.scope.all_open_asks() if is_over(ask, now)]
        if not over or live.log is None:
            return False
        held = {ask.id: ask.default for ask in over if ask.default is not None}
        body = Answers(held, tuple(ask.id for ask in over if ask.id not in held))
        live.log.add(body, now, by=DEADLINE)
        live.scope.answer(body, DEADLINE, now)
        return True
