"""Opening PostgreSQL: tables are made once, and a server that keeps too little is refused."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from durable_graph import open_saver
from durable_graph.errors import ConfigError, StorageBusyError, StorageError, UnknownTypeError
from durable_graph_postgres import PostgresBackend, PostgresSaver
from durable_graph_postgres.lineage import Lineage
from durable_graph_postgres.opening import Demands, migrate
from durable_graph_postgres.sql import migrations
from tests.backends.kit import child, counting, result_of, thread
from tests.services import postgres

pytestmark = pytest.mark.services

_CATALOG = """
SELECT c.relname AS name, c.relkind::text AS kind, a.attname AS part,
    format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull::text AS more
FROM pg_class AS c LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = $1::text::regnamespace
UNION ALL
SELECT conrelid::regclass::text, 'constraint', conname, pg_get_constraintdef(oid), ''
FROM pg_constraint WHERE connamespace = $1::text::regnamespace
UNION ALL
SELECT tablename, 'policy', policyname, qual, cmd FROM pg_policies WHERE schemaname = $1::text
UNION ALL
SELECT proname, 'function', pg_get_function_identity_arguments(oid), prosrc, provolatile::text
FROM pg_proc WHERE pronamespace = $1::text::regnamespace
ORDER BY 1, 2, 3
"""


@asynccontextmanager
async def opened(dsn: str | None = None, **options: Any) -> AsyncIterator[PostgresBackend]:
    """A backend, closed at the end."""
    backend = PostgresBackend(
        dsn or postgres.dsn(), **{"schema": postgres.fresh_schema(), **options}
    )
    try:
        yield backend
    finally:
        await backend.aclose()


async def _catalog(schema: str) -> list[tuple[Any, ...]]:
    """All that is in a schema, its name apart."""
    connection = await asyncpg.connect(postgres.dsn())
    try:
        rows = await connection.fetch(_CATALOG, schema)
    finally:
        await connection.close()
    return [tuple(str(part).replace(schema, "SCHEMA") for part in row) for row in rows]


async def test_migrated_step_by_step_it_is_the_same() -> None:
    """From every version on, what comes of it is what a new schema has."""
    async with opened() as backend:
        await backend.beat(None)
        fresh = await _catalog(backend.schema)
    assert len(fresh) > 100
    for stop in range(1, len(migrations("x"))):
        schema = postgres.fresh_schema()
        connection = await asyncpg.connect(postgres.dsn())
        reached: list[int] = []
        demands = Demands(schema, "local", allow_weaker=False, row_security=False, patience="10s")
        await migrate(connection, demands, "here", to=stop, step=reached.append)
        await connection.close()
        assert reached == list(range(1, stop + 1))
        async with opened(schema=schema) as backend:
            await backend.beat(None)
            assert await _catalog(schema) == fresh


@pytest.mark.timeout(120)
async def test_many_processes_migrate_at_once() -> None:
    """Each finds the tables made once, and goes on."""
    schema = postgres.fresh_schema()
    script = (
        "import asyncio, sys\n"
        "from durable_graph_postgres import PostgresBackend\n"
        "async def main():\n"
        "    backend = PostgresBackend(sys.argv[1], schema=sys.argv[2], busy_timeout=30.0)\n"
        "    input()\n"
        "    print(len(await backend.beat(None)))\n"
        "    await backend.aclose()\n"
        "asyncio.run(main())\n"
    )
    from contextlib import ExitStack

    with ExitStack() as stack:
        racers = [stack.enter_context(child(script, postgres.dsn(), schema)) for _ in range(20)]
        for racer in racers:
            racer.tell()
        for racer in racers:
            assert (await asyncio.to_thread(racer.end, 90.0)).strip() == "0"
    rows = await postgres.sql(postgres.dsn(), f"SELECT version FROM {schema}.migrations ORDER BY 1")
    assert [row[0] for row in rows] == list(range(1, len(migrations("x")) + 1))


async def test_a_newer_version_is_refused() -> None:
    """Nothing is read that may mean something else."""
    async with opened() as backend:
        await backend.beat(None)
    await postgres.sql(
        postgres.dsn(), f"INSERT INTO {backend.schema}.migrations (version) VALUES (99)"
    )
    async with opened(schema=backend.schema) as newer:
        with pytest.raises(UnknownTypeError, match=r"version 99.*upgrade"):
            await newer.beat(None)


async def test_tables_of_something_else_are_refused() -> None:
    """A schema that has a table of our name is not ours."""
    schema = postgres.fresh_schema()
    await postgres.sql(
        postgres.dsn(), f"CREATE SCHEMA {schema}", f"CREATE TABLE {schema}.threads (a int)"
    )
    async with opened(schema=schema) as backend:
        with pytest.raises(StorageError, match="something else"):
            await backend.beat(None)


@pytest.mark.parametrize(
    "name", ["", "a b", 'a"b', "A", "1a", "pg_mine", "a;b", "x" * 64, "a%b", "ä", "a\n"]
)
def test_names_of_schemas_are_checked(name: str) -> None:
    """Nothing that would have to be quoted gets into a statement."""
    with pytest.raises(ConfigError, match="schema="):
        PostgresBackend("postgresql://127.0.0.1/x", schema=name)


def test_arguments_that_make_no_sense_are_refused() -> None:
    """At once, and not on first use."""
    for options in (
        {},
        {"synchronous": "full"},
        {"max_connections": 0},
        {"busy_timeout": 0.0},
        {"busy_timeout": 5.0, "call_timeout": 1.0},
        {"call_timeout": float("inf")},
    ):
        dsn = "postgresql://127.0.0.1/x" if options else None
        with pytest.raises(ConfigError):
            PostgresBackend(dsn, **options)


async def test_connections_are_taken_as_a_pool() -> None:
    """Who gives them as something else, as to LangGraph's saver, is told so at once."""
    wrong: Any
    async with asyncpg.create_pool(postgres.dsn(), min_size=1) as wrong:
        with pytest.raises(ConfigError, match=r"taken as pool=, one of asyncpg\.create_pool"):
            PostgresBackend(wrong)
        async with wrong.acquire() as connection:
            with pytest.raises(
                ConfigError,
                match=r"create_pool\(\.\.\.\), not something of type PoolConnectionProxy",
            ):
                PostgresBackend(pool=connection)


