"""The bytes of the objects in a bucket, past the backend."""

from __future__ import annotations

from collections.abc import Mapping

from durable_graph_s3.bucket import Bucket

__all__ = ["RawS3"]


class RawS3:
    """Pieces are the objects of threads, by key.

    Args:
        bucket: the bucket.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    async def pieces(self) -> Mapping[str, bytes]:
        """Manifests, segments, index objects and large values."""
        found: dict[str, bytes] = {}
        for folder in ("heads/", "logs/"):
            for item in await self._bucket.list(folder):
                stored = await self._bucket.get(item.key)
                assert stored is not None
                found[item.key] = stored.data
        return found

    async def overwrite(self, name: str, data: bytes) -> None:
        """Put other bytes into an object."""
        await self._bucket.put(name, data)
