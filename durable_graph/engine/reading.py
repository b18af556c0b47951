"""Reading a thread: from storage to the state of its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from durable_graph.decisions.freeze import Freezer
from durable_graph.decisions.reduce import Reducers
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.keeper import Keeper
from durable_graph.errors import CheckpointNotFoundError, IntegrityError
from durable_graph.log.fold import Scope
from durable_graph.log.records import Commit, Head, Record, ThreadKey
from durable_graph.log.seal import blob_digest, open_record
from durable_graph.ports.backend import Message, Position, Reading

__all__ = ["View", "check_end", "fetch_blobs", "fold_records", "load"]

# How often a thread that changes while it is read is looked at again.
_LOOKS = 8


@dataclass(slots=True)
class View:
    """A thread as it was read.

    Attributes:
        head: its head.
        scope: its state, at the head or at the checkpoint that was asked for.
        messages: what waits in its inbox.
        after: what became of the tasks of the checkpoint that was asked for.
        freezer: with the large values of the state; of a state that was at hand, the one that
            it was used with.
        reducers: likewise.
        complete: whether the large values were all there.
    """

    head: Head
    scope: Scope
    messages: Sequence[Message]
    freezer: Freezer
    reducers: Reducers
    after: Scope | None = None
    complete: bool = True

    @property
    def at_head(self) -> bool:
        """Whether the state is that of the last checkpoint."""
        return self.scope.checkpoint == self.head.checkpoint


async def load(
    keeper: Keeper,
    definition: GraphDefinition,
    key: ThreadKey,
    checkpoint: str | None = None,
) -> View | None:
    """Read a thread at its head or at a checkpoint; ``None`` if it does not exist.

    Raises:
        CheckpointNotFoundError: it has no such checkpoint, or that was pruned.
        IntegrityError: what is stored is damaged.
    """
    backend = keeper.backend
    known = keeper.hot.position(key, definition) if checkpoint is None else None
    reading = await backend.read(key, checkpoint, unless=known)
    if reading is not None and known is not None and known == Position.of(reading.head):
        hot = keeper.hot.take(key)
        if hot is not None and Position.of(hot.head) == known:
            hot.freezer.begin(hot.scope.blobs() if hot.freezer.blobs else set())
            return View(reading.head, hot.scope, reading.messages, hot.freezer, hot.reducers)
        reading = await backend.read(key)  # another call of this process took it meanwhile
    view = None
    for _ in range(_LOOKS):
        if reading is None:
            keeper.hot.take(key)
            return None
        view = await _folded(keeper, definition, key, checkpoint, reading)
        if view.complete:
            break
        # Large values are read after the records that name them. The thread may have been
        # removed or pruned in between; only if it was not is it damaged.
        before, reading = reading, await backend.read(key, checkpoint)
        if reading == before:
            break
    return view


async def _folded(
    keeper: Keeper,
    definition: GraphDefinition,
    key: ThreadKey,
    checkpoint: str | None,
    reading: Reading,
) -> View:
    head = reading.head
    if not reading.records or any(record.body is None for record in reading.records):
        raise CheckpointNotFoundError(
            f"Thread {key.thread!r} has no checkpoint {checkpoint!r}, or it was pruned."
        )
    scope = Scope()
    fold_records(scope, reading.records, head.secret, key.thread)
    after = None
    if checkpoint is not None:
        after = scope.copy()
        results = [r for r in reading.after if r.kind != "commit" and r.body is not None]
        fold_records(after, results, head.secret, key.thread)
        _take_riders(after, reading.after, head, key.thread)
    freezer = Freezer(
        definition,
        definition.codec,
        head.secret,
        keeper.chance.id,
        key.thread,
        scope.checkpoint,
    )
    live = (after or scope).blobs()
    freezer.blobs.update(await fetch_blobs(keeper, key, live, head.secret))
    complete = live <= freezer.blobs.keys()
    freezer.begin(live)
    return View(head, scope, reading.messages, freezer, Reducers(freezer), after, complete)


async def check_end(keeper: Keeper, head: Head) -> None:
    """See that a thread's last record is there: whatever is put behind it links to it.

    Reading the thread's present state does so anyway; reading an earlier checkpoint does not.

    Raises:
        IntegrityError: it is missing or another.
    """
    key, seq = head.key, head.seq
    last = await keeper.backend.scan(key, ((seq, seq),), bodies=False)
    if last and last[0].link == head.link:
        return
    now = await keeper.backend.read(key)
    if now is not None and Position.of(now.head) == Position.of(head):
        raise IntegrityError(
            f"The last record of thread {key.thread!r}, {seq}, is missing or damaged, so nothing "
            f"can be put behind it. Its earlier checkpoints can be read; go on with what they hold "
            f"in a new thread."
        )


async def fetch_blobs(
    keeper: Keeper, key: ThreadKey, digests: set[str], secret: bytes
) -> Mapping[str, bytes]:
    """Large values by digest, checked.

    Raises:
        IntegrityError: one of them is damaged. One that is missing is told when it is used.
    """
    if not digests:
        return {}
    blobs = await keeper.backend.blobs(key, sorted(digests))
    for digest, data in blobs.items():
        if blob_digest(data, secret) != digest:
            raise IntegrityError(f"A large value of thread {key.thread!r} is damaged.")
    return blobs


def fold_records(scope: Scope, records: Sequence[Record], secret: bytes, thread: str) -> None:
    """Move a scope on by stored records.

    Raises:
        IntegrityError: one of them is damaged.
    """
    for record in records:
        header, body = open_record(record, secret, thread)
        try:
            scope.apply(header, body)
        except (IntegrityError, LookupError, TypeError) as error:
            raise IntegrityError(f"Record {record.seq} of thread {thread!r}: {error}") from error


def _take_riders(scope: Scope, after: Sequence[Record], head: Head, thread: str) -> None:
    """Results of a checkpoint's tasks that are stored with the commit that took them in."""
    if not after or after[-1].kind != "commit" or after[-1].body is None:
        return
    header, body = open_record(after[-1], head.secret, thread)
    follows = header.commit is not None and header.commit.parent == scope.checkpoint
    if isinstance(body, Commit) and follows:
        scope.record(outcome for outcome in body.outcomes if outcome.index >= 0)
