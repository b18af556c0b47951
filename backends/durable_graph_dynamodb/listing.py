"""The list of a tenant's threads.

An item of the list says under which minute a thread changed last. It is written in the transaction
that moves the thread into another minute, so list and threads never differ, and most appends do
not touch the list. What is told of a thread is read from the thread's own item, and is told only
if it is still in the minute that is being listed: so one that rests is told exactly once, and one
that changes may be told again where it has gone.

To tell the threads of one minute in their order, all of them are read: a page of a tenant with
10,000 threads that changed within one minute costs as much as all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from durable_graph.errors import IntegrityError
from durable_graph.ports.backend import Thread, ThreadKey, ThreadPage, ThreadQuery
from durable_graph.ports.paging import cursor_of, place, place_of
from durable_graph_dynamodb.keys import (
    THREAD,
    list_partition,
    listed,
    minute_of,
    partition,
    start_of,
)
from durable_graph_dynamodb.reading import Reader
from durable_graph_dynamodb.table import Table
from durable_graph_dynamodb.threads import found_in
from durable_graph_dynamodb.values import Item

__all__ = ["Listing"]

_PAGE: Final = 200
# After so many threads of which few were wanted, a page ends early.
_MOST: Final = 2000


class Listing:
    """Lists threads.

    Args:
        table: where they are.
        reader: reads heads that are not in their thread's item.
    """

    def __init__(self, table: Table, reader: Reader) -> None:
        self._table = table
        self._reader = reader

    async def page(self, query: ThreadQuery) -> ThreadPage:
        """A page of threads. Where few of many are wanted it may be short, and not the last."""
        after = place_of(query.after) if query.after is not None else None
        low = minute_of(query.since if query.since is not None else -math.inf)
        until = query.until if query.until is not None else math.inf
        high = minute_of(min(after[0], until) if after is not None else until)
        found: list[Thread] = []
        looked_at = 0
        gathered: list[Item] = []
        async for page in self._table.range(
            list_partition(query.tenant), low, f"{high}/~", limit=_PAGE, backwards=True
        ):
            for item in page:
                if gathered and _minute(item) != _minute(gathered[0]):
                    found += await self._threads(query, gathered, after)
                    looked_at += len(gathered)
                    if len(found) > query.limit:
                        return _page(found, query.limit)
                    if looked_at >= _MOST:
                        return ThreadPage(found, _before(_minute(gathered[0])))
                    gathered = []
                gathered.append(item)
        found += await self._threads(query, gathered, after)
        return _page(found, query.limit)

    async def _threads(
        self, query: ThreadQuery, items: Sequence[Item], after: tuple[float, str] | None
    ) -> list[Thread]:
        """The threads of one minute that are wanted, in their order."""
        keys = {}
        for item in items:
            name = item.get("thread")
            if type(name) is not str or item["sk"] != listed(_minute(item), name):
                raise IntegrityError(
                    f"An item of the list of threads is damaged: {item['pk']!r}, {item['sk']!r}."
                )
            key = ThreadKey(query.tenant, name)
            keys[partition(key)] = key
        stored = await self._table.get_all([(pk, THREAD) for pk in keys])
        threads: list[Thread] = []
        for (pk, _), item in stored.items():
            found = found_in(keys[pk], item)
            whole = await self._reader.with_head(found, item)
            if whole is None or whole.minute != _minute(items[0]):
                continue  # it is somewhere else in the list by now
            thread = whole.thread
            if query.wants(thread) and (after is None or place(thread) < after):
                threads.append(thread)
        return sorted(threads, key=place, reverse=True)


def _page(found: list[Thread], limit: int) -> ThreadPage:
    more = len(found) > limit
    return ThreadPage(found[:limit], cursor_of(found[limit - 1]) if more else None)


def _before(minute: str) -> str:
    """The place after all of a minute: the moment before it, and the last of all names."""
    return f"{math.nextafter(start_of(minute), -math.inf)!r} \U0010ffff"


def _minute(item: Item) -> str:
    minute: str = item["sk"].partition("/")[0]
    return minute
