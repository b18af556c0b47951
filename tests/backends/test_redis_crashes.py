"""Redis killed, cut short, emptied, full and forgetful: what was acknowledged, and what is told."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from durable_graph.errors import (
    DurableGraphError,
    IntegrityError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageFullError,
    ThreadNotFoundError,
)
from durable_graph.ports.backend import Append, Backend, Outcome, Removal, ThreadQuery
from durable_graph.testing.contract_kit import (
    Log,
    commit,
    expect_log,
    mark,
    message,
    process,
    results,
    write,
)
from durable_graph_redis import RedisBackend, RedisSaver
from tests.backends.kit import child, counting, result_of, thread
from tests.services import redis

pytestmark = pytest.mark.services


@pytest.fixture
def server() -> Iterator[redis.RedisServer]:
    """A server of the test's own, which syncs every write."""
    with redis.private_server(**redis.ALWAYS) as made:
        yield made


@pytest_asyncio.fixture
async def backend(server: redis.RedisServer) -> AsyncIterator[RedisBackend]:
    """A backend on it."""
    made = RedisBackend(server.url)
    yield made
    await made.aclose()


async def _acknowledged(backend: Backend, log: Log, append: Append) -> bool:
    """Whether an append was answered for, however often it had to be asked."""
    for _ in range(200):
        try:
            (answer,) = await backend.append([append])
        except (OutcomeUnknownError, StorageBusyError):
            await asyncio.sleep(0.01)
            continue
        assert answer is Outcome.APPLIED
        log.accept(append)
        return True
    return False


@pytest.mark.parametrize("seed", range(5))
async def test_what_was_acknowledged_survives_a_kill(
    seed: int, server: redis.RedisServer, backend: RedisBackend
) -> None:
    """A server that is killed while many write has all that it answered for, and those go on."""
    logs = [Log(f"thread {number}") for number in range(10)]
    over = asyncio.Event()

    async def grow(log: Log) -> None:
        number = 0
        while not over.is_set():
            append = log.next(commit(f"c{number}"), results(), blobs={f"d{number}": b"x" * 500})
            assert await _acknowledged(backend, log, append)
            number += 1

    growing = [asyncio.ensure_future(grow(log)) for log in logs]
    for turn in range(3):
        target = 10 + 7 * seed + 20 * turn
        while min(log.now.seq if log.head is not None else 0 for log in logs) < target:
            await asyncio.sleep(0.001)
        server.kill()
        await asyncio.to_thread(server.start)
    over.set()
    await asyncio.gather(*growing)
    for log in logs:
        await expect_log(backend, log)
    listed = (await backend.threads(ThreadQuery())).threads
    assert {entry.key for entry in listed} == {log.key for log in logs}
    assert len(listed) == len(logs)


async def test_runs_go_on_while_the_server_is_started_anew(server: redis.RedisServer) -> None:
    """Runs that wait for a server which is killed and comes back end as if nothing had been."""
    async with RedisSaver(server.url) as saver:
        graph = counting(saver, 60)
        runs = [
            asyncio.ensure_future(graph.ainvoke({"items": ["begin"]}, thread(f"t{n}", 60)))
            for n in range(5)
        ]
        for _ in range(3):
            await asyncio.sleep(0.05)
            server.kill()
            await asyncio.to_thread(server.start)
        for number, state in enumerate(await asyncio.gather(*runs)):
            assert state == result_of(60)
            assert await saver.averify(f"t{number}") == []


