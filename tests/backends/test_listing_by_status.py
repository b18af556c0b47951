"""Threads of a status among many others, where storage has an index of them."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from durable_graph import interrupt
from durable_graph.ports.backend import ThreadQuery
from durable_graph.saver import Saver
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.backend import PostgresBackend
from durable_graph_postgres.sql import queries
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.backend import SqliteBackend
from tests.conftest import thread
from tests.runtime.kit import Items, chain, says
from tests.services import postgres

MANY = 5000


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


async def two(saver: Saver) -> None:
    """One thread that asks, and one that has finished since."""
    await chain(("ask", ask), saver=saver).ainvoke({}, thread("asks"))
    await chain(("a", says("a")), saver=saver).ainvoke({}, thread("done"))


async def test_sqlite_does_not_look_at_the_others(tmp_path: Path) -> None:
    """What the one that asks costs does not grow with how many have finished since."""
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        await two(saver)
        few = await _work(saver, "asking")
        with sqlite3.connect(tmp_path / "threads.db") as db:
            db.execute(
                "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT ?)"
                " INSERT INTO threads (tenant, thread, seq, epoch, link, secret, status, owner,"
                " state, created, updated, checksum) SELECT tenant, n, seq, epoch, link, secret,"
                " status, owner, state, created, updated + n, checksum FROM threads, n"
                " WHERE thread = 'done'",
                (MANY,),
            )
        db.close()
        assert await _work(saver, "asking") <= few + 1


async def _work(saver: Saver, status: Any) -> int:
    """How many hundreds of SQLite's steps a list takes."""
    assert isinstance(saver.backend, SqliteBackend)
    ticks: list[int] = []

    def tick() -> int:
        ticks.append(1)
        return 0

    def watch(db: sqlite3.Connection) -> None:
        db.set_progress_handler(tick, 100)

    await saver.backend._reader.call(watch, writes=False)
    page = await saver.backend.threads(ThreadQuery(status=status))
    assert [found.key.thread for found in page.threads] == ["asks"]
    return len(ticks)


@pytest.mark.services
async def test_postgres_does_not_look_at_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server reads for it are the threads that it finds."""
    asked: list[tuple[str, tuple[Any, ...]]] = []
    fetch = PostgresBackend._fetch

    async def noted(self: Any, tenant: Any, name: str, *values: Any, **options: Any) -> Any:
        asked.append((name, values))
        return await fetch(self, tenant, name, *values, **options)

    schema = postgres.emptied_schema()
    async with PostgresSaver(postgres.dsn(), schema=schema) as saver:
        await two(saver)
        await postgres.sql(
            postgres.dsn(),
            f"INSERT INTO {schema}.threads (tenant, thread, seq, epoch, link, secret, status,"
            f" owner, state, created, updated, checksum) SELECT tenant, n, seq, epoch, link,"
            f" secret, status, owner, state, created, updated + n, checksum"
            f" FROM {schema}.threads, generate_series(1, {MANY}) AS n WHERE thread = 'done'",
            f"ANALYZE {schema}.threads",
        )
        monkeypatch.setattr(PostgresBackend, "_fetch", noted)
        page = await saver.backend.threads(ThreadQuery(status="asking"))
    assert [found.key.thread for found in page.threads] == ["asks"]
    ((name, values),) = asked
    connection = await asyncpg.connect(postgres.dsn())
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {queries(schema)[name]}"
    plan = json.loads(await connection.fetchval(explain, *values))[0]["Plan"]
    await connection.close()
    assert _read(plan) < 10


def _read(plan: Any) -> int:
    """How many rows the steps of a plan have read, thrown away ones among them."""
    own = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
    return int(own) + sum(map(_read, plan.get("Plans", ())))


@pytest.mark.services
async def test_postgres_changes_heads_in_place() -> None:
    """A run that begins and finishes changes no index, but for the minute."""
    schema = postgres.fresh_schema()
    async with PostgresSaver(postgres.dsn(), schema=schema) as saver:
        made = chain(("a", says("a")), saver=saver)
        for _ in range(20):
            await made.ainvoke({}, thread("t"))
    ((updates, hot),) = await postgres.sql(
        postgres.dsn(),
        f"SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables"
        f" WHERE relid = '{schema}.threads'::regclass",
    )
    assert updates >= 20
    assert updates - hot <= 3
