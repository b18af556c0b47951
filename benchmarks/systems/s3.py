"""S3, as moto imitates it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.systems.imitated import STEPS, about, client
from benchmarks.systems.kind import Row, System, Write
from durable_graph_s3 import S3Saver
from tests.services import aws

__all__ = ["start"]


def start() -> System:
    """The server of the tests."""
    return System("S3", about(), _ours, "it has no saver of its own for S3", _bare, STEPS)


@asynccontextmanager
async def _ours() -> AsyncIterator[Any]:
    bucket = await aws.fresh_bucket()
    async with S3Saver(f"s3://{bucket}/threads", session=aws.session(), **aws.options()) as saver:
        yield saver


@asynccontextmanager
async def _bare() -> AsyncIterator[Write]:
    bucket = await aws.fresh_bucket()
    async with client("s3") as s3:

        async def write(row: Row) -> None:
            await s3.put_object(
                Bucket=bucket,
                Key=f"{row.thread}/{row.number}",
                Body=row.data,
                IfNoneMatch="*",  # what makes a write of ours the only one of its place
            )

        yield write
