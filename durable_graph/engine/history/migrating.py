"""Threads that an earlier version of their graph has written: brought up to date, or refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from durable_graph.decisions.compat import Misfit, incompatible, misfits
from durable_graph.decisions.freeze import Freezer
from durable_graph.decisions.migrate import Migrated, migrate
from durable_graph.definition.description import Described
from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.migration import Change, changes_for
from durable_graph.log.fold import Scope
from durable_graph.log.records import ThreadKey
from durable_graph.log.seal import CommitInfo
from durable_graph.ports.backend import Backend

__all__ = ["Origin", "Pending", "Writers", "as_of_now"]


@dataclass(slots=True)
class Pending:
    """What migrations make of a stored state, not written down yet.

    Attributes:
        before: the state as it is stored.
        made: the commit that is to follow it.
    """

    before: Scope
    made: Migrated


@dataclass(slots=True)
class Origin:
    """The graph that a thread's last commit names, if it is not the one that reads it.

    Attributes:
        writer: what that graph was, after the migrations; ``None`` if its description is gone.
        changes: what the migrations change of what it has written.
    """

    writer: Described | None
    changes: tuple[Change, ...] = ()

    def misfits(
        self, definition: GraphDefinition, scope: Scope, freezer: Freezer, *, due: bool = True
    ) -> list[Misfit]:
        """What of a state the graph cannot go on with; see `durable_graph.decisions.compat`."""
        return misfits(definition, scope, self.writer, freezer.thaw, due=due)

    def check(
        self,
        definition: GraphDefinition,
        scope: Scope,
        freezer: Freezer,
        thread: str,
        *,
        due: bool = True,
    ) -> None:
        """See that the graph can go on with a state.

        Raises:
            IncompatibleGraphError: it cannot; the message says what it lacks.
        """
        found = self.misfits(definition, scope, freezer, due=due)
        if found:
            raise incompatible(found, definition, thread)


class Writers:
    """The graphs that have written to a thread, looked up once each.

    Args:
        definition: the graph that reads.
        backend: where the thread is.
        key: the thread.
    """

    def __init__(self, definition: GraphDefinition, backend: Backend, key: ThreadKey) -> None:
        self._definition = definition
        self._backend = backend
        self._key = key
        self._known: dict[str, Origin] = {}

    async def origin(self, graph: str | None) -> Origin | None:
        """Where a state with this fingerprint comes from; ``None`` if it is the reader's own.

        Raises:
            IntegrityError: the graph's description is damaged.
        """
        if graph is None or graph == self._definition.fingerprint:
            return None
        known = self._known.get(graph)
        if known is None:
            known = self._known[graph] = await self._look_up(graph)
        return known

    async def _look_up(self, graph: str) -> Origin:
        data = (await self._backend.blobs(self._key, [graph])).get(graph)
        if data is None:
            return Origin(None)
        changes, after = changes_for(Described.read(data, graph), self._definition.migrations)
        return Origin(after, changes)


def as_of_now(
    definition: GraphDefinition,
    scope: Scope,
    changes: Iterable[Change],
    freezer: Freezer,
    thread: str,
) -> tuple[Scope, Pending]:
    """A stored state as the graph has it now, and what is to be written for that.

    Raises:
        IncompatibleGraphError: a migration cannot be applied.
    """
    made = migrate(definition, scope, changes, freezer, thread)
    now = scope.copy()
    # The same checkpoint still: nothing has been written.
    info = CommitInfo(
        scope.checkpoint,
        scope.parent,
        scope.branch,
        scope.step,
        scope.source,
        made.nodes,
        scope.meta,
        scope.graph,
    )
    now.commit(made.body, info, scope.time, scope.run)
    for body, by, time in made.answers:
        now.answer(body, by, time)
    return now, Pending(scope, made)
