"""What users see of a thread's checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from durable_graph.decisions.advance import changes
from durable_graph.decisions.freeze import Freezer
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine import shapes
from durable_graph.engine.hot import Hot
from durable_graph.engine.keeper import Keeper
from durable_graph.engine.reading import View, fetch_blobs, fold_records, load
from durable_graph.errors import CheckpointNotFoundError, IntegrityError, InvalidUpdateError
from durable_graph.log.delta import Encoded
from durable_graph.log.fold import Scope
from durable_graph.log.records import Commit, Head, Outcome, Record, ThreadKey
from durable_graph.log.seal import Header, extend, open_header, open_record
from durable_graph.types import PregelTask, RunnableConfig, StateSnapshot

__all__ = ["history", "snapshot"]

_PAGE = 64


async def snapshot(
    definition: GraphDefinition, keeper: Keeper, key: ThreadKey, checkpoint: str | None
) -> StateSnapshot:
    """A thread at its head, with finished results in it; or as it was at a checkpoint.

    Raises:
        CheckpointNotFoundError: it has no such checkpoint.
        IntegrityError: what is stored is damaged.
    """
    view = await load(keeper, definition, key, checkpoint)
    if view is None:
        if checkpoint is not None:
            raise CheckpointNotFoundError(f"There is no thread {key.thread!r}.")
        config: RunnableConfig = {"configurable": {"thread_id": key.thread, "checkpoint_ns": ""}}
        return StateSnapshot({}, (), config, None, None, None, (), ())
    if view.after is not None:
        return _recorded(definition, key.thread, view.scope, view.after, view.freezer)
    shown = _present(definition, key.thread, view)
    keeper.hot.put(Hot(view.head, view.scope, view.freezer, view.reducers, definition))
    return shown


async def history(
    definition: GraphDefinition,
    keeper: Keeper,
    key: ThreadKey,
    *,
    only: str | None,
    filter: Mapping[str, Any] | None,
    before: str | None,
    limit: int | None,
) -> AsyncIterator[StateSnapshot]:
    """Checkpoints of a thread as they were, newest first.

    Reads a page at a time and holds nothing meanwhile. A checkpoint whose records are damaged is
    shown with the error as its values; one that was pruned is left out.

    Args:
        definition: the graph.
        keeper: where the thread is stored.
        key: the thread.
        only: the one checkpoint that is meant; ``None`` for all.
        filter: only checkpoints with this metadata.
        before: only checkpoints before this one.
        limit: how many at most.

    Raises:
        CheckpointNotFoundError: there is no checkpoint of a name that is given.
    """
    reading = await keeper.backend.read(key)
    oldest = 1 if only is None else await _place(keeper, key, only)
    if reading is None:
        return
    head = reading.head
    last = head.seq if only is None else oldest
    if before is not None:
        last = min(last, await _place(keeper, key, before) - 1)
    left = limit
    while last >= oldest and (left is None or left > 0):
        first = max(oldest, last - _PAGE + 1)
        page = await _Page.read(definition, keeper, key, head, first, last)
        for number in range(last, first - 1, -1):
            shown = await page.snapshot(number, filter)
            if shown is None:
                continue
            yield shown
            if left is not None:
                left -= 1
                if left == 0:
                    return
        last = first - 1


async def _place(keeper: Keeper, key: ThreadKey, checkpoint: str) -> int:
    """The record of a checkpoint.

    Raises:
        CheckpointNotFoundError: there is none.
    """
    at = await keeper.backend.read(key, checkpoint)
    if at is None or not at.records:
        raise CheckpointNotFoundError(
            f"Thread {key.thread!r} has no checkpoint {checkpoint!r}, or it was pruned."
        )
    return at.records[-1].seq


class _Page:
    """A stretch of a thread's log, and what its checkpoints need to be shown."""

    def __init__(
        self,
        definition: GraphDefinition,
        keeper: Keeper,
        key: ThreadKey,
        head: Head,
        records: Mapping[int, Record],
        headers: Mapping[int, Header | IntegrityError],
    ) -> None:
        self._definition = definition
        self._keeper = keeper
        self._key = key
        self._head = head
        self._records = records
        self._headers = headers
        self._scopes: dict[int, Scope] = {}

    @classmethod
    async def read(
        cls,
        definition: GraphDefinition,
        keeper: Keeper,
        key: ThreadKey,
        head: Head,
        first: int,
        last: int,
    ) -> _Page:
        """Read a stretch, what its checkpoints are folded from, and what became of the last."""
        backend = keeper.backend
        # One page further: there stands what became of this page's last checkpoint.
        end = min(head.seq, last + _PAGE)
        rows = {r.seq: r for r in await backend.scan(key, ((first, end),))}
        headers: dict[int, Header | IntegrityError] = {}
        wanted: set[int] = set()
        for seq, record in rows.items():
            try:
                header = open_header(record, key.thread)
            except IntegrityError as error:
                headers[seq] = error
                continue
            headers[seq] = header
            if seq <= last and header.commit is not None:
                for begin, stop in header.commit.path:
                    wanted.update(range(begin, stop + 1))
        missing = sorted(wanted - set(rows))
        ranges: tuple[tuple[int, int], ...] = ()
        for seq in missing:
            ranges = extend(ranges, seq)
        if ranges:
            rows |= {r.seq: r for r in await backend.scan(key, ranges)}
        return cls(definition, keeper, key, head, rows, headers)

    async def snapshot(self, seq: int, filter: Mapping[str, Any] | None) -> StateSnapshot | None:
        """The checkpoint at a record, if it is one and passes the filter."""
        header = self._headers.get(seq)
        record = self._records.get(seq)
        if record is None or record.kind != "commit":
            return None
        if header is None or isinstance(header, IntegrityError):
            return self._damaged(record, header)
        if header.commit is None or record.body is None:
            return None
        metadata = {
            **header.commit.meta,
            "source": header.commit.source,
            "step": header.commit.step,
            "run_id": header.run,
        }
        if filter and any(metadata.get(name) != value for name, value in filter.items()):
            return None
        try:
            scope = self._fold(header)
            if scope is None:
                return None
            after = scope.copy()
            await self._see_results(after, seq)
            freezer = Freezer(
                self._definition,
                self._definition.codec,
                self._head.secret,
                self._keeper.chance.id,
                self._key.thread,
                scope.checkpoint,
            )
            freezer.blobs.update(
                await fetch_blobs(self._keeper, self._key, after.blobs(), self._head.secret)
            )
            return _recorded(self._definition, self._key.thread, scope, after, freezer)
        except IntegrityError as error:
            if await self._removed(header):
                return None
            return self._damaged(record, error)

    async def _removed(self, header: Header) -> bool:
        """Whether what looks damaged was deleted or pruned while it was being read."""
        backend = self._keeper.backend
        reading = await backend.read(self._key)
        if reading is None or reading.head.secret != self._head.secret:
            return True
        path = extend(header.commit.path if header.commit is not None else (), header.seq)
        return any(record.body is None for record in await backend.scan(self._key, path))

    def _fold(self, header: Header) -> Scope | None:
        """State at a checkpoint; ``None`` if what it needs was pruned."""
        known = self._scopes.get(header.seq)
        if known is not None:
            return known
        info = header.commit
        if info is None:
            return None
        path = [seq for first, last in info.path for seq in range(first, last + 1)]
        scope = Scope()
        rest = path
        for place in range(len(path) - 1, -1, -1):
            folded = self._scopes.get(path[place])
            if folded is not None:
                scope, rest = folded.copy(), path[place + 1 :]
                break
        for seq in (*rest, header.seq):
            record = self._records.get(seq)
            if record is None:
                raise IntegrityError(f"Record {seq} of thread {self._key.thread!r} is missing.")
            if record.body is None:
                return None
            fold_records(scope, [record], self._head.secret, self._key.thread)
            if record.kind == "commit":
                self._scopes[seq] = scope.copy()
        return scope

    async def _see_results(self, scope: Scope, seq: int) -> None:
        """What became of a checkpoint's tasks, from the records after it."""
        checkpoint = scope.checkpoint
        while seq < self._head.seq:
            seq += 1
            record = self._records.get(seq)
            if record is None:
                more = await self._keeper.backend.scan(self._key, ((seq, seq),))
                if not more:
                    return
                (record,) = more
            if record.body is None:
                if record.kind == "commit":
                    return
                continue
            try:
                header, body = open_record(record, self._head.secret, self._key.thread)
            except IntegrityError:
                if record.kind == "commit":
                    return  # it is shown as damaged itself; this checkpoint is not
                raise
            if not isinstance(body, Commit):
                scope.apply(header, body)
                continue
            if header.commit is not None and header.commit.parent == checkpoint:
                scope.record(outcome for outcome in body.outcomes if outcome.index >= 0)
            return

    def _damaged(self, record: Record, error: IntegrityError | None) -> StateSnapshot:
        config = shapes.checkpoint_config(self._key.thread, record.checkpoint or "")
        return StateSnapshot(error, (), config, None, None, None, (), ())


