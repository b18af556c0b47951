"""What Redis is asked before it is used, and what is refused with which advice."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel

import durable_graph_redis
from durable_graph.errors import (
    ConfigError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
    UnknownTypeError,
)
from durable_graph.testing.contract_kit import Log, commit, expect_log, process, write
from durable_graph_redis import RedisBackend, RedisSaver, open_saver
from tests.backends.kit import counting, result_of, thread
from tests.services import redis

pytestmark = pytest.mark.services


@pytest.fixture
def server() -> Iterator[redis.RedisServer]:
    """A server of the test's own, which syncs every write."""
    with redis.private_server(**redis.ALWAYS) as made:
        yield made


async def _use(url: str, **options: Any) -> None:
    backend = RedisBackend(url, timeout=1.0, **options)
    try:
        await write(backend, Log(), commit("c1"))
    finally:
        await backend.aclose()


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        (
            "maxmemory-policy",
            "allkeys-lru",
            "policy is allkeys-lru. Set it to noeviction",
        ),
        ("maxmemory-policy", "volatile-ttl", "maxmemory-policy is volatile-ttl"),
        ("appendonly", "no", "appendonly is no. Set appendonly yes and appendfsync always"),
        ("appendfsync", "everysec", "appendfsync is everysec. Set it to always"),
        ("appendfsync", "no", "appendfsync is no"),
    ],
)
async def test_a_server_that_promises_less_is_refused(
    setting: str, value: str, says: str, server: redis.RedisServer
) -> None:
    """What the server is set to is read back; less than was asked for is refused, with what to
    set, and nothing is written."""
    server.say("CONFIG", "SET", setting, value)
    with pytest.raises(StorageError, match=says):
        await _use(server.url)
    assert server.ask("DBSIZE") == 0
    await _use(server.url, allow_weaker=True)


async def test_everysec_is_enough_where_no_more_is_asked_for(server: redis.RedisServer) -> None:
    """`durability="everysec"` takes what is as strong or stronger, and nothing weaker."""
    await _use(server.url, durability="everysec")
    server.say("FLUSHALL")
    server.say("CONFIG", "SET", "appendfsync", "everysec")
    await _use(server.url, durability="everysec")
    server.say("CONFIG", "SET", "appendfsync", "no")
    with pytest.raises(StorageError, match="appendfsync is no"):
        await _use(server.url, durability="everysec")


async def test_a_server_that_took_its_place_is_asked_again(server: redis.RedisServer) -> None:
    """After a connection was lost, whoever answers now is asked what it promises."""
    backend = RedisBackend(server.url, timeout=2.0)
    log = Log()
    await write(backend, log, commit("c1"))
    server.kill()
    server.settings["appendfsync"] = "no"
    await asyncio.to_thread(server.start)  # so that the loop hears of the end of the connection
    with pytest.raises(StorageError, match="appendfsync is no"):
        await backend.append([log.next(commit("c2"))])
    await backend.aclose()


async def test_a_replica_is_refused(server: redis.RedisServer) -> None:
    """A replica cannot be written to, and that is told at once."""
    with redis.private_server(**redis.ALWAYS, replicaof=f"127.0.0.1 {server.port}") as replica:
        with pytest.raises(StorageError, match="is a replica"):
            await _use(replica.url)
        with pytest.raises(StorageError, match="is a replica"):
            await _use(replica.url, allow_weaker=True)


async def test_a_primary_that_becomes_a_replica_is_left(server: redis.RedisServer) -> None:
    """In the middle of a failover nothing is written, and that is told as such; the next call
    connects anew, so that it may find another primary."""
    with redis.private_server(**redis.ALWAYS) as other:
        backend = RedisBackend(server.url, timeout=1.0)
        log = Log()
        await write(backend, log, commit("c1"))
        server.say("REPLICAOF", "127.0.0.1", other.port)
        with pytest.raises(StorageBusyError, match="Nothing was written; call again"):
            await backend.append([log.next(commit("c2"))])
        server.say("REPLICAOF", "NO", "ONE")
        before = backend.statistics()["connections"]
        await write(backend, log, commit("c2"))
        assert backend.statistics()["connections"] == before + 1
        await backend.aclose()


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("-config", "does not tell its appendfsync .* allow_weaker=True"),
        ("-info", "does not tell what it promises .* allow_weaker=True"),
    ],
)
async def test_a_service_that_does_not_tell_is_refused(
    rule: str, says: str, server: redis.RedisServer
) -> None:
    """Where settings cannot be read, as on managed services, it is said how to go on."""
    server.ask("ACL", "SETUSER", "u", "on", ">secret", "~*", "+@all", rule)
    url = f"redis://u:secret@127.0.0.1:{server.port}"
    with pytest.raises(StorageError, match=says):
        await _use(url)
    await _use(url, allow_weaker=True)


