"""Redis, and connections that are lost at the wrong moment: what happened is found out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from durable_graph.errors import OutcomeUnknownError, StorageBusyError
from durable_graph.ports.backend import Outcome, Removal
from durable_graph.testing.contract_kit import (
    Log,
    commit,
    expect_log,
    mark,
    message,
    results,
    write,
)
from durable_graph_redis import RedisBackend, RedisSaver
from durable_graph_redis.scripts import APPEND
from tests.backends.kit import counting, result_of, thread
from tests.backends.redis_wire import Cut, Wire, wire
from tests.services import redis

pytestmark = pytest.mark.services


@pytest_asyncio.fixture
async def way() -> AsyncIterator[Wire]:
    """A way to the server that can be cut."""
    port = int(redis.url().rpartition(":")[2])
    async with wire(port) as made:
        yield made


@pytest_asyncio.fixture
async def backend(way: Wire) -> AsyncIterator[RedisBackend]:
    """A backend at the end of it, which has been used once."""
    made = RedisBackend(way.url, prefix=redis.fresh_prefix())
    await write(made, Log("before"), commit("c1"))
    yield made
    await made.aclose()


async def test_a_lost_answer_is_an_unknown_outcome(backend: RedisBackend, way: Wire) -> None:
    """The append was stored, nobody said so; asking again finds it."""
    log = Log()
    append = log.next(commit("c1"), results(), blobs={"d": b"x"})
    way.cuts = ["answer"]
    with pytest.raises(OutcomeUnknownError, match="not known whether it was written"):
        await backend.append([append])
    assert await backend.append([append]) == [Outcome.APPLIED]
    log.accept(append)
    await expect_log(backend, log)


async def test_a_lost_request_is_an_unknown_outcome(backend: RedisBackend, way: Wire) -> None:
    """The append was not stored, nobody said so; asking again stores it."""
    log = Log()
    append = log.next(commit("c1"), results())
    way.cuts = ["request"]
    with pytest.raises(OutcomeUnknownError):
        await backend.append([append])
    assert await backend.read(log.key) is None
    assert await backend.append([append]) == [Outcome.APPLIED]
    log.accept(append)
    await expect_log(backend, log)


async def test_of_a_batch_all_is_unknown(backend: RedisBackend, way: Wire) -> None:
    """A batch whose answers were lost is asked for again as a whole, and is stored once."""
    logs = [Log(f"thread {number}") for number in range(20)]
    batch = [log.next(commit("c1")) for log in logs]
    way.cuts = ["answer"]
    with pytest.raises(OutcomeUnknownError):
        await backend.append(batch)
    assert await backend.append(batch) == [Outcome.APPLIED] * 20
    for log, append in zip(logs, batch, strict=True):
        log.accept(append)
        await expect_log(backend, log)


async def test_nothing_is_sent_twice(backend: RedisBackend, way: Wire) -> None:
    """The driver does not try again by itself: whoever knows what was asked decides that."""
    way.cuts = ["answer"]
    before = way.passed
    with pytest.raises(OutcomeUnknownError):
        await backend.append([Log().next(commit("c1"))])
    assert way.passed == before + 1


async def test_posts_and_removals_can_be_asked_again(backend: RedisBackend, way: Wire) -> None:
    """A message whose answer was lost is there once; a thread that was removed is gone."""
    log, other = Log(), Log("other")
    await write(backend, other, commit("c1"))
    await backend.post(other.key, message("id"))
    assert await backend.remove(other.key, Removal(everything=True))
    await write(backend, log, commit("c1"))
    way.cuts = ["answer"]
    with pytest.raises(OutcomeUnknownError):
        await backend.post(log.key, message("id"))
    assert await backend.post(log.key, message("id")) == message("id")
    reading = await backend.read(log.key)
    assert reading is not None
    assert reading.messages == [message("id")]
    way.cuts = ["answer"]
    with pytest.raises(OutcomeUnknownError):
        await backend.remove(log.key, Removal(everything=True))
    assert not await backend.remove(log.key, Removal(everything=True))


async def test_a_read_that_was_lost_is_asked_again(backend: RedisBackend, way: Wire) -> None:
    """Reading changes nothing, so it is done again: once, before that is told."""
    log = Log()
    await write(backend, log, commit("c1"))
    await expect_log(backend, log)
    way.cuts = ["answer"]
    await expect_log(backend, log)
    way.cuts = ["request", "answer"]
    with pytest.raises(StorageBusyError, match="Call again"):
        await backend.read(log.key)
    await expect_log(backend, log)


@pytest.mark.parametrize("cuts", [["answer", "request"] * 3, ["request"], [None, "answer"] * 4])
async def test_a_run_goes_on_after_lost_answers(way: Wire, cuts: list[Cut]) -> None:
    """A run whose connection is cut in the middle of writes comes to its end, each step once."""
    async with RedisSaver(way.url, prefix=redis.fresh_prefix()) as saver:
        graph = counting(saver, 12)
        await graph.ainvoke({"items": ["begin"]}, thread("first", 12))
        way.word, way.cuts = APPEND.digest.encode(), cuts
        state = await graph.ainvoke({"items": ["begin"]}, thread("t", 12))
        assert state == result_of(12)
        assert not way.cuts
        assert await saver.averify("t") == []


async def test_a_server_that_does_not_answer_is_given_up(way: Wire) -> None:
    """Every call has an end, whatever the server does; what was written is then unknown."""
    backend = RedisBackend(way.url, prefix=redis.fresh_prefix(), timeout=0.2)
    log = Log()
    await write(backend, log, commit("c1"))
    way.held.clear()
    append = log.next(mark())
    begin = time.monotonic()
    with pytest.raises(OutcomeUnknownError):
        await backend.append([append])
    with pytest.raises(StorageBusyError):
        await backend.read(log.key)
    assert time.monotonic() - begin < 5
    way.held.set()
    assert await backend.append([append]) == [Outcome.APPLIED]
    await backend.aclose()


async def test_nobody_there_is_told_as_nothing_written() -> None:
    """Where no connection is to be had nothing was sent, and the error says so."""
    backend = RedisBackend("redis://127.0.0.1:1", timeout=0.2)
    with pytest.raises(StorageBusyError, match=r"127\.0\.0\.1:1.*Nothing was written"):
        await backend.append([Log().next(commit("c1"))])
    await backend.aclose()


async def test_a_cancelled_append_is_done_all_the_same(backend: RedisBackend, way: Wire) -> None:
    """What was handed in is written, also if nobody waits for it any more, before what follows."""
    log = Log()
    await write(backend, log, commit("c1"))
    way.held.clear()
    append = log.next(results())
    writing = asyncio.ensure_future(backend.append([append]))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.wait([writing])
    way.held.set()
    log.accept(append)
    await write(backend, log, mark())
    await expect_log(backend, log)
