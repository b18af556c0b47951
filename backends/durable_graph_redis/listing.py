"""A tenant's threads, newest change first, out of the parts of its list.

Each part is sorted; a page is what comes first of all of them. A place in a list is the time of a
thread's last change and its name, so it moves only if the thread changes, and a cursor is a place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeAlias

from durable_graph.ports.backend import Thread, ThreadKey, ThreadPage, ThreadQuery
from durable_graph.ports.paging import place, place_of
from durable_graph_redis.keys import BUCKETS, Keys, member_of, name_of, order_of, time_of
from durable_graph_redis.scripts import Command

__all__ = ["list_threads"]

Get: TypeAlias = Callable[[Sequence[Command]], Awaitable[list[Any]]]
Make: TypeAlias = Callable[[ThreadKey, "bytes | None", "bytes | None"], "Thread | None"]

# Who filters looks at so many threads at once.
_LOOK: Final = 200


async def list_threads(query: ThreadQuery, keys: Keys, get: Get, make: Make) -> ThreadPage:
    """A page of threads.

    Args:
        query: which.
        keys: their names.
        get: gives commands, and returns their answers.
        make: a thread from its name, head and card.
    """
    places = _Places(query, keys, get)
    found: list[tuple[bytes, Thread]] = []
    plain = query.status is None and query.owner is None and not query.tags
    plain = plain and not query.metadata and query.expired is None
    while len(found) <= query.limit:
        some = await places.take(query.limit + 1 - len(found) if plain else _LOOK)
        if not some:
            break
        threads = [ThreadKey(query.tenant, name_of(member)) for member in some]
        stored = await get([("HMGET", keys.thread(key), "head", "card") for key in threads])
        for member, key, values in zip(some, threads, stored, strict=True):
            thread = make(key, *values)
            # One that was removed since its place was read is not there; one that has moved is
            # told where it was met.
            if thread is not None and query.wants(thread):
                found.append((member, thread))
    page = found[: query.limit]
    more = len(found) > query.limit
    listed = sorted((thread for _, thread in page), key=place, reverse=True)
    # Where the last one was met, which is not where it is now if it has moved.
    return ThreadPage(listed, f"{time_of(page[-1][0])!r} {name_of(page[-1][0])}" if more else None)


class _Places:
    """Places in a tenant's list, from the first on, out of all its parts."""

    def __init__(self, query: ThreadQuery, keys: Keys, get: Get) -> None:
        self._get = get
        self._indexes = keys.indexes(query.tenant)
        self._last = b"[" + order_of(query.since) if query.since is not None else b"-"
        top = b"+"
        if query.until is not None:
            top = b"(" + order_of(query.until)
        if query.after is not None:
            after = b"(" + member_of(*place_of(query.after))
            top = after if top == b"+" else min(top, after)
        self._tops = [top] * BUCKETS
        self._ahead: list[deque[bytes]] = [deque() for _ in range(BUCKETS)]
        self._open = set(range(BUCKETS))

    async def take(self, count: int) -> list[bytes]:
        """The next places, so many if there are."""
        taken: list[bytes] = []
        each = max(2 * count // BUCKETS, 1) + 2
        while len(taken) < count:
            await self._look_ahead(each)
            firsts = [(ahead[0], bucket) for bucket, ahead in enumerate(self._ahead) if ahead]
            if not firsts:
                break
            _, bucket = max(firsts)
            taken.append(self._ahead[bucket].popleft())
        return taken

    async def _look_ahead(self, each: int) -> None:
        """Have the next place of every part at hand."""
        empty = [bucket for bucket in self._open if not self._ahead[bucket]]
        if not empty:
            return
        answers = await self._get(
            [
                ("ZREVRANGEBYLEX", self._indexes[b], self._tops[b], self._last, "LIMIT", 0, each)
                for b in empty
            ]
        )
        for bucket, members in zip(empty, answers, strict=True):
            self._ahead[bucket].extend(members)
            if len(members) < each:
                self._open.discard(bucket)
            if members:
                self._tops[bucket] = b"(" + members[-1]
