"""Workers that go on and on while their PostgreSQL server is shut down under them.

A worker is a process with a few threads of its own, each a conversation that gets turn after turn.
It tries again whatever storage could not do, and notes when a turn was acknowledged; so what it was
told can be held against what is stored, and how long it took to go on against when the server was
back.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from durable_graph.errors import StorageError
from durable_graph.ports.backend import ThreadQuery
from durable_graph.testing.contract_kit import Log, commit, write
from durable_graph_postgres import PostgresBackend, PostgresSaver
from tests.backends.kit import Child, child, thread
from tests.crash.harness.turns import conversation
from tests.services import postgres
from tests.services.postgres import Server

__all__ = ["Figures", "Storm", "stored_turns", "weathered"]

_THREADS: Final = 2  # of each worker
_BUSY, _CALL = 0.5, 1.0  # timeouts of whoever calls a frozen server
_BOUND: Final = 2 * _BUSY + _CALL  # two connections that are not answered, and a call that is not
_MARGIN: Final = 1.0

_END_SOME: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 3
"""

_WORKER: Final = f"""
import asyncio, sys, time
from pathlib import Path
from durable_graph.errors import FencedError, StorageError, ThreadBusyError
from durable_graph_postgres import PostgresSaver
from tests.backends.kit import thread
from tests.crash.harness.turns import asked, conversation

dsn, folder, worker = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
notes = (folder / worker).open("a", buffering=1)

def note(what, *more):
    print(time.monotonic(), what, *more, file=notes)

async def converse(graph, name):
    config, acknowledged = thread(name), 0
    while not (folder / "stop").exists():
        began = time.monotonic()
        try:
            state = await graph.aget_state(config)
            turns = len(state.values.get("said", ())) // 2
            assert turns >= acknowledged, f"{{name}}: {{turns}} of {{acknowledged}} turns are there"
            result = await graph.ainvoke(None if state.next else asked(turns), config)
        except (StorageError, ThreadBusyError, FencedError) as error:
            note("failed", type(error).__name__, time.monotonic() - began)
            await asyncio.sleep(0.02)
        else:
            acknowledged = len(result["said"]) // 2
            note("acknowledged", name, acknowledged)

async def main():
    saver = PostgresSaver(dsn, schema="storm", busy_timeout=10.0, call_timeout=10.0)
    await saver.backend.beat(None)
    print("ready", flush=True)
    names = [f"{{worker}}/{{n}}" for n in range({_THREADS})]
    await asyncio.gather(*(converse(conversation(saver), name) for name in names))
    await saver.aclose()

asyncio.run(main())
notes.close()
print("done", flush=True)
"""


@dataclass(frozen=True)
class Storm:
    """What is done to a server.

    Attributes:
        workers: how many processes use it.
        seconds: how long it goes on.
        calm: for how long at least and at most the server runs until it is shut down.
        frozen: how long it does nothing, when it is frozen.
        freezes: in every so manieth round it is.
    """

    workers: int
    seconds: float
    calm: tuple[float, float]
    frozen: float
    freezes: int


@dataclass
class Figures:
    """What came of it.

    Attributes:
        restarts: when the server was back, by the monotonic clock.
        resumed: seconds from then to each worker's first acknowledged turn.
        turns: by thread, how many turns were acknowledged.
        failures: how often a call of a worker failed, by the error's name.
        ended: sessions that were ended one by one.
        frozen: how long calls of a frozen server took.
        longest: how long the longest failed call of a worker took.
    """

    restarts: list[float] = field(default_factory=list)
    resumed: list[float] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    ended: int = 0
    frozen: list[float] = field(default_factory=list)
    longest: float = 0.0

    def __str__(self) -> str:
        slowest = sorted(self.resumed)[int(0.95 * len(self.resumed))] if self.resumed else 0.0
        return (
            f"{len(self.restarts)} restarts, {self.ended} sessions ended, {len(self.frozen)} calls "
            f"of a frozen server (longest {max(self.frozen, default=0.0):.2f} s); "
            f"{sum(self.turns.values())} turns of {len(self.turns)} threads acknowledged; resumed "
            f"after {statistics.median(self.resumed or [0.0]):.2f} s (median), {slowest:.2f} s "
            f"(95 %), {max(self.resumed, default=0.0):.2f} s (longest); failed calls "
            f"{dict(self.failures)}, the longest {self.longest:.1f} s"
        )


