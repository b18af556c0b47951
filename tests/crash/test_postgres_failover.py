"""Scenarios 26 and 27: the primary is gone and its standby takes over; and then it comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import pytest

from durable_graph import START, StateGraph
from durable_graph.errors import (
    FencedError,
    OutcomeUnknownError,
    StorageError,
    ThreadBusyError,
)
from durable_graph.ports.backend import Append, Outcome, Removal
from durable_graph.testing.contract_kit import Log, commit, expect_log, mark, results, write
from durable_graph_postgres import PostgresBackend, PostgresSaver
from tests.backends.kit import Items, counting, result_of, thread
from tests.crash.harness.counts import TORTURE
from tests.services import postgres
from tests.services.postgres import Server

pytestmark = [pytest.mark.services, pytest.mark.timeout(3600 if TORTURE else 120)]

_STEPS: Final = 60
ALL: Final = Removal(everything=True)
_TO_WAIT_FOR_ONE: Final = {"synchronous_standby_names": "*"}


def address(*servers: Server) -> str:
    """That of whichever of them is the primary; those before are asked first."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=primary"


@asynccontextmanager
async def opened(*servers: Server, **options: Any) -> AsyncIterator[PostgresBackend]:
    """A backend on whichever of them is the primary."""
    backend = PostgresBackend(address(*servers), **{"busy_timeout": 20.0, **options})
    try:
        yield backend
    finally:
        await backend.aclose()


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so."""
    deadline = time.monotonic() + 20.0
    while not await holds():
        assert time.monotonic() < deadline, "it never is"
        await asyncio.sleep(0.01)


async def stored(backend: PostgresBackend, append: Append) -> None:
    """Ask for the very same append until it is answered."""
    for _ in range(1000):
        try:
            assert list(await backend.append([append])) == [Outcome.APPLIED]
        except StorageError:
            await asyncio.sleep(0.01)
            continue
        return
    raise AssertionError("It is not answered.")


async def finished(saver: PostgresSaver, name: str) -> None:
    """A run of many steps, gone on with as often as it is cut off."""
    graph, input = counting(saver, _STEPS), {"items": ["begin"]}
    for _ in range(1000):
        try:
            assert await graph.ainvoke(input, thread(name)) == result_of(_STEPS)
        except (StorageError, ThreadBusyError):
            await asyncio.sleep(0.05)
            continue
        return
    raise AssertionError(f"Run {name} never comes to its end.")


async def test_nothing_acknowledged_is_lost_with_the_primary() -> None:
    """With synchronous="remote" and a standby that is waited for, all that was acknowledged is on
    the new primary, whenever the old one died; runs go on there and come to their ends."""
    with postgres.own_pair(**_TO_WAIT_FOR_ONE) as pair:
        primary, standby = pair
        async with opened(primary, standby, synchronous="remote", call_timeout=20.0) as backend:
            saver = PostgresSaver(
                address(primary, standby), synchronous="remote", busy_timeout=20.0
            )
            logs = [Log(f"log {number}") for number in range(4)]
            over = asyncio.Event()

            async def grow(log: Log) -> None:
                while not over.is_set():
                    append = log.next(results(), commit(f"c{log.head.seq if log.head else 0}"))
                    await stored(backend, append)
                    log.accept(append)

            growing = [asyncio.ensure_future(grow(log)) for log in logs]
            for number in range(100 if TORTURE else 2):
                names = [f"run {number} {each}" for each in range(3)]
                running = [asyncio.ensure_future(finished(saver, name)) for name in names]
                before = [len(log.records) for log in logs]
                while any(
                    len(log.records) < many + 5 + number % 10
                    for log, many in zip(logs, before, strict=True)
                ):
                    await asyncio.sleep(0)
                await asyncio.to_thread(primary.die)
                acknowledged = [log.now.seq for log in logs]
                await asyncio.to_thread(standby.promote)
                async with opened(standby) as beside:
                    for log, seq in zip(logs, acknowledged, strict=True):
                        reading = await beside.read(log.key)
                        assert reading is not None
                        assert reading.head.seq >= seq, f"failover {number}"
                # The new primary waits for a standby in its turn.
                await asyncio.to_thread(primary.follow, standby)
                await asyncio.to_thread(primary.start)
                primary, standby = standby, primary
                await asyncio.gather(*running)
                for name in names:
                    assert await saver.averify(name) == []
            over.set()
            await asyncio.gather(*growing)
            for log in logs:
                await expect_log(backend, log)
            await saver.aclose()


async def test_what_no_standby_has_is_not_acknowledged_when_it_is_asked_for_again() -> None:
    """A primary that crashes while it waits for its standby has done afterwards what it was asked
    for, alone. That an append is there, or a thread is gone, does not say that it is safe: whoever
    asks for the same again waits, too."""
    with postgres.own_pair(**_TO_WAIT_FOR_ONE) as (primary, standby):
        options: dict[str, Any] = {"synchronous": "remote", "busy_timeout": 20.0}
        patient = PostgresBackend(address(primary, standby), **options)
        hasty = PostgresBackend(
            address(primary), **{**options, "busy_timeout": 0.5, "call_timeout": 0.5}
        )
        log, other = Log(), Log("other")
        await write(patient, log, commit("c1"))
        await write(patient, other, commit("c1"))
        await asyncio.to_thread(standby.freeze)
        append = log.next(results(), commit("c2"))
        for asked in (hasty.append([append]), hasty.remove(other.key, ALL)):
            with pytest.raises(OutcomeUnknownError):
                await asked
        await asyncio.to_thread(primary.crash)
        await asyncio.to_thread(primary.start)
        reading = await hasty.read(log.key)
        assert reading is not None
        assert reading.head.seq == append.head.seq  # it is there, and may be lost
        assert await hasty.read(other.key) is None
        for asked in (hasty.append([append]), hasty.remove(other.key, ALL)):
            with pytest.raises(OutcomeUnknownError):
                await asked
        await hasty.aclose()
        await asyncio.to_thread(standby.thaw)
        assert list(await patient.append([append])) == [Outcome.APPLIED]
        assert not await patient.remove(other.key, ALL)
        log.accept(append)
        await asyncio.to_thread(primary.die)
        await asyncio.to_thread(standby.promote)
        async with opened(standby) as beside:
            await expect_log(beside, log)
            assert await beside.read(other.key) is None
        await patient.aclose()


class Behind:
    """A pair whose standby has got nothing for a while.

    Args:
        primary: the primary.
        standby: the standby.
    """

    def __init__(self, primary: Server, standby: Server) -> None:
        self.primary, self.standby = primary, standby

    async def part(self) -> None:
        """From now on the standby gets nothing; it has all that was there before."""
        (position,) = await postgres.sql(self.primary.dsn, "SELECT pg_current_wal_lsn()::text")

        async def has_it() -> bool:
            asked = f"SELECT pg_last_wal_replay_lsn() >= '{position[0]}'"
            return bool((await postgres.sql(self.standby.dsn, asked))[0][0])

        async def alone() -> bool:
            return not await postgres.sql(self.primary.dsn, "SELECT FROM pg_stat_replication")

        await until(has_it)
        self.standby.leave()
        await until(alone)

    async def take_over(self) -> None:
        """The primary dies, and the standby takes its place."""
        await asyncio.to_thread(self.primary.die)
        await asyncio.to_thread(self.standby.promote)


async def test_a_standby_that_was_behind_has_a_beginning() -> None:
    """What it had not got is gone: each thread is a beginning of what it was, opens and goes on.
    Whoever has seen more is told so, and writes nothing upon what is not there."""
    with postgres.own_pair() as servers:
        pair = Behind(*servers)
        async with opened(*servers, call_timeout=20.0) as backend:
            saver, gates = PostgresSaver(address(*servers)), [asyncio.Event(), asyncio.Event()]
            graph = StateGraph(Items)
            for name, gate in zip(("first", "second"), gates, strict=True):
                graph.add_node(name, waiting(name, gate))
            graph.add_edge(START, "first").add_edge("first", "second")
            runs = graph.compile(saver)
            held = asyncio.ensure_future(runs.ainvoke({"items": ["begin"]}, thread("held")))
            log = Log("log")
            await write(backend, log, commit("c1"), results())
            await until(lambda: _reached(saver, "held", 1))
            await pair.part()
            old = log.copy()
            await write(backend, log, commit("c2"))
            await write(backend, log, commit("c3"))
            gates[0].set()
            await until(lambda: _reached(saver, "held", 3))
            await pair.take_over()

            assert list(await backend.append([log.next(mark())])) == [Outcome.REFUSED]
            await expect_log(backend, old)
            await write(backend, old, commit("other"))
            gates[1].set()
            with pytest.raises(FencedError):
                await held
            state = await runs.aget_state(thread("held"))
            assert (state.values, state.next) == ({"items": ["begin"]}, ("first",))
            assert await saver.averify("held") == []
            ended = await runs.ainvoke(None, thread("held"))
            assert ended == {"items": ["begin", "first", "second"]}
            assert await saver.averify("held") == []
            await saver.aclose()


def waiting(name: str, gate: asyncio.Event) -> Any:
    """A node that waits before it says its name."""

    async def node(state: Items) -> Items:
        await gate.wait()
        return {"items": [name]}

    return node


async def _reached(saver: PostgresSaver, name: str, seq: int) -> bool:
    reading = await saver.backend.read(Log(name).key)
    return reading is not None and reading.head.seq >= seq


async def test_a_primary_that_comes_back_is_refused() -> None:
    """Once the new one was seen, nothing is read from the old one or written to it, also through
    connections that there were before; when it is gone again, all goes on."""
    with postgres.own_pair() as (primary, standby):
        pair = Behind(primary, standby)
        async with opened(standby, primary, call_timeout=20.0) as backend:
            log = Log()
            await write(backend, log, commit("c1"))
            await pair.part()
            await asyncio.to_thread(standby.promote)  # and the old one has not died
            # Connections beside the one to the old primary lead to the new one.
            await asyncio.gather(*(backend.read(log.key) for _ in range(5)))
            await write(backend, log, commit("c2"))
            async with opened(primary) as beside:
                reading = await beside.read(log.key)
                assert reading is not None
                assert reading.head.seq == 1
            asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = ''"
            asked += " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"

            async def left() -> bool:
                await asyncio.gather(*(backend.read(log.key) for _ in range(5)))
                return bool((await postgres.sql(primary.dsn, asked))[0][0] == 0)

            await until(left)
            await expect_log(backend, log)

            await asyncio.to_thread(standby.crash)
            with pytest.raises(StorageError, match="was the primary before a failover"):
                await backend.read(log.key)
            with pytest.raises(StorageError, match="timeline 1, and timeline 2"):
                await backend.append([log.next(mark())])
            await asyncio.to_thread(primary.die)
            await asyncio.to_thread(standby.start)
            await write(backend, log, commit("c3"))
            await expect_log(backend, log)


async def test_a_primary_that_comes_back_is_refused_behind_a_pool() -> None:
    """Each connection that the pool makes is looked at, not only the first."""
    with postgres.own_pair() as (primary, standby):
        pair = Behind(primary, standby)
        async with asyncpg.create_pool(address(primary, standby), min_size=1) as pool:
            backend, log = PostgresBackend(pool=pool, busy_timeout=20.0), Log()
            await write(backend, log, commit("c1"))
            await pair.part()
            await pair.take_over()
            await write(backend, log, commit("c2"))
            await asyncio.to_thread(standby.crash)
            await asyncio.to_thread(primary.start)
            with pytest.raises(StorageError, match="was the primary before a failover"):
                await backend.append([log.next(mark())])
            await asyncio.to_thread(primary.die)
            await asyncio.to_thread(standby.start)
            await write(backend, log, commit("c3"))
            await expect_log(backend, log)
            await backend.aclose()
