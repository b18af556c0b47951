"""A stored state as this version of its graph has it: the commit that its migrations make.

What a migration does is one more commit on what was there: nothing before it is rewritten, the due
tasks stay the same tasks, and reading a thread that has not been moved on yet shows what that
commit would lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from durable_graph.decisions.answers import all_answers, interrupt_id
from durable_graph.decisions.freeze import Freezer
from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.migration import (
    Change,
    ConvertKey,
    ConvertQuestion,
    ConvertResult,
    ConvertSend,
    DropKey,
    RenameKey,
    RenameNode,
)
from durable_graph.errors import IncompatibleGraphError
from durable_graph.log.delta import Encoded, Op, Written, apply_op, diff, flat
from durable_graph.log.fold import Scope
from durable_graph.log.records import Answer, Answers, Ask, Commit, DueTask, Outcome
from durable_graph.types import Overwrite

__all__ = ["Migrated", "migrate"]


@dataclass(slots=True)
class Migrated:
    """What migrations make of a state.

    Attributes:
        body: the commit.
        nodes: the nodes that ran last, by their names now.
        answers: answers to questions that are other questions now, by hand and moment.
    """

    body: Commit
    nodes: tuple[str, ...] = ()
    answers: Sequence[tuple[Answers, str | None, float]] = ()


def migrate(
    definition: GraphDefinition,
    scope: Scope,
    changes: Iterable[Change],
    freezer: Freezer,
    thread: str,
) -> Migrated:
    """What changes of the graph make of a stored state.

    Args:
        definition: the graph as it is now.
        scope: the state as it is stored; not changed.
        changes: what has become of what it was written with, in order.
        freezer: decodes and encodes for the thread.
        thread: its id, for messages.

    Raises:
        IncompatibleGraphError: one of the changes cannot be applied to this state.
    """
    draft = _Draft(definition, scope, freezer)
    for change in changes:
        try:
            draft.apply(change)
        except Exception as error:  # of functions that convert: anything may be wrong with them
            raise IncompatibleGraphError(
                f"The migration {change!r} fails on thread {thread!r}: "
                f"{type(error).__name__}: {error}. Nothing was changed."
            ) from error
    return draft.commit()


class _Draft:
    """A state while it is being changed."""

    def __init__(self, definition: GraphDefinition, scope: Scope, freezer: Freezer) -> None:
        self._definition = definition
        self._before = scope
        self._freezer = freezer
        self._values: dict[str, Encoded] = dict(scope.values)
        self._nodes = [due.node for due in scope.due]
        self._args = [due.arg for due in scope.due]
        self._outcomes = {
            index: replace(outcome, writes=[self._absolute(update) for update in outcome.writes])
            for index, outcome in scope.outcomes.items()
        }
        self._asked = {index: list(asks) for index, asks in scope.asked.items()}
        self._answers: dict[str, Answer] = {}
        self._joins = dict(scope.joins)
        self._ran = scope.nodes
        self._was = dict(self._outcomes)

    def apply(self, change: Change) -> None:
        """Apply one change."""
        match change:
            case RenameNode(old, new):
                self._rename_node(old, new)
            case RenameKey(old, new):
                self._rename_key(old, new)
            case DropKey(key):
                self._values.pop(key, None)
                self._write(lambda update: {k: w for k, w in update.items() if k != key})
            case ConvertKey():
                self._convert_key(change)
            case ConvertResult(node, convert):
                self._write(lambda update: self._converted(update, convert), node)
            case ConvertSend(node, convert):
                self._convert_sends(node, convert)
            case ConvertQuestion(node, convert):
                for index in self._of(node):
                    self._convert_questions(index, convert)

    def commit(self) -> Migrated:
        """The commit that makes of the state before what it has become."""
        before = self._before
        delta: dict[str, Op] = {
            key: diff(before.values.get(key), flat(value))
            for key, value in self._values.items()
            if before.values.get(key) is not value
        }
        delta |= {key: ("-",) for key in before.values if key not in self._values}
        due = [
            DueTask(node, arg, index)
            for index, (node, arg) in enumerate(zip(self._nodes, self._args, strict=True))
        ]
        return Migrated(
            Commit(delta=delta, joins=self._joins, due=due, known=list(self._known())),
            self._ran,
            list(all_answers(self._answers)),
        )

    def _known(self) -> Iterable[Outcome]:
        for index, outcome in sorted(self._outcomes.items()):
            asks = tuple(self._asked.get(index, ()))
            if asks and asks != tuple(self._before.asked.get(index, ())):
                yield Outcome(index, asks=asks)  # those that were answered are on record, too
            if asks or outcome != self._was[index]:
                yield outcome

    # -- renaming --------------------------------------------------------------------------------

    def _rename_node(self, old: str, new: str) -> None:
        if any(ns.startswith(f"{old}:") or ns == old for ns in self._before.nested):
            raise ValueError(f"a graph within node {old!r} is under way: finish it first")

        def renamed(name: str) -> str:
            return new if name == old else name

        self._nodes = [renamed(name) for name in self._nodes]
        self._ran = tuple(map(renamed, self._ran))
        for index, outcome in self._outcomes.items():
            self._outcomes[index] = replace(
                outcome,
                goto=tuple(map(renamed, outcome.goto)),
                sends=tuple(packet._replace(node=renamed(packet.node)) for packet in outcome.sends),
            )
        joins: dict[str, tuple[str, ...]] = {}
        for name, seen in self._joins.items():
            sources, _, target = name.partition(":")
            names = sorted(map(renamed, sources.split("+")))
            joins["+".join(names) + ":" + renamed(target)] = tuple(map(renamed, seen))
        self._joins = joins

    def _rename_key(self, old: str, new: str) -> None:
        if new in self._values:
            raise ValueError(f"the state has a value for {new!r} already")
        self._values = {new if key == old else key: v for key, v in self._values.items()}
        self._write(lambda update: {new if key == old else key: w for key, w in update.items()})

    # -- converting ------------------------------------------------------------------------------

    def _convert_key(self, change: ConvertKey) -> None:
        key = change.key
        if key in self._values:
            value = change.value(self._freezer.thaw(self._values[key]))
            self._values[key] = self._freezer.reduced(key, value)
        channel = self._definition.channels.get(key)
        reduced = channel is not None and channel.reducer is not None
        convert = change.update or (None if reduced else change.value)

        def converted(update: Mapping[str, Written]) -> Mapping[str, Written]:
            if key not in update:
                return update
            written = update[key]
            if type(written) is tuple:  # it replaces the value
                return {**update, key: ("=", self._convert(written[1], change.value))}
            if convert is None:
                raise ValueError(f"an update of {key!r} waits for its reducer: give update=, too")
            return {**update, key: self._convert(written, convert)}

        self._write(converted)

    def _convert_sends(self, node: str, convert: Callable[[Any], Any]) -> None:
        for index in self._of(node):
            arg = self._args[index]
            if arg is not None:
                self._args[index] = self._convert(arg, convert)
        for index, outcome in self._outcomes.items():
            sends = tuple(
                packet._replace(arg=self._convert(packet.arg, convert))
                if packet.node == node
                else packet
                for packet in outcome.sends
            )
            self._outcomes[index] = replace(outcome, sends=sends)

    def _convert_questions(self, index: int, convert: Callable[[Any], Any]) -> None:
        task, given = self._before.due[index], self._before.whole.answers
        times: dict[tuple[str, bytes], int] = {}
        changed: dict[str, Ask] = {}
        for ask in self._asked.get(index, ()):
            if any(ask in asks for asks in self._asked_within()):
                changed[ask.id] = ask  # its own node asks it in the words that it has
                continue
            other = replace(ask, value=self._convert(ask.value, convert))
            who = replace(task, handler=ask.handler).id + ask.step
            nth = times.get((who, other.content), 0)
            times[who, other.content] = nth + 1
            changed[ask.id] = replace(other, id=interrupt_id(who, other.content, nth))
            answer = self._answers.pop(ask.id, None) or given.get(ask.id)
            if answer is not None:
                self._answers[changed[ask.id].id] = answer
        self._asked[index] = list(changed.values())
        outcome = self._outcomes.get(index)
        if outcome is not None and outcome.asks:
            asks = tuple(changed.get(ask.id, ask) for ask in outcome.asks)
            self._outcomes[index] = replace(outcome, asks=asks)

    def _asked_within(self) -> Iterable[Sequence[Ask]]:
        """What graphs within ask, which the tasks that call them are seen to ask as well."""
        return (asks for scope in self._before.nested.values() for asks in scope.asked.values())

    def _converted(
        self, update: Mapping[str, Written], convert: Callable[[Any], Any]
    ) -> Mapping[str, Written]:
        thaw, freeze = self._freezer.thaw, self._freezer.value
        plain = {
            key: Overwrite(thaw(w[1])) if type(w) is tuple else thaw(w)  # type: ignore[arg-type]
            for key, w in update.items()
        }
        return {
            key: ("=", freeze(v.value, key)) if isinstance(v, Overwrite) else freeze(v, key)
            for key, v in convert(plain).items()
        }

    def _convert(self, value: Any, convert: Callable[[Any], Any]) -> bytes:
        return self._freezer.value(convert(self._freezer.thaw(value)), "What a migration made")

    # -- how -------------------------------------------------------------------------------------

    def _of(self, node: str) -> list[int]:
        return [index for index, name in enumerate(self._nodes) if name == node]

    def _write(
        self,
        change: Callable[[Mapping[str, Written]], Mapping[str, Written]],
        node: str | None = None,
    ) -> None:
        """Change what finished tasks have written; of one node, if it is named."""
        for index, outcome in self._outcomes.items():
            if node is None or self._nodes[index] == node:
                writes = [change(update) for update in outcome.writes]
                self._outcomes[index] = replace(outcome, writes=writes)

    def _absolute(self, update: Mapping[str, Written]) -> dict[str, Written]:
        return {key: self._whole(key, written) for key, written in update.items()}

    def _whole(self, key: str, written: Written) -> Written:
        if isinstance(written, bytes) or written[0] == "=":
            return written
        value = apply_op(self._before.values.get(key), written, _no_reference)
        return b"null" if value is None else flat(value)


def _no_reference(task: int) -> Any:
    raise LookupError(task)