def _present(definition: GraphDefinition, thread: str, view: View) -> StateSnapshot:
    """The state now: finished results are in it, and only open questions are shown."""
    scope, thaw = view.scope, view.freezer.thaw
    values: Mapping[str, Encoded] = scope.values
    done = [
        (due.node, outcome)
        for index, due in enumerate(scope.due)
        if (outcome := scope.outcomes.get(index)) is not None and outcome.done
    ]
    if done:
        try:
            _, after = changes(definition, view.reducers, values, done)
            merged = {**values, **after}
            values = {key: value for key, value in merged.items() if value is not None}
        except InvalidUpdateError:  # they exclude each other: going on will say so
            done = []
    tasks = []
    for index, due in enumerate(scope.due):
        outcome = scope.outcomes.get(index)
        result = None
        if done and outcome is not None and outcome.done:
            result = shapes.recorded_result(definition, scope.values, outcome, thaw)
        error = _error_of(outcome)
        asks = shapes.interrupts_of(scope.open_asks(index), thaw)
        path = shapes.path_of(due)
        tasks.append(PregelTask(due.id, due.node, path, error, asks, None, result))
    waiting = scope.unfinished() if done else range(len(scope.due))
    next_ = tuple(scope.due[index].node for index in waiting)
    return _shown(definition, thread, scope, values, tasks, next_, view.freezer)


