"""`runtime.transaction` on PostgreSQL: the function is async, and what it may do is the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from durable_graph import Runtime, step
from durable_graph.errors import InvalidUpdateError, StorageError, TransactionError
from durable_graph.types import RunnableConfig
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.guest import Guest
from tests.runtime.encryption.kit import encrypted
from tests.runtime.functional.kit import steps_of
from tests.runtime.kit import Items, chain, fan
from tests.services import postgres

pytestmark = pytest.mark.services


class Saver(PostgresSaver):
    """A saver beside whose schema there is one with a table of the user's."""

    def __init__(self, **options: Any) -> None:
        self.schema = postgres.fresh_schema()
        self.table = f"{self.schema}_own.orders"
        super().__init__(postgres.dsn(), schema=self.schema, **options)

    async def sql(self, *statements: str) -> list[Any]:
        """Run statements on a connection beside it."""
        return await postgres.sql(postgres.dsn(), *statements)

    async def orders(self) -> list[str]:
        """The items that are in the user's table, as anybody sees them."""
        return [row[0] for row in await self.sql(f"SELECT item FROM {self.table} ORDER BY item")]

    async def order(self, connection: Guest, item: str) -> int:
        """What a user writes: returns the order's number."""
        return int(
            await connection.fetchval(
                f"INSERT INTO {self.table} (item) VALUES ($1) RETURNING id", item
            )
        )


@pytest_asyncio.fixture
async def saver() -> AsyncIterator[Saver]:
    """A schema for threads, and one with a table of the user's beside it."""
    made = Saver(call_timeout=10.0)
    own = made.table.partition(".")[0]
    await made.sql(
        f"CREATE SCHEMA {own}",
        f"CREATE TABLE {made.table} (id serial PRIMARY KEY, item text UNIQUE DEFERRABLE)",
    )
    yield made
    await made.aclose()


async def test_both_are_stored_or_neither(saver: Saver, config: RunnableConfig) -> None:
    """The row and the record of its number; a node that runs again finds the number."""
    broken, seen = [True], []

    async def node(state: Items, runtime: Runtime) -> Items:
        seen.append(await runtime.transaction(saver.order, "tea"))
        if broken:
            broken.clear()
            raise ValueError("broken")
        return {"items": seen}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ValueError, match="broken"):
        await graph.ainvoke({"items": []}, config)
    assert await saver.orders() == ["tea"]
    assert await graph.ainvoke(None, config) == {"items": [1, 1], "count": 0}
    assert await saver.orders() == ["tea"]
    entries = await steps_of(saver, config)
    assert [(e.kind, e.name, e.state) for e in entries] == [("transaction", "order", "done")]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_what_it_raises_rolls_all_back(saver: Saver, config: RunnableConfig) -> None:
    """Errors come out as they were, PostgreSQL's own included, and the node can go on."""

    async def fail(connection: Guest) -> None:
        await saver.order(connection, "coffee")
        raise KeyError("no")

    async def twice(connection: Guest) -> None:
        await saver.order(connection, "tea")
        await saver.order(connection, "tea")  # which is checked at the end only

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(KeyError, match="no"):
            await runtime.transaction(fail)
        with pytest.raises(asyncpg.UniqueViolationError):
            await runtime.transaction(twice)
        await runtime.transaction(saver.order, "milk")
        return {"items": ["went on"]}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert await saver.orders() == ["milk"]
    assert [entry.state for entry in await steps_of(saver, config)] == ["done"]