async def weathered(storm: Storm, server: Server, folder: Path, chance: random.Random) -> Figures:
    """Have workers live through a storm.

    Raises:
        AssertionError: a worker has ended, or a call of a frozen server took too long.
    """
    figures = Figures()
    probe = PostgresBackend(server.dsn, schema="storm", busy_timeout=_BUSY, call_timeout=_CALL)
    log = Log("probe")
    await write(probe, log, commit("c1"))
    with ExitStack() as stack:
        workers = [
            stack.enter_context(child(_WORKER, server.dsn, folder, f"worker-{number}"))
            for number in range(storm.workers)
        ]
        for worker in workers:
            await asyncio.to_thread(worker.expect, "ready")
        until = time.monotonic() + storm.seconds
        while time.monotonic() < until:
            await _round(storm, server, probe, log, figures, chance)
            assert [worker.process.poll() for worker in workers] == [None] * len(workers), [
                worker.errors() for worker in workers if worker.process.poll() is not None
            ]
        await asyncio.sleep(storm.calm[0])  # so that all can go on after the last shutdown
        await asyncio.to_thread(_stop, folder, workers)
    await probe.aclose()
    _take_notes(folder, figures)
    return figures


async def _round(
    storm: Storm,
    server: Server,
    probe: PostgresBackend,
    log: Log,
    figures: Figures,
    chance: random.Random,
) -> None:
    # Real time: how long servers and processes take is what is looked at.
    calm = chance.uniform(*storm.calm)
    before = calm * chance.random()
    await asyncio.sleep(before)
    figures.ended += len(await postgres.sql(server.dsn, _END_SOME))
    await asyncio.sleep(calm - before)
    if len(figures.restarts) % storm.freezes == storm.freezes - 1:
        await _freeze(storm.frozen, server, probe, log, figures)
    await asyncio.to_thread(server.crash)
    await asyncio.to_thread(server.start)
    figures.restarts.append(time.monotonic())


async def _freeze(
    seconds: float, server: Server, probe: PostgresBackend, log: Log, figures: Figures
) -> None:
    """Have calls of all kinds, one after the other of each, while the server does nothing."""
    await probe.beat(None)  # so that one call has a connection, and the others want one
    server.freeze()
    try:
        until = time.monotonic() + seconds
        calls = [
            partial(probe.append, [log.next(commit("c2"))]),
            partial(probe.read, log.key),
            partial(probe.threads, ThreadQuery("")),
            partial(probe.beat, None),
        ]
        taken = await asyncio.gather(*(_calls(call, until) for call in calls))
    finally:
        server.thaw()
    figures.frozen += [each for some in taken for each in some]


async def _calls(call: Any, until: float) -> list[float]:
    taken = []
    while time.monotonic() < until:
        began = time.monotonic()
        calling = asyncio.ensure_future(call())
        # Not `asyncio.timeout`: whoever is cancelled waits for the call's end.
        await asyncio.wait([calling], timeout=_BOUND + _MARGIN)
        assert calling.done(), f"{call} has not returned after {_BOUND + _MARGIN} s."
        taken.append(time.monotonic() - began)
        assert isinstance(calling.exception(), StorageError), calling
    return taken


def _stop(folder: Path, workers: Sequence[Child]) -> None:
    (folder / "stop").touch()
    for worker in workers:
        assert worker.end(60.0).strip() == "done"


def _take_notes(folder: Path, figures: Figures) -> None:
    for path in sorted(folder.glob("worker-*")):
        lines = [line.split(" ") for line in path.read_text().splitlines()]
        acknowledged = [line for line in lines if line[1] == "acknowledged"]
        for _, _, name, turns in acknowledged:
            figures.turns[name] = max(figures.turns.get(name, 0), int(turns))
        times = [float(line[0]) for line in acknowledged]
        for restart in figures.restarts:
            after = [at - restart for at in times if at > restart]
            assert after, f"{path.name} did not go on after a shutdown."
            figures.resumed.append(after[0])
        for _, _, name, took in (line for line in lines if line[1] == "failed"):
            figures.failures[name] += 1
            figures.longest = max(figures.longest, float(took))


async def stored_turns(dsn: str, names: Sequence[str]) -> dict[str, list[str]]:
    """What was said in each thread, after a look at every record of it."""
    saver = PostgresSaver(dsn, schema="storm")
    graph = conversation(saver)
    said = {}
    for name in names:
        assert await saver.averify(name) == []
        said[name] = (await graph.aget_state(thread(name))).values["said"]
    await saver.aclose()
    return said
