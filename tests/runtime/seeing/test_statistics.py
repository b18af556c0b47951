"""`statistics()` and `repr` of graphs, savers and runs: what one sees in a debugger."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from durable_graph import InMemorySaver
from durable_graph.engine.ownership.owner import Lease
from durable_graph.engine.statistics import RunStatistics, SaverStatistics
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.conftest import thread
from tests.runtime.kit import Items, chain, collect, reached, says


async def test_a_graph_counts_what_it_is_used_for(saver: Saver, config: RunnableConfig) -> None:
    """Its size, its runs, their supersteps and events; also those of what `with_config` made."""
    graph = chain(("a", says(1)), ("b", says(2)), saver=saver, name="counted")
    before = graph.statistics()
    assert (before.name, before.nodes, before.edges, before.keys) == ("counted", 2, 3, 3)
    assert (before.calls, before.running, before.supersteps, before.events) == (0, 0, 0, 0)
    await graph.ainvoke({}, config)
    await collect(graph.with_config(thread("other")).astream({}, stream_mode="updates"))
    after = graph.statistics()
    assert (after.calls, after.running, after.supersteps, after.events) == (2, 0, 4, 2)


async def test_a_run_under_way_is_seen(saver: Saver, config: RunnableConfig) -> None:
    """Of the graph, of the saver; once it has ended, no more, however it does."""
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def wait(state: Items) -> Items:
        at_work.set()
        await go_on.wait()
        raise ValueError("no")

    graph = chain(("wait", wait), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(at_work, run)
    assert (graph.statistics().running, saver.statistics().runs) == (1, 1)
    assert ": 1 runs, " in repr(saver)
    go_on.set()
    with pytest.raises(ValueError, match="no"):
        await run
    assert (graph.statistics().running, saver.statistics().runs) == (0, 0)


async def test_a_refused_call_is_counted_out_again(saver: Saver, config: RunnableConfig) -> None:
    """It was a call, and it has ended; one that never began its run is not."""
    graph = chain(("a", says(1)), saver=saver)
    with pytest.raises(Exception, match="input"):
        await graph.ainvoke(None, config)
    graph.astream({}, config)
    now = graph.statistics()
    assert (now.calls, now.running, now.supersteps) == (1, 0, 0)


async def test_a_stream_says_how_far_it_is(config: RunnableConfig) -> None:
    """New, running with events that wait, ended."""

    async def emit(state: Items, writer: Any) -> Items:
        for number in range(3):
            writer(number)
        return {}

    graph = chain(("emit", emit), ("a", says(1)), saver=InMemorySaver())
    stream = graph.astream({}, config, stream_mode="custom")
    assert stream.statistics() == RunStatistics("new", 0, 0, 0)
    await anext(stream)
    now = stream.statistics()
    assert (now.state, now.events, now.waiting) == ("running", 3, 2)
    assert repr(stream) == (
        f"<RunStream running: {now.supersteps} supersteps, 3 events, 2 of them waiting>"
    )
    await collect(stream)
    assert stream.statistics() == RunStatistics("ended", 2, 3, 0)


async def test_a_saver_counts_its_writes(saver: Saver, config: RunnableConfig) -> None:
    """One for the input and one for each superstep; the thread's state is at hand afterwards."""
    assert saver.statistics() == SaverStatistics(0, 0, 0, 0, 0, 0, 0, 0.0, 0)
    await chain(("a", says(1)), ("b", says(2)), saver=saver).ainvoke({}, config)
    now = saver.statistics()
    assert (now.loops, now.runs, now.unsettled, now.hot_threads) == (1, 0, 0, 1)
    assert now.hot_bytes > 0
    assert (now.writes, now.batches) == (3, 3)
    assert f"1 threads at hand, {now.writes} writes in {now.batches} batches>" in repr(saver)


async def test_what_is_written_together_is_one_batch(tmp_path: Path) -> None:
    """Runs at the same time: fewer batches than writes; how long one takes can be told."""
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = chain(("a", says(1)), ("b", says(2)), saver=saver)
        calls = (graph.ainvoke({}, thread(str(number))) for number in range(10))
        await asyncio.gather(*calls)
        now = saver.statistics()
        assert now.writes == 30
        assert 3 <= now.batches < 30
        assert now.write_seconds > 0
        assert now.seconds_per_batch == now.write_seconds / now.batches
    assert SaverStatistics(0, 0, 0, 0, 0, 0, 0, 0.0, 0).seconds_per_batch == 0


async def test_signs_of_life_are_counted(tmp_path: Path, config: RunnableConfig) -> None:
    """Those in writes, and those of a run that does not write; memory needs none."""
    clock = FakeClock()
    at_work, go_on = asyncio.Event(), asyncio.Event()

    async def wait(state: Items) -> Items:
        at_work.set()
        await go_on.wait()
        return {}

    async with SqliteSaver(tmp_path / "threads.db", clock=clock, lease=Lease(10, 2)) as saver:
        run = asyncio.create_task(chain(("wait", wait), saver=saver).ainvoke({}, config))
        await reached(at_work, run)
        assert saver.statistics().beats == 1
        await clock.advance(2)
        while saver.statistics().beats < 2:
            await asyncio.sleep(0)
        go_on.set()
        await run
    memory = InMemorySaver()
    await chain(("a", says(1)), saver=memory).ainvoke({}, config)
    assert memory.statistics().beats == 0


async def test_repr_of_a_graph_names_its_nodes(saver: Saver) -> None:
    """And where it is stored, with what goes on there."""
    graph: Any = chain(("a", says(1)), ("b", says(2)), saver=saver)
    assert repr(graph) == f"<CompiledGraph 'LangGraph': a, b; checkpointer {saver!r}>"
