"""Caches by themselves: the same for all of them, and what only one of them can do wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from durable_graph import InMemoryCache
from durable_graph.cache import BaseCache, CacheKey
from durable_graph.errors import IntegrityError, StorageError
from durable_graph.log.records import ThreadKey
from durable_graph.testing import FakeClock
from durable_graph_redis import RedisCache
from durable_graph_sqlite import SqliteCache, SqliteSaver
from tests.services import redis

A: CacheKey = (("graph", "node"), "a")
B: CacheKey = (("graph", "node"), "b")
OTHER: CacheKey = (("graph", "node 2"), "a")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest_asyncio.fixture(
    params=["memory", pytest.param("redis", marks=pytest.mark.services), "sqlite"]
)
async def cache(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[BaseCache]:
    """One of each kind."""
    if request.param == "memory":
        yield InMemoryCache(clock=clock)
        return
    made: RedisCache | SqliteCache
    if request.param == "redis":
        made = RedisCache(redis.url(), prefix=redis.fresh_prefix(), clock=clock)
    else:
        made = SqliteCache(tmp_path / "cache.db", clock=clock)
    yield made
    await made.aclose()


async def test_what_was_put_there_comes_back(cache: BaseCache) -> None:
    """Bytes for bytes; what is not there is left out; the last value counts."""
    assert await cache.aget([A]) == {}
    await cache.aset({A: (b"1", None), OTHER: (b"\0\xff", 5.0)})
    await cache.aset({A: (b"2", None)})
    assert await cache.aget([A, B, OTHER]) == {A: b"2", OTHER: b"\0\xff"}


async def test_time_is_up_when_it_is(cache: BaseCache, clock: FakeClock) -> None:
    """Up to its last moment a value may be used; putting it there again begins anew."""
    await cache.aset({A: (b"1", 5.0), B: (b"2", None)})
    await clock.advance(4.9)
    assert await cache.aget([A, B]) == {A: b"1", B: b"2"}
    await clock.advance(0.1)
    assert await cache.aget([A, B]) == {B: b"2"}
    await cache.aset({A: (b"3", 5.0)})
    await clock.advance(1.0)
    assert await cache.aget([A]) == {A: b"3"}


async def test_clearing_is_by_namespace(cache: BaseCache) -> None:
    """With what is beneath it, part by part, and nothing that only begins alike."""
    await cache.aset({A: (b"1", None), B: (b"2", None), OTHER: (b"3", None)})
    await cache.aclear([("graph", "no")])
    assert len(await cache.aget([A, B, OTHER])) == 3
    await cache.aclear([("graph", "node")])
    assert await cache.aget([A, B, OTHER]) == {OTHER: b"3"}
    await cache.aclear([("graph",)])
    assert await cache.aget([OTHER]) == {}
    await cache.aset({A: (b"1", None)})
    await cache.aclear()
    assert await cache.aget([A]) == {}


async def test_hostile_names_are_only_names(cache: BaseCache) -> None:
    """Quotes, wildcards and separators in a namespace or key mean nothing."""
    names = ["", "%", "_", "'; DROP TABLE entries; --", "a\x1fb", "a\x1e1b", "\x1e", "é", "\0"]
    keys: list[CacheKey] = [
        ((one, other), name) for one in names for other in names for name in names
    ]
    await cache.aset({key: (repr(key).encode(), None) for key in keys})
    assert await cache.aget(keys) == {key: repr(key).encode() for key in keys}
    await cache.aclear([("a\x1fb",), ("%",)])
    left = {key for key in keys if key[0][0] not in ("a\x1fb", "%")}
    assert set(await cache.aget(keys)) == left


async def test_memory_is_bounded() -> None:
    """What was not used for longest goes first; what is too large is not kept."""
    cache = InMemoryCache(max_bytes=10)
    await cache.aset({A: (b"12345", None)})
    await cache.aset({B: (b"12345", None)})
    assert set(await cache.aget([A])) == {A}
    await cache.aset({OTHER: (b"1", None)})
    assert set(await cache.aget([A, B, OTHER])) == {A, OTHER}
    await cache.aset({B: (b"x" * 11, None)})
    assert await cache.aget([A, B, OTHER]) == {}
    assert repr(cache) == "<InMemoryCache: 0 results, 0 bytes>"
    with pytest.raises(ValueError, match="max_bytes"):
        InMemoryCache(max_bytes=-1)


async def test_a_file_is_bounded(tmp_path: Path, clock: FakeClock) -> None:
    """The oldest go; what is over goes a bit with each write."""
    cache = SqliteCache(tmp_path / "cache.db", max_entries=10, clock=clock)
    for number in range(200):
        await cache.aset({(("n",), str(number)): (b"v", None)})
    kept = await cache.aget([(("n",), str(number)) for number in range(200)])
    assert [int(key) for _, key in kept] == list(range(190, 200))
    await cache.aset({(("old",), str(n)): (b"v", 1.0) for n in range(5)})
    await clock.advance(2.0)
    await cache.aset({A: (b"v", None)})
    await cache.aclose()
    with sqlite3.connect(tmp_path / "cache.db") as db:
        (count,) = db.execute("SELECT count(*) FROM entries WHERE until IS NOT NULL").fetchone()
        assert count == 0
    db.close()
    with pytest.raises(ValueError, match="max_entries"):
        SqliteCache(tmp_path / "cache.db", max_entries=0)


@pytest.mark.services
async def test_a_redis_cache_is_bounded(clock: FakeClock) -> None:
    """The oldest go; what is over goes a bit with each write; nothing is left of what is gone."""
    with redis.private_server() as server:
        cache = RedisCache(server.url, max_entries=10, clock=clock)
        for number in range(200):
            await cache.aset({(("n",), str(number)): (b"v", None)})
        kept = await cache.aget([(("n",), str(number)) for number in range(200)])
        assert [int(key) for _, key in kept] == list(range(190, 200))
        await cache.aset({(("old",), str(n)): (b"v", 1.0) for n in range(5)})
        await clock.advance(2.0)
        await cache.aset({A: (b"v", None)})
        assert server.ask("HLEN", "durable_graph:{durable_graph:cache}:results") == 6
        await cache.aclear()
        left = set(server.ask("KEYS", "*"))
        assert left == {b"durable_graph:format", b"durable_graph:{durable_graph:cache}:count"}
        await cache.aclose()
    with pytest.raises(ValueError, match="max_entries"):
        RedisCache("redis://a", max_entries=0)


@pytest.mark.services
async def test_a_redis_cache_is_shared_and_asks_for_nothing(clock: FakeClock) -> None:
    """What one has kept others find, on a server that keeps nothing over its end."""
    with redis.private_server() as server:
        one, other = RedisCache(server.url, clock=clock), RedisCache.from_conn_string(server.url)
        await one.aset({A: (b"1", None)})
        assert await other.aget([A, B]) == {A: b"1"}
        await one.aset({B: (b"2", 5.0)})
        clock.set_wall(clock.time() - 3600)
        assert await one.aget([A, B]) == {A: b"1"}
        for cache in (one, other):
            await cache.aclose()
        assert repr(one) == f"<RedisCache Redis at 127.0.0.1:{server.port}>"


async def test_a_file_outlives_its_process(tmp_path: Path, clock: FakeClock) -> None:
    """And is there for others at the same time."""
    one, other = (SqliteCache(tmp_path / "cache.db", clock=clock) for _ in range(2))
    await asyncio.gather(one.aset({A: (b"1", None)}), other.aset({B: (b"2", None)}))
    assert await one.aget([A, B]) == await other.aget([A, B]) == {A: b"1", B: b"2"}
    await one.aclose()
    await other.aclose()
    again = SqliteCache(tmp_path / "cache.db", clock=clock)
    assert set(await again.aget([A, B])) == {A, B}
    await again.aclose()


async def test_a_clock_that_was_set_back_makes_nothing_live_longer(
    tmp_path: Path, clock: FakeClock
) -> None:
    """How old a value from the future is cannot be told, so it is not used."""
    cache = SqliteCache(tmp_path / "cache.db", clock=clock)
    await cache.aset({A: (b"1", 5.0), B: (b"2", None)})
    clock.set_wall(clock.time() - 3600)
    assert await cache.aget([A, B]) == {B: b"2"}
    await cache.aclose()


async def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """A saver's file above all: a cache is not to hold up its writes; and the other way round."""
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        await saver.backend.read(ThreadKey.of("1"))
    cache = SqliteCache(tmp_path / "threads.db")
    with pytest.raises(StorageError, match="something else"):
        await cache.aget([A])
    await cache.aclose()
    cache = SqliteCache(tmp_path / "cache.db")
    await cache.aset({A: (b"1", None)})
    await cache.aclose()
    async with SqliteSaver(tmp_path / "cache.db") as saver:
        with pytest.raises(StorageError, match="something else"):
            await saver.backend.read(ThreadKey.of("1"))


async def test_a_damaged_file_is_a_clear_error(tmp_path: Path) -> None:
    """Which a run takes for a cache that it has to do without."""
    (tmp_path / "cache.db").write_bytes(b"no database " * 1000)
    cache = SqliteCache(tmp_path / "cache.db")
    with pytest.raises(IntegrityError):
        await cache.aget([A])
    await cache.aclose()
