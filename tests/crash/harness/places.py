"""Where threads are that outlive those who run them: each process opens them for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.mark import ParameterSet

from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Backend
from durable_graph.ports.clock import Clock
from durable_graph.saver import Lease, Saver
from durable_graph_sqlite.backend import SqliteBackend
from tests.crash.harness.counts import rounds
from tests.crash.harness.oracle import check_file

__all__ = ["SERVERS", "Place", "file_in", "kinds", "place", "records_of", "rounds_on"]

SERVERS: Final = ("postgres", "redis")
"""Kinds of places that need a server."""

EMULATED: Final = ("dynamodb", "s3")
"""Kinds of places whose server is an emulator, which takes its time."""

_SLOW: Final[Mapping[str, int]] = dict.fromkeys(EMULATED, 12)
"""Of these, so many times fewer rounds fit into the time of the others."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place for threads, as it is told to other processes.

    Attributes:
        kind: what keeps them.
        where: a path or an address.
        options: of its backend.
    """

    kind: str
    where: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def backend(self, clock: Clock | None = None, **options: Any) -> Backend:
        """A way to reach it, of this process's own."""
        options = {**self.options, **options, "clock": clock}
        match self.kind:
            case "sqlite":
                return SqliteBackend(self.where, **options)
            case "postgres":
                from durable_graph_postgres.backend import PostgresBackend

                return PostgresBackend(self.where, **options)
            case "redis":
                from durable_graph_redis.backend import RedisBackend

                return RedisBackend(self.where, **options)
            case "dynamodb":
                from durable_graph_dynamodb import DynamoDBBackend

                return DynamoDBBackend(self.where, **options)
            case "s3":
                from durable_graph_s3 import S3Backend

                return S3Backend(self.where, **options)
        raise ValueError(f"There are no places of the kind {self.kind!r}.")

    def saver(self, lease: Lease | None = None) -> Saver:
        """A saver on it, of this process's own."""
        return Saver(self.backend(), lease=lease)

    def check(self) -> None:
        """I7: nobody holds up whoever wants to write now, as far as the storage system can tell.

        Raises:
            AssertionError: it does not hold.
        """
        if self.kind == "sqlite":
            check_file(Path(self.where))


def file_in(folder: Path) -> Place:
    """A SQLite file in a folder."""
    return Place("sqlite", str(folder / "threads.db"))


def place(kind: str, folder: Path) -> Place:
    """A place without any thread; its server is started, if it needs one."""
    match kind:
        case "sqlite":
            return file_in(folder)
        case "postgres":
            from tests.services import postgres

            return Place("postgres", postgres.dsn(), {"schema": postgres.fresh_schema()})
        case "redis":
            from tests.services import redis

            return Place("redis", redis.url(), {"prefix": redis.fresh_prefix()})
        case "dynamodb" | "s3":
            from durable_graph_aws import AwsOptions
            from tests.services import aws

            options = {"options": AwsOptions(**aws.options()), "create": True}
            return Place(kind, aws.fresh_name(), options)
    raise ValueError(f"There are no places of the kind {kind!r}.")


def kinds(*more: Any, emulated: bool = False) -> list[ParameterSet]:
    """All kinds of places, as parameters of tests, each with these besides."""
    servers = (*SERVERS, *EMULATED) if emulated else SERVERS
    return [
        pytest.param(kind, *more, marks=[pytest.mark.services] if kind in servers else [], id=kind)
        for kind in ("sqlite", *servers)
    ]


def rounds_on(kind: str, usual: int, full: int) -> range:
    """Seeds of as many rounds as are asked for and can be had there."""
    slow = _SLOW.get(kind, 1)
    return rounds(max(2, usual // slow), full // slow)


def records_of(where: Place, thread: str) -> list[Any]:
    """Every byte of every record of a thread, and its head."""

    async def look() -> list[Any]:
        backend = where.backend()
        key = ThreadKey.of(thread)
        try:
            reading = await backend.read(key)
            assert reading is not None
            return [reading.head, *await backend.scan(key, ((1, reading.head.seq + 10),))]
        finally:
            await backend.aclose()

    return asyncio.run(look())