@pytest.mark.parametrize(
    ("setting", "synchronous", "wrong"),
    [
        ("synchronous_commit=off", "local", "synchronous_commit is off"),
        ("synchronous_commit=local", "remote", "synchronous_commit is local"),
        ("synchronous_commit=on", "remote", "synchronous_standby_names is empty"),
    ],
)
async def test_a_session_that_keeps_too_little_is_refused(
    setting: str, synchronous: Any, wrong: str
) -> None:
    """What counts is what the session really has; one may overrule it."""
    weak = f"{postgres.dsn()}?{setting}"
    async with opened(weak, synchronous=synchronous) as backend:
        with pytest.raises(StorageError, match=wrong):
            await backend.beat(None)
    async with opened(weak, synchronous=synchronous, allow_weaker=True) as backend:
        assert await backend.beat(None) == []


async def test_a_session_whose_transactions_see_one_moment_is_refused() -> None:
    """Writers that are at work at the same time would be refused under it."""
    strict = f"{postgres.dsn()}?default_transaction_isolation=serializable"
    async with opened(strict) as backend:
        with pytest.raises(StorageError, match="default_transaction_isolation"):
            await backend.beat(None)


async def test_a_server_that_keeps_too_little_is_refused() -> None:
    """Without fsync, or with torn pages, and as a standby."""
    with postgres.own_server(fsync="off", full_page_writes="off") as server:
        async with opened(server.dsn) as backend:
            with pytest.raises(StorageError, match="fsync is off and full_page_writes is off"):
                await backend.beat(None)
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        async with opened(server.dsn, allow_weaker=True) as backend:
            with pytest.raises(StorageError, match="is a standby"):
                await backend.beat(None)


