"""What only a store in Redis can do wrong: its keys, its scripts, its server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from durable_graph.errors import (
    ConfigError,
    IntegrityError,
    OutcomeUnknownError,
    StorageFullError,
    StoreConflictError,
)
from durable_graph.ports.store import PutOp
from durable_graph.testing import FakeClock
from durable_graph.testing.store_contract_kit import embed
from durable_graph_redis import RedisSaver, RedisStore, open_store
from tests.backends.kit import child, counting, result_of, thread
from tests.backends.redis_wire import wire
from tests.services import redis

pytestmark = pytest.mark.services

HOME = ("users", "7")


@pytest.fixture
def server() -> Iterator[redis.RedisServer]:
    """A server of the test's own, which syncs every write."""
    with redis.private_server(**redis.ALWAYS) as made:
        yield made


async def test_one_prefix_may_hold_threads_and_memory(server: redis.RedisServer) -> None:
    """Neither is in the other's way, in either order."""
    async with RedisSaver(server.url) as saver, RedisStore(server.url) as store:
        await store.aput(HOME, "k", {"n": 1})
        assert await counting(saver, 5).ainvoke({"items": ["begin"]}, thread("a")) == result_of(5)
        await saver.adelete_thread("a")
        item = await store.aget(HOME, "k")
        assert item is not None
        assert item.value == {"n": 1}
        await store.adelete(HOME, "k")
        assert await store.alist_namespaces() == []


async def test_nothing_is_left_of_what_was_removed(server: redis.RedisServer) -> None:
    """Of items that were put, put again, prolonged, removed or have expired, no key is left."""
    clock = FakeClock()
    index: Any = {"dims": 4, "embed": embed}
    async with RedisStore(server.url, index=index, clock=clock) as store:
        for number in range(20):
            place = (("a", "b") if number % 2 else ("a",), f"k{number}")
            await store.aput(*place, {"t": "one"}, ttl=1 if number % 3 else None)
            await store.aput(*place, {"t": "two"}, ttl=2 if number % 5 else None)
            await store.aget(*place)
        await clock.advance(1000)
        assert len(await store.asearch((), limit=100)) == 4
        for item in await store.asearch((), limit=100):
            await store.adelete(item.namespace, item.key)
        assert await store.alist_namespaces() == []
        await store.asweep_ttl()
    kept = {key for key in server.ask("KEYS", "*") if b":format" not in key}
    assert kept == set()


async def test_puts_remove_what_has_expired(server: redis.RedisServer) -> None:
    """Nobody has to come for it: each put takes some of it along."""
    clock = FakeClock()
    async with RedisStore(server.url, clock=clock) as store:
        for number in range(50):
            await store.aput(HOME, f"k{number}", {}, ttl=1)
        await clock.advance(1000)
        for number in range(10):
            await store.aput(HOME, f"new{number}", {})
        (items,) = [key for key in server.ask("KEYS", "*") if key.endswith(b":items")]
        assert server.ask("HLEN", items) == 10


@pytest.mark.parametrize("make", [redis.url, redis.cluster_url])
async def test_a_batch_is_written_as_a_whole(make: Callable[[], str]) -> None:
    """Over many namespaces, on one server or a cluster; and not at all if one item has changed."""
    async with RedisStore(make(), prefix=redis.fresh_prefix()) as store:
        puts = [PutOp((f"n{number}", "x"), "k", {"n": number}) for number in range(300)]
        await store.abatch(puts)
        assert len(await store.asearch((), limit=1000)) == 300
        assert len(await store.alist_namespaces(limit=1000)) == 300
        again = [PutOp((f"n{number}", "x"), "k", None) for number in range(300)]
        with pytest.raises(StoreConflictError):
            await store.abatch([*again, PutOp(("n",), "k", {}, if_version=7)])
        assert len(await store.asearch((), limit=1000)) == 300


async def test_a_search_reads_what_it_finds(server: redis.RedisServer) -> None:
    """In a small namespace beside a large one, a search looks at its own items alone."""
    async with RedisStore(server.url) as store:
        await store.abatch([PutOp(("large",), f"k{n}", {"n": n}) for n in range(2000)])
        await store.aput(("small", "one"), "k", {"n": 1})
        before = server.ask("INFO", "commandstats")
        await store.asearch(("small",), filter={"n": 1})
        after = server.ask("INFO", "commandstats")
        assert _calls(after, "hget") - _calls(before, "hget") <= 3


async def test_a_lost_answer_is_an_unknown_outcome() -> None:
    """The put was done and nobody said so; putting again is up to the caller."""
    port = int(redis.url().rpartition(":")[2])
    async with wire(port) as way, RedisStore(way.url, prefix=redis.fresh_prefix()) as store:
        await store.aput(HOME, "first", {})
        way.cuts = ["answer"]
        with pytest.raises(OutcomeUnknownError):
            await store.aput(HOME, "k", {"n": 1})
        item = await store.aget(HOME, "k")
        assert item is not None
        assert item.value == {"n": 1}


