"""PostgreSQL, with ``fsync`` on."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from benchmarks.libraries import installed
from benchmarks.systems.kind import Group, Row, System, Write
from durable_graph_postgres import PostgresSaver
from tests.services import postgres

__all__ = ["start"]

_SAVER, _POOL = "langgraph.checkpoint.postgres.aio", "psycopg_pool"
_CONNECTIONS = 10
"""For either library as many as ours takes by itself."""


def start() -> System:
    """The server of the tests."""
    return System(
        "PostgreSQL",
        asyncio.run(_about()),
        _ours,
        _theirs if all(map(installed, (_SAVER, _POOL))) else f"{_SAVER} or {_POOL} is missing",
        _bare,
    )


async def _about() -> str:
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
    rows = await postgres.sql(
        postgres.dsn(), f"SELECT {', '.join(f'current_setting($${name}$$)' for name in names)}"
    )
    version, *values = rows[0]
    settings = zip(names[1:], values, strict=True)
    return f"PostgreSQL {version}, " + ", ".join(f"{name} {value}" for name, value in settings)


@asynccontextmanager
async def _schema() -> AsyncIterator[str]:
    name = postgres.fresh_schema()
    await postgres.sql(postgres.dsn(), f"CREATE SCHEMA {name}")
    try:
        yield name
    finally:
        await postgres.sql(postgres.dsn(), f"DROP SCHEMA {name} CASCADE")


@asynccontextmanager
async def _ours() -> AsyncIterator[Any]:
    async with (
        _schema() as schema,
        PostgresSaver(postgres.dsn(), schema=schema, max_connections=_CONNECTIONS) as saver,
    ):
        yield saver


@asynccontextmanager
async def _theirs() -> AsyncIterator[Any]:
    savers = importlib.import_module(_SAVER)
    pools = importlib.import_module(_POOL)
    rows = importlib.import_module("psycopg.rows")
    async with (
        _schema() as schema,
        pools.AsyncConnectionPool(
            postgres.dsn(),
            min_size=_CONNECTIONS,
            max_size=_CONNECTIONS,
            timeout=600.0,  # many runs wait long for one of few
            open=False,
            kwargs={
                "autocommit": True,
                "prepare_threshold": 0,
                "row_factory": rows.dict_row,
                "options": f"-csearch_path={schema}",
            },
        ) as pool,
    ):
        saver = savers.AsyncPostgresSaver(pool)
        await saver.setup()
        yield saver


@asynccontextmanager
async def _bare() -> AsyncIterator[Write]:
    async with _schema() as schema:
        connection = await asyncpg.connect(postgres.dsn())
        try:
            await connection.execute(
                f"CREATE TABLE {schema}.steps (thread text COLLATE "
                '"C", number int, data bytea, PRIMARY KEY (thread, number))'
            )
            await connection.execute(
                f"CREATE TABLE {schema}.heads (thread text COLLATE "
                '"C" PRIMARY KEY, number int, data bytea) WITH (fillfactor = 70)'
            )
            store_rows = await connection.prepare(
                f"WITH head AS (INSERT INTO {schema}.heads "
                "SELECT * FROM unnest($1::text[], $2::int[], $4::bytea[]) "
                "ON CONFLICT (thread) DO UPDATE SET number = excluded.number, data = excluded.data)"
                f"INSERT INTO {schema}.steps SELECT * FROM unnest($1::text[], $2::int[], "
                "$3::bytea[])"
            )

            async def store(rows: list[Row]) -> None:
                await store_rows.fetch(*zip(*rows, strict=True))

            yield Group(store).write
        finally:
            await connection.close()