async def test_a_part_may_fail_in_a_savepoint(saver: Saver, config: RunnableConfig) -> None:
    """What fails there is undone by itself; without one, the transaction is spoilt, and said so."""

    async def carefully(connection: Guest) -> str:
        await saver.order(connection, "tea")
        try:
            async with connection.transaction():
                await saver.order(connection, "milk")
                await connection.execute("SELECT 1 / 0")
        except asyncpg.DivisionByZeroError:
            return "done"
        return "not divided"

    async def carelessly(connection: Guest) -> None:
        await saver.order(connection, "coffee")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await connection.execute("SELECT 1 / 0")

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="savepoint"):
            await runtime.transaction(carelessly)
        return {"items": [await runtime.transaction(carefully)]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == ["done"]
    assert await saver.orders() == ["tea"]


async def test_all_ways_to_write_and_read(saver: Saver, config: RunnableConfig) -> None:
    """Those of asyncpg's connections."""

    async def work(connection: Guest) -> list[Any]:
        said = await connection.execute(f"INSERT INTO {saver.table} (item) VALUES ($1)", "a")
        await connection.executemany(
            f"INSERT INTO {saver.table} (item) VALUES ($1)", [("b",), ("c",)]
        )
        schema, table = saver.table.split(".")
        await connection.copy_records_to_table(
            table, schema_name=schema, records=[("d",)], columns=["item"]
        )
        rows = await connection.fetch(f"SELECT item FROM {saver.table} ORDER BY item")
        first = await connection.fetchrow(f"SELECT item FROM {saver.table} ORDER BY item")
        cursor = connection.cursor(f"SELECT item FROM {saver.table} ORDER BY item")
        return [said, *(row[0] for row in rows), first[0], len([row async for row in cursor])]

    async def node(state: Items, runtime: Runtime) -> Items:
        return {"items": await runtime.transaction(work)}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == ["INSERT 0 1", "a", "b", "c", "d", "a", 4]


async def test_synchronous_nodes(saver: Saver, config: RunnableConfig) -> None:
    """They wait for the result of an async function as for any other."""

    def node(state: Items, runtime: Runtime) -> Items:
        return {"items": [runtime.transaction(saver.order, "tea").result()]}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert await saver.orders() == ["tea"]


async def test_those_of_siblings_take_turns(saver: Saver, config: RunnableConfig) -> None:
    """Transactions, steps and results of nodes that run at once, in one log without a gap."""

    def ordering(name: str) -> Callable[..., Any]:
        async def node(state: Items, runtime: Runtime) -> Items:
            for number in range(2):
                await asyncio.gather(
                    runtime.transaction(saver.order, f"{name}{number}"),
                    step(f"s{number}", lambda: None),
                )
            return {"items": [name]}

        return node

    names = [f"n{number}" for number in range(4)]
    graph = fan(*((name, ordering(name)) for name in names), saver=saver)
    assert sorted((await graph.ainvoke({"items": []}, config))["items"]) == names
    assert await saver.orders() == [f"{name}{number}" for name in names for number in range(2)]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


FORBIDDEN = [
    "BEGIN",
    "START TRANSACTION",
    "COMMIT",
    " commit and chain",
    "/* a */ -- b\n (END)",
    "/* a /* b */ c */ COMMIT",
    "; /* a */ COMMIT",
    "ROLLBACK /* TO */",
    "ABORT",
    "ROLLBACK",
    "PREPARE TRANSACTION 'x'",
    "SET search_path TO public",
    "RESET ALL",
    "DISCARD ALL",
    "LISTEN x",
    "DELETE FROM {schema}.threads",
    "UPDATE {schema}.threads SET epoch = epoch + 1",
    "INSERT INTO {schema}.processes VALUES ('x', NULL, 1, NULL, now(), 1)",
    "DROP TABLE {schema}.cards",
    "TRUNCATE {schema}.blobs",
    "ALTER TABLE {schema}.records RENAME TO mine",
    "CREATE INDEX mine ON {schema}.records (kind)",
    "DROP INDEX {schema}.threads_by_minute",
    "LOCK TABLE {schema}.threads",
    "WITH old AS (DELETE FROM {schema}.records RETURNING 1) SELECT count(*) FROM old",
]


@pytest.mark.parametrize("statement", FORBIDDEN)
async def test_what_is_not_its_own_is_refused(
    statement: str, saver: Saver, config: RunnableConfig
) -> None:
    """Neither the transaction's ends, nor the session, nor the tables that threads are in."""

    async def work(connection: Guest) -> None:
        await saver.order(connection, "tea")
        await connection.execute(statement.replace("{schema}", saver.schema))

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="must not"):
            await runtime.transaction(work)
        await runtime.transaction(saver.order, "milk")
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert await saver.orders() == ["milk"]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_one_statement_at_a_time(saver: Saver, config: RunnableConfig) -> None:
    """So that none can hide behind another."""

    async def work(connection: Guest) -> None:
        await connection.execute("SELECT 1; COMMIT; SELECT 2")

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(asyncpg.PostgresSyntaxError, match="multiple commands"):
            await runtime.transaction(work)
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)


async def test_two_statements_at_once_are_refused(saver: Saver, config: RunnableConfig) -> None:
    """Of which one is left behind, so that not even the end of the transaction can be said."""
    left: list[asyncio.Task[Any]] = []

    async def work(connection: Guest) -> None:
        await saver.order(connection, "tea")
        left.append(asyncio.create_task(connection.fetch("SELECT pg_sleep(60)")))
        await asyncio.sleep(0)

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="two statements at once"):
            await runtime.transaction(work)
        await runtime.transaction(saver.order, "milk")
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert len(left) == 1
    assert await saver.orders() == ["milk"]
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await left[0]


async def _close(connection: Guest) -> None:
    await connection.close()


async def _terminate(connection: Guest) -> None:
    connection.terminate()


@pytest.mark.parametrize("spoil", [_close, _terminate])
async def test_the_connections_own_ways_out_are_shut(
    spoil: Callable[[Guest], Awaitable[None]], saver: Saver, config: RunnableConfig
) -> None:
    """There is no way to close what others use next."""

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="must not use"):
            await runtime.transaction(spoil)
        await runtime.transaction(saver.order, "milk")
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert await saver.orders() == ["milk"]


async def test_a_connection_is_not_kept(saver: Saver, config: RunnableConfig) -> None:
    """After the function has returned, what it was given is of no use."""
    kept: list[Guest] = []

    async def work(connection: Guest) -> None:
        kept.append(connection)

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(work)
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    with pytest.raises(TransactionError, match="has returned"):
        await kept[0].fetch("SELECT 1")


