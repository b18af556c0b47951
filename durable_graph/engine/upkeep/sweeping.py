"""What nobody needs any more, page by page: threads whose time is over, checkpoints likewise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from durable_graph.decisions.retention import Retention, due_at, kept_checkpoints
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.upkeep.cards import next_of, notes_of, revise
from durable_graph.engine.upkeep.deleting import delete_as_seen
from durable_graph.engine.upkeep.pruning import prune
from durable_graph.errors import DurableGraphError, StorageError
from durable_graph.ports.backend import Card, Thread, ThreadPage

__all__ = ["Swept", "sweep"]


@dataclass(frozen=True, slots=True)
class Swept:
    """What became of a page of threads.

    Attributes:
        deleted: those whose time was over.
        pruned: those that have given up checkpoints.
        left: those that were to be deleted or pruned and could not be, each with the reason: a
            live run owns it, or it is damaged.
        next: where to go on; ``None`` at the end.
    """

    deleted: Sequence[str] = ()
    pruned: Sequence[str] = ()
    left: Mapping[str, DurableGraphError] = field(default_factory=dict)
    next: str | None = None


_KEPT: Final = "kept"
_DELETED: Final = "deleted"
_PRUNED: Final = "pruned"


async def sweep(
    keeper: Keeper,
    page: ThreadPage,
    retention: Retention | None,
    *,
    unanswered: bool,
    by: str | None,
) -> Swept:
    """Delete and prune one page of threads.

    Args:
        keeper: where they are stored.
        page: the threads.
        retention: which checkpoints to keep; ``None`` for all.
        unanswered: whether threads that ask something are deleted when their time is over, too.
        by: who has this done.

    Raises:
        StorageError: storage failed. What was done is done; the same page may be swept again.
    """
    done: dict[str, list[str]] = {_KEPT: [], _DELETED: [], _PRUNED: []}
    left: dict[str, DurableGraphError] = {}
    for thread in page.threads:
        name = thread.key.thread
        try:
            fate = await _sweep_one(keeper, thread, retention, unanswered=unanswered, by=by)
            done[fate].append(name)
        except StorageError:
            raise
        except DurableGraphError as error:  # one thread is in nobody else's way
            left[name] = error
    return Swept(done[_DELETED], done[_PRUNED], left, page.next)


async def _sweep_one(
    keeper: Keeper,
    seen: Thread,
    retention: Retention | None,
    *,
    unanswered: bool,
    by: str | None,
) -> str:
    now = keeper.clock.time()
    if seen.card is not None and seen.card.expires is not None and seen.card.expires <= now:
        rests = await keeper.at_rest(seen.key)
        if rests is None or rests.card is None or rests.card.expires is None:
            return _KEPT
        due = due_at(rests.card.expires, notes_of(rests).ttl, rests.updated)
        if due > now:
            await revise(keeper, seen.key, _postponed)
            return _KEPT
        asks = rests.head is not None and rests.head.status == "asking"
        if not asks or unanswered:
            return _DELETED if await delete_as_seen(keeper, rests, by) else _KEPT
    head = seen.head
    # Where all there is belongs to the present state, nothing needs to be read to see it.
    if retention is None or head is None or head.path == ((1, head.seq),):
        return _KEPT
    choice = partial(kept_checkpoints, retention=retention, now=now)
    return _PRUNED if await prune(keeper, seen.key, choice, by) else _KEPT


def _postponed(seen: Thread | None) -> Card | None:
    """The card of a thread that has changed since its limit was written down, so that it is not
    looked at again before its time."""
    if seen is None or seen.card is None or seen.card.expires is None:
        return None
    notes = notes_of(seen)
    due = due_at(seen.card.expires, notes.ttl, seen.updated)
    if due <= seen.card.expires:
        return None
    # Of the same time: being looked at is no change, and must not keep a thread.
    return next_of(seen, notes, seen.card.time, expires=due)
