"""PostgreSQL under processes that are killed, and a server that stops as in a power failure."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from durable_graph.errors import StorageError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Append, Outcome
from durable_graph.testing.contract_kit import Log, commit, expect_log, results
from durable_graph_postgres import PostgresBackend, PostgresSaver
from tests.backends.kit import child, counting, result_of, thread
from tests.crash.harness.counts import TORTURE
from tests.services import postgres

pytestmark = pytest.mark.services

_STEPS = 30
_THREADS = 6


@pytest.mark.timeout(3600 if TORTURE else 120)
async def test_nothing_acknowledged_is_lost_when_the_server_crashes() -> None:
    """Whatever was acknowledged is there after each crash, and what was not is asked for again."""
    rounds = 30 if TORTURE else 3
    with postgres.own_server() as server:
        backend = PostgresBackend(server.dsn, busy_timeout=20.0, call_timeout=20.0)
        logs = [Log(f"thread {number}") for number in range(8)]
        stop = asyncio.Event()

        async def write(log: Log) -> int:
            unknown = 0
            while not stop.is_set():
                append = log.next(results(), commit(f"c{log.head.seq if log.head else 0}"))
                unknown += await _until_stored(backend, append)
                log.accept(append)
            return unknown

        writing = [asyncio.ensure_future(write(log)) for log in logs]
        for _ in range(rounds):
            before = [len(log.records) for log in logs]
            while any(len(log.records) < n + 10 for log, n in zip(logs, before, strict=True)):
                await asyncio.sleep(0)
            await asyncio.to_thread(server.crash)
            acknowledged = [(log.key, log.now.seq) for log in logs]
            await asyncio.to_thread(server.start)
            for key, seq in acknowledged:
                reading = await _asked(partial(backend.read, key))
                assert reading is not None
                assert reading.head.seq >= seq
        stop.set()
        assert sum(await asyncio.gather(*writing)) > 0
        for log in logs:
            await expect_log(backend, log)
        await backend.aclose()


async def _until_stored(backend: PostgresBackend, append: Append) -> int:
    """Ask for the very same append until it is answered; returns how often it was not."""
    for unanswered in range(1000):
        try:
            answers = await backend.append([append])
        except StorageError:
            continue
        assert list(answers) == [Outcome.APPLIED]
        return unanswered
    raise AssertionError("It is not answered.")


async def _asked(call: Any) -> Any:
    for _ in range(1000):
        try:
            return await call()
        except StorageError:
            continue
    raise AssertionError("It is not answered.")


_WORKER = f"""
import asyncio, sys
from durable_graph.errors import FencedError, ThreadBusyError
from durable_graph_postgres import PostgresSaver
from tests.backends.kit import counting, thread

async def main():
    saver = PostgresSaver(sys.argv[1], schema=sys.argv[2])
    graph = counting(saver, {_STEPS})
    print("ready", flush=True)

    async def work(name):
        config = thread(name)
        while True:
            state = await graph.aget_state(config)
            if state.values and not state.next:
                return
            try:
                await graph.ainvoke(None if state.values else {{"items": ["begin"]}}, config)
            except (ThreadBusyError, FencedError):
                await asyncio.sleep(0.02)

    await asyncio.gather(*(work(f"t{{n}}") for n in range({_THREADS})))
    await saver.aclose()

asyncio.run(main())
print("done", flush=True)
"""


@pytest.mark.timeout(3600 if TORTURE else 120)
@pytest.mark.parametrize("number", range(40 if TORTURE else 3))
async def test_one_of_two_workers_is_killed(number: int) -> None:
    """The other goes on with all threads, also those that the dead one was running."""
    schema = postgres.fresh_schema()
    saver = PostgresSaver(postgres.dsn(), schema=schema)
    await saver.backend.beat(None)
    graph = counting(saver, _STEPS)
    with (
        child(_WORKER, postgres.dsn(), schema) as first,
        child(_WORKER, postgres.dsn(), schema) as second,
    ):
        first.expect("ready")
        second.expect("ready")
        # Sooner or later: after so many records of the first thread.
        for _ in range(10_000):
            found = await saver.backend.thread(ThreadKey("", "t0"))
            if found is not None and found.head is not None and found.head.seq > 3 * number:
                break
            await asyncio.sleep(0)
        first.process.kill()
        assert (await asyncio.to_thread(second.end, 90.0)).strip() == "done"
    for n in range(_THREADS):
        state = await graph.aget_state(thread(f"t{n}"))
        assert state.values == result_of(_STEPS)
        assert await saver.averify(f"t{n}") == []
    await saver.aclose()
