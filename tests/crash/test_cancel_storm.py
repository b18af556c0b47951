"""Scenario 52: runs are cancelled in every way there is, over and over."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from durable_graph import InMemorySaver
from durable_graph.errors import EmptyInputError, StorageClosedError
from durable_graph.graph import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.counts import rounds, seeded
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import GRAPHS
from tests.crash.harness.oracle import check_effects

ENDS = {
    "chain": ["input", "a", "b", "c"],
    "loop": ["input", "again 1", "again 2", "again 3", "last"],
    "fan_out": ["input", "a", "b", "c", "join"],
    "send": ["input", "plan", "part 0", "part 1", "part 2", "part 3", "collect"],
    "wide": ["input", *(f"w{number}" for number in range(8)), "join"],
}
INPUT: dict[str, Any] = {"log": ["input"]}


async def turn(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def by_task(graph: CompiledGraph, input: Any, config: RunnableConfig, after: int) -> None:
    """Cancel the task that waits for the call."""
    run = asyncio.ensure_future(graph.ainvoke(input, config))
    await turn(after)
    run.cancel()
    await asyncio.wait([run])
    if not run.cancelled():
        run.result()


async def by_task_again(
    graph: CompiledGraph, input: Any, config: RunnableConfig, after: int
) -> None:
    """Cancel the task that waits for the call, and do not stop doing so."""
    run = asyncio.ensure_future(graph.ainvoke(input, config))
    await turn(after)
    while not run.done():
        run.cancel()
        await asyncio.sleep(0)
    if not run.cancelled():
        run.result()


async def by_scope(graph: CompiledGraph, input: Any, config: RunnableConfig, after: int) -> None:
    """Cancel a scope around the call."""
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:

            async def cancel() -> None:
                await turn(after)
                scope.cancel()

            group.start_soon(cancel)
            await graph.ainvoke(input, config)
            group.cancel_scope.cancel()


async def by_closing(graph: CompiledGraph, input: Any, config: RunnableConfig, after: int) -> None:
    """Close the iterator over the events, after some of them."""
    stream = graph.astream(input, config, stream_mode=["tasks", "values"])
    for _ in range(after % 7):
        try:
            await anext(stream)
        except StopAsyncIteration:
            return
    await stream.aclose()


async def by_break(graph: CompiledGraph, input: Any, config: RunnableConfig, after: int) -> None:
    """Leave the loop over the events."""
    left = after % 7
    async for _ in graph.astream(input, config, stream_mode="updates"):
        if left == 0:
            break
        left -= 1


async def by_waiting_no_longer(
    graph: CompiledGraph, input: Any, config: RunnableConfig, after: int
) -> None:
    """Cancel the wait for an event."""
    stream = graph.astream(input, config, stream_mode="tasks")

    async def watch() -> None:
        async for _ in stream:
            pass

    watching = asyncio.ensure_future(watch())
    await turn(after)
    watching.cancel()
    await asyncio.wait([watching])


WAYS: list[Callable[[CompiledGraph, Any, RunnableConfig, int], Awaitable[None]]] = [
    by_task,
    by_task_again,
    by_scope,
    by_closing,
    by_break,
    by_waiting_no_longer,
]


async def tasks_left(before: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Tasks that are still there when whatever is about to end has ended."""
    for _ in range(10_000):
        left = asyncio.all_tasks() - before
        if not left:
            break
        await asyncio.sleep(0)
    return left


async def one_round(saver: Saver, thread: str, effects: EffectFile, random: random.Random) -> None:
    """Begin a run, cancel it some times, and let it end."""
    name = random.choice(list(ENDS))
    graph = GRAPHS[name](effects).compile(saver)
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    before = asyncio.all_tasks()
    input: Any = INPUT
    for _ in range(random.randint(1, 5)):
        way = random.choice(WAYS)
        try:
            await way(graph, input, config, int(2 ** random.uniform(0, 9)))
        except EmptyInputError:
            continue  # it was cancelled before it had begun
        if way is by_break:  # the run ends behind one's back
            assert await tasks_left(before) == set()
        began = max((effect.step for effect in effects.read()), default=0)
        assert await tasks_left(before) == set(), way
        state = await graph.aget_state(config)
        if state.metadata is None:
            assert effects.read() == [], "nodes have run for an input that is not there"
            continue
        input = None
        # Nodes of step n run behind the commit of step n - 1, and end up in that of step n.
        assert began - 1 <= state.metadata["step"] <= began or not effects.read(), way
        found = {one.thread_id: one async for one in saver.alist_threads()}[thread]
        assert (found.status, found.reason) in (("stopped", "cancelled"), ("finished", None)), way
        assert found.status == "stopped" or state.next == ()
        assert Counter(state.values["log"]) <= Counter(ENDS[name])
    try:
        ended = await graph.ainvoke(None, config)
    except EmptyInputError:
        ended = await graph.ainvoke(INPUT, config)
    assert ended["log"] == ENDS[name]
    assert await saver.averify(thread) == []
    check_effects(effects.read(), [])
    assert await tasks_left(before) == set()


async def test_a_run_that_is_cancelled_while_its_saver_closes_can_be_gone_on_with(
    tmp_path: Path,
) -> None:
    """Whichever of the two is cancelled and when, nothing runs on and the file is as it should."""
    path = tmp_path / "threads.db"
    for seed in rounds(25, 500):
        with seeded(seed) as random:
            name = random.choice(list(ENDS))
            effects = EffectFile(tmp_path / f"effects {seed}")
            config: RunnableConfig = {"configurable": {"thread_id": f"thread {seed}"}}
            before = asyncio.all_tasks()
            saver = SqliteSaver(path, synchronous="normal")
            run = asyncio.ensure_future(GRAPHS[name](effects).compile(saver).ainvoke(INPUT, config))
            await turn(int(2 ** random.uniform(0, 9)))
            closing = asyncio.ensure_future(saver.aclose())
            await turn(random.randrange(10))
            for task in random.sample([run, closing], random.randint(1, 2)):
                task.cancel()
            await asyncio.wait([run, closing])
            await saver.aclose()
            if not run.cancelled() and (error := run.exception()) is not None:
                assert isinstance(error, StorageClosedError), error
            assert await tasks_left(before) == set()
            async with SqliteSaver(path, synchronous="normal") as again:
                graph = GRAPHS[name](effects).compile(again)
                try:
                    ended = await graph.ainvoke(None, config)
                except EmptyInputError:
                    ended = await graph.ainvoke(INPUT, config)
                assert ended["log"] == ENDS[name]
                assert await again.averify(f"thread {seed}") == []
            check_effects(effects.read(), [])
            effects.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_runs_that_are_cancelled_over_and_over_come_to_their_end(
    kind: str, tmp_path: Path
) -> None:
    """After each cancellation the thread is at its last step or one later, and says so."""
    saver = InMemorySaver() if kind == "memory" else SqliteSaver(tmp_path / "threads.db")
    for seed in rounds(100, 1000):
        with seeded(seed) as random:
            effects = EffectFile(tmp_path / f"effects {seed}")
            await one_round(saver, f"thread {seed}", effects, random)
            effects.close()
    await saver.aclose()
