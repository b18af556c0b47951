"""Scenario 24, as far as it concerns the engine: the reply to a write is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from durable_graph import START, StateGraph
from durable_graph.errors import OutcomeUnknownError, StorageBusyError, StorageError
from durable_graph.ports.backend import Append, Outcome, Process
from durable_graph.testing import FakeClock
from durable_graph.testing.crash import When
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.client import Client
from tests.crash.harness.effects import AckFile, EffectFile
from tests.crash.harness.graphs import GRAPHS, State
from tests.crash.harness.losing import LosingBackend
from tests.crash.harness.oracle import check_thread
from tests.crash.harness.round import THREAD, Round
from tests.crash.harness.scripts import SCRIPTS, finish
from tests.crash.harness.storage import Storage, still


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", ["chain", "fan_out", "questions", "retry", "update", "fork"])
async def test_a_lost_reply_is_asked_for_again(name: str, when: When, tmp_path: Path) -> None:
    """Whichever write it was, and whether or not it took effect, nothing is done twice or lost."""
    script = SCRIPTS[name]
    undisturbed = Round(script, "sync", "sqlite", tmp_path / "undisturbed")
    await undisturbed.live()
    expected = await undisturbed.ending()
    at, lost = 0, 1
    while lost:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        storage = Storage("sqlite", folder)
        effects = EffectFile(folder / "effects")
        acks = AckFile(folder / "acks", effects)
        handle = storage.handle()
        backend = LosingBackend(handle, at, when, times=1 + at % 3)
        saver = still(backend, storage.clock)
        graph = GRAPHS[script.graph](effects).compile(saver)
        await script.run(Client(graph, THREAD, acks.note))
        await check_thread(
            graph, THREAD, effects.read(), acks.read(), expected, branches=script.branches
        )
        once = [effect for effect in effects.read() if effect.what == "start"]
        if name != "questions":  # these run again with every answer
            assert len({(one.key, one.attempt) for one in once}) == len(once)
        lost = backend.lost
        await saver.aclose()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_reply_that_never_comes_is_told_and_calling_again_finds_out(
    when: When, tmp_path: Path
) -> None:
    """After asking for as long as a lease lasts, the caller hears that nobody knows."""
    storage, effects = Storage("sqlite", tmp_path), EffectFile(tmp_path / "effects")
    handle = storage.handle()
    backend = LosingBackend(handle, 2, when, times=10_000)
    saver = still(backend, storage.clock)
    graph = GRAPHS["chain"](effects).compile(saver)
    before = storage.clock.monotonic()
    with pytest.raises(OutcomeUnknownError):
        await Client(graph, THREAD, lambda *ack: None).call({"log": ["input"]})
    assert 5.0 < storage.clock.monotonic() - before < 15.0
    await saver.aclose()
    async with storage.life() as (again, _):
        graph = GRAPHS["chain"](effects).compile(again)
        client = Client(graph, THREAD, lambda *ack: None)
        await finish(client)
        assert (await client.state()).values["log"] == ["input", "a", "b", "c"]
        await check_thread(graph, THREAD, effects.read(), [], None)


@pytest.mark.parametrize("error", [OutcomeUnknownError, StorageBusyError])
async def test_runs_that_write_together_are_told_together(error: type[StorageError]) -> None:
    """None waits for the configured time and then for what others do with theirs."""
    clock = FakeClock(jump=True)
    asked = 0
    # In memory nobody has to be shown signs of life, so time passes for the writes alone.
    async with SqliteSaver(":memory:", clock=clock) as saver:
        inner = saver.backend.append
        down = False

        async def append(batch: Sequence[Append], beat: Process | None = None) -> Sequence[Outcome]:
            nonlocal asked
            if down:
                asked += 1
                raise error("There is no answer.")
            return await inner(batch, beat)

        saver.backend.append = append  # type: ignore[method-assign]
        together = asyncio.Barrier(20)

        async def work(state: State) -> State:
            nonlocal down
            await together.wait()
            down = True
            return {"log": ["work"]}

        graph = StateGraph(State).add_node("work", work).add_edge(START, "work").compile(saver)

        async def one(number: int) -> float:
            with pytest.raises(error):
                await graph.ainvoke({}, {"configurable": {"thread_id": str(number)}})
            return clock.monotonic()

        told = await asyncio.gather(*map(one, range(20)))
        assert max(told) < 2 * saver.lease.length
        assert error is OutcomeUnknownError or asked == 1
