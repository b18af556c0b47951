"""Searching by meaning where the server ranks: the same as in process, and nothing left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import pytest
import pytest_asyncio

from durable_graph import InMemoryStore
from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.ports.store import PutOp, SearchItem, SearchOp
from durable_graph.store import BaseStore, IndexConfig
from durable_graph.testing import FakeClock
from durable_graph_postgres import PostgresStore
from tests.services import postgres

pytestmark = pytest.mark.services

HOME: Final = ("notes",)
_DIMS: Final = 6


def numbers(texts: Sequence[str]) -> list[list[float]]:
    """The vector that a text spells out."""
    return [[float(number) for number in text.split()] for text in texts]


def spelled(vector: Sequence[float]) -> str:
    """A text that has this vector."""
    return " ".join(map(repr, vector))


def index(dims: int = _DIMS) -> IndexConfig:
    """Searches the texts of a value."""
    return {"dims": dims, "embed": numbers, "fields": ["texts[*]"]}


class Place:
    """A schema of the test's own, and stores on it.

    Args:
        dsn: the database.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn, self.schema = dsn, postgres.fresh_schema()

    @asynccontextmanager
    async def store(self, dsn: str | None = None, **settings: Any) -> AsyncIterator[PostgresStore]:
        """A store on it."""
        given = {"index": index(), **settings}
        async with PostgresStore(dsn or self.dsn, schema=self.schema, **given) as made:
            yield made

    async def ranked(self) -> list[str]:
        """The keys of items that the server knows the vectors of; none without a table."""
        table = f"{self.schema}.item_vectors"
        ((there,),) = await postgres.sql(self.dsn, f"SELECT to_regclass('{table}') IS NOT NULL")
        if not there:
            return []
        rows = await postgres.sql(self.dsn, f"SELECT DISTINCT key FROM {table} ORDER BY key")
        return [row[0] for row in rows]


@pytest.fixture
def place() -> Place:
    """On a server with the extension."""
    return Place(postgres.vector_dsn())


@pytest_asyncio.fixture
async def store(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PostgresStore]:
    """A store there, which must not be scanned."""
    async with place.store() as made:

        async def scan(*arguments: Any, **options: Any) -> Any:
            raise AssertionError("All of it was read.")

        monkeypatch.setattr(made.storage, "scan", scan)
        yield made


def told(found: Sequence[SearchItem]) -> list[tuple[str, float | None]]:
    """What was found, without what two stores must have different."""
    return [(f"{item.namespace}/{item.key}", item.score) for item in found]


def _vectors(chance: random.Random) -> list[list[float]]:
    few = [[chance.choice((-1.0, 0.0, 1.0)) for _ in range(_DIMS)] for _ in range(4)]
    near = [1.0 + chance.random() * 1e-6 for _ in range(_DIMS)]
    scale = chance.choice((1e-44, 1e-30, 1.0, 1e37))
    drawn = [[chance.uniform(-1, 1) * scale for _ in range(_DIMS)], near, [0.0] * _DIMS]
    return [chance.choice(few + drawn) for _ in range(chance.choice((0, 1, 1, 3)))]


