"""How long a bucket is waited for: each request has its time, and one of many bytes has more."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import Any, Self

import pytest

from durable_graph.errors import StorageBusyError
from durable_graph_aws import AwsOptions
from durable_graph_s3.bucket import Bucket

MEGABYTE = 2**20


class SlowBody:
    """Bytes that come after a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def read(self) -> bytes:
        await asyncio.sleep(self._seconds)
        return b"data"


class SlowClient:
    """A client, and a service that takes its time.

    Args:
        seconds: for each request.
        size: how many bytes an object is said to have.
    """

    def __init__(self, seconds: float, size: int = 0) -> None:
        self._seconds = seconds
        self._size = size
        self.asked = 0

    async def list_objects_v2(self, **options: Any) -> Any:
        await self._wait()
        page = int(options.get("ContinuationToken", "0"))
        headers = {"date": formatdate(usegmt=True)}
        return {
            "ResponseMetadata": {"HTTPHeaders": headers},
            "IsTruncated": page < 4,
            "NextContinuationToken": str(page + 1),
        }

    async def delete_objects(self, **options: Any) -> Any:
        await self._wait()
        return {}

    async def put_object(self, **options: Any) -> Any:
        await self._wait()
        return {"ETag": '"e"'}

    async def get_object(self, **options: Any) -> Any:
        return {"Body": SlowBody(self._seconds), "ContentLength": self._size, "ETag": '"e"'}

    async def _wait(self) -> None:
        self.asked += 1
        await asyncio.sleep(self._seconds)


def bucket(client: SlowClient, longest: float) -> Bucket:
    """A bucket that was opened, whose requests may take so many seconds."""
    made = Bucket("bucket", "", AwsOptions(), client=client)
    made._ready = True
    made.service._longest = longest
    return made


async def test_each_page_has_its_time() -> None:
    """A list of many pages, and the end of many objects, may take longer than one request."""
    client = SlowClient(0.1)
    slow = bucket(client, 0.4)
    assert await slow.list("a") == []
    await slow.delete([str(n) for n in range(4500)])
    assert client.asked == 10


async def test_many_bytes_have_more_time() -> None:
    """Else an archive of gigabytes would never come, nor go."""
    slow = bucket(SlowClient(0.3, MEGABYTE), 0.1)
    stored = await slow.get("k")
    assert stored is not None
    assert stored.data == b"data"
    await slow.put("k", bytes(MEGABYTE))
    assert await slow.put_if("k", bytes(MEGABYTE), None) == '"e"'


async def test_few_bytes_have_not() -> None:
    """Who does not answer is given up, whatever was asked."""
    slow = bucket(SlowClient(60.0, 1), 0.05)
    with pytest.raises(StorageBusyError):
        await slow.get("k")
    with pytest.raises(StorageBusyError):
        await slow.put("k", b"1")
