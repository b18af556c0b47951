"""The three levels of durability: what is stored when, and what a failing disk stops."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from durable_graph import Command, interrupt
from durable_graph.errors import StorageFullError
from durable_graph.log.seal import seal
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.conftest import thread
from tests.runtime.backends import failing, held
from tests.runtime.kit import (
    Items,
    chain,
    collect,
    fan,
    history,
    identities,
    key_of,
    reached,
    says,
)

LEVELS: list[Any] = ["sync", "async", "exit"]
TWENTY = [f"n{index:02}" for index in range(20)]
MANY = [f"n{index:02}" for index in range(60)]


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


def watching(saver: Saver, config: RunnableConfig, seen: list[int]) -> Any:
    """A node that notes which step storage is at."""

    async def node(state: Items) -> Items:
        reading = await saver.backend.read(key_of(config))
        seen.append(-2 if reading is None else reading.head.step)
        return {"items": [1]}

    return node


@pytest.mark.parametrize("level", LEVELS)
async def test_the_end_is_the_same_at_every_level(
    level: Any, saver: Saver, config: RunnableConfig
) -> None:
    """State, next and status after a run do not depend on when it was written."""
    graph = chain(*((n, says(n)) for n in "abc"), saver=saver)
    for _ in range(2):
        await graph.ainvoke({"items": ["in"]}, config, durability=level)
    saver.hot.take(key_of(config))
    state = await graph.aget_state(config)
    assert state.values["items"] == ["in", "a", "b", "c"] * 2
    (info,) = await collect(saver.alist_threads())
    assert (info.status, state.next) == ("finished", ())
    assert await saver.averify(info.thread_id) == []


async def test_sync_stores_each_superstep_before_the_next_begins(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node finds every superstep before its own in storage."""
    seen: list[int] = []
    node = watching(saver, config, seen)
    graph = chain(*((name, node) for name in TWENTY), saver=saver)
    await graph.ainvoke({}, config)
    assert seen == list(range(20))


async def test_sync_stores_a_result_before_it_is_told(saver: Saver, config: RunnableConfig) -> None:
    """An update that a watcher sees is already in the state that another reader gets."""
    graph = fan(*((n, says(n)) for n in "abc"), saver=saver)
    seen: list[Any] = []
    async for event in graph.astream({}, config, durability="sync"):
        seen.append(next(iter(event)))
        stored = (await graph.aget_state(config)).values["items"]
        assert set(seen) <= set(stored)


async def test_async_does_not_wait_for_storage(saver: Saver, config: RunnableConfig) -> None:
    """Nodes go on while a write is held up; the call returns only when all is stored."""
    if saver.backend.capabilities.immediate:
        pytest.skip("its writes never wait")
    gate, begun = held(saver), asyncio.Event()

    async def hold(state: Items) -> None:
        gate.open.clear()

    async def last(state: Items) -> None:
        begun.set()

    graph = chain(("hold", hold), ("b", says("b")), ("last", last), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config, durability="async"))
    await reached(begun, run)
    for _ in range(50):
        await asyncio.sleep(0)
    assert not run.done()
    gate.open.set()
    await run
    assert (await graph.aget_state(config)).next == ()


async def test_async_is_a_bounded_number_of_steps_ahead(
    saver: Saver, config: RunnableConfig
) -> None:
    """A run whose writes are held up stops after so many supersteps, and not before."""
    if saver.backend.capabilities.immediate:
        pytest.skip("its writes never wait")
    gate, runs = held(saver), []

    async def node(state: Items) -> Any:
        runs.append(1)
        if len(runs) == 1:
            gate.open.clear()
        return Command(update={"count": 1}, goto="node" if len(runs) < 300 else [])

    graph = chain(("node", node), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config, durability="async"))
    async with asyncio.timeout(20):
        before = -1
        while before != len(runs) or len(runs) < 3:
            before = len(runs)
            for _ in range(200):
                await asyncio.sleep(0)
    assert 3 <= len(runs) < 100
    gate.open.set()
    await run
    assert len(runs) == 300


async def test_accepting_an_input_is_durable_under_async(
    saver: Saver, config: RunnableConfig
) -> None:
    """The first node finds the input in storage."""
    seen: list[int] = []
    graph = chain(("node", watching(saver, config, seen)), saver=saver)
    await graph.ainvoke({}, config, durability="async")
    assert seen[0] >= -1


