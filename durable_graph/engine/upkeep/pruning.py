"""Freeing the space of checkpoints that nobody needs any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeAlias

from durable_graph.decisions.cards import Act
from durable_graph.decisions.pruning import unneeded
from durable_graph.engine.history.scanning import pages
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.upkeep.cards import note
from durable_graph.errors import ThreadBusyError
from durable_graph.log.records import Ranges, Record, ThreadKey
from durable_graph.log.seal import Header, open_header
from durable_graph.ports.backend import Position, Removal

__all__ = ["Choice", "prune"]

Choice: TypeAlias = Callable[[Sequence[Header]], Collection[int]]
"""From the headers of a thread's records to the checkpoints, by record, that stay readable."""

# How often a thread that changes while it is looked at is looked at again.
_TRIES = 10


async def prune(keeper: Keeper, key: ThreadKey, choice: Choice, by: str | None = None) -> bool:
    """Free the space of the checkpoints of a thread at rest that are not chosen to be kept.

    Args:
        keeper: where the thread is stored.
        key: the thread.
        choice: which checkpoints are.
        by: who has this done; put down on the thread's card, if they say so.

    Returns:
        Whether there was any.

    Raises:
        ThreadBusyError: it is being run, or changes faster than it can be looked at.
        IntegrityError: what is stored is damaged.
    """
    for _ in range(_TRIES):
        thread = await keeper.at_rest(key)
        head = None if thread is None else thread.head
        if head is None:
            return False
        records: list[Record] = []
        async for page in pages(keeper, key, ((1, head.seq),), bodies=False):
            records += page
        headers = [open_header(record, key.thread) for record in records]
        bodies, blobs = unneeded(headers, head.path, choice(headers))
        if not await _holds_any(keeper, key, bodies):
            return False
        if by is not None:
            await note(keeper, key, Act("pruned", keeper.clock.time(), by))
            by = None
        what = Removal(expected=Position.of(head), bodies=bodies, blobs=blobs)
        if await keeper.backend.remove(key, what):
            return True
    raise ThreadBusyError(f"Thread {key.thread!r} keeps changing; prune it when it rests.")


async def _holds_any(keeper: Keeper, key: ThreadKey, ranges: Ranges) -> bool:
    """Whether any of these records still has its body; what was pruned before is further back."""
    async for page in pages(keeper, key, ranges, backwards=True):
        if any(record.body is not None for record in page):
            return True
    return False
