"""What only a store in DynamoDB can do wrong: large values, what is left behind, its limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durable_graph import open_store
from durable_graph.errors import (
    ConfigError,
    IntegrityError,
    OutcomeUnknownError,
    StorageError,
    StoreConflictError,
    StoreError,
)
from durable_graph.ports.store import PutOp
from durable_graph.testing import FakeClock
from durable_graph.testing.store_contract_kit import embed
from durable_graph_aws import AwsOptions
from durable_graph_dynamodb import DynamoDBSaver, DynamoDBStore
from durable_graph_dynamodb.entries import Stored, key_of, part_keys
from durable_graph_dynamodb.items import DynamoDBItems
from durable_graph_dynamodb.requests import Update
from durable_graph_dynamodb.table import Table
from tests.backends.dynamodb_raw import RawDynamoDB
from tests.backends.kit import child, counting, result_of, thread
from tests.services import aws

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

HOME = ("users", "7")
LARGE = "x" * 600_000
INDEX: Any = {"dims": 4, "embed": embed}


@asynccontextmanager
async def opened(table: str, **settings: Any) -> AsyncIterator[DynamoDBStore]:
    """A store on a table, which is made."""
    options = {**aws.options(), "session": aws.session()}
    async with DynamoDBStore(table, create=True, **options, **settings) as store:
        yield store


async def kept(table: str) -> list[str]:
    """What kinds of items there are in a table, but for the list of first words."""
    items = await RawDynamoDB(table, AwsOptions(**aws.options())).items()
    return sorted(
        item["pk"]["S"].partition(" ")[0]
        for item in items
        if item["pk"]["S"] not in ("format", "store-words")
    )


def items_of(store: DynamoDBStore) -> DynamoDBItems:
    """What a store keeps its items in."""
    assert isinstance(store.items, DynamoDBItems)
    return store.items


async def test_one_table_may_hold_threads_and_memory() -> None:
    """Neither is in the other's way, in either order."""
    table = aws.fresh_name()
    options = {**aws.options(), "session": aws.session()}
    async with opened(table) as store, DynamoDBSaver(table, **options) as saver:
        await store.aput(HOME, "k", {"n": 1})
        assert await counting(saver, 5).ainvoke({"items": ["begin"]}, thread("a")) == result_of(5)
        assert await store.alist_namespaces() == [HOME]
        await saver.adelete_thread("a")
        item = await store.aget(HOME, "k")
        assert item is not None
        assert item.value == {"n": 1}


async def test_nothing_is_left_of_what_was_removed() -> None:
    """Of items that were put, put again, prolonged, removed or have expired, nothing is left."""
    clock, table = FakeClock(), aws.fresh_name()
    async with opened(table, index=INDEX, clock=clock) as store:
        for number in range(10):
            place = (("a", "b") if number % 2 else ("a",), f"k{number}")
            await store.aput(*place, {"t": "one"}, ttl=1 if number % 3 else None)
            await store.aput(*place, {"t": LARGE if number > 7 else "two"}, ttl=2)
            await store.aget(*place)
        await store.aput(HOME, "k", {"t": LARGE})
        await store.aput(HOME, "k", {"t": LARGE + "!"})
        assert (await kept(table)).count("store-parts") == 3 * 3
        await store.adelete(HOME, "k")
        await clock.advance(1000)
        assert await store.alist_namespaces() == []
        assert await store.asweep_ttl() == 10
    assert await kept(table) == []


async def test_a_large_value_is_kept_in_parts() -> None:
    """It is read, found and replaced as any other, with its meaning."""
    table = aws.fresh_name()
    async with opened(table, index=INDEX) as store:
        await store.aput(HOME, "k", {"t": LARGE + "a" * 500_000})
        (found,) = await store.asearch(HOME, query="a")
        assert found.value == {"t": LARGE + "a" * 500_000}
        assert found.score is not None
        await store.aput(HOME, "k", {"t": "small"}, if_version=found.version)
        assert await kept(table) == ["store"]
        (again,) = await store.asearch(HOME)
        assert again.created_at == found.created_at


async def test_a_batch_is_written_as_a_whole() -> None:
    """Also one that is too large for a transaction; of one that is refused, nothing is left."""
    table = aws.fresh_name()
    async with opened(table) as store:
        puts = [PutOp(("n", f"{n}"), "k", {"t": f"{n}" * 50_000}) for n in range(98)]
        with pytest.raises(StoreConflictError):
            await store.abatch([*puts[1:], PutOp(("n",), "k", {}, if_version=7)])
        assert await kept(table) == []
        await store.abatch(puts)
        found = await store.asearch(("n",), limit=100)
        assert sorted(int(item.namespace[1]) for item in found) == list(range(98))
        assert all(item.value["t"] == item.namespace[1] * 50_000 for item in found)
        assert "intents" not in await kept(table)