async def test_few_rights_are_enough(server: redis.RedisServer) -> None:
    """A user needs no more than what the error about rights says, on the keys of the prefix."""
    rights = ["+@read", "+@write", "+@scripting", "+@connection", "+info", "+config|get", "+time"]
    server.ask("ACL", "SETUSER", "u", "on", ">p", "~durable_graph:*", *rights)
    url = f"redis://u:p@127.0.0.1:{server.port}"
    async with RedisSaver(url) as saver:
        graph = counting(saver, 5)
        assert await graph.ainvoke({"items": ["begin"]}, thread("t", 5)) == result_of(5)
        await saver.backend.beat(process())
        assert [info.thread_id async for info in saver.alist_threads()] == ["t"]
        await saver.adelete_thread("t")
    with pytest.raises(StorageError, match=r"Allow it \+@read"):
        await _use(url, prefix="other")


async def test_a_wrong_password_is_told_at_once(server: redis.RedisServer) -> None:
    """Whoever is not let in need not wait, and no password is shown."""
    server.say("CONFIG", "SET", "requirepass", "right")
    begin = time.monotonic()
    for url in (f"redis://:wrong@127.0.0.1:{server.port}", server.url):
        with pytest.raises(StorageError, match="name and password") as raised:
            await _use(url)
        assert "wrong@" not in str(raised.value)
    assert time.monotonic() - begin < 1


async def test_a_newer_format_is_refused(server: redis.RedisServer) -> None:
    """What a newer version wrote is not touched; nor is what is not ours."""
    server.say("SET", "durable_graph:format", 2)
    with pytest.raises(UnknownTypeError, match="written by a newer one: upgrade"):
        await _use(server.url)
    server.say("SET", "durable_graph:format", "cats")
    with pytest.raises(StorageError, match=r"something else\. Use another prefix"):
        await _use(server.url)
    await _use(server.url, prefix="other")


async def test_a_server_that_is_starting_is_waited_for(server: redis.RedisServer) -> None:
    """A connection to a server that was there is tried again for as long as `timeout` says."""
    backend = RedisBackend(server.url, timeout=20.0)
    log = Log()
    await write(backend, log, commit("c1"))
    server.kill()
    with pytest.raises(OutcomeUnknownError):  # over the connection that there was
        await write(backend, log, commit("c2"))
    writing = asyncio.ensure_future(write(backend, log, commit("c2")))
    await asyncio.sleep(0.1)
    assert not writing.done()
    await asyncio.to_thread(server.start)
    await writing
    await backend.aclose()


@pytest.mark.parametrize("address", ["redis://127.0.0.1:{}/0", "redis://127.0.0.1:{}/1"])
async def test_an_address_where_nothing_is_is_told_at_once(address: str) -> None:
    """Where no server has ever answered, the address is wrong, and waiting would only hide that."""
    url = address.format(redis.free_port())
    backend = RedisBackend(url)
    begin = time.monotonic()
    with pytest.raises(StorageBusyError, match=r"Check that it runs, and the address"):
        await write(backend, Log(), commit("c1"))
    assert time.monotonic() - begin < 1
    await backend.aclose()


