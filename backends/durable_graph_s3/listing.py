"""Listing threads: S3 lists by key, so every manifest of the tenant is looked at.

What was looked at before is known by its ETag, which the list of keys has: so following the pages
of a list, and listing again, reads only what has changed.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from durable_graph.ports.backend import Thread, ThreadPage, ThreadQuery
from durable_graph.ports.paging import cursor_of, place, place_of
from durable_graph_s3.bucket import Bucket, Listed
from durable_graph_s3.keys import heads_of
from durable_graph_s3.manifest import unpack_manifest
from durable_graph_s3.together import together

__all__ = ["Listing"]

_KNOWN: Final = 20_000  # threads
_AT_ONCE: Final = 200  # manifests in memory at the same time


class Listing:
    """The threads of a bucket.

    Args:
        bucket: the bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[str, Thread | None]] = OrderedDict()

    async def page(self, query: ThreadQuery) -> ThreadPage:
        """Some threads.

        Raises:
            IntegrityError: the manifest of one is damaged.
        """
        after = place_of(query.after) if query.after is not None else None
        listed = await self._bucket.list(heads_of(query.tenant))
        found: list[Thread] = []
        for start in range(0, len(listed), _AT_ONCE):
            some = await together([self._thread(item) for item in listed[start : start + _AT_ONCE]])
            found += [
                thread
                for thread in some
                if thread is not None
                and query.wants(thread)
                and (after is None or place(thread) < after)
            ]
        found.sort(key=place, reverse=True)
        page = found[: query.limit]
        return ThreadPage(page, cursor_of(page[-1]) if len(found) > query.limit else None)

    async def _thread(self, item: Listed) -> Thread | None:
        with self._lock:
            known = self._known.get(item.key)
        if known is not None and known[0] == item.etag:
            return known[1]
        stored = await self._bucket.get(item.key)
        if stored is None:
            return None
        thread = unpack_manifest(stored.data).thread
        with self._lock:
            self._known[item.key] = (stored.etag, thread)
            self._known.move_to_end(item.key)
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return thread
