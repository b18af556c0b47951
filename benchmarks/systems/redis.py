"""Redis, with every write synced."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis as driver
from redis.asyncio import Redis

from benchmarks.libraries import installed
from benchmarks.systems.kind import Group, Row, System, Write
from durable_graph_redis import RedisSaver
from tests.services import redis

__all__ = ["start"]

_SAVER = "langgraph.checkpoint.redis.aio"


def start() -> System:
    """The server of the tests."""
    address = redis.url()
    client: Any
    with driver.Redis.from_url(address, decode_responses=True) as client:
        about = client.info("server")
        settings = client.config_get("append*")
        searches = _searches(client)
    return System(
        "Redis",
        f"Redis {about['redis_version']}, appendonly {settings['appendonly']}, "
        f"appendfsync {settings['appendfsync']}",
        _ours,
        _theirs if searches and installed(_SAVER) else _why_not(searches=searches),
        _bare,
    )


def _searches(client: Any) -> bool:
    try:
        client.execute_command("FT._LIST")
    except driver.ResponseError:
        return False
    return True


def _why_not(*, searches: bool) -> str:
    if searches:
        return "langgraph-checkpoint-redis is not installed"
    return (
        "it needs RediSearch, which this server does not have; with DURABLE_GRAPH_TEST_REDIS one "
        "that has it, such as Redis 8, can be named"
    )


@asynccontextmanager
async def _prefix() -> AsyncIterator[str]:
    """A prefix of keys, which are removed afterwards."""
    prefix = redis.fresh_prefix()
    try:
        yield prefix
    finally:
        async with Redis.from_url(redis.url()) as client:
            # Ours begin with a brace: what follows it says where a cluster keeps them.
            async for key in client.scan_iter(match=f"*{prefix}*", count=1000):
                await client.unlink(key)


@asynccontextmanager
async def _ours() -> AsyncIterator[Any]:
    async with _prefix() as prefix, RedisSaver(redis.url(), prefix=prefix) as saver:
        yield saver


@asynccontextmanager
async def _theirs() -> AsyncIterator[Any]:
    savers = importlib.import_module(_SAVER)
    async with (
        _prefix() as prefix,
        savers.AsyncRedisSaver(
            redis.url(),
            checkpoint_prefix=f"{prefix}-checkpoint",
            checkpoint_write_prefix=f"{prefix}-write",
        ) as saver,
    ):
        yield saver


@asynccontextmanager
async def _bare() -> AsyncIterator[Write]:
    async with _prefix() as prefix, Redis.from_url(redis.url()) as client:

        async def store(rows: list[Row]) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for thread, number, data, head in rows:
                    pipeline.hset(f"{prefix}:{thread}:{number}", mapping={"data": data})
                    pipeline.hset(f"{prefix}:{thread}", mapping={"number": number, "data": head})
                await pipeline.execute()

        yield Group(store).write
