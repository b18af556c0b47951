"""What only a store in PostgreSQL can do wrong: locks, rows, and transactions with its saver."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from durable_graph import START, StateGraph, open_store
from durable_graph.decisions.liveness import Process
from durable_graph.errors import (
    IntegrityError,
    OutcomeUnknownError,
    StoreConflictError,
    StoreError,
    UnsupportedError,
)
from durable_graph.ports.backend import Append, Outcome
from durable_graph.ports.store import PutOp
from durable_graph.saver import Saver
from durable_graph.store import BaseStore
from durable_graph.testing import FakeClock
from durable_graph_postgres import PostgresBackend, PostgresSaver, PostgresStore
from durable_graph_postgres.sql import queries
from tests.backends.kit import child
from tests.crash.test_atomic_store import STEPS, config, counting, expect_whole
from tests.runtime.kit import Items
from tests.services import postgres

pytestmark = pytest.mark.services

HOME = ("users", "7")

_COUNT = """
import asyncio, sys
from durable_graph_postgres import PostgresSaver, PostgresStore
from tests.crash.test_atomic_store import counting

async def main():
    saver = PostgresSaver(sys.argv[1], schema=sys.argv[2])
    store = PostgresStore(sys.argv[1], schema=sys.argv[2], atomic=True)
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000_000}
    await store.aget(("a",), "k")
    print("ready", flush=True)
    given = {"items": []} if sys.argv[3] == "first" else None
    await counting(saver, store, 1_000_000).ainvoke(given, config)

asyncio.run(main())
"""


@pytest.fixture
def place() -> tuple[str, str]:
    """A database, and a schema of the test's own in it."""
    return postgres.dsn(), postgres.fresh_schema()


@pytest_asyncio.fixture
async def store(place: tuple[str, str]) -> AsyncIterator[PostgresStore]:
    """An atomic store there."""
    dsn, schema = place
    async with PostgresStore(dsn, schema=schema, atomic=True) as made:
        yield made


async def test_a_url_names_a_store(place: tuple[str, str]) -> None:
    """`open_store` takes a URL and what the store takes."""
    dsn, schema = place
    async with open_store(dsn, schema=schema, ttl={"default_ttl": 1}) as store:
        await store.aput(HOME, "k", {"n": 1})
        item = await store.aget(HOME, "k")
        assert item is not None
        assert item.expires_at is not None
    async with PostgresStore.from_conn_string(dsn, schema=schema) as store:
        assert [item.key for item in await store.asearch(())] == ["k"]


async def test_a_pool_is_used_and_not_closed(place: tuple[str, str]) -> None:
    """By saver and store alike, which then are in one place."""
    dsn, schema = place
    async with asyncpg.create_pool(dsn, min_size=1, max_size=4) as pool:
        saver = PostgresSaver(pool=pool, schema=schema)
        store = PostgresStore(pool=pool, schema=schema, atomic=True)
        await counting(saver, store, 2).ainvoke({"items": []}, config())
        await expect_whole(store, 2)
        await store.aclose()
        await saver.aclose()
        assert await pool.fetchval("SELECT 1") == 1


async def test_batches_over_the_same_items_do_not_block_each_other_for_ever(
    store: PostgresStore,
) -> None:
    """In whatever order they name them, and beside reads that prolong and puts that sweep."""
    names = [f"k{n}" for n in range(20)]

    async def put(seed: int) -> None:
        order = random.Random(seed).sample(names, len(names))
        await store.abatch([PutOp(HOME, key, {"n": seed}, ttl=0.001) for key in order])
        await store.asearch(HOME, limit=20)

    await asyncio.gather(*(put(seed) for seed in range(30)))
    await store.abatch([PutOp(HOME, key, {"n": -1}) for key in names])
    assert {item.value["n"] for item in await store.asearch(HOME, limit=20)} == {-1}


async def test_too_large_a_batch_is_refused(store: PostgresStore) -> None:
    """With what to do about it: each of its items needs a lock."""
    with pytest.raises(StoreError, match=r"puts 1000 items at most.*has 1001. Make several"):
        await store.abatch([PutOp(HOME, str(n), {}) for n in range(1001)])
    assert await store.asearch(()) == []


@pytest.mark.parametrize(
    "damage",
    [
        "value = convert_to(replace(convert_from(value, 'UTF8'), '1', '2'), 'UTF8')",
        "key = 'other'",
        "namespace = '\\x610062'",
        "version = version + 1",
        "updated = updated + 1",
        "ttl = 5",
    ],
)
async def test_a_damaged_row_is_an_error(
    store: PostgresStore, place: tuple[str, str], damage: str
) -> None:
    """Never another item."""
    dsn, schema = place
    await store.aput(HOME, "k", {"n": 1})
    await postgres.sql(dsn, f"UPDATE {schema}.items SET {damage}")
    with pytest.raises(IntegrityError, match="damaged"):
        await store.asearch(())