async def test_nothing_else_is_written_within(saver: Saver, config: RunnableConfig) -> None:
    """A step or another transaction within would wait for this one to end: it is refused."""

    async def work(connection: Guest, runtime: Runtime) -> None:
        await runtime.transaction(saver.order, "tea")

    async def stepping(connection: Guest) -> None:
        await step("s", lambda: None)

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="within Transaction 'outer'"):
            await runtime.transaction(lambda_of(work, runtime), key="outer")
        with pytest.raises(TransactionError, match="within Transaction 'stepping'"):
            await runtime.transaction(stepping)
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert await saver.orders() == []


def lambda_of(
    work: Callable[[Guest, Runtime], Awaitable[None]], runtime: Runtime
) -> Callable[[Guest], Awaitable[None]]:
    """A function that knows the runtime, which is no argument that could be stored."""

    async def inner(connection: Guest) -> None:
        await work(connection, runtime)

    return inner


async def test_it_cannot_take_for_ever(config: RunnableConfig) -> None:
    """What it has locked is waited for by others, so there is an end to it."""
    saver = Saver(call_timeout=2.0, busy_timeout=2.0)

    async def endless(connection: Guest) -> None:
        await asyncio.Event().wait()

    async def node(state: Items, runtime: Runtime) -> Items:
        with pytest.raises(TransactionError, match="longer than 2 s"):
            await runtime.transaction(endless)
        return {"items": ["went on"]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == ["went on"]
    await saver.aclose()


async def test_a_connection_that_is_lost(saver: Saver, config: RunnableConfig) -> None:
    """Nothing of it is stored, and it is the storage's error."""

    async def work(connection: Guest) -> None:
        await saver.order(connection, "tea")
        pid = await connection.fetchval("SELECT pg_backend_pid()")
        await saver.sql(f"SELECT pg_terminate_backend({pid}, 5000)")
        await saver.order(connection, "milk")

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(work)
        return {}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(StorageError, match="lost"):
        await graph.ainvoke({"items": []}, config)
    assert await saver.orders() == []


async def test_what_cannot_be_stored_is_refused(saver: Saver, config: RunnableConfig) -> None:
    """A result that has no stored form takes what was written with it along."""

    async def work(connection: Guest) -> object:
        await saver.order(connection, "tea")
        return object()

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(work)
        return {}

    with pytest.raises(InvalidUpdateError, match="object"):
        await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert await saver.orders() == []


async def test_a_function_that_is_not_async_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """It could do nothing with such a connection."""

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(lambda connection: None)
        return {}

    with pytest.raises(TypeError, match="is async"):
        await chain(("node", node), saver=saver).ainvoke({"items": []}, config)


async def test_what_a_session_was_set_to_is_set_back(saver: Saver, config: RunnableConfig) -> None:
    """Also where that was done by a function, which no first word tells."""

    async def work(connection: Guest) -> None:
        await connection.fetchval("SELECT set_config('search_path', 'nowhere', false)")

    async def look(connection: Guest) -> str:
        return str(await connection.fetchval("SELECT current_setting('search_path')"))

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(work)
        return {"items": [await runtime.transaction(look)]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert "nowhere" not in result["items"][0]


async def test_a_result_is_encrypted(config: RunnableConfig) -> None:
    """With encryption the function is awaited, too, and what it returns is stored encrypted."""
    saver = Saver(encryption=encrypted())

    async def secret(connection: Guest) -> str:
        return str(await connection.fetchval("SELECT 'word' || '-result'"))

    async def node(state: Items, runtime: Runtime) -> Items:
        return {"items": [await runtime.transaction(secret)]}

    graph = chain(("node", node), saver=saver)
    assert (await graph.ainvoke({"items": []}, config))["items"] == ["word-result"]
    bodies = await saver.sql(f"SELECT body FROM {saver.schema}.records ORDER BY seq")
    assert len(bodies) > 2
    assert all(b"word-result" not in body for (body,) in bodies)
    await saver.aclose()


async def test_its_durability_is_not_the_functions_to_choose(config: RunnableConfig) -> None:
    """A server that crashes right after the transaction has it, whatever was set within."""
    # Only what a commit waits for is on the disk in time.
    with postgres.own_server(wal_writer_delay="10s") as server:
        saver = PostgresSaver(server.dsn)
        await postgres.sql(server.dsn, "CREATE TABLE orders (item text)")

        async def work(connection: Guest) -> None:
            await connection.execute("SET LOCAL synchronous_commit = off")
            await connection.execute("INSERT INTO orders VALUES ('tea')")

        async def node(state: Items, runtime: Runtime) -> Items:
            await runtime.transaction(work)
            server.crash()
            server.start()
            raise KeyError("it goes no further")

        graph = chain(("node", node), saver=saver)
        with pytest.raises(KeyError):
            await graph.ainvoke({"items": []}, config)
        assert await postgres.sql(server.dsn, "SELECT item FROM orders") == [("tea",)]
        assert [entry.state for entry in await steps_of(saver, config)] == ["done"]
        await saver.aclose()
