"""Scenario 30: a replica takes over that had not got everything; a server is emptied."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durable_graph import START, Command, StateGraph
from durable_graph.errors import (
    EmptyInputError,
    FencedError,
    NothingToResumeError,
    OutcomeUnknownError,
    StorageBusyError,
    ThreadNotFoundError,
)
from durable_graph.ports.backend import Append, Backend, Outcome, ThreadQuery
from durable_graph.testing.contract_kit import Log, commit, expect_log, mark, results, write
from durable_graph_redis import RedisBackend, RedisSaver
from tests.backends.kit import TORTURE, Items, counting, result_of, thread
from tests.services import redis
from tests.services.proxy import SILENT, Proxy, always, proxy

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200 if TORTURE else 60)]


class Pair:
    """A primary and its replica.

    Attributes:
        primary: the one.
        replica: the other.
        way: where clients connect to; it leads to the primary.
        url: its address.
    """

    def __init__(
        self, primary: redis.RedisServer, replica: redis.RedisServer, way: Proxy, between: Proxy
    ) -> None:
        self.primary, self.replica, self.way = primary, replica, way
        self.url = f"redis://127.0.0.1:{way.port}"
        self._between = between

    async def part(self) -> None:
        """From now on the replica gets nothing; it has all that was there before."""
        sent = self.primary.told("master_repl_offset")
        await until(lambda: self.replica.told("slave_repl_offset") >= sent)
        self._between.rule = always(SILENT)
        await asyncio.to_thread(self.primary.say, "PING")

    async def take_over(self) -> None:
        """The primary dies, and the replica takes its place."""
        await asyncio.to_thread(self.primary.kill)
        await asyncio.to_thread(self.replica.promote)
        self.way.lead_to(self.replica.port)
        self.way.hang_up()


@asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """A primary and a replica of the test's own, both of which sync every write."""
    at_once = {"repl-diskless-sync-delay": "0"}
    with (
        redis.private_server(**redis.ALWAYS, **at_once) as primary,
        redis.private_server(**redis.ALWAYS, **at_once) as replica,
    ):
        to = ("127.0.0.1", primary.port)
        async with proxy(*to) as way, proxy(*to) as between:
            await asyncio.to_thread(replica.follow, between.port)
            yield Pair(primary, replica, way, between)


async def until(holds: Callable[[], bool]) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + 20.0
    while not await asyncio.to_thread(holds):
        assert time.monotonic() < deadline, "it never is"
        await asyncio.sleep(0.01)


async def answers(backend: Backend, append: Append) -> Sequence[Outcome]:
    """What an append is answered, however often it has to be asked for."""
    for _ in range(200):
        try:
            return await backend.append([append])
        except (OutcomeUnknownError, StorageBusyError):
            await asyncio.sleep(0.01)
    raise AssertionError("It is not answered.")


def waiting(name: str, gate: asyncio.Event) -> Any:
    """A node that waits before it says its name."""

    async def node(state: Items) -> Items:
        await gate.wait()
        return {"items": [name]}

    return node


async def reached(saver: RedisSaver, name: str, seq: int) -> None:
    """Wait until a thread has so many records."""
    while (reading := await saver.backend.read(Log(name).key)) is None or reading.head.seq < seq:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("lost", range(20 if TORTURE else 1))
async def test_a_replica_that_was_behind_has_a_beginning(lost: int) -> None:
    """What it had not got is gone: each thread is a beginning of what it was, opens and goes on.
    Whoever has seen more is told so, and writes nothing upon what is not there."""
    async with pair() as servers, RedisSaver(servers.url) as saver:
        backend, gates = RedisBackend(servers.url), [asyncio.Event(), asyncio.Event()]
        graph = StateGraph(Items)
        for name, gate in zip(("first", "second"), gates, strict=True):
            graph.add_node(name, waiting(name, gate))
        runs = graph.add_edge(START, "first").add_edge("first", "second").compile(saver)
        held = asyncio.ensure_future(runs.ainvoke({"items": ["begin"]}, thread("held")))
        log = Log("log")
        await write(backend, log, commit("c1"), results())
        await reached(saver, "held", 1)
        await servers.part()
        old = log.copy()
        for number in range(2 + lost):
            await write(backend, log, commit(f"more {number}"))
        gates[0].set()
        new = asyncio.ensure_future(runs.ainvoke({"items": ["begin"]}, thread("new")))
        await reached(saver, "held", 3)
        await reached(saver, "new", 3)
        await servers.take_over()

        assert await answers(backend, log.next(mark())) == [Outcome.REFUSED]
        await expect_log(backend, old)
        await write(backend, old, commit("other"))
        await expect_log(backend, old)
        gates[1].set()
        for run in (held, new):
            with pytest.raises(FencedError):
                await run
        assert await backend.read(Log("new").key) is None
        listed = (await backend.threads(ThreadQuery())).threads
        assert {entry.key.thread for entry in listed} == {"held", "log"}
        state = await runs.aget_state(thread("held"))
        assert (state.values, state.next) == ({"items": ["begin"]}, ("first",))
        assert await runs.ainvoke(None, thread("held")) == {"items": ["begin", "first", "second"]}
        assert await saver.averify("held") == []
        await backend.aclose()


async def test_runs_go_on_at_a_replica_that_has_everything() -> None:
    """Runs whose server is gone wait for the one that takes its place, and end there as if nothing
    had been; the next server is asked what it promises, as the first one was."""
    async with pair() as servers, RedisSaver(servers.url) as saver:
        graph = counting(saver, 60)
        runs = [
            asyncio.ensure_future(graph.ainvoke({"items": ["begin"]}, thread(f"t{n}", 60)))
            for n in range(3)
        ]
        for number in range(3):
            await reached(saver, f"t{number}", 10)
        # Nothing is on its way while the primary answers nobody: so the replica gets it all.
        servers.way.rule = always(SILENT)
        sent = await asyncio.to_thread(servers.primary.told, "master_repl_offset")
        await until(lambda: servers.replica.told("slave_repl_offset") >= sent)
        servers.way.calm()
        await servers.take_over()
        for number, state in enumerate(await asyncio.gather(*runs)):
            assert state == result_of(60)
            assert await saver.averify(f"t{number}") == []


async def test_a_thread_that_was_flushed_away_is_not_found() -> None:
    """It is no fresh thread that a run goes on with: who asks for it is told that there is none."""
    with redis.private_server(**redis.ALWAYS) as server:
        async with RedisSaver(server.url) as saver:
            gate = asyncio.Event()
            graph = StateGraph(Items).add_node("held", waiting("held", gate))
            runs = graph.add_edge(START, "held").compile(saver)
            run = asyncio.ensure_future(runs.ainvoke({"items": ["begin"]}, thread("t")))
            await reached(saver, "t", 1)
            await asyncio.to_thread(server.say, "FLUSHALL")
            gate.set()
            with pytest.raises(FencedError):
                await run
            with pytest.raises(ThreadNotFoundError):
                await saver.threads.get("t")
            with pytest.raises(EmptyInputError):
                await runs.ainvoke(None, thread("t"))
            with pytest.raises(NothingToResumeError):
                await runs.ainvoke(Command(resume="yes"), thread("t"))
            assert await saver.backend.read(Log("t").key) is None
            state = await runs.ainvoke({"items": ["again"]}, thread("t"))
            assert state == {"items": ["again", "held"]}
