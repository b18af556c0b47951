"""A thread as one call holds it: its state, and the log that the call extends."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from durable_graph.decisions.advance import changes, faded, with_results
from durable_graph.decisions.freeze import Freezer
from durable_graph.decisions.plan import Joins, Plan, plan, without_deferred
from durable_graph.decisions.reduce import Reducers
from durable_graph.decisions.results import Result
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.history.migrating import Pending
from durable_graph.engine.runs.call import Call
from durable_graph.engine.storage.runlog import Receipt, RunLog
from durable_graph.engine.streams import shapes
from durable_graph.errors import InvalidUpdateError
from durable_graph.log.codec import ABSENT
from durable_graph.log.delta import Encoded, Op
from durable_graph.log.fold import Scope
from durable_graph.log.records import (
    Caller,
    Commit,
    DueTask,
    Outcome,
    Packet,
    Ranges,
    Source,
    TaskResults,
)
from durable_graph.log.seal import CommitInfo
from durable_graph.ports.clock import Chance, Clock
from durable_graph.ports.items import Puts
from durable_graph.state.schema import Schema
from durable_graph.types import START, Interrupt, Send

if TYPE_CHECKING:
    from durable_graph.engine.runs.teller import Teller
    from durable_graph.engine.tasks.execute import Failure

__all__ = ["LiveThread"]

Onto = tuple[Ranges, int]


class LiveThread:
    """A thread as one call holds it.

    Args:
        definition: the graph.
        call: the call.
        scope: the thread's state, the holder's own to change.
        freezer: encodes for this thread.
        reducers: the thread's reducers.
        log: its log; ``None`` for a run that is not stored.
        clock: where time comes from.
        chance: where ids come from.
    """

    def __init__(
        self,
        definition: GraphDefinition,
        call: Call,
        scope: Scope,
        freezer: Freezer,
        reducers: Reducers,
        log: RunLog | None,
        clock: Clock,
        chance: Chance,
    ) -> None:
        self.definition = definition
        self.call = call
        self.scope = scope
        self.freezer = freezer
        self.reducers = reducers
        self.log = log
        self.clock = clock
        self.chance = chance
        self.beside: Callable[[], bool] = _nobody
        """Whether others use the thread's values at this moment: graphs that run side by side."""
        self.steps = 0
        """How many supersteps the call has taken."""
        self.teller: Teller | None = None
        """Who tells of what is written; ``None`` if nobody watches."""
        self.bulky = False
        """Whether something that was encoded apart is to be written with the next commit, or before
        it: so large is what holds it."""
        self.pending: Pending | None = None
        """What migrations have made of the stored state to give `scope`, until it is written."""
        self._changed: tuple[Outcome, dict[str, Op], dict[str, Encoded | None]] | None = None

    # -- reading -----------------------------------------------------------------------------

    def view(self, schema: Schema, values: Mapping[str, Encoded | None] | None = None) -> Any:
        """The state as a node or router with this schema gets it: fresh objects."""
        if values is None:
            values = self.scope.values
        thaw, initial = self.freezer.thaw, self.definition.initial
        shown: dict[str, Any] = {}
        for key in schema.channels:
            value = values.get(key)
            if value is None and (value := initial.get(key)) is None:
                continue
            if (one := thaw(value)) is not ABSENT:
                shown[key] = one
        if schema.managed:
            shown |= self.managed(schema)
        return shown if schema.plain else schema.make(shown)

    def managed(self, schema: Schema) -> dict[str, Any]:
        """What the engine supplies of the state, by key."""
        left = self.call.recursion_limit - self.steps
        return {key: managed.of(left) for key, managed in schema.managed.items()}

    def with_results(self) -> Mapping[str, Encoded]:
        """The state with the results of finished tasks in it, as people want to see it."""
        return with_results(self.definition, self.reducers, self.scope)

    def finished(self) -> list[tuple[str, Outcome]]:
        """Nodes and results of the due tasks that have finished, in order."""
        scope = self.scope
        return [
            (due.node, outcome)
            for index, due in enumerate(scope.due)
            if (outcome := scope.outcomes.get(index)) is not None and outcome.done
        ]

    def shown(self, values: Mapping[str, Encoded], keys: Iterable[str] | None = None) -> Any:
        """Values as users see them; all keys by default."""
        wanted = self.definition.channels if keys is None else keys
        return shapes.values_of(self.definition, values, wanted, self.freezer.thaw)

    def interrupts(self) -> tuple[Interrupt, ...]:
        """The questions that are open."""
        return shapes.interrupts_of(self.scope.all_open_asks(), self.freezer.thaw)

    # -- extending ---------------------------------------------------------------------------

    def next_info(
        self, source: Source, nodes: Iterable[str], *, branch: bool = False
    ) -> CommitInfo:
        """The header of the commit that follows; the first of a new branch, if so asked."""
        name = self.chance.id()
        scope = self.scope
        # A graph within is on the branch that its thread is on.
        present = scope.whole.branch
        return CommitInfo(
            name,
            scope.checkpoint or None,
            name if branch or not present else present,
            scope.step + 1,
            source,
            tuple(dict.fromkeys(nodes)),
            self.call.metadata,
            self.definition.fingerprint,
        )

    def commit(
        self,
        body: Commit,
        info: CommitInfo,
        after: Mapping[str, Encoded | None] | None = None,
        *,
        onto: Onto | None = None,
        by: str | None = None,
        last: bool = False,
        puts: Sequence[Puts] = (),
    ) -> Receipt:
        """Move on by a commit, and append it to what the log's next flush writes.

        Args:
            body: the commit.
            info: its header.
            after: the values it changes, if its maker has them.
            onto: path and weight of the position it follows, if that is not the head.
            by: who is behind it.
            last: see `RunLog.add`.
            puts: see `RunLog.add`.
        """
        now = self.clock.time()
        receipt = Receipt()
        if self.log is not None:
            blobs, graph = self.freezer.take_new(), self.definition.fingerprint
            if self.scope.graph != graph and (not self.scope.ns or self.freezer.stores(graph)):
                blobs = {**blobs, graph: self.definition.description}
            ns = self.scope.ns
            receipt = self.log.add(
                body, now, commit=info, onto=onto, ns=ns, by=by, blobs=blobs, last=last, puts=puts
            )
            if self.bulky:
                self.log.bulky, self.bulky = True, False
        teller = self.teller
        if teller is not None:
            changed = teller.shows_values(body)
            teller.results(body.outcomes, receipt)
        self.scope.commit(body, info, now, self.call.run, after)
        self.freezer.checkpoint = info.id
        if body.values is not None and self.scope.whole.nested:
            self.scope.complete(body)  # it is encoded when it is written, and that is later
        if teller is not None:
            teller.checkpoint(body, receipt, changed=changed)
        self._changed = None
        if self.freezer.heavy and not self.beside():
            self.freezer.keep(self.scope.whole.blobs())
        return receipt

    def write_results(
        self,
        outcomes: Sequence[Outcome],
        failures: Mapping[int, Failure] | None = None,
        *,
        puts: Sequence[Puts] = (),
    ) -> Receipt:
        """Append results of due tasks to what the log's next flush writes.

        Args:
            outcomes: the results.
            failures: what tasks have failed with, by index, for those who watch.
            puts: see `RunLog.add`.
        """
        receipt = Receipt()
        if self.log is not None:
            blobs = self.freezer.take_new()
            body = TaskResults(outcomes)
            receipt = self.log.add(body, ns=self.scope.ns, blobs=blobs, puts=puts)
            if self.bulky:
                self.log.bulky = True
        if self.teller is not None:
            self.teller.results(outcomes, receipt, failures)
        return receipt

    def migrate(self, pending: Pending) -> Receipt:
        """Write down what migrations have made of the stored state; see `commit`."""
        self.scope, self.pending = pending.before, None
        made = pending.made
        # In "exit" durability, too: what that writes at the end are changes of what is stored.
        info = self.next_info("migration", made.nodes)
        receipt = self.commit(made.body, info, by=self.call.by, last=True)
        for answers, by, time in made.answers:
            if self.log is not None:
                self.log.add(answers, time, by=by, last=True)
            self.scope.answer(answers, by, time)
        return receipt

    def merged(self, node: str, outcome: Outcome) -> Mapping[str, Encoded]:
        """The state with one more result in it.

        Raises:
            InvalidUpdateError: a reducer failed.
        """
        _, after = self.change([(node, outcome)])
        merged = {**self.scope.values, **after}
        return {key: value for key, value in merged.items() if value is not None}

    def promote(self, *, keep: bool = False) -> int:
        """Put finished results into the state, ahead of the superstep's end.

        Args:
            keep: whether what has not finished stays due, and what has leads to where it leads;
                both are dropped otherwise.

        Returns:
            How many tasks it made due: they are the last.
        """
        done = self.finished()
        try:
            delta, after = self.change(done)
        except InvalidUpdateError as error:
            # They cannot all be taken, and the thread must accept what comes next.
            delta, after, done = self._compatible(done)
            warnings.warn(f"Not all finished results could be kept: {error}", stacklevel=2)
        if not done:
            return 0
        due: list[DueTask] = []
        leads: list[DueTask] = []
        joins: Joins = self.scope.joins
        if not keep:
            joins = without_deferred(joins)
        else:
            scope = self.scope
            due = [DueTask(scope.due[i].node, scope.due[i].arg, i) for i in scope.unfinished()]
            if done[0][0] != START:  # where that leads is for its routes to say
                once = {entry.node for entry in due if entry.arg is None}
                planned = plan(self.definition, joins, done, busy=bool(due))
                joins = planned.joins
                leads = [e for e in planned.due if e.arg is not None or e.node not in once]
        body = Commit(delta=delta, joins=joins, due=[*due, *leads])
        self.commit(body, self.next_info("loop", (node for node, _ in done)), after)
        return len(leads)

    def outcome_of(
        self,
        who: str,
        result: Result,
        index: int = -1,
        spoken: str | None = None,
        *,
        asked: bool = False,
        freezer: Freezer | None = None,
    ) -> Outcome:
        """What somebody returned, as a result.

        Args:
            who: a node, or the start for a caller.
            result: what it returned.
            index: which of the due tasks; -1 for a caller.
            spoken: see `Freezer.update`.
            asked: see `Freezer.update`.
            freezer: what encodes it; by default the thread's.

        Raises:
            InvalidUpdateError: it cannot be stored.
        """
        freezer = freezer or self.freezer
        freeze, values = freezer.update, self.scope.values
        writes = [
            written
            for update in result.updates
            if (written := freeze(who, update, values, spoken, asked=asked))
        ]
        outcome = Outcome(index, writes)
        if result.goto:
            goto, sends = self.targets(who, result.goto, freezer)
            outcome.goto, outcome.sends = tuple(dict.fromkeys(goto)), tuple(sends)
        return outcome

    def targets(
        self, who: str, chosen: Sequence[str | Send], freezer: Freezer | None = None
    ) -> tuple[list[str], list[Packet]]:
        """Destinations as a result keeps them: names, and packets with encoded arguments."""
        freezer = freezer or self.freezer
        goto: list[str] = []
        sends: list[Packet] = []
        for part in chosen:
            if isinstance(part, Send):
                what = f"What {who!r} sends to {part.node!r}"
                arg = freezer.packet(part.arg, what)
                sends.append(Packet(part.node, arg, part.timeout))
            else:
                goto.append(part)
        return goto, sends

    def add_results(
        self,
        results: Sequence[tuple[str, Outcome]],
        info: CommitInfo,
        planned: Plan,
        *,
        onto: Onto | None = None,
        by: str | None = None,
        closes: bool = True,
        caller: Caller | None = None,
    ) -> Receipt:
        """Commit what a caller wrote to the state.

        Args:
            results: the nodes that count as having written, and what.
            info: the commit's header.
            planned: what is due afterwards, and what waits.
            onto: see `commit`.
            by: see `commit`.
            closes: whether it is a superstep of its own, and not beside one that goes on.
            caller: who calls, if it is the input of a graph within another.

        Raises:
            InvalidUpdateError: they exclude each other, or a reducer failed.
        """
        delta, after = self.change(results)
        if closes and self.definition.fading:
            delta, after = faded(self.definition, self.scope.values, delta, after)
        joins, due = planned.joins, planned.due
        outcomes = [outcome for _, outcome in results]
        body = Commit(outcomes=outcomes, delta=delta, joins=joins, due=due, caller=caller)
        return self.commit(body, info, after, onto=onto, by=by)

    def change(
        self, results: Sequence[tuple[str, Outcome]]
    ) -> tuple[dict[str, Op], dict[str, Encoded | None]]:
        """What the results of nodes do to the state: operations and new values by key.

        The last answer for a single result is remembered: its routers ask, and then its commit.

        Raises:
            InvalidUpdateError: they exclude each other, or a reducer failed.
        """
        alone = results[0][1] if len(results) == 1 else None
        last = self._changed
        if alone is not None and last is not None and last[0] is alone:
            return last[1], last[2]
        delta, after = changes(self.definition, self.reducers, self.scope.values, results)
        self._changed = None if alone is None else (alone, delta, after)
        return delta, after

    def _compatible(self, done: Sequence[tuple[str, Outcome]]) -> tuple[Any, Any, Any]:
        taken: list[tuple[str, Outcome]] = []
        delta: Any = {}
        after: Any = {}
        for entry in done:
            try:
                delta, after = self.change([*taken, entry])
            except InvalidUpdateError:
                continue
            taken.append(entry)
        return delta, after, taken


def _nobody() -> bool:
    return False
