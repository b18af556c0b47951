"""A run that is alone writes in its own task, and is not cancelled while it does."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from durable_graph.errors import DurableGraphError
from durable_graph.ports import owned
from durable_graph.ports.backend import Append
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.backends import Around, held
from tests.runtime.kit import Items, chain, collect, says


@pytest.fixture
async def saver(tmp_path: Path) -> AsyncIterator[SqliteSaver]:
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        yield saver


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def until_it_writes(backend: Around, run: asyncio.Task[Any], writes: int) -> None:
    """Wait until so many batches have been asked for: the claim, and one for each superstep."""
    while backend.appends < writes and not run.done():
        await asyncio.sleep(0)


async def test_it_needs_no_other_task(saver: SqliteSaver, config: RunnableConfig) -> None:
    """While it writes there is the run, and nobody who writes for it."""
    backend = held(saver)
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_it_writes(backend, run, 1)  # its claim, which is a task of the writer's
    backend.open.clear()
    await until_it_writes(backend, run, 2)
    await turns()
    names = sorted(
        name for task in asyncio.all_tasks() if not (name := task.get_name()).endswith("heart")
    )
    assert len([name for name in names if name.startswith("durable_graph run")]) == 1
    assert len(names) == 3  # this test, the caller and the run
    backend.open.set()
    await run


@pytest.mark.parametrize("how", ["once", "again and again", "by a scope"])
async def test_it_is_cancelled_when_it_has_written(
    how: str, saver: SqliteSaver, config: RunnableConfig
) -> None:
    """What it was writing is stored, and nothing after that is begun."""
    backend = held(saver)
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    scope = anyio.CancelScope()

    async def call() -> None:
        with scope:
            await graph.ainvoke({}, config)

    run = asyncio.create_task(call())
    await until_it_writes(backend, run, 1)
    backend.open.clear()
    await until_it_writes(backend, run, 2)
    for _ in range(3 if how == "again and again" else 1):
        scope.cancel() if how == "by a scope" else run.cancel()
        await turns()
    assert not run.done()
    backend.open.set()
    await asyncio.wait([run])
    assert run.cancelled() == (how != "by a scope")
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["a"], ("b",))
    (info,) = await collect(saver.alist_threads())
    assert (info.status, info.reason) == ("stopped", "cancelled")
    assert (await graph.ainvoke(None, config))["items"] == ["a", "b"]


async def test_a_node_that_cancels_its_own_run(saver: SqliteSaver, config: RunnableConfig) -> None:
    """What it has returned is stored, and that the run was cancelled, too."""

    async def last(state: Items) -> Items:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        return {"items": ["a"]}

    graph = chain(("a", last), ("b", says("b")), saver=saver)
    with pytest.raises(asyncio.CancelledError):
        await graph.ainvoke({}, config)
    (info,) = await collect(saver.alist_threads())
    assert (info.status, info.reason) == ("stopped", "cancelled")
    assert (await graph.ainvoke(None, config))["items"] == ["a", "b"]


async def test_who_waits_for_a_run_that_was_left_and_is_cancelled(
    saver: SqliteSaver, config: RunnableConfig
) -> None:
    """Whoever comes after that waits for the first as well, and does not find the thread busy."""
    backend = held(saver)
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    async for _ in graph.astream({}, config):
        backend.open.clear()
        while backend.appends < 2:
            await asyncio.sleep(0)
        break
    second = asyncio.create_task(graph.ainvoke(None, config))
    await turns()
    second.cancel()
    await asyncio.wait([second])
    third = asyncio.create_task(graph.ainvoke(None, config))
    await turns()
    backend.open.set()
    assert (await third)["items"] == ["a", "b"]


async def test_who_comes_meanwhile_is_written_for_afterwards(saver: SqliteSaver) -> None:
    """A run that begins while the only lane of a file is taken is not left waiting for it."""
    backend, ended = held(saver), asyncio.Event()
    first = asyncio.create_task(
        chain(("a", says("a")), ("b", after(ended)), saver=saver).ainvoke({}, thread("first"))
    )
    await until_it_writes(backend, first, 1)
    backend.open.clear()
    await until_it_writes(backend, first, 2)
    second = asyncio.create_task(chain(("c", says("c")), saver=saver).ainvoke({}, thread("second")))
    await asyncio.wait([second], timeout=0.3)  # its claim has to wait
    backend.open.set()
    async with asyncio.timeout(10):
        assert (await second)["items"] == ["c"]
        ended.set()
        assert (await first)["items"] == ["a", "b"]


async def test_closing_waits_for_what_it_writes(
    saver: SqliteSaver, config: RunnableConfig, tmp_path: Path
) -> None:
    """What was begun is stored, and nothing more is."""
    backend, closed = held(saver), asyncio.Event()
    steps = ("a", says("a")), ("b", after(closed))
    graph = chain(*steps, saver=saver)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await until_it_writes(backend, run, 1)
    backend.open.clear()
    await until_it_writes(backend, run, 2)
    closing = asyncio.create_task(saver.aclose())
    await asyncio.wait([closing], timeout=0.3)
    assert not closing.done()
    backend.open.set()
    await closing
    closed.set()
    with pytest.raises(DurableGraphError, match="closed"):
        await run
    async with SqliteSaver(tmp_path / "threads.db") as again:
        state = await chain(*steps, saver=again).aget_state(config)
        assert (state.values["items"], state.next) == (["a"], ("b",))


def after(event: asyncio.Event) -> Any:
    """A node that says "b" once something has happened."""

    async def node(state: Items) -> Items:
        await event.wait()
        return {"items": ["b"]}

    return node


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


@pytest.mark.parametrize("fails", [False, True])
async def test_what_is_not_cancelled_comes_to_its_end(fails: bool) -> None:
    """Whoever was to be cancelled meanwhile is so afterwards, once, and told of an error first."""
    opened, ended, seen = asyncio.Event(), [], []

    async def work() -> None:
        await opened.wait()
        ended.append(owned.nobody_cancels())
        if fails:
            raise ValueError("no")

    async def whole() -> None:
        try:
            await owned.uncancelled(work())
        except (ValueError, asyncio.CancelledError) as error:
            seen.append(type(error))
        assert not owned.nobody_cancels()
        for _ in range(2):
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                seen.append(asyncio.CancelledError)

    task = asyncio.create_task(whole())
    await turns()
    owned.cancel(task)
    owned.cancel(task)
    await turns()
    opened.set()
    await task
    assert ended == [True]
    assert seen == ([ValueError, asyncio.CancelledError] if fails else [asyncio.CancelledError])
    assert task.cancelling() == 1


def test_a_loop_that_is_closed_over_it_takes_it_along(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing keeps what will never go on, and what it refers to."""

    async def never() -> None:
        await asyncio.get_running_loop().create_future()

    loop = asyncio.new_event_loop()
    task = weakref.ref(loop.create_task(owned.uncancelled(never())))
    loop.run_until_complete(turns())
    loop.close()
    del loop
    gc.collect()
    assert task() is None
    assert "was destroyed" in caplog.text  # what asyncio says of it


def test_what_waited_behind_it_on_a_closed_loop_is_not_written_on_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its thread would be claimed for a run that will never go on."""
    saver = SqliteSaver(tmp_path / "threads.db")
    inner = saver.backend

    class Silent(Around):
        async def before(self, batch: Sequence[Append]) -> None:
            if self.appends == 2:
                await asyncio.get_running_loop().create_future()

    async def begin() -> None:
        saver.backend = backend = Silent(inner)
        graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
        first = asyncio.create_task(graph.ainvoke({}, thread("first")))
        await until_it_writes(backend, first, 2)
        second = asyncio.create_task(graph.ainvoke({}, thread("second")))
        while not (second.done() or saver.owner().writer._queue):
            await asyncio.sleep(0)

    async def look() -> list[str]:
        await collect(saver.alist_threads())  # lets go of what belonged to the closed loop
        gc.collect()
        await turns()
        return [info.thread_id for info in await collect(saver.alist_threads())]

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begin())
    loop.close()
    del loop
    saver.backend = inner
    assert asyncio.run(look()) == ["first"]
    assert all("was destroyed" in record.message for record in caplog.records)
    saver.close()
