"""One thread's history as it is being written, each record explained by the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from durable_graph.decisions.freeze import Freezer
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.streams import shapes
from durable_graph.log.fold import Scope
from durable_graph.log.records import (
    Answers,
    Body,
    Commit,
    Outcome,
    Step,
    Steps,
    TaskResults,
)
from durable_graph.log.seal import Header, open_record
from durable_graph.ports.backend import Append, Head
from durable_graph.testing.simulation.calls import CallRecord
from durable_graph.testing.simulation.model import EMPTY, MismatchError, Model, Reader, State
from durable_graph.types import START

__all__ = ["Chronicle"]


class Chronicle:
    """What is known of one thread, from its first record on.

    Args:
        definition: the graph.
        model: the graph as sequential code.
        calls: all calls by id.

    Attributes:
        head: its head.
        commits: sequence numbers of its commits by checkpoint id, oldest first.
        states: the states at its checkpoints.
        done: ids of tasks whose results are stored.
        claimed: steps that were claimed, as task and key.
        steps_done: steps whose results are stored.
        answered: all answers that were taken up, and the question that each was for.
        shown: each log that a caller may be shown, as one text, and the record it came with.
        pruned: records whose bodies are gone.
        runs: by run, the record that it wrote last.
    """

    def __init__(
        self, definition: GraphDefinition, model: Model, calls: Mapping[str, CallRecord]
    ) -> None:
        self.head: Head | None = None
        self.commits: dict[str, int] = {}
        self.states: dict[str, State] = {}
        self.paths: dict[str, set[int]] = {}
        self.done: set[str] = set()
        self.claimed: set[tuple[str, str]] = set()
        self.steps_done: set[tuple[str, str]] = set()
        self.answered: dict[str, str] = {}
        self.shown: dict[str, int] = {}
        self.pruned: set[int] = set()
        self.runs: dict[str, int] = {}
        self.inputs: dict[str, int] = {}
        self.links: dict[int, bytes] = {}
        self._definition = definition
        self._model = model
        self._calls = calls
        self._freezer = Freezer(definition, definition.codec, b"", lambda: "")
        self._scope = Scope()
        self._scopes: dict[str, Scope] = {}
        self._branches: set[str] = set()
        self._promoted = ""

    @property
    def state(self) -> State:
        """The state at the last checkpoint."""
        return self.states.get(self._scope.checkpoint, State())

    @property
    def open_questions(self) -> list[str]:
        """Ids of the questions that are open."""
        return [ask.id for ask in self._scope.all_open_asks()]

    def extend(self, append: Append) -> None:
        """Take note of records that were stored.

        Raises:
            MismatchError: they are not what had to be written.
            IntegrityError: one of them is damaged.
        """
        self._check_head(append)
        self._freezer.blobs.update(append.blobs)
        thread = append.head.key.thread
        opened = [open_record(r, append.head.secret, thread) for r in append.records]
        for place, (header, body) in enumerate(opened):
            # The root graph's next record: what graphs within do explains nothing of it.
            after = next((h for h, _ in opened[place + 1 :] if not h.ns), None)
            self._take(header, body, after)
        if self._scope.path != append.head.path or self._scope.checkpoint != append.head.checkpoint:
            raise MismatchError("The head does not fit its last record.")
        self.head = append.head

    def forget(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Bodies of records were removed, under a new epoch."""
        for first, last in ranges:
            self.pruned.update(range(first, last + 1))
        if self.head is not None:
            self.head = replace(self.head, epoch=self.head.epoch + 1)

    def readable(self, checkpoint: str) -> bool:
        """Whether nothing was pruned that a checkpoint needs."""
        return not self.paths[checkpoint] & self.pruned

    def _check_head(self, append: Append) -> None:
        before, head = self.head, append.head
        seq, link = (before.seq, before.link) if before is not None else (0, b"")
        for record in append.records:
            seq += 1
            if record.seq != seq or record.previous != link:
                raise MismatchError(f"Record {record.seq} does not follow record {seq - 1}.")
            link = record.link
            self.links[seq] = link
        if (head.seq, head.link) != (seq, link):
            raise MismatchError("The head is not at its last record.")
        if before is None:
            return
        epoch = before.epoch + (before.run != head.run)
        if head.epoch != epoch:
            raise MismatchError(f"Epoch {head.epoch} of run {head.run} should be {epoch}.")

    def _take(self, header: Header, body: Body, after: Header | None) -> None:
        self.runs[header.run or ""] = header.seq
        call = self._calls.get(header.run or "")
        if call is None:
            raise MismatchError(f"Nobody made a call {header.run}.")
        match body:
            case Commit() | TaskResults() if header.ns:
                scope = self._scope.within(header.ns)
                self._note_done(body.outcomes, scope, again=call.durability == "exit")
                self._scope.apply(header, body)
            case Commit():
                self._commit(header, body, after, call)
            case Answers(answers):
                self._answers(answers, call)
                self._scope.apply(header, body)
            case TaskResults(outcomes):
                self._note_done(outcomes, self._scope, again=call.durability == "exit")
                self._scope.apply(header, body)
            case Steps(steps):
                for step in steps:
                    self._note_step(step, again=call.durability == "exit")
                self._scope.apply(header, body)
            case _:
                self._scope.apply(header, body)
        self._show(header.seq)

    def _note_done(self, outcomes: Sequence[Outcome], scope: Scope, *, again: bool = False) -> None:
        for outcome in outcomes:
            if outcome.index >= 0 and outcome.done:
                task = scope.due[outcome.index]
                known = scope.outcomes.get(outcome.index)
                if known is not None and known.done and task.node != START and not again:
                    raise MismatchError(f"Task {task.id} of {task.node} is done twice.")
                self.done.add(task.id)

    def _note_step(self, step: Step, *, again: bool) -> None:
        name = (self._scope.due[step.index].id, step.name)
        if name in self.steps_done and not again:
            raise MismatchError(f"Step {step.name} of task {name[0]} is {step.state} once more.")
        if step.state == "claimed":
            self.claimed.add(name)
        elif step.state == "done":
            self.steps_done.add(name)
        elif name not in self.claimed and not again:
            raise MismatchError(f"Step {step.name} of task {name[0]} failed unclaimed.")

    def _answers(self, answers: Mapping[str, bytes], call: CallRecord) -> None:
        asked = {ask.id: ask.value for asks in self._scope.asked.values() for ask in asks}
        for name, encoded in answers.items():
            answer = self._freezer.thaw(encoded)
            text = answer if isinstance(answer, str) else f"input {answer['log'][0]}"
            if name not in asked and call.durability == "exit":
                # It was asked and answered between two states that were written.
                self.answered[text] = ""
                continue
            if name not in asked:
                raise MismatchError(f"{text!r} answers what nobody asks.")
            if name in self._scope.answers:
                if self._scope.answers[name].value == encoded and call.durability == "exit":
                    continue
                raise MismatchError(f"{text!r} answers what has an answer.")
            self.check_answer(self._freezer.thaw(asked[name]), text)
            if text in self.answered and isinstance(answer, str):
                raise MismatchError(f"{text!r} was taken up twice.")
            self.answered[text] = self._freezer.thaw(asked[name])

    def check_answer(self, question: str, answer: str) -> None:
        """See that an answer was given to this very question.

        Raises:
            MismatchError: it was not.
        """
        giver, _, meant = answer.partition("!")
        call = self._calls.get(giver.removeprefix("a").partition(".")[0])
        if answer.startswith("input "):
            return
        if call is None or answer not in call.answers.values():
            raise MismatchError(f"Nobody gave the answer {answer!r}.")
        if meant not in ("*", question):
            raise MismatchError(f"{answer!r} was taken for an answer to {question!r}.")

    # -- commits -------------------------------------------------------------------------------

    def _commit(self, header: Header, body: Commit, after: Header | None, call: CallRecord) -> None:
        info = header.commit
        if info is None:
            raise MismatchError("A commit without its header.")
        branched = self._branch_off(info.parent, info.branch, call)
        before = self._scope.copy()
        self._note_done(body.outcomes, self._scope)
        self._scope.apply(header, body)
        for outcome in body.outcomes:
            if outcome.index >= 0:
                before.outcomes[outcome.index] = outcome
        actual = self._state()
        state = self.states.get(before.checkpoint, State())
        known = len(state.values["log"])
        log = actual.values["log"]
        if log[:known] != state.values["log"]:
            raise MismatchError(f"What was in the log is not there any more: {log}.")
        finished = [n for n, outcome in sorted(before.outcomes.items()) if outcome.done]
        steps = info.step - before.step
        if call.durability == "exit":
            expected = self._explain_exit(
                call, steps, state, finished, log[known:], actual, branched=branched
            )
        else:
            stays = [] if branched else self._stay(before)
            expected = self._explain(
                call, info.source, steps, state, finished, log[known:], after, stays
            )
        _compare(expected, actual)
        if info.source == "input":
            self.inputs[call.id] = self.inputs.get(call.id, 0) + 1
            if self.inputs[call.id] > 1:
                raise MismatchError(f"The input of {call.id} was taken twice.")
        self.commits[info.id] = header.seq
        self.states[info.id] = expected
        self._scopes[info.id] = self._scope.copy()
        self.paths[info.id] = {n for a, b in self._scope.path for n in range(a, b + 1)}

    def _branch_off(self, parent: str | None, branch: str, call: CallRecord) -> bool:
        """Go to the position that a commit follows: the last one, unless it begins a branch."""
        branched = False
        if self.head is None and not self.commits:
            if parent is not None:
                raise MismatchError("The first checkpoint has a parent.")
        elif branch == self._scope.branch:
            if parent != self._scope.checkpoint:
                raise MismatchError(f"An unlabelled branch at {parent}, by {call}.")
        else:
            if branch in self._branches or call.checkpoint is None or parent != call.checkpoint:
                raise MismatchError(f"A branch at {parent} that {call} did not ask for.")
            self._scope = self._scopes[parent].copy()
            branched = True
        self._branches.add(branch)
        return branched

    def _explain(
        self,
        call: CallRecord,
        source: str,
        steps: int,
        state: State,
        finished: Sequence[int],
        tokens: Sequence[str],
        after: Header | None,
        stays: Sequence[int],
    ) -> State:
        if steps != 1:
            raise MismatchError(f"A commit {steps} steps after its parent.")
        reader, model = Reader(tokens, self.check_answer), self._model
        following = after.commit.source if after is not None and after.commit is not None else None
        match source:
            case "loop" if following in ("input", "update"):
                state = model.promote(state, finished, reader, keep=following == "update")
                self._promoted = self._scope.checkpoint
            case "loop":
                if len(finished) != len(state.due):
                    raise MismatchError(f"Of {state.due} only {finished} have finished.")
                state = model.finish(state, reader)
            case "fork":
                state = State(state.values, state.due, state.joins, state.input, {})
            case _:
                return self._written(call, source, state, finished, stays)
        reader.end()
        return state

    def _written(
        self,
        call: CallRecord,
        source: str,
        state: State,
        finished: Sequence[int],
        stays: Sequence[int],
    ) -> State:
        update, model = call.update, self._model
        if update is None:
            raise MismatchError(f"{call} writes nothing, but {source} was stored.")
        goto = [(name, None) for name in sorted(call.goto)]
        if source == "update" and call.kind == "edit":
            if call.checkpoint is None and state.due[:1] == ((START, None),):
                raise MismatchError(f"The input {state.input} was dropped.")
            return model.write_as(state, update, call.node or self._last_node(), stays)
        if source == "update":
            return model.write_beside(state, update, finished, goto)
        if call.kind == "command":
            return model.write(state, update, goto)
        return model.accept(state, update)

    def _stay(self, before: Scope) -> list[int]:
        """Tasks that an edit leaves due: what asks, and what follows from finished siblings."""
        fresh = before.step if before.checkpoint == self._promoted else None
        return [n for n, due in enumerate(before.due) if before.open_asks(n) or due.step == fresh]

    def _last_node(self) -> str:
        # The commit has been applied: its nodes are those that it was written as.
        return self._scope.nodes[0] if self._scope.nodes else START

    def _explain_exit(
        self,
        call: CallRecord,
        steps: int,
        state: State,
        finished: Sequence[int],
        tokens: Sequence[str],
        actual: State,
        *,
        branched: bool,
    ) -> State:
        """Several supersteps in one commit: whichever way the call may have begun."""
        model, update = self._model, call.update or EMPTY

        def went_on(reader: Reader) -> tuple[State, int]:
            return state, 0

        def began(reader: Reader) -> tuple[State, int]:
            return model.accept(state, update), 1

        def began_anew(reader: Reader) -> tuple[State, int]:
            kept = model.promote(state, finished, reader, keep=False)
            return model.accept(kept, update), 2

        def branched_off(reader: Reader) -> tuple[State, int]:
            return state, 1

        ways = [branched_off] if branched else [went_on]
        if call.kind == "input" and branched:
            ways = [began]
        elif call.kind == "input":
            ways = [went_on, began, began_anew]
        problems = []
        for way in ways:
            try:
                reader = Reader(tokens, self.check_answer)
                reached, taken = way(reader)
                for _ in range(steps - taken):
                    reached = model.finish(reached, reader)
                reader.end()
                _compare(reached, actual)
            except MismatchError as problem:
                problems.append(str(problem))
            else:
                return reached
        raise MismatchError("; or ".join(problems))

    # -- what is stored ------------------------------------------------------------------------

    def _state(self) -> State:
        """The state as it is folded from what is stored."""
        thaw, scope = self._freezer.thaw, self._scope
        values = {**EMPTY, **{key: thaw(value) for key, value in scope.values.items()}}
        due = tuple((d.node, None if d.arg is None else thaw(d.arg)) for d in scope.due)
        joins = {name.rpartition(":")[2]: frozenset(seen) for name, seen in scope.joins.items()}
        return State(values, due, joins)

    def _show(self, seq: int) -> None:
        scope, log = self._scope, list(self.state.values["log"])
        for _, outcome in sorted(scope.outcomes.items()):
            if outcome.done and outcome.index >= 0:
                result: dict[str, Any] = shapes.result_of(
                    self._definition, scope.values, outcome, self._freezer.thaw
                )
                log += result.get("log", ())
        self.shown["\n".join(log)] = seq


def _compare(expected: State, actual: State) -> None:
    if expected.values != actual.values:
        wrong = sorted(
            key
            for key in {*expected.values, *actual.values}
            if expected.values.get(key) != actual.values.get(key)
        )
        raise MismatchError(
            f"The state should be {[expected.values.get(k) for k in wrong]}, but is "
            f"{[actual.values.get(k) for k in wrong]} in {wrong}."
        )
    if expected.due != actual.due:
        raise MismatchError(f"Due should be {expected.due}, but is {actual.due}.")
    if expected.joins != actual.joins:
        raise MismatchError(f"Joins should wait like {expected.joins}, but do like {actual.joins}.")
