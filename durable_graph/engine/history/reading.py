"""Reading a thread: from storage to the state of its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from durable_graph.decisions.freeze import Freezer
from durable_graph.decisions.reduce import Reducers
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.apart import apart
from durable_graph.engine.history.migrating import Origin, Pending, Writers, as_of_now
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.errors import CheckpointNotFoundError, IntegrityError
from durable_graph.log.fold import Scope
from durable_graph.log.pieces import BULKY
from durable_graph.log.records import Commit, Head, Record, ThreadKey
from durable_graph.log.seal import blob_digest, damage, open_header, open_record
from durable_graph.ports.backend import Message, Position, Reading

__all__ = [
    "Place",
    "View",
    "check_end",
    "check_ns",
    "fetch_blobs",
    "fold_records",
    "load",
    "see_results",
]

# How often a thread that changes while it is read is looked at again.
_LOOKS = 8

# How many records are read at once where it is not known how many are needed.
_PAGE = 64


@dataclass(frozen=True, slots=True)
class Place:
    """What a config names.

    Attributes:
        thread: the thread.
        checkpoint: one of its checkpoints; ``None`` for the present.
        ns: the namespace of a graph in it; empty for the root graph.
    """

    thread: str
    checkpoint: str | None = None
    ns: str = ""


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
        ns: the namespace of the graph whose checkpoint was asked for.
        at_head: whether that is the present one of its graph.
        asked: the thread as it last asked something at that checkpoint, if it did.
        origin: where the state comes from, if another version of the graph has written it.
        pending: what its migrations make of it, if they do; `scope` and `after` have it in them.
        pending_after: likewise of `after`.
    """

    head: Head
    scope: Scope
    messages: Sequence[Message]
    freezer: Freezer
    reducers: Reducers
    after: Scope | None = None
    complete: bool = True
    ns: str = ""
    at_head: bool = True
    asked: Scope | None = None
    origin: Origin | None = None
    pending: Pending | None = None
    pending_after: Pending | None = None

    def take_results(self) -> None:
        """Of the checkpoint that was asked for, what became of its tasks counts, too."""
        if self.after is not None:
            self.scope, self.pending = self.after, self.pending_after

    @property
    def named(self) -> Scope:
        """The state of the graph whose checkpoint was asked for."""
        return self.scope.nested[self.ns] if self.ns else self.scope


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
        IncompatibleGraphError: a migration cannot be applied to it.
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

    def folding() -> set[str]:
        fold_records(scope, reading.records, head.secret, key.thread)
        return scope.blobs()

    live = await apart(folding) if head.weight > BULKY else folding()
    after, ns, at_head, asked = None, "", True, None
    if checkpoint is not None:
        ns = next((n for n, s in scope.nested.items() if s.checkpoint == checkpoint), "")
        after = scope.copy()
        known = {record.seq: record for record in reading.after}
        first = reading.records[-1].seq + 1
        ended, asked = await see_results(keeper, head, after, ns, first, known)
        at_head = not ended
    freezer = Freezer(
        definition,
        definition.codec,
        head.secret,
        keeper.chance.id,
        key.thread,
        scope.checkpoint,
    )
    for later in (after, asked):
        live |= later.blobs() if later is not None else set()
    freezer.blobs.update(await fetch_blobs(keeper, key, live, head.secret))
    complete = live <= freezer.blobs.keys()
    freezer.begin(live)
    reducers = Reducers(freezer)
    messages = reading.messages
    view = View(head, scope, messages, freezer, reducers, after, complete, ns, at_head, asked)
    if complete and scope.graph != definition.fingerprint:
        await _bring_up_to_date(keeper, definition, view)
    return view


async def _bring_up_to_date(keeper: Keeper, definition: GraphDefinition, view: View) -> None:
    key = view.head.key
    view.origin = await Writers(definition, keeper.backend, key).origin(view.scope.graph)
    if view.origin is None or not view.origin.changes:
        return
    changes, freezer = view.origin.changes, view.freezer
    view.scope, view.pending = as_of_now(definition, view.scope, changes, freezer, key.thread)
    if view.after is not None:
        now, view.pending_after = as_of_now(definition, view.after, changes, freezer, key.thread)
        view.after = now
    if view.asked is not None:
        view.asked, _ = as_of_now(definition, view.asked, changes, freezer, key.thread)


async def see_results(
    keeper: Keeper,
    head: Head,
    scope: Scope,
    ns: str,
    first: int,
    known: Mapping[int, Record] | None = None,
) -> tuple[bool, Scope | None]:
    """Move a thread that stands at a checkpoint on, up to what ended the superstep after it.

    Args:
        keeper: where it is stored.
        head: its head.
        scope: its state.
        ns: the namespace of the graph whose checkpoint it is.
        first: the record after the checkpoint's.
        known: records that have been read already.

    Returns:
        Whether that superstep has ended, by a commit of the graph or of one around it; and the
        thread as it last asked something before that, if it did.

    Raises:
        IntegrityError: a record is damaged.
    """
    thread, at = head.key.thread, (scope.nested[ns] if ns else scope)
    checkpoint, records, asked = at.checkpoint, dict(known or {}), None
    for seq in range(first, head.seq + 1):
        if seq not in records:
            last = min(seq + _PAGE - 1, head.seq)
            page = await keeper.backend.scan(head.key, ((seq, last),))
            records |= {record.seq: record for record in page}
        record = records.get(seq)
        if record is None:
            # Deleted in the meantime, or damaged: whoever reads on comes to know.
            return True, asked
        if record.kind == "commit":
            try:
                header = open_header(record, thread)
            except IntegrityError:
                # It is shown as damaged itself; this checkpoint is not.
                return True, asked
            ends = header.ns in ("", ns) or ns.startswith(f"{header.ns}|")
            if record.body is None or ends:
                if ends and header.commit is not None and header.commit.parent == checkpoint:
                    _take_riders(at, record, head.secret, thread)
                return True, asked
        if record.body is not None:
            fold_records(scope, [record], head.secret, thread)
            # A graph within that goes on takes its questions back; the root graph repeats all
            # that is asked when its run stops.
            if record.kind == "tasks" and scope.all_open_asks():
                asked = scope.copy()
    return False, asked


def check_ns(place: Place, view: View) -> None:
    """See that the checkpoint that was asked for is one of the graph that was named.

    Raises:
        CheckpointNotFoundError: it is of another one.
    """
    if place.ns and place.ns != view.ns:
        raise CheckpointNotFoundError(
            f"Checkpoint {place.checkpoint!r} of thread {place.thread!r} is one of the graph at "
            f"{view.ns!r}, not of that at {place.ns!r}. Pass on the whole config that names it."
        )


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
    if sum(map(len, blobs.values())) > BULKY:
        await apart(partial(_check_blobs, blobs, secret, key.thread))
    else:
        _check_blobs(blobs, secret, key.thread)
    return blobs


def _check_blobs(blobs: Mapping[str, bytes], secret: bytes, thread: str) -> None:
    for digest, data in blobs.items():
        if blob_digest(data, secret) != digest:
            raise damage(data, f"A large value of thread {thread!r}")


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


def _take_riders(scope: Scope, commit: Record, secret: bytes, thread: str) -> None:
    """Results of a checkpoint's tasks that are stored with the commit that took them in."""
    if commit.body is None:
        return
    try:
        _, body = open_record(commit, secret, thread)
    except IntegrityError:
        return  # as above
    if isinstance(body, Commit):
        scope.record(outcome for outcome in body.outcomes if outcome.index >= 0)
