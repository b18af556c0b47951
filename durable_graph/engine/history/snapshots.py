"""What users see of a thread's checkpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from durable_graph.decisions.freeze import Freezer
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.history.migrating import Writers, as_of_now
from durable_graph.engine.history.pictures import Pictures, nothing
from durable_graph.engine.history.reading import (
    Place,
    check_ns,
    fetch_blobs,
    fold_records,
    load,
    see_results,
)
from durable_graph.engine.ownership.hot import Hot
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.streams import shapes
from durable_graph.errors import (
    CheckpointNotFoundError,
    DurableGraphError,
    IncompatibleGraphError,
    IntegrityError,
)
from durable_graph.log.fold import Scope
from durable_graph.log.records import Head, Record, ThreadKey
from durable_graph.log.seal import Header, extend, open_header
from durable_graph.types import StateSnapshot

__all__ = ["history", "snapshot"]

_PAGE = 64


async def snapshot(
    definition: GraphDefinition, keeper: Keeper, place: Place, *, subgraphs: bool
) -> StateSnapshot:
    """A graph of a thread at its head, with finished results in it; or as it was at a checkpoint.

    Args:
        definition: the thread's root graph.
        keeper: where the thread is stored.
        place: the thread, the graph in it, and the checkpoint.
        subgraphs: whether tasks that run graphs show their states.

    Raises:
        CheckpointNotFoundError: it has no such checkpoint.
        IncompatibleGraphError: the graph is not found among those that the nodes refer to.
        IntegrityError: what is stored is damaged.
    """
    key = keeper.key(place.thread)
    view = await load(keeper, definition, key, place.checkpoint)
    if view is None:
        if place.checkpoint is not None:
            raise CheckpointNotFoundError(f"There is no thread {key.thread!r}.")
        return nothing(key.thread, place.ns)
    pictures = Pictures(definition, key.thread, view.freezer, subgraphs=subgraphs)
    if view.after is not None:
        check_ns(place, view)
        return pictures.then(view.named, view.after.within(view.ns) if view.ns else view.after)
    if not place.ns:
        shown = pictures.now(view.scope, view.reducers)
    elif (scope := view.scope.nested.get(place.ns)) is not None:
        shown = pictures.now(scope)
    else:
        shown = nothing(key.thread, place.ns)
    keeper.hot.put(Hot(view.head, view.scope, view.freezer, view.reducers, definition))
    return shown


async def history(
    definition: GraphDefinition,
    keeper: Keeper,
    place: Place,
    *,
    filter: Mapping[str, Any] | None,
    before: str | None,
    limit: int | None,
) -> AsyncIterator[StateSnapshot]:
    """Checkpoints of a graph of a thread as they were, newest first.

    Reads a page at a time and holds nothing meanwhile. A checkpoint whose records are damaged is
    shown with the error as its values; one that was pruned is left out.

    Args:
        definition: the graph.
        keeper: where the thread is stored.
        place: the thread, the graph in it, and the one checkpoint that is meant, if one is.
        filter: only checkpoints with this metadata.
        before: only checkpoints before this one.
        limit: how many at most.

    Raises:
        CheckpointNotFoundError: there is no checkpoint of a name that is given.
    """
    key, only = keeper.key(place.thread), place.checkpoint
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
            shown = await page.snapshot(number, place.ns, filter)
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
        self._writers = Writers(definition, keeper.backend, key)

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

    async def snapshot(
        self, seq: int, ns: str, filter: Mapping[str, Any] | None
    ) -> StateSnapshot | None:
        """The checkpoint at a record, if it is one of the graph at `ns` and passes the filter."""
        header = self._headers.get(seq)
        record = self._records.get(seq)
        if record is None or record.kind != "commit":
            return None
        if header is None or isinstance(header, IntegrityError):
            return None if ns else self._damaged(record, header)
        if header.commit is None or record.body is None or header.ns != ns:
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
            await see_results(self._keeper, self._head, after, ns, seq + 1, self._records)
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
            definition, thread = self._definition, self._key.thread
            origin = await self._writers.origin(scope.graph)
            if origin is not None and origin.changes:
                scope, _ = as_of_now(definition, scope, origin.changes, freezer, thread)
                after, _ = as_of_now(definition, after, origin.changes, freezer, thread)
            pictures = Pictures(definition, thread, freezer, subgraphs=False)
            if ns:
                return pictures.then(scope.within(ns), after.within(ns))
            return pictures.then(scope, after)
        except IncompatibleGraphError as error:
            return self._damaged(record, error)
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

    def _damaged(self, record: Record, error: DurableGraphError | None) -> StateSnapshot:
        config = shapes.checkpoint_config(self._key.thread, record.checkpoint or "")
        return StateSnapshot(error, (), config, None, None, None, (), ())