async def test_a_server_that_loads_its_data_is_waited_for(server: redis.RedisServer) -> None:
    """Also by who has never used it: it answers, if only that it is not ready."""
    # It looks who has come after each 1024 commands.
    server.say("EVAL", "for n = 1, 5000 do redis.call('SET', n, 'x') end", 0)
    server.kill()
    server.settings["key-load-delay"] = "100"  # microseconds for each
    starting = asyncio.ensure_future(asyncio.to_thread(server.start))
    backend = RedisBackend(server.url)
    while not starting.done():
        with contextlib.suppress(OSError):
            if server.say("PING").startswith("-LOADING"):
                break
        await asyncio.sleep(0.01)
    assert not starting.done()
    await write(backend, Log(), commit("c1"))
    await starting
    await backend.aclose()


# -- who brings a client ---------------------------------------------------------------------------


async def test_a_client_that_is_passed_in_is_used_and_stays_open() -> None:
    """Threads are written with the user's own client, which goes on being the user's."""
    prefix = redis.fresh_prefix()
    async with Redis.from_url(redis.url(), decode_responses=True) as client:
        saver = RedisSaver(client=client, prefix=prefix)
        graph = counting(saver, 5)
        assert await graph.ainvoke({"items": ["begin"]}, thread("t", 5)) == result_of(5)
        await saver.aclose()
        assert await client.get(f"{prefix}:format") == "1"


async def test_a_client_serves_other_loops_by_a_copy() -> None:
    """A client belongs to one event loop; others, such as the one for signs of life, get
    connections of their own."""
    pool = BlockingConnectionPool.from_url(redis.url())
    client = Redis(connection_pool=pool)
    backend = RedisBackend(client=client, prefix=redis.fresh_prefix())
    logs = [Log("here"), Log("there")]
    await write(backend, logs[0], commit("c1"))
    await asyncio.to_thread(lambda: asyncio.run(write(backend, logs[1], commit("c1"))))
    for log in logs:
        await expect_log(backend, log)
    await backend.aclose()
    await client.aclose()
    await pool.aclose()


async def test_a_function_makes_a_client_for_each_loop() -> None:
    """Whoever needs a client of a special kind passes a function; what it makes is closed."""
    made: list[Redis] = []

    def make() -> Redis:
        made.append(Redis.from_url(redis.url()))
        return made[-1]

    backend = RedisBackend(client=make, prefix=redis.fresh_prefix())
    await write(backend, Log("here"), commit("c1"))
    await asyncio.to_thread(lambda: asyncio.run(write(backend, Log("there"), commit("c1"))))
    assert len(made) == 2
    await backend.aclose()
    gc.collect()  # nothing is left open, or that would be a warning


async def test_a_cluster_by_a_function() -> None:
    """A cluster's client comes from a function, too."""
    port = int(redis.cluster_url().rpartition(":")[2])
    backend = RedisBackend(
        client=lambda: RedisCluster(host="127.0.0.1", port=port), prefix=redis.fresh_prefix()
    )
    log = Log()
    await write(backend, log, commit("c1"))
    await expect_log(backend, log)
    await backend.aclose()
    wrong = RedisBackend(
        client=lambda: RedisCluster(host="127.0.0.1", port=port, decode_responses=True)
    )
    with pytest.raises(ConfigError, match="decode_responses=False"):
        await write(wrong, log, commit("c1"))


async def test_a_client_of_one_node_of_a_cluster_is_refused() -> None:
    """A client that knows one server does not reach the threads of the others."""
    async with Redis.from_url(redis.cluster_url()) as client:
        backend = RedisBackend(client=client)
        with pytest.raises(ConfigError, match=r"one of a cluster\. Pass a URL"):
            await write(backend, Log(), commit("c1"))
        await backend.aclose()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "by a URL, or else by client="),
        ({"url": "redis://a", "client": Redis}, "by a URL, or else by client="),
        ({"url": "http://a"}, "and not at http://"),
        ({"url": "redis://a:b"}, "a port from 1 to 65535"),
        ({"url": "redis://a/threads"}, "is a number"),
        ({"url": "redis://a?socket_timeout=b"}, "socket_timeout"),
        ({"url": "redis://a?colour=green"}, "argument 'colour'"),
        ({"url": "redis://a", "prefix": "a{b}"}, "A prefix has 1 to 100 letters"),
        ({"url": "redis://a", "prefix": ""}, "A prefix has 1 to 100 letters"),
        ({"url": "redis://a", "prefix": "a\n"}, "A prefix has 1 to 100 letters"),
        ({"url": "redis://a", "timeout": 0}, "above 0"),
        ({"url": "redis://a", "durability": "no"}, "'always' or 'everysec'"),
        ({"client": "redis://a"}, "Pass a URL"),
        ({"url": Redis()}, "taken as client="),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options: dict[str, Any], says: str) -> None:
    """At once, before anything is connected to."""
    with pytest.raises(ConfigError, match=says):
        RedisSaver(**options)