@pytest.mark.parametrize("lost", [1, 40, 700, 3000])
async def test_a_log_that_was_cut_short_is_a_beginning(
    lost: int, server: redis.RedisServer
) -> None:
    """Where the end of the append-only file is missing, a thread is a beginning of what it was,
    is listed as such, and goes on from there."""
    async with RedisSaver(server.url) as saver:
        graph = counting(saver, 20)
        await graph.ainvoke({"items": ["begin"]}, thread("t", 20))
    server.kill()
    (file,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    size = file.stat().st_size
    with file.open("r+b") as opened:
        opened.truncate(size - lost)
    server.start()
    async with RedisSaver(server.url) as saver:
        graph = counting(saver, 20)
        assert await saver.averify("t") == []
        (info,) = [info async for info in saver.alist_threads()]
        reading = await saver.backend.read(Log("t").key)
        assert reading is not None
        assert info.records == reading.head.seq
        state = await graph.ainvoke(None, thread("t", 20))
        assert state == result_of(20)


async def test_an_emptied_server_has_no_threads(
    server: redis.RedisServer, backend: RedisBackend
) -> None:
    """After FLUSHALL a thread is not there, late writers are refused, and a new one can begin."""
    log = Log()
    await write(backend, log, commit("c1"), results())
    late = log.next(mark())
    server.say("FLUSHALL")
    assert await backend.read(log.key) is None
    assert (await backend.threads(ThreadQuery())).threads == []
    assert await backend.append([late]) == [Outcome.REFUSED]
    with pytest.raises(ThreadNotFoundError):
        await backend.post(log.key, message())
    again = Log()
    await write(backend, again, commit("c1"))
    await expect_log(backend, again)


async def test_an_emptied_server_stops_a_run(server: redis.RedisServer) -> None:
    """A run whose thread was flushed away is fenced; it does not begin anew under the same name."""
    async with RedisSaver(server.url) as saver:
        graph = counting(saver, 500)
        run = asyncio.ensure_future(graph.ainvoke({"items": ["begin"]}, thread("t", 500)))
        while (reading := await saver.backend.read(Log("t").key)) is None or reading.head.seq < 20:
            await asyncio.sleep(0)
        server.say("FLUSHALL")
        with pytest.raises(DurableGraphError):
            await run
        assert await saver.backend.read(Log("t").key) is None


async def test_forgotten_scripts_are_sent_again(
    server: redis.RedisServer, backend: RedisBackend
) -> None:
    """A server that forgets its scripts again and again, in the middle of it all, is told them."""
    logs = [Log(f"thread {number}") for number in range(5)]

    async def grow(log: Log) -> None:
        for number in range(30):
            await write(backend, log, commit(f"c{number}"))

    growing = asyncio.gather(*map(grow, logs))
    while not growing.done():
        await asyncio.to_thread(server.say, "SCRIPT", "FLUSH")
    await growing
    assert backend.statistics()["scripts"] > 1
    for log in logs:
        await expect_log(backend, log)


async def test_a_full_server_says_so_and_goes_on(
    server: redis.RedisServer, backend: RedisBackend
) -> None:
    """Without memory an append is refused as a whole; with memory the thread goes on."""
    log = Log()
    await write(backend, log, commit("c1"), blobs={"d": b"x" * 1000})
    server.say("CONFIG", "SET", "maxmemory", "1")
    append = log.next(results(), blobs={"e": b"y" * 1000})
    with pytest.raises(StorageFullError, match="Raise maxmemory"):
        await backend.append([append])
    with pytest.raises(StorageFullError):
        await backend.append([append, Log("other").next(commit("c1"))])
    await expect_log(backend, log)
    # Signs of life go on, and space can be made.
    assert [entry.process for entry in await backend.beat(process())] == [process()]
    for digests in ((), ("d",)):
        part = Removal(expected=log.position, bodies=((1, 1),), blobs=digests)
        assert await backend.remove(log.key, part)
        log.prune(part.bodies)
    append = log.next(results(), blobs={"e": b"y" * 1000})
    await expect_log(backend, log)
    server.say("CONFIG", "SET", "maxmemory", "0")
    assert await backend.append([append]) == [Outcome.APPLIED]
    log.accept(append)
    await expect_log(backend, log)


async def test_a_run_on_a_full_server_goes_on_later(server: redis.RedisServer) -> None:
    """A run ends with `StorageFullError`, and the thread goes on from where it was."""
    async with RedisSaver(server.url) as saver:
        graph = counting(saver, 10)
        await graph.ainvoke({"items": ["begin"]}, thread("first", 10))
        server.say("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StorageFullError):
            await graph.ainvoke({"items": ["begin"]}, thread("t", 10))
        server.say("CONFIG", "SET", "maxmemory", "0")
        state = await graph.ainvoke({"items": ["begin"]}, thread("t", 10))
        assert state == result_of(10)


async def test_a_thread_without_a_part_is_damaged_not_another(
    server: redis.RedisServer, backend: RedisBackend
) -> None:
    """A head without its records, or a damaged head, is an error and nothing else."""
    log = Log()
    await write(backend, log, commit("c1"), results())
    (key,) = [key for key in _keys(server) if ":thread:" in key]
    head = _get(server, key, "head")
    server.say("HSET", key, "head", head.replace('"stopped"', '"running"'))
    with pytest.raises(IntegrityError, match="head of thread 'thread' is damaged"):
        await backend.read(log.key)
    server.say("HSET", key, "head", head)
    server.say("HDEL", key, "r:1")
    async with RedisSaver(server.url) as saver:
        wrong = await saver.averify("thread")
        assert wrong
        with pytest.raises(IntegrityError):
            await counting(saver, 3).aget_state(thread("thread"))


async def test_two_workers_and_one_is_killed(server: redis.RedisServer) -> None:
    """Of two processes on one server, the other takes over what a killed one was running."""
    with child(_WORKER, server.url) as worker:
        worker.expect("running")
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
    async with RedisSaver(server.url) as saver:
        graph = counting(saver, 300)
        reading = await saver.backend.read(Log("t").key)
        assert reading is not None
        assert reading.head.status == "running"
        state = await graph.ainvoke(None, thread("t", 300))
        assert state == result_of(300)
        assert await saver.averify("t") == []


_WORKER = """
import asyncio, sys
from durable_graph_redis import RedisSaver
from tests.backends.kit import counting, thread

async def main():
    async with RedisSaver(sys.argv[1]) as saver:
        graph = counting(saver, 300)
        n = 0
        async for _ in graph.astream({"items": ["begin"]}, thread("t", 300)):
            n += 1
            if n == 20:
                print("running", flush=True)

asyncio.run(main())
"""


def _keys(server: redis.RedisServer) -> list[str]:
    return [line.decode() for line in server.ask("KEYS", "*") if isinstance(line, bytes)]


def _get(server: redis.RedisServer, key: str, field: str) -> str:
    value = server.ask("HGET", key, field)
    assert isinstance(value, bytes)
    return value.decode()


async def test_a_sign_of_life_comes_first(backend: RedisBackend, server: redis.RedisServer) -> None:
    """The server may be killed, or somebody look, between it and the append that it came with: a
    thread of a process that nobody knows is a dead one's."""
    done: list[str] = []
    await backend.append(
        [Log().next(commit("c1"))], process("another")
    )  # so both scripts are known
    append = Log("other").next(commit("c1"), status="running", owner="process")
    async with Redis.from_url(server.url) as client, client.monitor() as monitor:
        assert await backend.append([append], process()) == [Outcome.APPLIED]
        while not any("thread" in command for command in done):
            told = await monitor.next_command()
            done += [told["command"]] if told["command"].startswith("HSET") else []
    assert [":processes" in command for command in done] == [True, False]