async def test_exit_writes_only_the_last_state(saver: Saver, config: RunnableConfig) -> None:
    """While the run is under way nothing of it is stored; afterwards one checkpoint is."""
    seen: list[int] = []
    node = watching(saver, config, seen)
    graph = chain(*((name, node) for name in TWENTY), saver=saver)
    await graph.ainvoke({}, config, durability="exit")
    assert seen == [-2] * 20
    (snapshot,) = await history(graph, config)
    assert (snapshot.values["items"], snapshot.next) == ([1] * 20, ())
    await graph.ainvoke({}, config, durability="exit")
    assert seen[20:] == [20 - 1] * 20 or set(seen[20:]) == {20}
    assert len(await history(graph, config)) == 2


async def test_exit_keeps_no_value_that_the_last_state_has_not(
    saver: Saver, config: RunnableConfig
) -> None:
    """Large values that came and went in between are not stored: nothing would free them."""

    def writes(letter: str) -> Any:
        async def node(state: Items) -> Items:
            return {"last": letter * 10_000}

        return node

    graph = chain(*((name, writes(name)) for name in "abcdefgh"), saver=saver)
    for _ in range(2):
        await graph.ainvoke({}, config, durability="exit")
    assert (await graph.aget_state(config)).values["last"] == "h" * 10_000
    (info,) = await collect(saver.alist_threads())
    assert info.size < 15_000
    assert await saver.averify(info.thread_id) == []


@pytest.mark.parametrize("level", LEVELS)
async def test_a_question_is_kept_at_every_level(
    level: Any, saver: Saver, config: RunnableConfig
) -> None:
    """The end of a run that asks is an end: question and finished siblings are stored."""
    graph = fan(("a", says("a")), ("ask", ask), saver=saver)
    (question,) = (await graph.ainvoke({}, config, durability=level))["__interrupt__"]
    saver.hot.take(key_of(config))
    state = await graph.aget_state(config)
    assert (state.values["items"], state.interrupts) == (["a"], (question,))
    result = await graph.ainvoke(Command(resume="!"), config, durability=level)
    assert result["items"] == ["a", "!"]


@pytest.mark.parametrize("level", LEVELS)
async def test_a_failure_is_kept_at_every_level(
    level: Any, saver: Saver, config: RunnableConfig
) -> None:
    """The thread goes on at the node that failed, with what had finished."""
    runs: list[str] = []

    async def bad(state: Items) -> Items:
        runs.append("bad")
        if len(runs) == 1:
            raise KeyError("bad")
        return {"items": ["bad"]}

    graph = chain(("good", says("good")), ("bad", bad), saver=saver)
    with pytest.raises(KeyError):
        await graph.ainvoke({}, config, durability=level)
    saver.hot.take(key_of(config))
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["good"], ("bad",))
    assert (await graph.ainvoke(None, config, durability=level))["items"] == ["good", "bad"]


