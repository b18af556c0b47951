"""Scenarios 12, 24, 28, 31 and 34: the network between us and the storage system.

It cuts, delays, throttles, swallows and holds bytes, in the middle of requests, commits and
replies. Whatever it does, every step is in the log exactly once, every call ends in time and says
what is true, and nothing piles up.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from durable_graph.errors import FencedError, OutcomeUnknownError, StorageError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Backend, Outcome
from durable_graph.saver import Lease, Saver
from durable_graph.testing.contract_kit import Log, commit, expect_log, mark, results, write
from tests.backends.kit import counting, result_of, thread
from tests.backends.wires import PATIENCE, WIRES, Ways
from tests.crash.harness.counts import rounds, seeded
from tests.services.proxy import CUT, HOLD, SILENT, Fate, Proxy, always, proxy, storm

pytestmark = [pytest.mark.services, pytest.mark.timeout(60)]

STEPS: Final = 6
THREADS: Final = 4
LEASE: Final = Lease(length=3.0, interval=0.5)

# What a caller may be told in a storm: that storage failed, that it is not known whether something
# was written, or that another has the thread. Each is true, and calling again is right.
TOLD: Final = (FencedError, StorageError)


@pytest.fixture(params=list(WIRES))
def wire(request: pytest.FixtureRequest) -> str:
    """The name of a storage system."""
    return str(request.param)


def storms() -> list[tuple[str, int]]:
    """Storms for each storage system; fewer for the imitation of AWS, which takes a second each."""
    return [
        (name, seed)
        for name in WIRES
        for seed in rounds(3 if name in ("dynamodb", "s3") else 12, 200)
    ]


@asynccontextmanager
async def connected(wire: str) -> AsyncIterator[tuple[Ways, Proxy]]:
    """A fresh place in a storage system, and a way to it."""
    ways = await WIRES[wire]()
    async with proxy(ways.host, ways.port) as way:
        yield ways, way


async def persist(saver: Saver, name: str) -> int:
    """Run a thread to its end, however often that takes; how often it was told something."""
    told = 0
    for _ in range(60):
        try:
            graph = counting(saver, STEPS)
            state = await graph.ainvoke({"items": ["begin"]}, thread(name))
        except TOLD:
            told += 1
            await asyncio.sleep(0.02)
        else:
            assert state == result_of(STEPS)
            return told
    raise AssertionError(f"Thread {name!r} has not come to its end, after {told} errors.")


async def check_logs(direct: Saver) -> None:
    """Every thread ended, each step of it is there once, and its chain is whole."""
    graph = counting(direct, STEPS)
    for number in range(THREADS):
        config = thread(f"t{number}")
        snapshots = [s async for s in graph.aget_state_history(config)]
        assert snapshots[0].values == result_of(STEPS)
        lengths = [len(s.values.get("items", ())) for s in snapshots]
        assert lengths == list(range(STEPS + 1, -1, -1))
        assert await direct.averify(f"t{number}") == []


@pytest.mark.parametrize(("wire", "seed"), storms())
async def test_a_storm_loses_and_doubles_nothing(wire: str, seed: int) -> None:
    """Threads run through a storm of random faults: each comes to the very end that it has in calm
    weather, with each step once; nobody waits for longer than was said."""
    with seeded(seed) as chance:
        async with connected(wire) as (ways, way):
            stormy, direct = (Saver(ways.open(port), lease=LEASE) for port in (way.port, ways.port))
            async with stormy, direct:
                await direct.backend.thread(ThreadKey("", "begin"))  # the tables, in calm weather
                way.rule = storm(chance, faults=chance.randint(3, 12))
                begin = time.monotonic()
                await asyncio.gather(*(persist(stormy, f"t{n}") for n in range(THREADS)))
                # Each fault costs a call what it may wait, and finding out once more.
                assert time.monotonic() - begin < 10 + way.faults * 4 * PATIENCE
                await check_logs(direct)


@pytest.mark.parametrize("passes", [0, 1, 40, None], ids=lambda p: f"{p} bytes pass")
@pytest.mark.parametrize("way_of", ["up", "down"])
async def test_a_cut_is_found_out(way_of: str, passes: int | None, wire: str) -> None:
    """Wherever a request or its reply is cut: the caller is told that nobody knows, or that it was
    not written; and asking again for the very same append stores it once."""
    async with connected(wire) as (ways, way):
        backend, direct = ways.open(way.port), ways.open(ways.port)
        log = Log()
        await write(backend, log, commit("c1"))
        append = log.next(results(), mark(), blobs={"d": b"x"})
        way.once("up" if way_of == "up" else "down", Fate(passes=passes, then="cut"))
        told = await asyncio.gather(backend.append([append]), return_exceptions=True)
        outcomes = told[0]
        if isinstance(outcomes, StorageError):
            found = await direct.scan(log.key, ((1, 9),))
            assert len(found) == 1 or isinstance(outcomes, OutcomeUnknownError)
            outcomes = list(await backend.append([append]))
        assert outcomes == [Outcome.APPLIED]
        assert way.faults
        log.accept(append)
        await expect_log(direct, log)
        await _close(backend, direct)


@pytest.mark.parametrize("part", [0, 30], ids=["nothing", "a part"])
async def test_what_arrives_late_changes_nothing(part: int, wire: str) -> None:
    """A request is held up; its sender gives up, asks again over another connection, and goes on.
    When the first one arrives at last, it is not done a second time."""
    async with connected(wire) as (ways, way):
        backend, direct = ways.open(way.port), ways.open(ways.port)
        log = Log()
        await write(backend, log, commit("c1"))
        append = log.next(results(), blobs={"d": b"x"})
        way.once("up", Fate(passes=part, then="hold"))
        # Some find out by themselves what has become of it.
        told = await asyncio.gather(backend.append([append]), return_exceptions=True)
        assert isinstance(told[0], StorageError) or told[0] == [Outcome.APPLIED]
        assert list(await backend.append([append])) == [Outcome.APPLIED]
        log.accept(append)
        await write(backend, log, mark())
        await way.release()
        await expect_log(direct, log)
        await write(backend, log, commit("c2"))
        await expect_log(direct, log)
        await _close(backend, direct)


@pytest.mark.parametrize("part", [0, 30], ids=["nothing", "a part"])
async def test_a_zombie_within_its_commit_is_refused(part: int, wire: str) -> None:
    """Of an owner's commit the bytes are held; another takes the thread over and goes on. When the
    bytes arrive they are refused, the log is the other's byte for byte, and so is the retry."""
    async with connected(wire) as (ways, way):
        zombie, other = ways.open(way.port), ways.open(ways.port)
        log = Log()
        await write(zombie, log, commit("c1"), status="running", owner="zombie")
        late = log.copy().next(commit("late"), status="running", owner="zombie")
        way.once("up", Fate(passes=part, then="hold"))
        commits = asyncio.ensure_future(zombie.append([late]))
        await asyncio.wait_for(way.held.wait(), 10)
        await write(other, log, mark("taken over"), status="running", owner="other", epoch=2)
        await write(other, log, commit("c2"), status="finished")
        await way.release()
        try:
            outcomes = list(await asyncio.wait_for(commits, 10))
        except StorageError:  # it was given up meanwhile, or cut off
            outcomes = list(await zombie.append([late]))
        assert outcomes == [Outcome.REFUSED]
        await expect_log(other, log)
        await _close(zombie, other)