async def test_searches_use_an_index(store: PostgresStore, place: tuple[str, str]) -> None:
    """Once there is much to look at."""
    dsn, schema = place
    await store.aput(HOME, "k", {})
    await postgres.sql(
        dsn,
        f"INSERT INTO {schema}.items SELECT convert_to('n' || n, 'UTF8') || '\\x00'::bytea,"
        f" 'k', n, 0, 0, NULL, NULL, 0, '{{}}', NULL FROM generate_series(1, 20000) AS n",
        f"ANALYZE {schema}.items",
    )
    connection = await asyncpg.connect(dsn)
    try:
        for name, values in (
            ("scan_items", (b"n7\0", b"n7\0\xff", 1.0, None, None, None, 10, False)),
            ("item_namespaces", (b"n7", b"n7\0\xff", 1.0, 10)),
            ("fetch_items", ([b"n7\0"], ["k"], 1.0)),
        ):
            plan = await connection.fetch(f"EXPLAIN {queries(schema)[name]}", *values)
            text = "\n".join(row[0] for row in plan)
            assert "Seq Scan on items" not in text, text
    finally:
        await connection.close()


# -- atomic ----------------------------------------------------------------------------------------


async def test_storage_must_be_the_same(place: tuple[str, str]) -> None:
    """One database and one schema."""
    dsn, schema = place
    graph = StateGraph(Items).add_node("n", lambda s: None).add_edge(START, "n")
    store = PostgresStore(dsn, schema=schema, atomic=True)
    graph.compile(PostgresSaver(dsn, schema=schema), store=store)
    with pytest.raises(UnsupportedError, match="not in the same storage"):
        graph.compile(PostgresSaver(dsn, schema=f"{schema}_other"), store=store)


async def test_lost_answers_are_no_conflicts(place: tuple[str, str], store: PostgresStore) -> None:
    """A write that is asked for again meets its own puts, and knows them."""
    dsn, schema = place

    class Losing(PostgresBackend):
        """Answers each append only when it is asked for it again."""

        lost: set[bytes] = set()  # noqa: RUF012 - one instance

        async def append(
            self, batch: Sequence[Append], beat: Process | None = None
        ) -> Sequence[Outcome]:
            outcomes = await super().append(batch, beat)
            links = {append.head.link for append in batch}
            if not links <= self.lost:
                self.lost |= links
                raise OutcomeUnknownError("The answer was lost.")
            return outcomes

    saver = Saver(Losing(dsn, schema=schema), clock=FakeClock(jump=True))
    state = await counting(saver, store, STEPS).ainvoke({"items": []}, config())
    assert state["items"] == list(range(STEPS))
    await expect_whole(store, STEPS)
    await saver.aclose()


async def test_of_runs_that_exclude_each_other_one_is_stored(
    place: tuple[str, str], store: PostgresStore
) -> None:
    """Also if both are written in one go; and those beside them, with puts and without."""
    dsn, schema = place
    async with PostgresSaver(dsn, schema=schema) as saver:
        names = ["first", "second", "third", "without"]
        barrier = asyncio.Barrier(len(names))

        async def node(state: Items, store: BaseStore) -> Items:
            name = state["items"][0]
            if name != "without":
                key = "k" if name != "third" else "other"
                await store.aput(HOME, key, {"by": name}, if_version=0)
            await barrier.wait()
            return {"items": ["done"]}

        graph = StateGraph(Items).add_node(node).add_edge(START, "node")
        compiled = graph.compile(saver, store=store)
        ended = await asyncio.gather(
            *(compiled.ainvoke({"items": [name]}, config(name)) for name in names),
            return_exceptions=True,
        )
        lost = [n for n, end in zip(names, ended, strict=True) if isinstance(end, BaseException)]
        assert len(lost) == 1
        assert isinstance(ended[names.index(lost[0])], StoreConflictError)
        (winner,) = {"first", "second"} - set(lost)
        found = {item.key: item.value["by"] for item in await store.asearch(HOME)}
        assert found == {"k": winner, "other": "third"}
        for name in names:
            done = (await compiled.aget_state(config(name))).values["items"]
            assert ("done" in done) == (name not in lost)


async def test_a_killed_process_leaves_state_and_store_agreeing(
    place: tuple[str, str], store: PostgresStore
) -> None:
    """SIGKILL at any moment: both have counted equally far, and going on is right."""
    dsn, schema = place
    chance = random.Random(7)
    counted = 0
    async with PostgresSaver(dsn, schema=schema) as saver:
        graph: Any = counting(saver, store, 1)
        for number in range(3):
            with child(_COUNT, dsn, schema, "first" if number == 0 else "again") as process:
                process.expect("ready")
                time.sleep(0.3 + chance.random() * 0.3)
                process.process.send_signal(signal.SIGKILL)
                process.process.wait()
            counted = len((await graph.aget_state(config())).values.get("items", []))
            item = await store.aget(("counts",), "n")
            assert (0 if item is None else item.value["n"]) == counted
    assert counted > 3
