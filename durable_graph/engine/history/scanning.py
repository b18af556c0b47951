"""A stretch of a thread's log, a page of records at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.log.records import Ranges, Record, ThreadKey

__all__ = ["pages"]

_PAGE = 500


async def pages(
    keeper: Keeper,
    key: ThreadKey,
    ranges: Ranges,
    *,
    bodies: bool = True,
    backwards: bool = False,
) -> AsyncIterator[Sequence[Record]]:
    """Records of a thread by number, those that exist.

    Args:
        keeper: where the thread is stored.
        key: the thread.
        ranges: which records.
        bodies: whether with their bodies.
        backwards: whether the last page comes first; within a page the order stays.
    """
    parts = [
        (begin, min(begin + _PAGE - 1, last))
        for first, last in ranges
        for begin in range(first, last + 1, _PAGE)
    ]
    for part in reversed(parts) if backwards else parts:
        yield await keeper.backend.scan(key, (part,), bodies=bodies)
