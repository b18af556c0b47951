"""Deleting what no manifest leads to: after a removal, and what interrupted writes have left.

An object that belongs to a write under way looks just the same until the write is done. So what
cannot be told apart goes only once it is older than any write takes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from durable_graph.errors import IntegrityError
from durable_graph.ports.backend import ThreadKey
from durable_graph_s3.bucket import Bucket, Listed
from durable_graph_s3.kept import Kept
from durable_graph_s3.keys import HEADS, LOGS, LogKeys, folder
from durable_graph_s3.log import Log, Moved
from durable_graph_s3.manifest import Manifest, unpack_manifest

__all__ = ["Clearing"]

_OLD: Final = 3600.0
_DEPTH: Final = 3  # tenant, thread, log


class Clearing:
    """Deletes what is of no use any more.

    Args:
        bucket: where.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def clear(self, thread: ThreadKey, manifest: Manifest) -> None:
        """Delete the logs that were removed from a thread."""
        doomed = [
            item.key
            for item in await self._bucket.list(folder(thread))
            if _log_of(item.key) != manifest.log
            and (_log_of(item.key) in manifest.gone or item.age > _OLD)
        ]
        await self._bucket.delete(doomed)

    async def logs(self, thread: ThreadKey) -> tuple[str, ...]:
        """The names of all logs of which a thread has something."""
        return tuple({_log_of(item.key) for item in await self._bucket.list(folder(thread))})

    async def blobs(self, manifest: Manifest, digests: Sequence[str]) -> None:
        """Delete large values of an era and those before it: they may be stored again later."""
        keys = LogKeys(manifest.key, manifest.log)
        doomed = []
        for digest in digests:
            if manifest.era == 0:
                doomed.append(keys.blob(digest, 0))
                continue
            last = keys.blob(digest, manifest.era)
            found = await self._bucket.list(keys.blobs(digest))
            doomed += [item.key for item in found if item.key <= last]
        await self._bucket.delete(doomed)

    async def collect(self, kept: Kept) -> int:
        """Delete what no manifest leads to, all over the bucket; returns how many objects."""
        of_threads: dict[str, list[Listed]] = defaultdict(list)
        for item in await self._bucket.list(LOGS):
            if item.age > _OLD:
                tenant, thread, _ = item.key.removeprefix(LOGS).split("/", 2)
                of_threads[f"{tenant}/{thread}"].append(item)
        count = 0
        for name, items in of_threads.items():
            doomed = await self._useless(name, items, kept)
            await self._bucket.delete(doomed)
            count += len(doomed)
        return count

    async def _useless(self, name: str, items: Sequence[Listed], kept: Kept) -> Sequence[str]:
        # Old when they were listed, so whatever led to them does so in this manifest, or did.
        stored = await self._bucket.get(f"{HEADS}{name}")
        if stored is None:
            return [item.key for item in items]
        try:
            manifest = unpack_manifest(stored.data)
            log = Log(self._bucket, manifest, kept, last=False)
            spans = await log.spans(lambda span: True)
        except (IntegrityError, Moved):
            return []  # what cannot be read, or is just changing, is left alone
        useful = {span.name for span in spans} | set(log.indexes)
        return [
            item.key
            for item in items
            if _log_of(item.key) != manifest.log
            or (_name_of(item.key)[:2] in ("s-", "i-") and _name_of(item.key) not in useful)
        ]


def _log_of(key: str) -> str:
    return key.split("/")[_DEPTH]


def _name_of(key: str) -> str:
    return key.rpartition("/")[2]
