"""Scenarios 35 and 36: the clock on the wall jumps, or is not the others' clock.

What processes with wrong clocks do to each other's leases is in ``test_contention.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from durable_graph import START, Command, Interrupt, Runtime, StateGraph
from durable_graph.graph import CompiledGraph
from durable_graph.log.seal import open_header
from durable_graph.ports.backend import ThreadKey
from durable_graph.saver import Saver
from durable_graph.testing import CrashingBackend, FakeClock
from durable_graph.types import RetryPolicy, RunnableConfig
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import GRAPHS, State
from tests.crash.harness.oracle import check_effects
from tests.crash.harness.storage import StillClock, Storage, StorageKind, still

CONFIG: RunnableConfig = {"configurable": {"thread_id": "thread"}}
HOUR, DAY = 3600.0, 86400.0
# Forwards and backwards, a leap second, the ends of summer time, and two broken batteries.
JUMPS = (2 * HOUR, -2 * HOUR, 1.0, -HOUR, HOUR, 400 * DAY, -400 * DAY, -20 * 365 * DAY)


async def seqs_and_times(saver: Saver) -> list[tuple[int, float]]:
    """The records in the order of the log, and when they were written, as people see it."""
    key = ThreadKey.of("thread")
    reading = await saver.backend.read(key)
    assert reading is not None
    records = await saver.backend.scan(key, ((1, reading.head.seq),))
    return [(record.seq, open_header(record, "thread").time) for record in records]


def jumping(effects: EffectFile, clock: FakeClock) -> StateGraph:
    """A node for every jump of the clock."""

    def jump(seconds: float) -> Any:
        async def run(state: State, runtime: Runtime) -> State:
            with effects.of(runtime):
                clock.set_wall(clock.time() + seconds)
                return {"log": [str(seconds)]}

        return run

    nodes = [(f"n{number}", jump(seconds)) for number, seconds in enumerate(JUMPS)]
    return StateGraph(State).add_sequence(nodes).add_edge(START, "n0")


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_clock_that_jumps_during_a_run_changes_nothing(
    kind: StorageKind, tmp_path: Path
) -> None:
    """The order of a thread is that of its log; what a clock says is only shown."""
    storage, effects = Storage(kind, tmp_path), EffectFile(tmp_path / "effects")
    for at in range(1, len(JUMPS) + 4):
        clock = StillClock()
        thread: RunnableConfig = {"configurable": {"thread_id": f"thread {at}"}}
        # It is cut off behind one jump, and gone on with by somebody else's clock.
        async with storage.life(at, "after", clock) as (saver, _):
            await jumping(effects, clock).compile(saver).ainvoke({"log": []}, thread)
        async with storage.life() as (saver, _):
            graph = jumping(effects, storage.clock).compile(saver)
            if (await graph.aget_state(thread)).checkpoint_id is None:
                await graph.ainvoke({"log": []}, thread)
            ended = await graph.ainvoke(None, thread)
            assert ended == {"log": [str(seconds) for seconds in JUMPS]}
            shown = [one async for one in graph.aget_state_history(thread)]
            steps = [one.metadata["step"] for one in shown if one.metadata]
            assert steps == list(range(len(JUMPS), -2, -1))
            times = [one.created_at for one in shown if one.created_at]
            assert times != sorted(times, reverse=True), "no clock has jumped back"
            assert await saver.averify(f"thread {at}") == []
    check_effects(effects.read(), [])


@pytest.mark.parametrize("jump", [-400 * DAY, -2 * HOUR, 0.0, 2 * HOUR, 400 * DAY])
async def test_a_retry_that_was_cut_off_waits_no_longer_than_it_was_meant_to(
    jump: float, tmp_path: Path
) -> None:
    """Whatever the clock of whoever goes on says, nobody waits for years."""
    storage, effects = Storage("memory", tmp_path), EffectFile(tmp_path / "effects")
    policy = RetryPolicy(initial_interval=60.0, jitter=False, max_attempts=3)
    dead: list[CrashingBackend] = []

    def build(saver: Saver) -> CompiledGraph:
        async def flaky(state: State, runtime: Runtime) -> State:
            with effects.of(runtime):
                if runtime.attempt == 1:
                    dying = dead[0]
                    dying._at = len(dying.calls) + 1  # what it writes next is its last
                    raise ConnectionError("not yet")
                return {"log": [f"attempt {runtime.attempt}"]}

        graph = StateGraph(State).add_node("flaky", flaky, retry_policy=policy)
        return graph.add_edge(START, "flaky").compile(saver)

    async with storage.life(None, "after") as (saver, dying):
        dead.append(dying)
        await build(saver).ainvoke({"log": []}, CONFIG)
    assert dying.crashed
    later = StillClock()
    later.set_wall(storage.clock.time() + jump)
    saver = still(storage.handle(), later)
    assert await build(saver).ainvoke(None, CONFIG) == {"log": ["attempt 2"]}
    assert all(seconds <= 60.0 for seconds in later.slept), later.slept
    if jump == 0.0:
        assert later.slept == [60.0]
    check_effects(effects.read(), [])


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_processes_whose_clocks_differ_share_a_thread(
    kind: StorageKind, tmp_path: Path
) -> None:
    """They take turns at a thread; the order of its records is that in which they were written."""
    storage, effects = Storage(kind, tmp_path), EffectFile(tmp_path / "effects")
    handles, graphs = [], []
    for offset in (600.0, -600.0):
        clock = StillClock()
        clock.set_wall(clock.time() + offset)
        handles.append(still(storage.handle(), clock))
        graphs.append(GRAPHS["questions"](effects).compile(handles[-1]))
    asked = (await graphs[0].ainvoke({"log": []}, CONFIG))["__interrupt__"]
    turn = 1
    while asked:
        first: Interrupt = asked[0]
        said = await graphs[turn % 2].ainvoke(Command(resume={first.id: turn}), CONFIG)
        asked = said.get("__interrupt__")
        turn += 1
    assert said["log"] == ["one: 1", "quiet", "two: 2", "two: 3", "join"]
    written = await seqs_and_times(handles[0])
    assert [seq for seq, _ in written] == list(range(1, len(written) + 1))
    times = [time for _, time in written]
    assert times != sorted(times), "the clocks did not differ"
    for saver, graph in zip(handles, graphs, strict=True):
        assert await saver.averify("thread") == []
        assert (await graph.aget_state(CONFIG)).next == ()
        assert [found.status async for found in saver.alist_threads()] == ["finished"]
    check_effects(effects.read(), [])
    for saver in handles:
        await saver.aclose()
