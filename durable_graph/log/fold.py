"""Records to state: what reading a thread means.

`Scope` is the state of one graph in a thread at one position of its log: the values, what is
due, and what has become of the due tasks so far. A run keeps one and moves it on with the same
operations that it writes down, so that the live state and the folded state are the same by
construction. Folding never runs user code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final

from durable_graph.errors import IntegrityError
from durable_graph.log.codec import blobs_in
from durable_graph.log.delta import Encoded, Op, Written, apply_op, flat, size
from durable_graph.log.namespace import renamed, tasks_in
from durable_graph.log.nested import Nested
from durable_graph.log.records import (
    Answer,
    Answers,
    Ask,
    Body,
    Caller,
    Commit,
    DueTask,
    Kept,
    KeptDue,
    Mark,
    Outcome,
    Ranges,
    Source,
    Step,
    Steps,
    TaskResults,
)
from durable_graph.log.seal import CommitInfo, Header, extend
from durable_graph.types import TimeoutPolicy

__all__ = ["Due", "Scope", "task_id"]

_KEPT_COST: Final = 512
"""What a snapshot says of a graph within besides values, arguments and results: ids, names."""


def task_id(branch: str, ns: str, step: int, node: str, push: int | None) -> str:
    """The id of a task: the same for every execution of it, on every machine.

    It depends on the branch and the step, not on the checkpoint, which gets a new id if a crash
    loses an unacknowledged commit and the superstep runs again.
    """
    text = f"{branch}\0{ns}\0{step}\0{node}\0{'' if push is None else push}"
    name = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    return f"{name[:8]}-{name[8:12]}-{name[12:16]}-{name[16:20]}-{name[20:]}"


@dataclass(slots=True)
class Due:
    """A task that a checkpoint made due.

    Attributes:
        branch: the branch it belongs to.
        ns: the namespace of its graph.
        step: the step of the checkpoint that made it due.
        node: the node to run.
        arg: the encoded argument, for a `Send`.
        push: its number among the sends, for a `Send`.
        timeout: how long an attempt may take, where its `Send` says so.
        handler: whether this is the node's error handler, which is an execution of its own.
        first: the node that it was made due as, if a migration has given it another since.
    """

    branch: str
    ns: str
    step: int
    node: str
    arg: bytes | None = None
    push: int | None = None
    timeout: TimeoutPolicy | None = None
    handler: bool = False
    first: str | None = None

    @property
    def name(self) -> str:
        """What is executed: the node, or its error handler."""
        return f"__error_handler__{self.node}" if self.handler else self.node

    @property
    def id(self) -> str:
        """See `task_id`; the same for ever, whatever its node is called by now."""
        node = self.node if self.first is None else self.first
        # No node has a colon in its name.
        name = f"{node}:handler" if self.handler else node
        return task_id(self.branch, self.ns, self.step, name, self.push)

    def moved(self, node: str, arg: bytes | None) -> Due:
        """The same task, of a node with another name or with another argument."""
        first = self.node if self.first is None else self.first
        return replace(self, node=node, arg=arg, first=None if first == node else first)


@dataclass(slots=True)
class Scope:
    """State of one graph in a thread at one position of its log.

    A thread is the scope of its root graph, which holds those of all graphs within it, however
    deep: a commit of a graph drops what its tasks have called that are not due any more.

    Attributes:
        ns: the graph's namespace; empty for the root graph.
        checkpoint: id of the last commit; empty before the first.
        parent: id of the commit before it.
        branch: id of the commit that began this branch.
        step: the last commit's step; -2 before the first.
        source: what made the last commit.
        time: when it was made, Unix time.
        meta: its metadata.
        run: the run that made it.
        graph: fingerprint of the graph that made it.
        values: value of each key that has been written, encoded.
        joins: names seen so far by each waiting join.
        due: the tasks it made due.
        outcomes: what is known of them, by index.
        asked: every question they asked, by index, in order.
        answers: the answers given in the thread, by interrupt id; the root graph has them.
        steps: the steps within the tasks, by index and then by the steps' ids.
        nodes: nodes whose results the last commit took in.
        path: what to fold to get here.
        weight: bytes of that.
        caller: who called it, if it is a graph within another.
        nested: the graphs within, by namespace; the root graph has them all.
        root: the root graph's scope, for a graph within.
    """

    ns: str = ""
    checkpoint: str = ""
    parent: str | None = None
    branch: str = ""
    step: int = -2
    source: Source = "input"
    time: float = 0.0
    meta: Mapping[str, Any] = field(default_factory=dict)
    run: str | None = None
    graph: str | None = None
    values: dict[str, Encoded] = field(default_factory=dict)
    joins: dict[str, tuple[str, ...]] = field(default_factory=dict)
    due: list[Due] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    asked: dict[int, list[Ask]] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    nodes: tuple[str, ...] = ()
    path: Ranges = ()
    weight: int = 0
    caller: Caller | None = None
    steps: dict[int, dict[str, Step]] = field(default_factory=dict)
    nested: Nested = field(default_factory=Nested)
    root: Scope | None = field(default=None, repr=False, compare=False)

    @property
    def whole(self) -> Scope:
        """The scope of the thread's root graph, which has what is there once for all graphs."""
        return self if self.root is None else self.root

    def copy(self) -> Scope:
        """A scope that can move on by itself; of the root graph, with all within it."""
        copied = self._copy()
        for ns, scope in self.nested.items():
            copied.nested[ns] = scope._copy()
            copied.nested[ns].root = copied
        return copied

    def _copy(self) -> Scope:
        return Scope(
            self.ns,
            self.checkpoint,
            self.parent,
            self.branch,
            self.step,
            self.source,
            self.time,
            self.meta,
            self.run,
            self.graph,
            dict(self.values),
            dict(self.joins),
            list(self.due),
            dict(self.outcomes),
            {index: list(asks) for index, asks in self.asked.items()},
            dict(self.answers),
            self.nodes,
            self.path,
            self.weight,
            self.caller,
            {index: dict(steps) for index, steps in self.steps.items()},
        )

    def within(self, ns: str) -> Scope:
        """The scope of a graph within this thread; made if it is not there yet."""
        root = self.whole
        scope = root.nested.get(ns)
        if scope is None:
            scope = root.nested[ns] = Scope(ns, root=root)
        return scope

    def executed(self, index: int) -> str:
        """The id of what is executed for a due task: its own; or, once its node has failed for
        good, that of the error handler, which is what calls graphs and asks from then on."""
        due, outcome = self.due[index], self.outcomes.get(index)
        handled = outcome is not None and outcome.caught is not None
        return (replace(due, handler=True) if handled else due).id

    def called_by(self, index: int) -> list[Scope]:
        """The scopes of the graphs that a due task has called, in the order of their namespaces."""
        nested = self.whole.nested
        return nested.called(self.executed(index)) if nested else []

    def size(self) -> int:
        """About the bytes of a snapshot: values and results of steps; and, where there are graphs
        within, all that it has to say of those and of what is beside them."""
        own = sum(map(size, self.values.values()))
        for steps in self.steps.values():
            own += sum(len(step.value) for step in steps.values() if step.value is not None)
        if not self.nested:
            return own
        within = self.nested.values()
        return own + self._unfolded() + sum(s.size() + s._unfolded() + _KEPT_COST for s in within)

    def _unfolded(self) -> int:
        """Bytes of what is due, and of the results that are not in the state yet."""
        known = sum(len(due.arg) for due in self.due if due.arg is not None)
        for outcome in self.outcomes.values():
            for update in outcome.writes:
                known += sum(map(len, chain.from_iterable(map(_bytes_of, update.values()))))
            known += sum(len(packet.arg) for packet in outcome.sends)
        return known

    def open_asks(self, index: int) -> list[Ask]:
        """Questions of a due task that have no answer."""
        outcome = self.outcomes.get(index)
        if outcome is None or outcome.done:
            return []
        answers = self.whole.answers
        return [ask for ask in outcome.asks if ask.id not in answers]

    def all_open_asks(self) -> list[Ask]:
        """Questions of all due tasks that have no answer, in the order of the tasks."""
        if not self.asked:
            return []
        return [ask for index in range(len(self.due)) for ask in self.open_asks(index)]

    def unfinished(self) -> list[int]:
        """Indices of the due tasks that have not finished."""
        return [
            index
            for index in range(len(self.due))
            if not ((outcome := self.outcomes.get(index)) and outcome.done)
        ]

    def runnable(self) -> list[int]:
        """Indices of the unfinished tasks that wait for no answer."""
        if not self.outcomes:
            return list(range(len(self.due)))
        return [index for index in self.unfinished() if self._can_run(index)]

    def _can_run(self, index: int) -> bool:
        """Whether all is answered that a task asks; if graphs within it do, anything of it."""
        asks = self.open_asks(index)
        if not asks or not self.whole.nested:
            return not asks
        answered = len(asks) < len(self.outcomes[index].asks)
        return answered and bool(self.called_by(index))

    def blobs(self) -> set[str]:
        """Digests of the large values that this position refers to."""
        return {digest for part in self._parts() for digest in blobs_in(part)}

    def apply(self, header: Header, body: Body) -> None:
        """Move on by one record of the thread, of whichever of its graphs."""
        scope = self.within(header.ns) if header.ns else self
        match body:
            case Commit():
                if header.commit is None:
                    raise IntegrityError(f"Record {header.seq} is a commit without its header.")
                scope.commit(body, header.commit, header.time, header.run)
                self.path = extend(header.commit.path, header.seq)
                self.weight = header.commit.weight
            case TaskResults(outcomes):
                scope.record(outcomes)
                self.path = extend(self.path, header.seq)
            case Steps(steps):
                scope.take_steps(steps)
                self.path = extend(self.path, header.seq)
            case Answers():
                self.answer(body, header.by, header.time)
                self.path = extend(self.path, header.seq)
            case Mark():
                self.path = extend(self.path, header.seq)

    def record(self, outcomes: Iterable[Outcome]) -> None:
        """Take note of how tasks ended."""
        for outcome in outcomes:
            self.outcomes[outcome.index] = outcome
            if outcome.asks:
                known = self.asked.setdefault(outcome.index, [])
                known.extend(ask for ask in outcome.asks if ask not in known)

    def take_steps(self, steps: Iterable[Step]) -> None:
        """Take note of how steps within tasks stand."""
        for step in steps:
            self.steps.setdefault(step.index, {})[step.id] = step

    def answer(self, body: Answers, by: str | None, time: float) -> None:
        """Take note of answers."""
        self.answers |= {name: Answer(value, by, time) for name, value in body.answers.items()}
        self.answers |= {name: Answer(None, by, time) for name in body.expired}

    def commit(
        self,
        body: Commit,
        info: CommitInfo,
        time: float,
        run: str | None,
        after: Mapping[str, Encoded | None] | None = None,
    ) -> None:
        """Move on by a commit, which may have no place in the log yet.

        Whoever made the commit knows the values it leads to, and passes them as `after`.
        """
        if body.outcomes:
            self.record(body.outcomes)
        self._settle_carried(body.due)
        if after is not None:
            for key, value in after.items():
                self._set(key, value)
        elif body.values is not None:
            self.values = dict(body.values)
        else:
            for key, op in (body.delta or {}).items():
                self._change(key, op)
        if body.joins or self.joins:
            self.joins = {name: tuple(seen) for name, seen in body.joins.items()}
        self.parent, self.checkpoint, self.branch = info.parent, info.id, info.branch
        self.step, self.source, self.nodes = info.step, info.source, info.nodes
        self.meta, self.graph = info.meta, info.graph
        self.time, self.run = time, run
        if body.caller is not None:
            self.caller = body.caller
        asked = self.asked
        self._make_due(body.due)
        if body.known:
            self.record(body.known)
        if self.root is not None and asked:
            self._withdraw(asked)
        root = self.whole
        if root.nested:
            self._drop_ended(root.nested)
        for kept in body.kept:
            root._keep(kept, anew=info.source == "fork")

    def _withdraw(self, before: Mapping[int, Sequence[Ask]]) -> None:
        """What this graph does not ask any more, the tasks around it do not ask either."""
        root = self.whole
        gone = {ask.id for asks in before.values() for ask in asks}
        gone -= {ask.id for asks in self.asked.values() for ask in asks}
        for scope in self._around():
            # Most of what is asked there is asked by others, as many as they may be.
            for index, outcome in list(scope.outcomes.items()):
                if gone.isdisjoint([ask.id for ask in outcome.asks]):
                    continue
                asks = tuple(ask for ask in outcome.asks if ask.id not in gone)
                if asks:
                    scope.outcomes[index] = replace(outcome, asks=asks)
                else:
                    del scope.outcomes[index]
            for index, known in scope.asked.items():
                if not gone.isdisjoint([ask.id for ask in known]):
                    scope.asked[index] = [ask for ask in known if ask.id not in gone]
        for name in gone:
            root.answers.pop(name, None)

    def _around(self) -> list[Scope]:
        """The graphs around this one; all there are, if it is within one that keeps its state and
        so does not say who calls it. Those that keep nothing are not there."""
        root, nested = self.whole, self.whole.nested
        graphs = [graph for graph, _ in tasks_in(self.ns)]
        if "" not in graphs:
            return [root, *nested.values()]
        return [root, *(nested[graph] for graph in graphs if graph in nested)]

    def _drop_ended(self, nested: Nested) -> None:
        """Of what this graph's tasks have called, only what is due has any more use for it."""
        calling = nested.calling(self.ns)
        if calling:
            due = set(map(self.executed, range(len(self.due))))
            for task in calling:
                if task not in due:
                    nested.end(task)

    def kept(self, names: Mapping[str, str] | None = None, branch: str | None = None) -> Kept:
        """This graph as a whole.

        Args:
            names: other ids for tasks, where what is kept goes to another branch.
            branch: that branch.
        """
        ids = names or {}
        caller = self.caller
        if caller is not None:
            step = caller.task.removeprefix(caller.due)
            caller = replace(caller, task=ids.get(caller.due, caller.due) + step)
        return Kept(
            ns=renamed(self.ns, ids) if ids else self.ns,
            checkpoint=self.checkpoint,
            parent=self.parent,
            branch=branch or self.branch,
            step=self.step,
            source=self.source,
            time=self.time,
            meta=self.meta,
            run=self.run,
            graph=self.graph,
            nodes=self.nodes,
            values={key: flat(value) for key, value in self.values.items()},
            joins=self.joins,
            due=[
                KeptDue(branch or d.branch, d.step, d.node, d.arg, d.push, d.timeout, d.first)
                for d in self.due
            ],
            outcomes=list(self.outcomes.values()),
            # Copies, since a record is encoded only when it is about to be written.
            asked={index: tuple(asks) for index, asks in self.asked.items()},
            answers=dict(self.answers),
            caller=caller,
            # On another branch the tasks are others, and have done nothing yet.
            steps=() if ids else tuple(s for steps in self.steps.values() for s in steps.values()),
        )

    def complete(self, snapshot: Commit) -> None:
        """Put into a snapshot of this graph, which has been moved on by it, what the whole thread
        is read from besides."""
        root = self.whole
        snapshot.caller = self.caller
        others = (scope for scope in (root, *root.nested.values()) if scope is not self)
        snapshot.kept = tuple(scope.kept() for scope in others)

    def _keep(self, kept: Kept, *, anew: bool) -> None:
        """Take in a graph of this thread as a whole.

        A snapshot repeats what is there already; only who begins with it has use for that. In a
        fork it is what the graph has come to be on the new branch.
        """
        if not kept.ns:
            scope = self if not self.checkpoint else None
        else:
            scope = self.within(kept.ns) if anew or kept.ns not in self.nested else None
        if scope is None:
            return
        scope.checkpoint, scope.parent, scope.branch = kept.checkpoint, kept.parent, kept.branch
        scope.step, scope.source, scope.time = kept.step, kept.source, kept.time
        scope.meta, scope.run, scope.graph = kept.meta, kept.run, kept.graph
        scope.nodes, scope.caller = kept.nodes, kept.caller
        scope.values, scope.joins = dict(kept.values), {k: tuple(v) for k, v in kept.joins.items()}
        scope.due = [
            Due(d.branch, kept.ns, d.step, d.node, d.arg, d.push, d.timeout, first=d.first)
            for d in kept.due
        ]
        scope.outcomes = {outcome.index: outcome for outcome in kept.outcomes}
        scope.asked = {index: list(asks) for index, asks in kept.asked.items()}
        scope.answers = dict(kept.answers)
        scope.steps = {}
        scope.take_steps(kept.steps)

    def _settle_carried(self, due: Sequence[DueTask]) -> None:
        """Results that wait on are changes of the values before this commit: make them values."""
        for entry in due:
            outcome = self.outcomes.get(entry.carried) if entry.carried is not None else None
            if outcome is None or not outcome.writes:
                continue
            writes = [
                {key: self._absolute(key, written) for key, written in update.items()}
                for update in outcome.writes
            ]
            self.outcomes[outcome.index] = replace(outcome, writes=writes)

    def _absolute(self, key: str, written: Written) -> Written:
        if isinstance(written, bytes) or written[0] == "=":
            return written
        value = apply_op(self.values.get(key), written, _no_reference)
        return b"null" if value is None else flat(value)

    def _change(self, key: str, op: Op) -> None:
        def written(task: int) -> Sequence[Written]:
            return self.outcomes[task].written(key)

        self._set(key, apply_op(self.values.get(key), op, written))

    def _set(self, key: str, value: Encoded | None) -> None:
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value

    def _make_due(self, entries: Sequence[DueTask]) -> None:
        before, outcomes, asked, answers = self.due, self.outcomes, self.asked, self.answers
        self.due, self.outcomes, self.asked, self.answers = [], {}, {}, {}
        steps = self.steps
        if steps:
            self.steps = {}
        push = 0
        for index, entry in enumerate(entries):
            number = None
            if entry.arg is not None:
                number, push = push, push + 1
            if entry.carried is None:
                self.due.append(
                    Due(
                        self.branch,
                        self.ns,
                        self.step,
                        entry.node,
                        entry.arg,
                        number,
                        entry.timeout,
                    )
                )
                continue
            try:
                due = before[entry.carried]
            except IndexError as error:
                raise IntegrityError(
                    f"Checkpoint {self.checkpoint} carries on a task that was not due."
                ) from error
            if (due.node, due.arg) != (entry.node, entry.arg):
                due = due.moved(entry.node, entry.arg)
            self.due.append(due)
            if entry.carried in outcomes:
                self.outcomes[index] = replace(outcomes[entry.carried], index=index)
            if entry.carried in steps:
                self.steps[index] = {
                    name: replace(step, index=index) for name, step in steps[entry.carried].items()
                }
            for ask in asked.get(entry.carried, ()):
                self.asked.setdefault(index, []).append(ask)
                if self.root is None and ask.id in answers:
                    self.answers[ask.id] = answers[ask.id]

    def _parts(self) -> Iterator[bytes]:
        yield from map(flat, self.values.values())
        yield from (due.arg for due in self.due if due.arg is not None)
        for outcome in self.outcomes.values():
            for update in outcome.writes:
                for written in update.values():
                    yield from _bytes_of(written)
            yield from (packet.arg for packet in outcome.sends)
        for asks in self.asked.values():  # answered ones are shown as well
            for ask in asks:
                yield from ask.parts
        yield from (a.value for a in self.answers.values() if a.value is not None)
        for steps in self.steps.values():
            yield from (step.value for step in steps.values() if step.value is not None)
        for scope in self.nested.values():
            yield from scope._parts()


def _no_reference(task: int) -> Iterable[Written]:
    raise LookupError(task)


def _bytes_of(written: Written) -> Iterator[bytes]:
    if isinstance(written, bytes):
        yield written
        return
    for part in written:
        if isinstance(part, bytes):
            yield part
        elif isinstance(part, Mapping):
            yield from part.values()
