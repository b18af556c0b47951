"""Scenario 49: among many threads each is found and gone on with as if it were alone."""

from __future__ import annotations

import asyncio
import random
import time
import tracemalloc
from itertools import pairwise

import pytest

from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.threads import ThreadInfo
from tests.conftest import thread
from tests.crash.harness.counts import TORTURE
from tests.runtime.backends import Around, counted
from tests.runtime.kit import Items, chain, key_of, says

PAGE = 100


def counts(saver: Saver) -> tuple[int, int, int]:
    """How many threads are few, how many are many, and how many of these are resumed."""
    # Memory goes through all of its threads for each page, and is not meant for so many.
    full = TORTURE and not saver.backend.capabilities.immediate
    return (1000, 100_000, 1000) if full else (100, 1000, 30)


def name(number: int) -> str:
    """A thread's id."""
    return f"thread-{number:06}"


async def fill(graph: CompiledGraph, first: int, last: int) -> None:
    """Threads of these numbers, each stopped before its second node."""
    for begin in range(first, last, PAGE):
        numbers = range(begin, min(begin + PAGE, last))
        await asyncio.gather(*(graph.ainvoke({"last": n}, thread(name(n))) for n in numbers))


async def pages(saver: Saver, most: int) -> list[list[ThreadInfo]]:
    """All threads that stopped, as a list of them is shown, in so many pages at most."""
    found: list[list[ThreadInfo]] = []
    cursor, more = None, True
    while more:
        assert len(found) < most
        page = await saver.threads.search(status="stopped", limit=PAGE, after=cursor)
        found.append(list(page.threads))
        cursor, more = page.next, page.next is not None
    return found


async def resume(
    graph: CompiledGraph, saver: Saver, around: Around, numbers: list[int]
) -> tuple[set[tuple[int, int, int]], list[float]]:
    """Go on with these, of which nothing is at hand: what each cost in appends, in records
    written and in records read; and seconds for each, in order."""
    costs, seconds = set(), []
    for number in numbers:
        config = thread(name(number))
        saver.hot.take(key_of(config))
        before, begun = (around.appends, around.records, around.reads), time.perf_counter()
        result: Items = await graph.ainvoke(None, config)
        seconds.append(time.perf_counter() - begun)
        assert (result["items"], result["last"]) == (["a", "b"], number)
        now = (around.appends, around.records, around.reads)
        costs.add((now[0] - before[0], now[1] - before[1], now[2] - before[2]))
    return costs, sorted(seconds)


async def test_each_of_many_threads_is_listed_once_and_resumed_at_the_cost_of_one_of_few(
    saver: Saver,
) -> None:
    """Pages are full, hold every thread once, newest first; a resume writes and reads the same."""
    chance, (few, many, resumed) = random.Random(49), counts(saver)
    around = counted(saver)
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver, interrupt_before=["b"])
    await fill(graph, 0, few)
    alone, quick = await resume(graph, saver, around, chance.sample(range(few), resumed // 2))
    await fill(graph, few, many)
    reads, begun = around.reads, time.perf_counter()
    assert [info async for info in saver.threads.list(status="running")] == []
    seconds = time.perf_counter() - begun  # for one who looks for threads to bring back
    listed = await pages(saver, many // PAGE + 1)
    assert around.reads == reads, "Lists read no records."
    infos = [info for page in listed for info in page]
    assert len(infos) == len({info.thread_id for info in infos}) == many - resumed // 2
    assert all(one.updated_at >= other.updated_at for one, other in pairwise(infos))
    left = [int(info.thread_id.removeprefix("thread-")) for info in infos]
    among, slow = await resume(graph, saver, around, chance.sample(left, resumed))
    assert alone == among
    assert len(alone) == 1
    if TORTURE:
        assert seconds < 10
        assert slow[len(slow) * 99 // 100] <= 2 * quick[len(quick) * 99 // 100] + 0.005


async def test_going_through_them_takes_the_memory_of_a_page(saver: Saver) -> None:
    """However many there are, where they are not in memory anyway."""
    if saver.backend.capabilities.immediate:
        pytest.skip("In memory is where these threads are.")
    few, many, _ = counts(saver)
    graph = chain(("a", says("a")), saver=saver)
    peaks = []
    for first, last in ((0, few), (few, many)):
        await fill(graph, first, last)
        tracemalloc.start()
        try:
            assert len([None async for _ in saver.threads.list()]) == last
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] <= 1.5 * peaks[0] + 100_000, peaks
