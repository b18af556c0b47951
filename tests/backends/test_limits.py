"""What storage systems take at once is declared, and is what the README says."""

from __future__ import annotations

import pytest

from durable_graph.ports.backend import Backend
from durable_graph_dynamodb.backend import DynamoDBBackend
from durable_graph_postgres.backend import PostgresBackend
from durable_graph_redis.backend import RedisBackend
from durable_graph_s3.backend import S3Backend
from durable_graph_sqlite.backend import SqliteBackend
from tests.examples.documents import text_of

BACKENDS: dict[str, tuple[Backend, int | None]] = {
    "SQLite 1 GB": (SqliteBackend(":memory:"), 10**9),
    "PostgreSQL 1 GB": (PostgresBackend("postgresql://nowhere/db"), 2**30),
    "Redis 512 MB": (RedisBackend("redis://nowhere"), 2**29),
    "S3 5 GB": (S3Backend("bucket"), 5 * 2**30),
    "": (DynamoDBBackend("table"), None),
}


@pytest.mark.parametrize("said", BACKENDS)
def test_limits_are_declared_with_room_for_what_comes_along(said: str) -> None:
    """Up to 2 % below the system's own; none where values are stored in pieces."""
    backend, own = BACKENDS[said]
    declared = backend.capabilities.max_record_bytes
    assert said in " ".join(text_of("README.md").replace("\n> ", "\n").split())
    assert declared == own or (declared is not None and own and 0.98 * own < declared < own)
