"""The events of a thread, read back from its log: what watchers of its runs were told.

The records are told by the same `Narrator` that tells a watcher of a run, so data, order and
cursors are the same. What no record has is not there: tokens, custom events, beginnings of tasks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from functools import partial
from typing import Any

from durable_graph.decisions.advance import with_results
from durable_graph.decisions.freeze import Freezer
from durable_graph.decisions.reduce import Reducers
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.history.pictures import graph_at
from durable_graph.engine.history.reading import fetch_blobs, fold_records
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.streams.narrator import Narrator
from durable_graph.engine.streams.stream import Event
from durable_graph.errors import CheckpointNotFoundError, ConfigError, IncompatibleGraphError
from durable_graph.log.fold import Scope
from durable_graph.log.namespace import parts
from durable_graph.log.records import (
    Body,
    Commit,
    Head,
    Mark,
    Ranges,
    Record,
    Steps,
    TaskResults,
    ThreadKey,
)
from durable_graph.log.seal import Header, extend, open_header, open_record
from durable_graph.types import StreamMode

__all__ = ["read_cursor", "retell"]

Cursor = tuple[int, ...]

_PAGE = 64
_DIGITS = 19  # of the largest number that storage counts to; Python refuses thousands of them


def read_cursor(cursor: Any) -> Cursor:
    """A cursor as numbers; ``()``, which is before all others, for ``None``.

    Raises:
        ConfigError: it is no cursor.
    """
    if cursor is None:
        return ()
    parts = cursor.split(".") if isinstance(cursor, str) else ()
    sound = all(part.isascii() and part.isdigit() and len(part) <= _DIGITS for part in parts)
    if len(parts) < 2 or not sound:
        raise ConfigError(
            f"after= is the cursor of a part of a stream, such as '12.1', not {cursor!r:.200}."
        )
    return tuple(map(int, parts))


async def retell(
    definition: GraphDefinition,
    keeper: Keeper,
    key: ThreadKey,
    modes: Collection[StreamMode],
    after: Cursor,
    *,
    subgraphs: bool,
) -> AsyncIterator[Event]:
    """The events of a thread behind a cursor, up to its present end: those of its root graph, and
    of the graphs within it, if they are asked for and are found.

    Reads a page at a time and holds nothing meanwhile. What was pruned before the first event that
    is asked for is left out.

    Raises:
        ConfigError: the thread has not got as far as the cursor says.
        CheckpointNotFoundError: what came behind the cursor was pruned.
        IntegrityError: what is stored is damaged.
    """
    reading = await keeper.backend.read(key)
    if reading is None:
        return
    head = reading.head
    if after and after[0] > head.seq:
        raise ConfigError(
            f"Thread {key.thread!r} has {head.seq} records, so nothing in it has the cursor "
            f"{'.'.join(map(str, after))!r}. Is it that of another thread?"
        )
    reader = _Reader(definition, keeper, head, modes, subgraphs=subgraphs)
    seq = await reader.begin(after[0]) if after else 1
    while seq <= head.seq:
        records = await keeper.backend.scan(key, ((seq, min(seq + _PAGE - 1, head.seq)),))
        await reader.fetch(records)
        for record in records:
            events = await reader.tell(record)
            if events is None and after and record.seq > after[0]:
                raise CheckpointNotFoundError(
                    f"Thread {key.thread!r} was pruned behind the cursor "
                    f"{'.'.join(map(str, after))!r}: read its state anew, and go on with what "
                    f"happens from then on."
                )
            for event in events or ():
                if read_cursor(event.cursor) > after:
                    yield event
        seq += _PAGE


class _Reader:
    """Follows a thread's log, and tells what each record says.

    Args:
        definition: the graph.
        keeper: where the thread is stored.
        head: its head.
        modes: which events are asked for.
        subgraphs: whether those of graphs within are.
    """

    def __init__(
        self,
        definition: GraphDefinition,
        keeper: Keeper,
        head: Head,
        modes: Collection[StreamMode],
        *,
        subgraphs: bool,
    ) -> None:
        self._definition = definition
        self._modes = modes
        self._subgraphs = subgraphs
        self._within: dict[str, Narrator | None] = {}
        self._keeper = keeper
        self._head = head
        self._key = head.key
        self._scope: Scope | None = None
        secret, thread = head.secret, head.key.thread
        new_id = keeper.chance.id
        self._freezer = Freezer(definition, definition.codec, secret, new_id, thread)
        merged = partial(with_results, definition, Reducers(self._freezer))
        self._narrator = Narrator(definition, modes, thread, self._freezer.thaw, merged)

    async def begin(self, seq: int) -> int:
        """Be where all is known that counts at a record: behind the last checkpoint of the root
        graph before it.

        Returns:
            The record to go on with.
        """
        while seq > 1:
            first = max(1, seq - _PAGE)
            page = await self._keeper.backend.scan(self._key, ((first, seq - 1),))
            for record in reversed(page):
                header = open_header(record, self._key.thread)
                if header.commit is not None and not header.ns:
                    await self._fold(extend(header.commit.path, record.seq))
                    self._narrator.metadata = header.commit.meta
                    return record.seq + 1
            seq = first
        return 1

    async def fetch(self, records: Iterable[Record]) -> None:
        """Have the large values at hand that these records refer to, and the state before them."""
        named = {
            digest
            for record in records
            if record.body is not None
            for digest in open_header(record, self._key.thread).blobs
        }
        if self._scope is not None and self._freezer.blobs:
            self._freezer.keep(self._scope.blobs() | named)
        await self._fetch(named)

    async def tell(self, record: Record) -> list[Event] | None:
        """What a record says, once the state has moved on by it; ``None`` if it was pruned."""
        if record.body is None:
            self._scope = None
            return None
        header, body = open_record(record, self._head.secret, self._key.thread)
        if isinstance(body, Commit) and not await self._stand_before(header):
            return None
        scope = self._scope
        if scope is None:  # what it belongs to was pruned
            return None
        self._freezer.checkpoint = scope.checkpoint
        if header.ns:
            return self._tell_within(scope, record, header, body)
        meta = header.meta if header.commit is None else header.commit.meta
        if meta is not None:
            self._narrator.metadata = meta
        events = list(self._before(scope, header, body, self._narrator))
        changed = isinstance(body, Commit) and self._narrator.shows_values(scope, body)
        fold_records(scope, [record], self._head.secret, self._key.thread)
        if isinstance(body, Commit):
            results = len(body.outcomes)
            events += self._narrator.checkpoint(scope, header.seq, results, changed=changed)
        return events

    def _tell_within(self, root: Scope, record: Record, header: Header, body: Body) -> list[Event]:
        """What a record of a graph within says."""
        ns, secret, thread = header.ns, self._head.secret, self._key.thread
        known = ns in root.nested
        scope = root.within(ns) if known else Scope(ns, root=root)
        if known and ns not in self._within:  # it was there before the first record that is told
            self._within[ns] = self._narrator_of(root, ns)
        narrator = self._within.get(ns) if known else None
        before = () if narrator is None else list(self._before(scope, header, body, narrator))
        events = [*before]
        changed = (
            narrator is not None and isinstance(body, Commit) and narrator.shows_values(scope, body)
        )
        fold_records(root, [record], secret, thread)
        if not known or narrator is None:
            narrator = self._within[ns] = self._narrator_of(root, ns)
        if narrator is not None and isinstance(body, Commit):
            scope, results = root.nested[ns], len(body.outcomes)
            events += narrator.checkpoint(scope, header.seq, results, changed=changed)
        return [event._replace(ns=parts(ns)) for event in events]

    def _narrator_of(self, root: Scope, ns: str) -> Narrator | None:
        if not self._subgraphs:
            return None
        try:
            definition = graph_at(self._definition, root, ns)
        except IncompatibleGraphError:  # nobody knows its schema
            return None
        freezer = self._freezer.inside(definition)
        merged = partial(with_results, definition, Reducers(freezer))
        narrator = Narrator(definition, self._modes, self._key.thread, freezer.thaw, merged)
        narrator.metadata = self._narrator.metadata
        return narrator

    def _before(
        self, scope: Scope, header: Header, body: Body, narrator: Narrator
    ) -> Iterable[Event]:
        """What a record says of the state that it was written in."""
        match body:
            case Commit() if not scope.due:
                return ()  # what its results are of was pruned
            case TaskResults(outcomes) | Commit(outcomes):
                return narrator.results(scope, outcomes, header.seq, header.time)
            case Steps(steps):
                return narrator.steps(scope, steps, header.seq, header.time)
            case Mark():
                return narrator.mark(scope, body, header.seq)
            case _:
                return ()

    async def _stand_before(self, header: Header) -> bool:
        """Be at the state that a commit was made in; whether that is still to be had.

        A branch begins elsewhere than where the log was.
        """
        info = header.commit
        scope = self._scope
        if info is None:
            return False
        if scope is not None and (info.path == scope.path or _follows(scope, header)):
            return True
        return await self._fold(info.path)

    async def _fold(self, path: Ranges) -> bool:
        """Be at the end of a path; whether all of it is still to be had."""
        self._scope = scope = Scope()
        for first, last in path:
            records = await self._keeper.backend.scan(self._key, ((first, last),))
            if any(record.body is None for record in records):
                self._scope = None
                return False
            fold_records(scope, records, self._head.secret, self._key.thread)
        await self._fetch(scope.blobs())
        return True

    async def _fetch(self, digests: set[str]) -> None:
        missing = digests - self._freezer.blobs.keys()
        if missing:
            secret = self._head.secret
            self._freezer.blobs.update(await fetch_blobs(self._keeper, self._key, missing, secret))


def _follows(scope: Scope, header: Header) -> bool:
    """Whether a snapshot, which has no path, was made where the log stands."""
    info = header.commit
    at = scope.nested.get(header.ns) if header.ns else scope
    return info is not None and not info.path and at is not None and info.parent == at.checkpoint
