"""Processes and their signs of life: one object each, whose age is how long they are silent.

Both when it was written and the time now are the server's, so no two clocks are compared. Both
are whole seconds: an age is at most one second too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from durable_graph.errors import IntegrityError
from durable_graph.log.container import pack, unpack
from durable_graph.ports.archive import readable
from durable_graph.ports.backend import Liveness, Process
from durable_graph.ports.rows import to_process
from durable_graph_s3.bucket import Bucket
from durable_graph_s3.kept import Kept
from durable_graph_s3.keys import PROCESSES
from durable_graph_s3.together import together

__all__ = ["Processes"]

# Processes whose sign of life is this many leases old are forgotten.
_FORGOTTEN: Final = 100.0
# However short their leases are, not before: ages are whole seconds, and requests take time.
_LEAST: Final = 60.0


class Processes:
    """Who uses a bucket, and when they were last heard of.

    Args:
        bucket: the bucket.
        kept: objects at hand.
    """

    def __init__(self, bucket: Bucket, kept: Kept) -> None:
        self._bucket = bucket
        self._kept = kept

    async def beat(self, process: Process) -> None:
        """Store a sign of life."""
        await self._bucket.put(f"{PROCESSES}{readable(process.id)}", _pack(process))

    async def known(self) -> Sequence[Liveness]:
        """All that are known; those that have been silent for long are forgotten."""
        listed = await self._bucket.list(PROCESSES)
        processes = await together([self._process(item.key, item.etag) for item in listed])
        alive, silent = [], []
        for item, process in zip(listed, processes, strict=True):
            if process is not None and item.age <= max(_FORGOTTEN * process.lease, _LEAST):
                alive.append(Liveness(process, item.age))
            elif process is not None:
                silent.append(item.key)
        # One that beats again just now is known again with its next beat.
        await self._bucket.delete(silent)
        return alive

    async def _process(self, key: str, etag: str) -> Process | None:
        # A process says the same of itself each time, so it is read once.
        data = self._kept.get(f"{key} {etag}")
        if data is None:
            stored = await self._bucket.get(key)
            if stored is None:
                return None
            data = stored.data
            self._kept.put(f"{key} {stored.etag}", data)
        try:
            return _unpack(data)
        except IntegrityError:
            return None  # who cannot be made out counts as one that is not known


def _pack(process: Process) -> bytes:
    identity = process.identity
    row = [process.id, identity.host, identity.pid, identity.started, process.lease]
    return pack("process", 1, {"process": row}, [])


def _unpack(data: bytes) -> Process | None:
    known, _ = unpack("process", 1, data)
    row: Any = known.get("process")
    if not isinstance(row, list) or len(row) != 5:
        return None
    id, host, pid, started, lease = row
    read = to_process((id, host, pid, started, None, 0.0, lease))
    return read[0] if read is not None else None
