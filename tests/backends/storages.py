"""Fresh storage for checks, over every backend of this repository."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import pytest
from _pytest.mark import ParameterSet

from durable_graph.ports.backend import Backend
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.testing.contract import Factory, Storage
from durable_graph.testing.simulation import SimulatedStorage
from durable_graph_aws import AwsOptions
from durable_graph_dynamodb import DynamoDBBackend
from durable_graph_postgres import PostgresBackend
from durable_graph_redis import RedisBackend
from durable_graph_s3 import S3Backend
from durable_graph_s3.bucket import Bucket
from durable_graph_sqlite.backend import SqliteBackend
from tests.backends.dynamodb_raw import RawDynamoDB
from tests.backends.encrypted import encrypted
from tests.backends.postgres_raw import RawPostgres
from tests.backends.redis_raw import RawRedis
from tests.backends.s3_raw import RawS3
from tests.backends.sqlite_raw import RawSqlite
from tests.services import aws, postgres, redis
from tests.services.line import TcpLine, tcp_line

__all__ = ["SERVICES", "STORAGES", "storages"]

BackendT = TypeVar("BackendT", bound=Backend)


@asynccontextmanager
async def several(open: Callable[[], BackendT]) -> AsyncIterator[Callable[[], Awaitable[BackendT]]]:
    """A way to as many instances as are wanted, which are closed at the end."""
    opened: list[BackendT] = []

    async def reopen() -> BackendT:
        opened.append(open())
        return opened[-1]

    yield reopen
    for backend in opened:
        await backend.aclose()


def line_to(
    address: str, port: int, open: Callable[[int], Backend]
) -> Callable[[], AbstractAsyncContextManager[TcpLine]]:
    """Makes lines to a server; see `tcp_line`.

    Args:
        address: the server's URL.
        port: where it listens if that does not say.
        open: makes the backend that uses a line.
    """
    to = urlsplit(address)
    return lambda: tcp_line(to.hostname or "", to.port or port, open)


@asynccontextmanager
async def memory() -> AsyncIterator[Storage]:
    """In this process's memory."""
    backend = InMemoryBackend()
    yield Storage(backend)
    await backend.aclose()


@asynccontextmanager
async def sqlite_in_memory() -> AsyncIterator[Storage]:
    """In a SQLite database that has no file."""
    backend = SqliteBackend(":memory:")
    yield Storage(backend)
    await backend.aclose()


@asynccontextmanager
async def sqlite() -> AsyncIterator[Storage]:
    """In a SQLite file, which can be opened again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "threads.db"
        open = partial(SqliteBackend, path)
        async with several(open) as reopen:
            yield Storage(await reopen(), reopen, elsewhere=open, raw=RawSqlite(path))


@asynccontextmanager
async def on_redis_cluster() -> AsyncIterator[Storage]:
    """In a Redis cluster of three masters, under a prefix of its own."""
    address, prefix = redis.cluster_url(), redis.fresh_prefix()
    async with several(partial(RedisBackend, address, prefix=prefix)) as reopen:
        yield Storage(await reopen(), reopen)


@asynccontextmanager
async def simulated() -> AsyncIterator[Storage]:
    """In the storage system of simulations, in calm weather.

    It is held to the contract like every other, or else what holds in a simulation would say
    nothing about real storage.
    """
    system = SimulatedStorage()
    opened = [system.backend("process 1")]

    async def reopen() -> Backend:
        opened.append(system.backend(f"process {len(opened) + 1}"))
        return opened[-1]

    yield Storage(opened[0], reopen)
    for backend in opened:
        await backend.aclose()


@asynccontextmanager
async def on_postgres() -> AsyncIterator[Storage]:
    """In a schema of its own of a PostgreSQL database."""
    address, schema = postgres.dsn(), postgres.fresh_schema()
    to = urlsplit(address)
    open = partial(PostgresBackend, address, schema=schema)
    line = line_to(
        address,
        5432,
        lambda port: PostgresBackend(
            to._replace(netloc=f"{to.username}@127.0.0.1:{port}").geturl(), schema=schema
        ),
    )
    raw = RawPostgres(address, schema)
    async with several(open) as reopen:
        yield Storage(await reopen(), reopen, elsewhere=open, raw=raw, line=line)


@asynccontextmanager
async def on_redis() -> AsyncIterator[Storage]:
    """In a Redis server, under a prefix of its own."""
    address, prefix = redis.url(), redis.fresh_prefix()
    open = partial(RedisBackend, address, prefix=prefix)
    line = line_to(
        address, 6379, lambda port: RedisBackend(f"redis://127.0.0.1:{port}", prefix=prefix)
    )
    raw = RawRedis(address, prefix)
    async with several(open) as reopen:
        yield Storage(await reopen(), reopen, elsewhere=open, raw=raw, line=line)


@asynccontextmanager
async def on_s3() -> AsyncIterator[Storage]:
    """In a bucket of a server that speaks like S3."""
    bucket, options = await aws.fresh_bucket(), AwsOptions(**aws.options())
    open = partial(S3Backend, bucket, "threads", options)
    line = line_to(
        aws.endpoint(),
        80,
        lambda port: S3Backend(
            bucket,
            "threads",
            replace(options, endpoint_url=f"http://127.0.0.1:{port}"),
            session=aws.session(),
        ),
    )
    beside = Bucket(bucket, "threads", options, session=aws.session())
    async with several(lambda: open(session=aws.session())) as reopen:
        yield Storage(await reopen(), reopen, elsewhere=open, raw=RawS3(beside), line=line)
        await beside.aclose()


@asynccontextmanager
async def on_dynamodb() -> AsyncIterator[Storage]:
    """In a table of its own, on moto's server."""
    table, options = aws.fresh_name(), AwsOptions(**aws.options())
    open = partial(DynamoDBBackend, table, options, create=True)
    line = line_to(
        aws.endpoint(),
        80,
        lambda port: DynamoDBBackend(
            table,
            replace(options, endpoint_url=f"http://127.0.0.1:{port}"),
            create=True,
            session=aws.session(),
        ),
    )
    raw = RawDynamoDB(table, options)
    async with several(lambda: open(session=aws.session())) as reopen:
        yield Storage(await reopen(), reopen, elsewhere=open, raw=raw, line=line)


STORAGES: dict[str, Factory] = {
    "dynamodb": on_dynamodb,
    "encrypted-memory": encrypted(memory),
    "encrypted-postgres": encrypted(on_postgres),
    "encrypted-redis": encrypted(on_redis),
    "encrypted-sqlite": encrypted(sqlite),
    "memory": memory,
    "postgres": on_postgres,
    "redis": on_redis,
    "redis-cluster": on_redis_cluster,
    "s3": on_s3,
    "simulated": simulated,
    "sqlite": sqlite,
    "sqlite-in-memory": sqlite_in_memory,
}
"""Factories for `check_backend`, by name."""

SERVICES: Final = frozenset(
    {
        "dynamodb",
        "encrypted-postgres",
        "encrypted-redis",
        "postgres",
        "redis",
        "redis-cluster",
        "s3",
    }
)
"""Those that need a server."""


def storages() -> list[ParameterSet]:
    """The names of all of them, as parameters of tests."""
    return [
        pytest.param(name, marks=[pytest.mark.services] if name in SERVICES else [])
        for name in STORAGES
    ]
