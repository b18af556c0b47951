"""What a thread's history has to be: graphs, once more, as a few lines of sequential code.

Shares with the engine only what the nodes of `graphs` compute. There are no processes here, no
storage and no time: a state, a list of due tasks, and what follows from them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from durable_graph import END, START, Send
from durable_graph.testing.simulation.graphs import (
    GraphSpec,
    NodeSpec,
    Route,
    digest,
    question,
    spell,
    update_of,
)

__all__ = ["EMPTY", "MismatchError", "Model", "Reader", "State", "Task"]

Task = tuple[str, Any]
"""A due task: a node, and its argument if it was sent to."""

Values = Mapping[str, Any]
EMPTY: Values = {"log": [], "total": 0, "bag": {}}


class MismatchError(Exception):
    """What has happened is not what had to happen."""


@dataclass(frozen=True, slots=True)
class State:
    """A thread at one checkpoint.

    Attributes:
        values: the state's keys.
        due: what is due.
        joins: by target, which of its sources each waiting join has seen.
        input: the input that waits to be taken in, while the start is due.
        kept: what finished tasks have seen that an update has left waiting, by index.
    """

    values: Values = field(default_factory=lambda: EMPTY)
    due: tuple[Task, ...] = ()
    joins: Mapping[str, frozenset[str]] = field(default_factory=dict)
    input: Values | None = None
    kept: Mapping[int, Values] = field(default_factory=dict)


class Reader:
    """The tokens that a commit has added to the log, to be explained one by one.

    Args:
        tokens: the tokens.
        check_answer: is told each question and the answer that a node got to it; raises
            `MismatchError` if that cannot be.
    """

    def __init__(self, tokens: Sequence[str], check_answer: Callable[[str, str], None]) -> None:
        self._tokens = list(tokens)
        self._check_answer = check_answer

    def take(
        self, spec: NodeSpec, seen: str, item: int | None, before: Collection[str] = ()
    ) -> Values | None:
        """What a task wrote, the next token being its own.

        Args:
            spec: its node.
            seen: what it saw.
            item: the number of its packet, if it has one.
            before: what it may have seen instead: a graph within goes on with what it was given.
        """
        if not spec.writes:
            return None
        name = spell(spec, seen, item)
        if not self._tokens:
            raise MismatchError(f"Nothing was written by {name}.")
        token = self._tokens.pop(0)
        wrote, *answers = token.split("=")
        if (earlier := wrote.rpartition(".")[2]) in before:
            seen, name = earlier, spell(spec, earlier, item)
        if wrote != name:
            raise MismatchError(f"{name} should have written here, but there is {token!r}.")
        if len(answers) != spec.asks:
            raise MismatchError(f"{name} had {len(answers)} of {spec.asks} answers.")
        for number, answer in enumerate(answers):
            self._check_answer(question(spec, number, seen, item), answer)
        update = update_of(spec, seen, item, [_answer(answer) for answer in answers])
        if update is not None and update["log"] != [token]:
            raise MismatchError(f"{name} cannot have written {token!r}.")
        return update

    def take_input(self, update: Values | None) -> None:
        """What a caller wrote.

        Raises:
            MismatchError: that is not what is next.
        """
        for token in (update or {}).get("log", ()):
            if not self._tokens or self._tokens.pop(0) != token:
                raise MismatchError(f"The input {token} should have got into the state here.")

    def end(self) -> None:
        """See that all has been explained.

        Raises:
            MismatchError: it has not.
        """
        if self._tokens:
            raise MismatchError(f"Nobody wrote {self._tokens}.")


class Model:
    """A graph as sequential code."""

    def __init__(self, graph: GraphSpec) -> None:
        self._graph = graph

    def accept(self, state: State, update: Values) -> State:
        """An input is taken in, and waits for the start."""
        return State(state.values, ((START, None),), state.joins, update)

    def write(self, state: State, update: Values | None, due: Sequence[Task]) -> State:
        """Somebody writes to the state, and says what is due."""
        return State(_combine(state.values, [update]), tuple(due), state.joins)

    def write_beside(
        self, state: State, update: Values | None, finished: Sequence[int], more: Sequence[Task]
    ) -> State:
        """Somebody writes to the state while tasks wait, which go on waiting."""
        kept = {number: state.kept.get(number, state.values) for number in finished}
        after = _combine(state.values, [update])
        more = [task for task in more if task[1] is not None or task not in state.due]
        return State(after, (*state.due, *more), state.joins, state.input, kept)

    def write_as(
        self, state: State, update: Values | None, node: str, stays: Sequence[int]
    ) -> State:
        """Somebody writes to the state as if a node had; some of what is due stays so.

        Args:
            state: the state before.
            update: what is written.
            node: as which node.
            stays: the due tasks that stay so, if they are not the node's own.
        """
        if node == END:
            return self.write(state, update, ())
        after = _combine(state.values, [update])
        nodes, packets = _go((self._graph.node(node).route,), after)
        due, joins = self._follow(state.joins, [(node, nodes, packets)])
        waiting = [state.due[n] for n in stays if state.due[n][0] != node]
        left = [task for task in waiting if task[1] is not None or task not in due]
        return State(after, (*due, *left), joins)

    def finish(self, state: State, reader: Reader) -> State:
        """All due tasks have finished: the superstep closes."""
        if state.due and state.due[0][0] == START:
            reader.take_input(state.input)
            after = _combine(state.values, [state.input])
            due, joins = self._follow(state.joins, [(START, *self._lead(START, after))])
            return State(after, due, joins)
        updates, results = self._run(state, range(len(state.due)), reader)
        due, joins = self._follow(state.joins, results)
        return State(_combine(state.values, updates), due, joins)

    def promote(
        self, state: State, finished: Sequence[int], reader: Reader, *, keep: bool
    ) -> State:
        """What has finished gets into the state; the rest is dropped, or kept due beside what
        follows from what has finished."""
        if state.due and state.due[0][0] == START:
            reader.take_input(state.input)
            return State(_combine(state.values, [state.input]), (), state.joins)
        updates, results = self._run(state, finished, reader)
        after = _combine(state.values, updates)
        if not keep:
            return State(after, (), state.joins)
        left = [task for n, task in enumerate(state.due) if n not in finished]
        led, joins = self._follow(state.joins, results)
        more = [task for task in led if task[1] is not None or task not in left]
        return State(after, (*left, *more), joins)

    def shown(self, state: State, finished: Sequence[int], reader: Reader) -> Values:
        """The values with finished results in them, as callers see them."""
        return self.promote(state, finished, reader, keep=False).values

    def _run(
        self, state: State, which: Sequence[int], reader: Reader
    ) -> tuple[list[Values | None], list[tuple[str, list[str], list[Task]]]]:
        updates, results = [], []
        for number in which:
            name, packet = state.due[number]
            values = state.kept.get(number, state.values)
            seen = digest(values["log"])
            spec = self._graph.nodes[name]
            if packet is None:
                log = values["log"] if spec.within else ()
                before = {digest(log[:count]) for count in range(len(log))}
                update = reader.take(spec, seen, None, before)
            else:
                update = reader.take(spec, packet["of"], packet["item"])
            updates.append(update)
            results.append((name, *self._lead(name, _combine(values, [update]))))
        return updates, results

    def _lead(self, name: str, after: Values) -> tuple[list[str], list[Task]]:
        """Where routes lead from a node that has left the state so."""
        spec = self._graph.node(name)
        return _go((spec.command, spec.route), after)

    def _follow(
        self,
        joins: Mapping[str, frozenset[str]],
        results: Sequence[tuple[str, list[str], list[Task]]],
    ) -> tuple[tuple[Task, ...], Mapping[str, frozenset[str]]]:
        targets: set[str] = set()
        packets: list[Task] = []
        waiting = dict(joins)
        for name, nodes, sent in results:
            targets |= {*self._graph.node(name).targets, *nodes}
            packets += sent
            for sources, target in self._graph.joins:
                if name in sources:
                    waiting[target] = waiting.get(target, frozenset()) | {name}
        for sources, target in self._graph.joins:
            if waiting.get(target) == frozenset(sources):
                targets.add(target)
                del waiting[target]
        return (*((name, None) for name in sorted(targets - {END})), *packets), waiting


def _go(routes: Sequence[Route | None], after: Values) -> tuple[list[str], list[Task]]:
    nodes: list[str] = []
    packets: list[Task] = []
    for route in routes:
        for part in route(after) if route is not None else ():
            if isinstance(part, Send):
                packets.append((part.node, part.arg))
            elif part != END:
                nodes.append(part)
    return nodes, packets


def _combine(values: Values, updates: Sequence[Values | None]) -> Values:
    after = dict(values)
    for update in updates:
        for key, value in (update or {}).items():
            match key:
                case "log":
                    after[key] = [*after[key], *value]
                case "total":
                    after[key] += value
                case "bag":
                    after[key] = {**after[key], **value}
                case _:
                    after[key] = value
    return after


def _answer(text: str) -> Any:
    kind, _, rest = text.partition(" ")
    return {"log": [rest]} if kind == "input" else text
