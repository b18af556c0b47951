"""Branching off a checkpoint, with the graphs within as they were there.

On another branch all tasks are other tasks, with ids of their own. So are the graphs that they
call, whose namespaces have those ids in them, and the questions they ask. The commit that begins
the branch says what has become of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from durable_graph.decisions.answers import interrupt_id
from durable_graph.engine.runs.live import LiveThread, Onto
from durable_graph.log.fold import Scope
from durable_graph.log.namespace import renamed
from durable_graph.log.records import Ask, Commit, DueTask, Kept, Outcome
from durable_graph.types import START

__all__ = ["Fork"]


class Fork:
    """A branch that begins at a checkpoint.

    Args:
        live: the thread at the checkpoint; it is moved on to the new branch.
        inner: the same thread, with its graphs within as they are to be on the branch.
        onto: path and weight of the checkpoint.
        whole: whether results that the root graph's tasks had there count: where the checkpoint
            is one of a graph within, which those tasks stood beside.

    Attributes:
        asks: the ids of questions on the branch, by those that they had.
        names: the ids of tasks, likewise.
    """

    def __init__(
        self, live: LiveThread, inner: Scope, onto: Onto | None, *, whole: bool, asks: bool = False
    ) -> None:
        self._live = live
        self._inner = inner
        info = live.next_info("fork", live.scope.nodes, branch=True)
        self._branch = info.id
        self.names: dict[str, str] = {}
        self.asks: dict[str, str] = {}
        self._name(inner, "", step=info.step)
        scopes = self._called()
        if asks:
            for scope in (*reversed(scopes), inner):  # whoever is innermost is who asks
                self._name_asks(scope)
        scope, pending = live.scope, live.pending
        known = [o for o in scope.outcomes.values() if o.done]
        if not whole:  # what came of its tasks came later
            known = [o for o in known if scope.due[o.index].node == START]
        body = Commit(
            # What is stored there may be of an earlier version: then the branch begins with what
            # migrations make of it.
            delta={} if pending is None else pending.made.body.delta,
            joins=scope.joins,
            due=[DueTask(due.node, due.arg, timeout=due.timeout) for due in scope.due],
            known=known,
            kept=tuple(map(self._kept, scopes)),
        )
        if pending is not None:
            live.scope, live.pending = pending.before, None
        last = pending is not None
        live.commit(body, info, onto=onto, by=live.call.by, last=last)

    def ns(self, ns: str) -> str:
        """Where a graph of the checkpoint is on the branch."""
        return renamed(ns, self.names) if ns else ns

    def asking(self) -> list[Ask]:
        """What the checkpoint asks, as it is asked there."""
        return [a for asks in self._inner.asked.values() for a in asks if a.id in self.asks]

    def ask_again(self) -> None:
        """Write down that the root graph's tasks ask what they asked."""
        outcomes = self._asking(self._inner)
        self._live.write_results(outcomes)
        self._live.scope.record(outcomes)

    def _called(self) -> list[Scope]:
        """The graphs within that tasks of the checkpoint have called, each behind the one around
        it; on the way, all their tasks are named."""
        found = []
        for ns in sorted(self._inner.nested, key=len):
            scope = self._inner.nested[ns]
            if scope.caller is not None and scope.caller.due in self.names:
                found.append(scope)
                self._name(scope, renamed(ns, self.names))
        return found

    def _name(self, scope: Scope, ns: str, *, step: int | None = None) -> None:
        sends = count()
        for index, task in enumerate(scope.due):
            again = replace(task, branch=self._branch, ns=ns)
            if step is not None:  # these are made due anew
                again.step, again.push = step, None if task.arg is None else next(sends)
                again.first = None
            self.names[task.id] = again.id
            if (handler := scope.executed(index)) != task.id:
                self.names[handler] = replace(again, handler=True).id

    def _name_asks(self, scope: Scope) -> None:
        for index, asks in scope.asked.items():
            seen: dict[tuple[str, bytes], int] = {}
            for ask in asks:
                if ask.id in self.asks:  # one of a graph within has come up to here
                    continue
                task = self.names.get(replace(scope.due[index], handler=ask.handler).id)
                if task is None:
                    continue
                who = task + ask.step
                nth = seen.get((who, ask.content), 0)
                seen[who, ask.content] = nth + 1
                self.asks[ask.id] = interrupt_id(who, ask.content, nth)

    def _kept(self, scope: Scope) -> Kept:
        kept = scope.kept(self.names, self._branch)
        asking = {outcome.index: outcome for outcome in self._asking(scope)}
        ended = [o for o in kept.outcomes if o.done and o.index not in asking]
        asked: Mapping[int, tuple[Ask, ...]] = {i: o.asks for i, o in asking.items()}
        return replace(kept, outcomes=[*ended, *asking.values()], asked=asked)

    def _asking(self, scope: Scope) -> list[Outcome]:
        """What the tasks of a graph asked, under the ids that it has on the branch."""
        found = []
        for index, asks in scope.asked.items():
            again = tuple(replace(a, id=self.asks[a.id]) for a in asks if a.id in self.asks)
            if again:
                before = scope.outcomes.get(index)
                caught = before.caught if before is not None else None
                found.append(Outcome(index, asks=again, caught=caught))
        return found