async def test_a_batch_that_is_too_large_is_refused() -> None:
    """A hundred small items are written; a hundred large ones are too many, and it is said so."""
    async with opened(aws.fresh_name()) as store:
        await store.abatch([PutOp(HOME, f"{n}", {"n": n}) for n in range(100)])
        with pytest.raises(StoreError, match="puts 100 items at most"):
            await store.abatch([PutOp(HOME, f"{n}", {"n": n}) for n in range(101)])
        with pytest.raises(StoreError, match="Make two batches"):
            await store.abatch([PutOp(HOME, f"{n}", {"t": "y" * 50_000}) for n in range(100)])
        assert all("t" not in item.value for item in await store.asearch(HOME, limit=100))


async def test_what_was_refused_late_leaves_nothing() -> None:
    """Of two that replace one large value at once, the second begins anew and leaves no parts."""
    table = aws.fresh_name()
    async with opened(table) as one, opened(table) as other:
        await one.aput(HOME, "k", {"t": LARGE * 2})
        for _ in range(3):
            await asyncio.gather(
                *(store.aput(HOME, "k", {"t": LARGE * 2}) for store in (one, other, one))
            )
        await one.aput(HOME, "k", {"t": "small"})
        assert await kept(table) == ["store"]


class _Dies(DynamoDBItems):
    """Dies once what is to be written is."""

    async def _settle(self, replaced: Any) -> None:
        raise StorageError("dead")


async def test_what_a_dead_writer_has_left_is_removed() -> None:
    """A value that was replaced, by the next put; one that was removed, by a sweep or a put."""
    table = aws.fresh_name()
    async with opened(table) as store, opened(table) as dying:
        items_of(dying).__class__ = _Dies
        await store.aput(HOME, "k", {"t": LARGE})
        await dying.aput(HOME, "k", {"t": LARGE + "!"})
        assert (await kept(table)).count("store-parts") == 6
        await store.aput(HOME, "k", {"t": LARGE + "?"})
        assert (await kept(table)).count("store-parts") == 3
        for sweeps in (True, False):
            await dying.adelete(HOME, "k")
            assert await store.aget(HOME, "k") is None
            assert await store.asearch(()) == []
            assert await store.alist_namespaces() == []
            assert (await kept(table)).count("store-parts") == 3
            if sweeps:
                assert await store.asweep_ttl() == 0
                assert await kept(table) == []
            with pytest.raises(StoreConflictError):
                await store.aput(HOME, "k", {"t": "late"}, if_version=12345)
            await store.aput(HOME, "k", {"t": LARGE}, if_version=0)
        assert (await kept(table)).count("store-parts") == 3


class _Mute(Table):
    """Transactions get no answer, and are not made."""

    async def transact(self, *arguments: Any, **options: Any) -> bool:
        raise OutcomeUnknownError("no answer")


async def test_what_was_put_aside_in_vain_is_collected() -> None:
    """Who dies before a large value is written has written nothing, and what is left is found."""
    table = aws.fresh_name()
    async with opened(table) as store, opened(table) as dying:
        await store.aput(HOME, "k", {"n": 1})
        dying._table.__class__ = _Mute
        with pytest.raises(OutcomeUnknownError):
            await dying.aput(HOME, "k", {"t": LARGE * 2})
        assert set(await kept(table)) == {"intents", "store", "store-parts"}
        (intent,) = await store._table.everything("intents", "0", "~")
        await items_of(store)._changes.collect(intent, 100)
        assert await kept(table) == ["store"]
        item = await store.aget(HOME, "k")
        assert item is not None
        assert item.value == {"n": 1}


async def test_of_two_removals_one_is_refused() -> None:
    """A large value that was just removed is not there, though a note of it is."""
    table = aws.fresh_name()
    async with opened(table) as store, opened(table) as dying:
        items_of(dying).__class__ = _Dies
        await store.aput(HOME, "k", {"t": LARGE})
        item = await store.aget(HOME, "k")
        assert item is not None
        done = await asyncio.gather(
            *(dying.abatch([PutOp(HOME, "k", None, if_version=item.version)]) for _ in range(6)),
            return_exceptions=True,
        )
        assert sum(isinstance(ended, StoreConflictError) for ended in done) == 5


async def test_puts_remove_what_has_expired() -> None:
    """Each that expires takes some of it along; a sweep sees through many that were prolonged."""
    clock, table = FakeClock(), aws.fresh_name()
    async with opened(table, clock=clock) as store:
        await store.abatch([PutOp(HOME, f"k{n}", {}, ttl=1) for n in range(60)])
        for _ in range(4):
            await clock.advance(50)
            assert len(await store.asearch(HOME, limit=100)) == 60
        await store.aput(HOME, "late", {}, ttl=0.1)
        await clock.advance(10)
        assert await store.asweep_ttl() == 1
        assert len(await store.asearch(HOME, limit=100, refresh_ttl=False)) == 60
        await clock.advance(1000)
        for number in range(8):
            await store.aput(HOME, f"new{number}", {}, ttl=10)
        assert (await kept(table)).count("store") == 8