async def test_a_database_that_cannot_hold_every_text_is_refused() -> None:
    """Only UTF-8 can."""
    name = postgres.fresh_schema()
    await postgres.sql(
        postgres.dsn(),
        f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' "
        f"TEMPLATE template0",
    )
    async with opened(postgres.dsn().rpartition("/")[0] + f"/{name}") as backend:
        with pytest.raises(StorageError, match="ENCODING 'UTF8'"):
            await backend.beat(None)


async def test_an_address_where_nobody_answers() -> None:
    """It is told at once, without the password, and nothing was written."""
    async with opened("postgresql://ann:secret@127.0.0.1:1/x", busy_timeout=20.0) as backend:
        async with asyncio.timeout(15):
            with pytest.raises(StorageBusyError, match="No connection could be made") as caught:
                await backend.beat(None)
        assert "secret" not in str(caught.value) + repr(backend)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://user:secret@host:99999/database",
        "postgresql://user:secret@host:port/database",
        "postgresql://user:secret@one:5432,two:port/database",
        "postgresql://user:sec/ret@host/database",
        "postgresql://user:1/sec@host/database",
        "postgresql://user:1?sec@host/database",
        "postgresql://user:1#sec@host/database",
        "postgresql://user:secret@[::1/database",
        "host=localhost user=user password=secret",
        "http://user:secret@host/database",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """At once, and without showing the password."""
    with pytest.raises(ConfigError, match="host:port/database") as raised:
        PostgresBackend(address)
    assert "sec" not in str(raised.value)
    assert raised.value.__cause__ is None


async def test_an_address_of_several_hosts() -> None:
    """The driver looks for the one that answers as it should."""
    host = urlsplit(postgres.dsn())
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        hosts = f"127.0.0.1:{nobody.getsockname()[1]},{host.hostname}:{host.port}"
        address = f"postgresql://{host.username}:secret@{hosts}{host.path}"
        async with opened(f"{address}?target_session_attrs=primary") as backend:
            assert backend.where == f"postgresql://{hosts}{host.path}"
            await backend.beat(None)


async def test_a_server_that_does_not_tell_its_history_is_used_all_the_same() -> None:
    """Some who speak like PostgreSQL have none, and some let nobody ask."""
    name = postgres.fresh_schema()
    to = urlsplit(postgres.dsn())
    await postgres.sql(
        postgres.dsn(), f"CREATE ROLE {name} LOGIN", f"CREATE DATABASE {name} OWNER {name}"
    )
    await postgres.sql(
        to._replace(path=f"/{name}").geturl(),
        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC",
    )
    address = to._replace(netloc=f"{name}@{to.hostname}:{to.port}", path=f"/{name}").geturl()
    async with opened(address) as backend:
        assert await backend.beat(None) == []
    await postgres.sql(postgres.dsn(), f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {name}")


def test_a_history_goes_forward_only() -> None:
    """The same timeline and later ones follow; an earlier one, or another cluster, does not."""
    lineage = Lineage()
    told = [lineage.meet(7, timeline, "here") for timeline in (2, 2, 5, 5)]
    assert told == [False, False, True, False]
    with pytest.raises(StorageError, match="timeline 4, and timeline 5 was seen"):
        lineage.meet(7, 4, "here")
    with pytest.raises(StorageError, match=r"another database cluster \(8\)"):
        lineage.meet(8, 6, "here")
    assert lineage.meet(7, 6, "here")


async def test_savers_by_url() -> None:
    """Both schemes, and a connection string."""
    plain = postgres.dsn()
    for url in (plain, plain.replace("postgresql://", "postgres://")):
        saver = open_saver(url, schema=postgres.emptied_schema())
        assert isinstance(saver, PostgresSaver)
        done = await counting(saver, 3).ainvoke({"items": ["begin"]}, thread("t"))
        assert done == result_of(3)
        await saver.aclose()
    async with PostgresSaver.from_conn_string(plain, schema=postgres.emptied_schema()) as saver:
        assert await saver.backend.beat(None) == []
        assert saver.backend.statistics()["connections"] == 1