def _error_of(outcome: Outcome | None) -> str | None:
    """What a task has failed with; also if that was handled, and it has a result all the same."""
    if outcome is None:
        return None
    return outcome.error if outcome.error is not None else outcome.caught


def _recorded(
    definition: GraphDefinition, thread: str, scope: Scope, after: Scope, freezer: Freezer
) -> StateSnapshot:
    """A checkpoint as it was: its values, and all its tasks with what became of them."""
    tasks = []
    for index, due in enumerate(after.due):
        outcome = after.outcomes.get(index)
        result = None
        if outcome is not None and outcome.done:
            result = shapes.recorded_result(definition, scope.values, outcome, freezer.thaw)
        tasks.append(
            PregelTask(
                due.id,
                due.node,
                shapes.path_of(due),
                _error_of(outcome),
                shapes.interrupts_of(after.asked.get(index, ()), freezer.thaw, after.answers),
                None,
                result,
            )
        )
    next_ = tuple(due.node for due in after.due)
    return _shown(definition, thread, scope, scope.values, tasks, next_, freezer)


def _shown(
    definition: GraphDefinition,
    thread: str,
    scope: Scope,
    values: Mapping[str, Encoded],
    tasks: Sequence[PregelTask],
    next_: tuple[str, ...],
    freezer: Freezer,
) -> StateSnapshot:
    return StateSnapshot(
        values=shapes.values_of(definition, values, definition.channels, freezer.thaw),
        next=next_,
        config=shapes.checkpoint_config(thread, scope.checkpoint),
        metadata=shapes.metadata_of(scope),
        created_at=shapes.timestamp(scope.time),
        parent_config=shapes.checkpoint_config(thread, scope.parent) if scope.parent else None,
        tasks=tuple(tasks),
        interrupts=tuple(ask for task in tasks for ask in task.interrupts),
    )
