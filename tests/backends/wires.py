"""Ways to storage systems over a `Proxy`, each with savers that give up soon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from durable_graph.ports.backend import Backend
from durable_graph_aws.options import AwsOptions
from durable_graph_dynamodb.backend import DynamoDBBackend
from durable_graph_postgres import PostgresBackend
from durable_graph_redis import RedisBackend
from durable_graph_s3 import S3Backend
from tests.services import aws, postgres, redis

__all__ = ["PATIENCE", "WIRES", "Ways"]

PATIENCE: Final = 0.5
"""Seconds after which a call is given up."""


class Opened(Protocol):
    """Makes a backend that uses a port on loopback, and waits so many seconds for it."""

    def __call__(self, port: int, patience: float = PATIENCE) -> Backend: ...


@dataclass(frozen=True, slots=True)
class Ways:
    """Where a server is, and how backends get to one place in it.

    Attributes:
        host: where the server is.
        port: where it listens.
        open: makes a backend, on that port or on that of a `Proxy`.
    """

    host: str
    port: int
    open: Opened


async def on_postgres() -> Ways:
    """A schema of its own."""
    to, schema = urlsplit(postgres.dsn()), postgres.fresh_schema()

    def open(port: int, patience: float = PATIENCE) -> Backend:
        dsn = to._replace(netloc=f"{to.username}@127.0.0.1:{port}").geturl()
        return PostgresBackend(dsn, schema=schema, busy_timeout=patience, call_timeout=patience)

    return Ways(to.hostname or "", to.port or 5432, open)


async def on_redis() -> Ways:
    """A prefix of its own."""
    to, prefix = urlsplit(redis.url()), redis.fresh_prefix()

    def open(port: int, patience: float = PATIENCE) -> Backend:
        return RedisBackend(f"redis://127.0.0.1:{port}", prefix=prefix, timeout=patience)

    return Ways(to.hostname or "", to.port or 6379, open)


async def on_s3() -> Ways:
    """A bucket of its own."""
    to, bucket = urlsplit(aws.endpoint()), await aws.fresh_bucket()

    def open(port: int, patience: float = PATIENCE) -> Backend:
        return S3Backend(bucket, "threads", aws_options(port, patience), session=aws.session())

    return Ways(to.hostname or "", to.port or 80, open)


async def on_dynamodb() -> Ways:
    """A table of its own."""
    to, table = urlsplit(aws.endpoint()), aws.fresh_name()

    def open(port: int, patience: float = PATIENCE) -> Backend:
        options = aws_options(port, patience)
        return DynamoDBBackend(table, options, create=True, session=aws.session())

    return Ways(to.hostname or "", to.port or 80, open)


def aws_options(port: int, patience: float) -> AwsOptions:
    """How a server is reached that speaks like AWS; it takes its time, so it gets more."""
    return AwsOptions(
        **{
            **aws.options(),
            "endpoint_url": f"http://127.0.0.1:{port}",
            "connect_timeout": 2 * patience,
            "read_timeout": 2 * patience,
            "busy_timeout": 2 * patience,
        }
    )


WIRES: Final = {"dynamodb": on_dynamodb, "postgres": on_postgres, "redis": on_redis, "s3": on_s3}
"""By name."""