@pytest.mark.parametrize("fate", [SILENT, HOLD, Fate(passes=10, then="silent")], ids=repr)
async def test_silence_is_not_waited_for(fate: Fate, wire: str) -> None:
    """Where nothing is answered any more, every call ends in about the time that it was given, and
    with an error that is true; once there is a way again, all works."""
    async with connected(wire) as (ways, way):
        backend = ways.open(way.port)
        log = Log()
        await write(backend, log, commit("c1"))
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "append": lambda: backend.append([log.next(mark())]),
            "read": lambda: backend.read(log.key),
            "scan": lambda: backend.scan(log.key, ((1, 9),)),
            "thread": lambda: backend.thread(log.key),
            "beat": lambda: backend.beat(None),
        }
        for name, call in calls.items():
            way.rule = always(fate)
            begin = time.monotonic()
            with pytest.raises(StorageError) as told:
                await call()
            assert time.monotonic() - begin < 8 * PATIENCE, name
            assert name == "append" or not isinstance(told.value, OutcomeUnknownError)
            way.calm()
        await expect_log(backend, log)
        await way.release()
        await _close(backend)


async def test_a_slow_line_is_slow_and_no_more(wire: str) -> None:
    """At 64 kbit/s everything takes longer, and is right."""
    async with connected(wire) as (ways, way):
        way.rule = always(Fate(rate=8000.0))
        async with Saver(ways.open(way.port, 20.0)) as saver:
            state = await counting(saver, 2).ainvoke({"items": ["begin"]}, thread("slow"))
            assert state == result_of(2)
            assert way.faults > 5


async def test_nothing_piles_up(wire: str) -> None:
    """After many connections that were cut, no more descriptors are open than before, and no
    more tasks are there."""
    async with connected(wire) as (ways, way):
        backend = ways.open(way.port)
        log = Log()
        await write(backend, log, commit("c1"))
        counts = []
        for turn in range(40):
            way.once("up" if turn % 2 else "down", CUT if turn % 3 else Fate(passes=5, then="cut"))
            with suppress(StorageError):
                await backend.read(log.key)
            way.calm()
            await backend.read(log.key)
            await asyncio.sleep(0)
            counts.append((len([*Path("/proc/self/fd").iterdir()]), len(asyncio.all_tasks())))
        for early, late in zip(counts[5], counts[-1], strict=True):
            assert late <= early + 4, counts
        await _close(backend)


async def _close(*backends: Backend) -> None:
    for backend in backends:
        await asyncio.wait_for(backend.aclose(), 10)