async def test_a_next_page_reads_what_it_finds() -> None:
    """A search in pages looks through all keys once, and sees what others do meanwhile."""
    async with opened(aws.fresh_name()) as store:
        for at in range(0, 300, 100):
            await store.abatch([PutOp(HOME, f"{n}", {"n": n}) for n in range(at, at + 100)])
        items, now = items_of(store), 0.0
        first = await items.scan(HOME, now, limit=100)
        await store.adelete(HOME, "150")
        await store.aput(HOME, "160", {"n": -1})
        before = store._table.service.requests
        second = await items.scan(HOME, now, limit=100, after=first[-1])
        assert store._table.service.requests - before <= 4
        third = await items.scan(HOME, now, limit=100, after=second[-1])
        keys = [entry.key for entry in (*first, *second, *third)]
        assert keys == [f"{n}" for n in range(299, -1, -1) if n not in (150, 160)]
        assert await items.scan(HOME, now, limit=100, after=second[-1]) == third


async def test_names_may_be_as_long_as_any() -> None:
    """The longest namespace and the longest key are kept, searched and listed."""
    long = ("w", "x" * 997)
    clock = FakeClock()
    async with opened(aws.fresh_name(), clock=clock) as store:
        await store.aput(long, "k" * 1000, {"n": 1}, ttl=1)
        await store.aput(("x" * 999,), "k" * 1000, {"n": 2}, ttl=1)
        assert await store.alist_namespaces() == [long, ("x" * 999,)]
        (item,) = await store.asearch(long)
        assert item.key == "k" * 1000
        for nowhere in (("w", ""), ("w", "\0"), (*long, "y")):
            assert await store.asearch(nowhere) == []
        await clock.advance(1000)
        assert await store.asweep_ttl() == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("data", b"other"),
        ("data", "other"),
        ("version", 7),
        ("version", "7"),
        ("times", bytes(24)),
        ("times", bytes(3)),
        ("key", "other"),
        ("crc", 7),
        ("size", 6),
        ("size", "7"),
        ("ends", "soon"),
        ("drop", "[]"),
    ],
)
async def test_a_damaged_item_is_an_error(name: str, value: Any) -> None:
    """Whatever is changed of what is stored, it is told, and never taken for a value."""
    async with opened(aws.fresh_name()) as store:
        await store.aput(HOME, "k", {"n": 1})
        await store._table.write(Update(*key_of((HOME, "k")), {name: value}), "Damaging")
        with pytest.raises(IntegrityError):
            await store.aget(HOME, "k")
        with pytest.raises(IntegrityError):
            await store.asearch(())


async def test_a_missing_part_is_an_error() -> None:
    """It is told, once it is sure that the value was not replaced meanwhile."""
    async with opened(aws.fresh_name()) as store:
        await store.aput(HOME, "k", {"t": LARGE})
        item = await store._table.get(*key_of((HOME, "k")))
        assert item is not None
        parts = Stored.of(item).parts
        assert parts is not None
        await store._table.delete_all(part_keys(parts)[1:2])
        with pytest.raises(IntegrityError, match=r"'k' in .* is damaged"):
            await store.aget(HOME, "k")


async def test_processes_count_together() -> None:
    """Of two processes that add to one number by versions, no addition is lost."""
    table = aws.fresh_name()
    url = f"dynamodb://{table}?region={aws.REGION}&endpoint={aws.endpoint()}"
    async with opened(table) as store:
        await store.aput(("n",), "count", {"n": 0})
        keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
        with (
            child(_COUNT, url, environment=keys) as one,
            child(_COUNT, url, environment=keys) as other,
        ):
            for each in (one, other):
                each.expect("ready")
            for each in (one, other):
                each.tell()
            for each in (one, other):
                each.end()
        item = await store.aget(("n",), "count")
        assert item is not None
        assert item.value == {"n": 40}


def test_a_url_names_a_store() -> None:
    """And what makes no sense is refused at once."""
    store = open_store("dynamodb://memory?region=eu-central-1")
    assert repr(store) == "<DynamoDBStore 'memory'>"
    with pytest.raises(ConfigError, match="3 to 255"):
        DynamoDBStore("a b")
    with pytest.raises(ConfigError, match="no option"):
        open_store("dynamodb://memory", prefix="p")


_COUNT = """
import asyncio, sys
from durable_graph import open_store
from durable_graph.errors import StoreConflictError

async def main():
    store = open_store(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    done = 0
    while done < 20:
        item = await store.aget(("n",), "count")
        try:
            await store.aput(("n",), "count", {"n": item.value["n"] + 1}, if_version=item.version)
        except StoreConflictError:
            continue
        done += 1
    await store.aclose()

asyncio.run(main())
"""