async def test_what_was_put_survives_a_kill(server: redis.RedisServer) -> None:
    """A server that is killed has what it acknowledged, and of a batch all or nothing."""
    async with RedisStore(server.url) as store:
        for turn in range(3):
            over = asyncio.Event()
            putting = asyncio.ensure_future(_put_until(over, store, turn))
            while _acknowledged[0] < 10 * (turn + 1):
                await asyncio.sleep(0)
            server.kill()
            await asyncio.to_thread(server.start)
            over.set()
            await putting
            found = await store.asearch((f"turn {turn}",), limit=100)
            values = {item.value["n"] for item in found}
            assert len(values) == 1
            assert len(found) == 8
            assert values <= {_acknowledged[0], _acknowledged[0] + 1}


async def test_a_full_server_says_so(server: redis.RedisServer) -> None:
    """Without memory nothing is written; what is there is read, prolonged and removed."""
    clock = FakeClock()
    async with RedisStore(server.url, clock=clock) as store:
        await store.aput(HOME, "k", {"n": 1}, ttl=1)
        await clock.advance(10)
        server.say("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StorageFullError):
            await store.aput(HOME, "k", {"n": 2})
        with pytest.raises(StorageFullError):
            await store.abatch([PutOp(HOME, "k", None), PutOp(HOME, "other", {"n": 2})])
        item = await store.aget(HOME, "k")
        assert item is not None
        assert item.value == {"n": 1}
        assert item.expires_at is not None
        assert item.expires_at.timestamp() == clock.time() + 60
        await store.adelete(HOME, "k")
        assert await store.aget(HOME, "k") is None


async def test_a_damaged_item_is_an_error(server: redis.RedisServer) -> None:
    """Whatever is changed of what is stored, it is told, and never taken for a value."""
    async with RedisStore(server.url) as store:
        await store.aput(HOME, "k", {"n": 1})
        (items,) = [key for key in server.ask("KEYS", "*") if key.endswith(b":items")]
        (field,) = server.ask("HKEYS", items)
        stored = server.ask("HGET", items, field)
        for place in (0, 25, len(stored) - 1):
            damaged = bytearray(stored)
            damaged[place] ^= 1
            server.ask("HSET", items, field, bytes(damaged))
            with pytest.raises(IntegrityError):
                await store.aget(HOME, "k")
        server.ask("HDEL", items, field)
        with pytest.raises(IntegrityError):
            await store.asearch(HOME)


async def test_processes_count_together(server: redis.RedisServer) -> None:
    """Of two processes that add to one number by versions, no addition is lost."""
    with child(_COUNT, server.url) as one, child(_COUNT, server.url) as other:
        for each in (one, other):
            each.expect("ready")
        for each in (one, other):
            each.tell()
        for each in (one, other):
            each.end()
    async with RedisStore(server.url) as store:
        item = await store.aget(("n",), "count")
        assert item is not None
        assert item.value == {"n": 60}


def test_a_url_names_a_store() -> None:
    """And what makes no sense is refused at once."""
    store = open_store("redis://user:secret@example.com:7000", prefix="p")
    assert repr(store) == "<RedisStore Redis at example.com:7000, prefix 'p', durability=always>"
    assert isinstance(RedisStore.from_conn_string("rediss://a"), RedisStore)
    with pytest.raises(ConfigError, match="A prefix has"):
        RedisStore("redis://a", prefix="{")


_acknowledged = [0]


async def _put_until(over: asyncio.Event, store: RedisStore, turn: int) -> None:
    """Put the next number under eight keys, as one batch, until that is enough or unknown."""
    _acknowledged[0] = 0
    while not over.is_set():
        number = _acknowledged[0] + 1
        puts = [PutOp((f"turn {turn}", key), key, {"n": number}) for key in "abcdefgh"]
        try:
            await store.abatch(puts)
        except OutcomeUnknownError:
            return
        _acknowledged[0] = number


def _calls(stats: Any, command: str) -> int:
    return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))


_COUNT = """
import asyncio, sys
from durable_graph.errors import StoreConflictError
from durable_graph_redis import RedisStore

async def main():
    store = RedisStore(sys.argv[1])
    print("ready", flush=True)
    sys.stdin.readline()
    done = 0
    while done < 30:
        item = await store.aget(("n",), "count")
        value = {"n": item.value["n"] + 1} if item else {"n": 1}
        try:
            await store.aput(("n",), "count", value, if_version=item and item.version)
        except StoreConflictError:
            continue
        done += 1
    await store.aclose()

asyncio.run(main())
"""