@pytest.mark.parametrize("level", LEVELS)
async def test_a_cancelled_run_is_kept_at_every_level(
    level: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Also under "exit", where the cancellation is what writes."""
    entered = asyncio.Event()

    async def wait(state: Items) -> Items:
        if not entered.is_set():
            entered.set()
            await asyncio.Event().wait()
        return {"items": ["waited"]}

    graph = chain(("a", says("a")), ("wait", wait), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config, durability=level))
    await entered.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    saver.hot.take(key_of(config))
    assert (await graph.aget_state(config)).values["items"] == ["a"]
    assert (await graph.ainvoke(None, config, durability=level))["items"] == ["a", "waited"]


@pytest.mark.parametrize("level", ["sync", "async"])
@pytest.mark.parametrize("good", [0, 1, 3, 7])
async def test_a_full_disk_stops_the_run_at_the_next_superstep(
    good: int, level: Any, saver: Saver, config: RunnableConfig
) -> None:
    """No node runs long after a write has failed; what was stored before stays readable."""
    disk = failing(saver, good)
    runs: list[str] = []

    def node(name: str) -> Any:
        async def run(state: Items) -> Items:
            runs.append(name)
            while disk.appends < len(runs):  # until storage has heard of the step before
                await asyncio.sleep(0)
            return {"items": [name]}

        return run

    graph = chain(*((name, node(name)) for name in TWENTY), saver=saver)
    with pytest.raises(StorageFullError):
        await graph.ainvoke({}, config, durability=level)
    assert len(runs) <= good + (0 if level == "sync" else 2)
    stored = (await graph.aget_state(config)).values.get("items", [])
    assert stored == TWENTY[: max(0, good - 1)]


async def test_a_full_disk_stops_many_tasks_at_once(tmp_path: Path, config: RunnableConfig) -> None:
    """Under "async", tasks that wait for storage to catch up hear of the failure."""
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        failing(saver, 1)
        disk = held(saver)

        async def early(state: Items) -> Items:
            disk.open.clear()
            return {"items": [1]}

        async def late(state: Items) -> Items:
            while disk.appends < 2:  # until the early one's result is on its way
                await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.01, disk.open.set)
            return {"items": [1]}

        graph = fan(("early", early), *((name, late) for name in MANY), saver=saver)
        with pytest.raises(StorageFullError):
            await graph.ainvoke({}, config, durability="async")


async def test_a_full_disk_at_the_end_of_an_exit_run_is_an_error(
    saver: Saver, config: RunnableConfig
) -> None:
    """The call does not return as if all were well."""
    failing(saver, 0)
    graph = chain(("a", says("a")), saver=saver)
    with pytest.raises(StorageFullError):
        await graph.ainvoke({}, config, durability="exit")
    assert (await graph.aget_state(config)).values == {}


async def test_a_thread_goes_on_once_the_disk_has_room_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """After the failed write, the run's thread is not lost and not stuck."""
    disk = failing(saver, 3)
    graph = chain(*((n, says(n)) for n in "abcdef"), saver=saver)
    with pytest.raises(StorageFullError):
        await graph.ainvoke({"items": ["in"]}, config)
    disk.good = 1000
    result = await graph.ainvoke(None, config)
    assert result["items"] == ["in", "a", "b", "c", "d", "e", "f"]
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_an_event_of_what_was_not_stored_is_not_told(
    saver: Saver, config: RunnableConfig
) -> None:
    """Under "sync", a watcher of a failing run sees exactly what is in storage."""
    failing(saver, 4)
    graph = chain(*((n, says(n)) for n in "abcdef"), saver=saver)
    seen: list[str] = []
    stream = graph.astream({}, config)

    async def watch() -> None:
        async for event in stream:
            seen.append(next(iter(event)))  # noqa: PERF401 - an error ends it in the middle

    with pytest.raises(StorageFullError):
        await watch()
    assert seen == (await graph.aget_state(config)).values["items"]


async def test_levels_can_change_from_call_to_call(saver: Saver, config: RunnableConfig) -> None:
    """A thread is one log, whatever the level of each of its runs."""
    graph = chain(("a", says("a")), ("ask", ask), saver=saver)
    await graph.ainvoke({}, config, durability="exit")
    await graph.ainvoke(Command(resume=1), config, durability="sync")
    await graph.ainvoke({}, config, durability="async")
    result = await graph.ainvoke(Command(resume=2), config, durability="exit")
    assert result["items"] == ["a", 1, "a", 2]
    assert len(await identities(saver, config)) > 4
    assert await saver.averify(config["configurable"]["thread_id"]) == []


async def test_a_run_whose_record_cannot_be_made_fails_alone(
    saver: Saver, config: RunnableConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It raises and does not hang; those that write at the same time are not touched."""

    def breaks(before: Any, drafts: Any, *, key: Any, **rest: Any) -> Any:
        if key == key_of(config) and before is not None:
            raise OverflowError("no place")
        return seal(before, drafts, key=key, **rest)

    monkeypatch.setattr("durable_graph.engine.storage.runlog.seal", breaks)
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    async with asyncio.timeout(20):
        calls = [graph.ainvoke({}, each) for each in (thread("x"), config, thread("y"))]
        one, wrong, other = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(wrong, OverflowError)
    assert one == other == {"items": ["a", "b"], "count": 0}
    monkeypatch.undo()
    assert (await graph.ainvoke(None, config))["items"] == ["a", "b"]
