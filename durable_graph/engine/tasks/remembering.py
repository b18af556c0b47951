"""What nodes put into an atomic store: gathered for each execution, written with its result."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from durable_graph.decisions.items import Pending
from durable_graph.errors import StoreConflictError
from durable_graph.ports.items import Puts, Write

if TYPE_CHECKING:
    from durable_graph.engine.storage.runlog import RunLog
    from durable_graph.engine.tasks.context import TaskContext
    from durable_graph.store import BaseStore

__all__ = ["Gathered", "store_of"]


def store_of(task: TaskContext) -> BaseStore | None:
    """The store as an execution sees it.

    A step is an effect, which is on record before its node's result is: what it puts is there at
    once. Nor has a runtime that was made by hand a result to wait for.
    """
    store: Any = task.host.store
    if store is None or not store.atomic or task.index < 0 or task.step:
        given: BaseStore | None = store
        return given
    if task.gathering is None:
        host: Any = task.host
        task.gathering = store.gathering(_below(host), host.root.settle_puts)
    gathering: BaseStore = task.gathering
    return gathering


def _below(host: Any) -> Pending:
    """What a run's executions see that is not stored: of a graph whose results are not written at
    all, also what the execution that has called it, and its own before, have put."""
    if host.live.log is None and host.caller is not None:
        above: Any = store_of(host.caller)
        if above is not host.caller.host.store:
            seen: Pending = above.seen()
            return seen
    below: Pending = host.root.gathered.below()
    return below


class Gathered:
    """What executions of one run have put whose results are not written yet, by task.

    Args:
        store: the run's store.
        caller: the execution that has called the run's graph, if that is one within another.
    """

    def __init__(self, store: Any, caller: TaskContext | None) -> None:
        self._store = store
        self._caller = caller
        self._writes: dict[int, Sequence[Write]] = {}
        self._ready: dict[int, Puts] = {}
        self._late: dict[int, tuple[Gathered, Sequence[Write]]] = {}
        self._below = Pending()

    def below(self) -> Pending:
        """What tasks have put that is stored only when the run ends, as of now."""
        return Pending(dict(self._below.writes))

    def lay(self, writes: Sequence[Write]) -> None:
        """Let later tasks see what is stored only when the run ends."""
        with suppress(StoreConflictError):  # the log tells whoever writes it
            self._below.merge(writes)

    def keep(self, task: TaskContext) -> None:
        """An execution has come to a result."""
        self._writes[task.index] = task.gathering.take()

    async def prepare(self, index: int, unwritten: Gathered | None) -> None:
        """What a task has put is to be written with its result.

        Args:
            index: the task.
            unwritten: where later tasks look for it, if it is written only when the run ends.

        Raises:
            StorageError: a key to encrypt it with cannot be had.
        """
        writes = self._writes.pop(index, ())
        if writes:
            self._ready[index] = await self._store.puts(writes)
            if unwritten is not None:
                self._late[index] = unwritten, writes

    def drop(self, index: int) -> None:
        """A task's result was refused: it will run again."""
        self._ready.pop(index, None)
        self._late.pop(index, None)

    @property
    def ready(self) -> list[int]:
        """The tasks of which something is to be written next."""
        return list(self._ready)

    def waits(self, index: int) -> bool:
        """Whether a task has put something that is to be written next."""
        return index in self._ready

    def check(self, log: RunLog) -> None:
        """See that it can be written along with what waits in the log.

        Raises:
            StoreConflictError: it cannot.
        """
        if self._ready:
            log.check_puts(self._ready.values())

    def take(self, index: int) -> Sequence[Puts]:
        """What is to be written with the result of a task."""
        self._lay_late(index)
        return [self._ready.pop(index)] if index in self._ready else ()

    def take_all(self) -> Sequence[Puts]:
        """What is to be written with all results that are not written yet."""
        taken, self._ready = self._ready, {}
        for index in taken:
            self._lay_late(index)
        return tuple(taken.values())

    def _lay_late(self, index: int) -> None:
        if index in self._late:
            unwritten, writes = self._late.pop(index)
            unwritten.lay(writes)

    async def hand_on(self, index: int) -> None:
        """A task's result is not written at all: what it has put goes with that of the execution
        that has called the graph, or is written now.

        Raises:
            StoreConflictError: an item is not of the version that was expected.
        """
        writes = self._writes.pop(index, ())
        if not writes:
            return
        above: Any = None if self._caller is None else store_of(self._caller)
        if self._caller is not None and above is not self._caller.host.store:
            above.add(writes)
        else:
            await self._store.write(writes)

    async def hand_on_all(self) -> None:
        """See `hand_on`."""
        for index in list(self._writes):
            await self.hand_on(index)
