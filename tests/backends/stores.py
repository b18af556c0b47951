"""Fresh stores for checks, over every storage system of this repository."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.mark import ParameterSet

from durable_graph import InMemoryStore
from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.testing.store_contract import StoreFactory, StoreStorage
from durable_graph_dynamodb import DynamoDBStore
from durable_graph_postgres import PostgresStore
from durable_graph_redis import RedisStore
from durable_graph_sqlite import SqliteStore
from tests.services import aws, postgres, redis

__all__ = ["SERVICES", "STORES", "stores"]


@asynccontextmanager
async def memory(**settings: Any) -> AsyncIterator[StoreStorage]:
    """In this process's memory."""
    store = InMemoryStore(**settings)
    yield StoreStorage(store)
    await store.aclose()


@asynccontextmanager
async def sqlite_in_memory(**settings: Any) -> AsyncIterator[StoreStorage]:
    """In a SQLite database that has no file."""
    store = SqliteStore(":memory:", **settings)
    yield StoreStorage(store)
    await store.aclose()


@asynccontextmanager
async def sqlite(**settings: Any) -> AsyncIterator[StoreStorage]:
    """In a SQLite file, which can be opened again."""
    with tempfile.TemporaryDirectory() as folder:
        opened: list[SqliteStore] = []

        async def reopen() -> SqliteStore:
            opened.append(SqliteStore(Path(folder) / "memory.db", **settings))
            return opened[-1]

        yield StoreStorage(await reopen(), reopen)
        for store in opened:
            await store.aclose()


@asynccontextmanager
async def on_redis(**settings: Any) -> AsyncIterator[StoreStorage]:
    """In a Redis server, under a prefix of its own."""
    address, prefix = redis.url(), redis.fresh_prefix()
    opened: list[RedisStore] = []

    async def reopen() -> RedisStore:
        opened.append(RedisStore(address, prefix=prefix, **settings))
        return opened[-1]

    yield StoreStorage(await reopen(), reopen)
    for store in opened:
        await store.aclose()


@asynccontextmanager
async def on_postgres(address: str | None = None, **settings: Any) -> AsyncIterator[StoreStorage]:
    """In a schema of its own of a PostgreSQL database."""
    address, schema = address or postgres.dsn(), postgres.fresh_schema()
    opened: list[PostgresStore] = []

    async def reopen() -> PostgresStore:
        opened.append(PostgresStore(address, schema=schema, **settings))
        return opened[-1]

    yield StoreStorage(await reopen(), reopen)
    for store in opened:
        await store.aclose()


@asynccontextmanager
async def on_dynamodb(**settings: Any) -> AsyncIterator[StoreStorage]:
    """In a table of its own of moto's DynamoDB."""
    table, reached = aws.fresh_name(), {**aws.options(), "session": aws.session()}
    opened: list[DynamoDBStore] = []

    async def reopen() -> DynamoDBStore:
        opened.append(DynamoDBStore(table, create=True, **reached, **settings))
        return opened[-1]

    yield StoreStorage(await reopen(), reopen)
    for store in opened:
        await store.aclose()


@asynccontextmanager
async def on_postgres_with_vectors(**settings: Any) -> AsyncIterator[StoreStorage]:
    """The same where the server ranks vectors."""
    async with on_postgres(postgres.vector_dsn(), **settings) as storage:
        yield storage


@asynccontextmanager
async def encrypted(**settings: Any) -> AsyncIterator[StoreStorage]:
    """The same with every value encrypted."""
    keys = LocalKeys({"2026": bytes(range(32))})
    async with sqlite(**settings, encryption=Encryption(keys)) as storage:
        yield storage


STORES: dict[str, StoreFactory] = {
    "dynamodb": on_dynamodb,
    "encrypted-sqlite": encrypted,
    "memory": memory,
    "postgres": on_postgres,
    "postgres-with-vectors": on_postgres_with_vectors,
    "redis": on_redis,
    "sqlite": sqlite,
    "sqlite-in-memory": sqlite_in_memory,
}
"""Factories for `check_store`, by name."""

SERVICES: Final = frozenset({"dynamodb", "postgres", "postgres-with-vectors", "redis"})
"""Those that need a server."""


def stores() -> list[ParameterSet]:
    """The names of all of them, as parameters of tests."""
    return [
        pytest.param(name, marks=[pytest.mark.services] if name in SERVICES else [])
        for name in STORES
    ]