@pytest.mark.parametrize("seed", range(3))
async def test_the_order_is_the_same_as_in_process(store: PostgresStore, seed: int) -> None:
    """For ties, near ties, zeros, the greatest and smallest numbers, several vectors and none;
    whatever the page, the filter and the namespace; and for all that is put anew."""
    chance = random.Random(seed)
    clock, model = FakeClock(), InMemoryStore(index=index())
    stores: tuple[BaseStore, ...] = (store, model)
    for round in range(3):
        puts = [
            PutOp(
                (*HOME, chance.choice("ab")),
                str(chance.randrange(200)),
                {"texts": [spelled(vector) for vector in _vectors(chance)], "n": number % 3},
            )
            for number in range(250)
        ]
        puts = list({(put.namespace, put.key): put for put in puts}.values())
        for each in stores:
            await each.abatch(puts[: len(puts) // 2])
            await each.abatch(puts[len(puts) // 2 :])
        await clock.advance(1.0)
        queries = [vector for _ in range(4) for vector in _vectors(chance)]
        for query in [*queries, [0.0] * _DIMS]:
            options: dict[str, Any] = {
                "query": spelled(query),
                "limit": chance.choice((1, 5, 40, 500)),
                "offset": chance.choice((0, 0, 3, 30)),
                "filter": chance.choice((None, {"n": 1})),
            }
            prefix = chance.choice((HOME, (*HOME, "a"), ()))
            assert told(await store.asearch(prefix, **options)) == told(
                await model.asearch(prefix, **options)
            ), (round, options)


async def test_what_32_bits_cannot_tell_apart_is_told_apart(store: PostgresStore) -> None:
    """The server reckons roughly, so it is asked for more than what it says is nearest."""
    chance, model = random.Random(11), InMemoryStore(index=index())
    puts = [
        PutOp(HOME, str(n), {"texts": [spelled([1 + chance.random() * 4e-7 for _ in range(6)])]})
        for n in range(250)
    ]
    await store.abatch(puts)
    await model.abatch(puts)
    for _ in range(5):
        query = spelled([chance.uniform(-1, 1) for _ in range(_DIMS)])
        for limit in (1, 3, 100):
            assert told(await store.asearch(HOME, query=query, limit=limit)) == told(
                await model.asearch(HOME, query=query, limit=limit)
            )


async def test_it_is_ranked_by_the_server(store: PostgresStore, place: Place) -> None:
    """Of much, a little is read; and vectors are brought to where they are ranked once."""
    chance = random.Random(7)
    puts = [
        PutOp(HOME, f"{n:04}", {"texts": [spelled([chance.gauss(0, 1) for _ in range(_DIMS)])]})
        for n in range(950)
    ]
    await store.abatch(puts)
    assert await place.ranked() == []
    query = spelled([1.0] * _DIMS)
    first = await store.asearch(HOME, query=query, limit=3)
    assert await place.ranked() == [put.key for put in puts]
    rows: list[int] = []
    run = store._backend.run

    async def counting(*arguments: Any, **options: Any) -> Any:
        found = await run(*arguments, **options)
        rows.append(len(found))
        return found

    store._backend.run = counting  # type: ignore[method-assign]
    assert told(await store.asearch(HOME, query=query, limit=3)) == told(first)
    assert rows == [3 + 16]
    await store.aput(HOME, "new", {"texts": [query]})
    assert (await store.asearch(HOME, query=query, limit=1))[0].key == "new"
    assert rows[1:] == [1 + 16, 0]
    assert (await store.asearch(HOME, query=query, limit=1))[0].score == pytest.approx(1.0)
    assert rows[3:] == [1 + 16]


async def test_a_batch_finds_what_it_puts_and_not_what_it_removes(store: PostgresStore) -> None:
    """Puts that are not stored yet are ranked among those that are."""
    near, far = spelled([1.0] * _DIMS), spelled([1.0, *[0.0] * (_DIMS - 1)])
    await store.abatch([PutOp(HOME, key, {"texts": [near]}) for key in ("a", "b", "c")])
    await store.asearch(HOME, query=near)
    *_, found = await store.abatch(
        [
            PutOp(HOME, "a", None),
            PutOp(HOME, "b", {"texts": [far]}),
            PutOp(HOME, "d", {"texts": [near]}),
            SearchOp(HOME, query=near),
        ]
    )
    assert [item.key for item in found] == ["d", "c", "b"]


async def test_what_is_gone_leaves_no_vector(place: Place) -> None:
    """Whether it was put anew, removed, or has expired."""
    clock, text = FakeClock(), spelled([1.0] * _DIMS)
    async with place.store(clock=clock) as store:
        for key, ttl in (("kept", None), ("changed", None), ("removed", None), ("over", 1.0)):
            await store.aput(HOME, key, {"texts": [text]}, ttl=ttl)
        assert len(await store.asearch(HOME, query=text)) == 4
        assert await place.ranked() == ["changed", "kept", "over", "removed"]
        await clock.advance(120.0)
        assert len(await store.asearch(HOME, query=text)) == 3
        await store.aput(HOME, "changed", {"texts": []})
        await store.adelete(HOME, "removed")
        await store.asweep_ttl()
        assert await place.ranked() == ["kept"]


async def test_encrypted_vectors_are_ranked_in_process(place: Place) -> None:
    """The server learns none of them, and forgets those that were in the clear."""
    text, keys = spelled([1.0] * _DIMS), LocalKeys({"2026": bytes(range(32))})
    async with place.store() as plain:
        await plain.aput(HOME, "before", {"texts": [text]})
        await plain.asearch(HOME, query=text)
    assert await place.ranked() == ["before"]
    async with place.store(encryption=Encryption(keys, required=False)) as store:
        assert not store.capabilities.ranks
        await store.aput(HOME, "sealed", {"texts": [text]})
        assert [item.score for item in await store.asearch(HOME, query=text)] == [1.0, 1.0]
        assert await place.ranked() == ["before"]
        assert await store.arotate_keys() == 1
        assert await place.ranked() == []


async def test_longer_vectors_than_the_extension_keeps(place: Place) -> None:
    """They are ranked in process, and are in nobody's way."""
    dims = 16_001
    long, short = spelled([1.0] * dims), spelled([1.0] * _DIMS)
    async with place.store() as store, place.store(index=index(dims)) as longer:
        await longer.aput(HOME, "long", {"texts": [long]})
        await store.aput(HOME, "short", {"texts": [short]})
        assert [(i.key, i.score) for i in await longer.asearch(HOME, query=long)] == [
            ("long", 1.0),
            ("short", None),
        ]
        for _ in range(2):
            assert [(i.key, i.score) for i in await store.asearch(HOME, query=short)] == [
                ("short", 1.0),
                ("long", None),
            ]


async def test_an_extension_that_comes_and_goes(place: Place) -> None:
    """What was stored before it came is found, and what is there when it goes."""
    name, role = f"d_{place.schema}", f"r_{place.schema}"
    await postgres.sql(
        place.dsn, f"CREATE ROLE {role} LOGIN", f"CREATE DATABASE {name} TEMPLATE template0"
    )
    place.dsn = place.dsn.rpartition("/")[0] + f"/{name}"
    await postgres.sql(place.dsn, f"CREATE SCHEMA {place.schema} AUTHORIZATION {role}")
    weak = place.dsn.replace("postgres@", f"{role}@")
    text = spelled([1.0] * _DIMS)
    async with place.store(weak) as store:
        await store.abatch([PutOp(HOME, str(n), {"texts": [text]}) for n in range(30)])
        expected = told(await store.asearch(HOME, query=text, limit=50))
        assert len(expected) == 30
        assert await place.ranked() == []
        await postgres.sql(place.dsn, "CREATE SCHEMA apart", "CREATE EXTENSION vector SCHEMA apart")
        await postgres.sql(place.dsn, "GRANT USAGE ON SCHEMA apart TO PUBLIC")
        async with place.store(weak) as later:
            assert told(await later.asearch(HOME, query=text, limit=50)) == expected
            assert len(await place.ranked()) == 30
            await postgres.sql(place.dsn, "DROP EXTENSION vector CASCADE")
            for _ in range(2):
                assert told(await later.asearch(HOME, query=text, limit=50)) == expected
            await later.aput(HOME, "0", {"texts": []})
            await postgres.sql(place.dsn, "CREATE EXTENSION vector")
        async with place.store(weak) as again:
            assert len(await again.asearch(HOME, query=text, limit=50)) == 30
            assert len(await place.ranked()) == 29


async def test_who_makes_the_table_anew_is_in_no_writers_way(place: Place) -> None:
    """It waits for those who put, who never wait for it: none of them is a deadlock's victim."""
    text, items = spelled([1.0] * _DIMS), f"{place.schema}.items"
    async with place.store() as store:
        await store.aput(HOME, "a", {"texts": [text]})
        await store.asearch(HOME, query=text)
    # As it is when the extension was taken away.
    await postgres.sql(place.dsn, f"ALTER TABLE {place.schema}.item_vectors DROP COLUMN embedding")
    writer = await asyncpg.connect(place.dsn)
    async with place.store() as store, writer.transaction():
        await writer.execute(f"LOCK TABLE {items} IN ROW EXCLUSIVE MODE")
        searching = asyncio.create_task(store.asearch(HOME, query=text))
        waits = "SELECT FROM pg_locks WHERE NOT granted"
        for _ in range(1000):
            if await writer.fetch(waits):
                break
            await asyncio.sleep(0.001)
        await writer.execute("SET LOCAL lock_timeout = '100ms'")
        await writer.execute(f"UPDATE {items} SET version = version + 1")
        await writer.execute(f"UPDATE {items} SET version = version - 1")
        found = await searching
    await writer.close()
    assert [item.key for item in found] == ["a"]


async def test_a_server_without_the_extension() -> None:
    """Nothing is made there, and everything is found."""
    place, text = Place(postgres.dsn()), spelled([1.0] * _DIMS)
    query = "SELECT FROM pg_available_extensions WHERE name = 'vector'"
    if await postgres.sql(place.dsn, query):
        pytest.skip("this server has the extension")
    async with place.store() as store:
        await store.aput(HOME, "k", {"texts": [text]})
        assert told(await store.asearch(HOME, query=text)) == [("('notes',)/k", 1.0)]
    assert await place.ranked() == []


async def test_who_may_only_read_is_ranked_for_in_process(place: Place) -> None:
    """Vectors that cannot be brought are no reason to fail."""
    role, text = f"r_{place.schema}", spelled([1.0] * _DIMS)
    async with place.store() as store:
        await store.aput(HOME, "a", {"texts": [text]})
        await store.asearch(HOME, query=text)
        await store.aput(HOME, "b", {"texts": [text]})
    await postgres.sql(
        place.dsn,
        f"CREATE ROLE {role} LOGIN",
        f"GRANT USAGE ON SCHEMA {place.schema} TO {role}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {place.schema} TO {role}",
    )
    weak = place.dsn.replace("postgres@", f"{role}@")
    async with place.store(weak) as reader:
        assert [i.key for i in await reader.asearch(HOME, query=text)] == ["b", "a"]
    await postgres.sql(place.dsn, f"GRANT INSERT ON {place.schema}.item_vectors TO {role}")
    async with place.store(weak) as reader:
        assert [i.key for i in await reader.asearch(HOME, query=text)] == ["b", "a"]
    assert await place.ranked() == ["a"]