@pytest.mark.parametrize("password", ["sec/ret", "1/sec", "1?sec", "1#sec"])
def test_a_password_that_cuts_an_address_is_not_shown(password: str) -> None:
    """Nor is a part of it taken for a host or a port; it is said how to write it."""
    with pytest.raises(ConfigError, match="write / as %2F") as raised:
        RedisSaver(f"redis://:{password}@host:6379/0")
    assert "sec" not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("url", ["unix:///run/@redis", "redis:///0", "redis://a@b:c@host/0"])
def test_an_at_sign_elsewhere_is_none_of_a_password(url: str) -> None:
    """What is sound is not refused for the looks of it."""
    assert "c@" not in repr(RedisSaver(url))


async def test_clients_of_one_loop_are_refused() -> None:
    """A client that cannot be copied for another event loop is refused at once."""
    sentinel: Any = Sentinel
    async with sentinel([("127.0.0.1", 1)]).master_for("any") as client:
        with pytest.raises(ConfigError, match="client=lambda: RedisCluster"):
            RedisBackend(client=client)


def test_urls_open_savers() -> None:
    """The package is registered for its schemes, and passwords are shown nowhere."""
    root = Path(durable_graph_redis.__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    entries = project["entry-points"]["durable_graph.backends"]
    assert entries["redis"] == entries["rediss"] == "durable_graph_redis:open_saver"
    for make in (open_saver, RedisSaver.from_conn_string):
        saver = make("redis://user:secret@example.com:7000/3", prefix="p", durability="everysec")
        assert repr(saver.backend) == (
            "<RedisBackend Redis at example.com:7000/3, prefix 'p', durability=everysec>"
        )


def test_a_saver_that_is_not_closed_leaves_nothing_open() -> None:
    """The end of `asyncio.run` closes the connections that were made on its loop."""
    saver = RedisSaver(redis.url(), prefix=redis.fresh_prefix())
    graph = counting(saver, 5)
    for number in range(2):
        config = thread(f"t{number}", 5)
        assert asyncio.run(graph.ainvoke({"items": ["begin"]}, config)) == result_of(5)
    assert saver.backend.statistics()["loops"] == 0
    gc.collect()


@pytest.mark.parametrize("shut_down", [True, False])
def test_a_loop_that_is_closed_leaves_nothing_open(shut_down: bool) -> None:
    """Also a loop that was just closed, as a process that dies leaves it, is cleared away."""
    backend = RedisBackend(redis.url(), prefix=redis.fresh_prefix())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(write(backend, Log(), commit("c1")))
    if shut_down:
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    asyncio.run(backend.aclose())
    gc.collect()


async def test_a_child_makes_its_own() -> None:
    """A process that was forked does not use its parent's connections."""
    backend = RedisBackend(redis.url(), prefix=redis.fresh_prefix())
    await write(backend, Log(), commit("c1"))
    child = os.fork()
    if child == 0:
        read = backend.read(Log().key)
        try:
            read.send(None)
        except StorageClosedError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    await backend.aclose()


@pytest.mark.parametrize("make", [redis.url, redis.cluster_url])
async def test_statistics_count_what_was_done(make: Callable[[], str]) -> None:
    """A batch is one round trip, however many appends are in it."""
    backend = RedisBackend(make(), prefix=redis.fresh_prefix())
    await write(backend, Log("first"), commit("c1"))
    before = backend.statistics()
    await backend.append([Log(f"t{number}").next(commit("c1")) for number in range(50)])
    after = backend.statistics()
    assert after["round_trips"] - before["round_trips"] <= 2  # a second for scripts not yet known
    assert after["commands"] - before["commands"] >= 50
    assert after["loops"] == 1
    assert after["connections"] == before["connections"] >= 1
    await backend.aclose()
