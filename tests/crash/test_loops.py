"""Scenario 16: one saver under several event loops, in several threads."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from durable_graph import START, InMemorySaver, StateGraph
from durable_graph.errors import ThreadBusyError
from durable_graph.saver import Saver
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.closing import close_a_loop
from tests.crash.harness.counts import rounds
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import GRAPHS, State, node
from tests.crash.harness.oracle import check_effects
from tests.crash.harness.processes import Worker

KINDS = ("memory", "sqlite")
LOOPS = 4


def open_saver(kind: str, folder: Path) -> Saver:
    return InMemorySaver() if kind == "memory" else SqliteSaver(folder / "threads.db")


def says(name: str) -> Any:
    async def run(state: State) -> State:
        return {"log": [name]}

    return run


def on_loops(*jobs: Any) -> list[Any]:
    """Run async jobs, each on a loop of its own in a thread of its own, all at once."""
    together = threading.Barrier(len(jobs))

    def one(job: Any) -> Any:
        together.wait(30)
        return asyncio.run(job())

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [ended.result(50) for ended in [pool.submit(one, job) for job in jobs]]


@pytest.mark.parametrize("kind", KINDS)
def test_one_saver_serves_several_loops_at_once(kind: str, tmp_path: Path) -> None:
    """Runs on all loops end well, and each loop sees what the others have written."""
    for seed in rounds(3, 50):
        folder = tmp_path / str(seed)
        folder.mkdir()
        use_from_loops(open_saver(kind, folder), EffectFile(folder / "effects"))


def use_from_loops(saver: Saver, effects: EffectFile) -> None:
    """Run many threads from each of several loops, look at them from all, close the saver."""
    graph = GRAPHS["long"](effects).compile(saver)

    async def run(loop: int) -> None:
        async def one(number: int) -> Any:
            config = {"configurable": {"thread_id": f"{loop}-{number}"}}
            return await graph.ainvoke({"log": []}, config)  # type: ignore[arg-type]

        for state in await asyncio.gather(*map(one, range(10))):
            assert len(state["__interrupt__"]) == 1

    on_loops(*(partial(run, loop) for loop in range(LOOPS)))

    async def look() -> int:
        return len([found async for found in saver.alist_threads(status="asking")])

    assert on_loops(*[look] * LOOPS) == [LOOPS * 10] * LOOPS
    check_effects(effects.read(), [])
    effects.close()
    saver.close()


@pytest.mark.parametrize("kind", KINDS)
def test_of_several_loops_one_gets_the_thread(kind: str, tmp_path: Path) -> None:
    """A thread that one loop runs is busy for all others, for as long as it runs."""
    saver, effects = open_saver(kind, tmp_path), EffectFile(tmp_path / "effects")
    for seed in rounds(25, 500):
        compete_on_loops(saver, effects, {"configurable": {"thread_id": f"thread {seed}"}})
    saver.close()


def compete_on_loops(saver: Saver, effects: EffectFile, config: Any) -> None:
    """Run a thread on one loop, and try to run it on all others meanwhile."""
    entered, refused = threading.Event(), threading.Semaphore(0)

    def hold(state: State) -> State:
        entered.set()
        for _ in range(LOOPS - 1):
            assert refused.acquire(timeout=30)
        return {"log": ["hold"]}

    graph = (
        StateGraph(State)
        .add_node("hold", hold)
        .add_node("last", node(effects, "last"))
        .add_edge(START, "hold")
        .add_edge("hold", "last")
        .compile(saver)
    )

    async def owner() -> Any:
        return await graph.ainvoke({"log": []}, config)

    async def other() -> Any:
        assert await asyncio.to_thread(entered.wait, 30)
        try:
            await graph.ainvoke(None, config)
        except ThreadBusyError:
            return "busy"
        finally:
            refused.release()

    assert on_loops(owner, *[other] * (LOOPS - 1)) == [
        {"log": ["hold", "last"]},
        *["busy"] * (LOOPS - 1),
    ]


def test_a_loop_that_is_closed_in_the_middle_of_a_run_leaves_its_thread_to_the_next(
    tmp_path: Path,
) -> None:
    """A loop that ends without ending its runs is an owner that has died."""
    with Worker(close_a_loop, tmp_path / "threads.db") as worker:
        kind, (state, _, wrong) = worker.end()
    assert (kind, state, wrong) == ("ended", {"log": ["hang"]}, [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_that_is_closed_while_an_abandoned_run_ends_holds_up_nobody(
    kind: str, tmp_path: Path
) -> None:
    """The next call on the thread does not wait for an end that nothing will bring about."""
    saver = open_saver(kind, tmp_path)
    graph = (
        StateGraph(State)
        .add_node("a", says("a"))
        .add_node("b", says("b"))
        .add_edge(START, "a")
        .add_edge("a", "b")
        .compile(saver)
    )
    config: Any = {"configurable": {"thread_id": "thread"}}

    async def leave() -> None:
        async for _ in graph.astream({"log": []}, config):
            break

    async def go_on() -> Any:
        async with asyncio.timeout(20):
            return await graph.ainvoke(None, config)

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    loop.run_until_complete(leave())
    loop.close()  # not `asyncio.run`, which has every task end first
    assert asyncio.run(go_on()) == {"log": ["a", "b"]}
    saver.close()


@pytest.mark.parametrize("kind", KINDS)
def test_loops_come_and_go_while_others_run(kind: str, tmp_path: Path) -> None:
    """A saver may meet a new loop at any moment, also while it looks at those that it knows."""
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        saver = open_saver(kind, tmp_path)
        graph = StateGraph(State).add_node("a", says("a")).add_edge(START, "a").compile(saver)

        def runs(name: int) -> None:
            for turn in rounds(8, 100):
                asyncio.run(
                    graph.ainvoke({"log": []}, {"configurable": {"thread_id": f"{name}-{turn}"}})
                )

        with ThreadPoolExecutor(16) as pool:
            for ended in [pool.submit(runs, name) for name in range(16)]:
                ended.result(50)
        saver.close()
    finally:
        sys.setswitchinterval(switching)


@pytest.mark.parametrize("kind", KINDS)
def test_loops_that_have_ended_are_let_go(kind: str, tmp_path: Path) -> None:
    """A program that makes a loop for each call pays for the last call what it paid first."""
    saver = open_saver(kind, tmp_path)
    graph = StateGraph(State).add_node("a", says("a")).add_edge(START, "a").compile(saver)
    seen: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()

    async def call() -> None:
        seen.add(asyncio.get_running_loop())
        await graph.ainvoke({"log": []}, {"configurable": {"thread_id": "thread"}})

    for _ in range(5):
        asyncio.run(call())
    gc.collect()
    assert len(seen) <= 1  # the last may still be held by what is going on right now
    assert len(saver._all_owners()) <= 1
    saver.close()


def test_a_run_that_is_thrown_away_with_its_loop_makes_no_noise(tmp_path: Path) -> None:
    """A coroutine that is closed because nobody will run it any more ends without an error."""
    with Worker(close_a_loop, tmp_path / "threads.db") as worker:
        kind, (_, noise, _) = worker.end()
    assert (kind, noise) == ("ended", [])
