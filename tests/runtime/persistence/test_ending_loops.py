"""An event loop ends while runs are writing: all of its tasks are cancelled at once.

Then `asyncio.run` waits for them, and for ever if one of them does.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from durable_graph import Runtime
from durable_graph.errors import StorageError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.ports import owned
from durable_graph.ports.backend import Append, Capabilities
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_redis.lanes import Lane
from durable_graph_redis.scripts import Command
from durable_graph_sqlite import SqliteSaver
from tests.runtime.backends import Around
from tests.runtime.kit import Items, chain, says


@pytest.fixture
def saver(tmp_path: Path) -> SqliteSaver:
    return SqliteSaver(tmp_path / "threads.db")


class _OneByOne(Around):
    """Storage that gains nothing by many appends in one call."""

    @property
    def capabilities(self) -> Capabilities:
        return replace(self._inner.capabilities, groups=False)


class _Spoilt(Around):
    """Refuses what is more than one append, so that each is tried by itself.

    What comes first waits until two more do.
    """

    queue: Callable[[], Sequence[object]]

    async def before(self, batch: Sequence[Append]) -> None:
        while self.appends == 1 and len(self.queue()) < 2:
            await asyncio.sleep(0)
        if len(batch) > 1:
            raise StorageError("One of them is to blame.")


class _Stuck(Around):
    """Has no answer for anybody until the loop ends."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.reached = asyncio.Event()

    async def before(self, batch: Sequence[Append]) -> None:
        if not self.reached.is_set():
            self.reached.set()
            await asyncio.get_running_loop().create_future()


def ends(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run something on a loop of its own, and see that this ends with it."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "The loop waits for ever."
    if failed:
        raise failed[0]


def ending(
    make: Callable[..., asyncio.Task[None]], nth: int = 1
) -> Callable[..., asyncio.Task[None]]:
    """Makes tasks, and has the loop end in the very turn in which one of them is made."""
    made: list[asyncio.Task[None]] = []

    def making(*args: Any) -> asyncio.Task[None]:
        made.append(make(*args))
        if len(made) == nth:
            for each in asyncio.all_tasks():  # as `asyncio.run` does
                each.cancel()
        return made[-1]

    return making


def thread(name: object) -> RunnableConfig:
    return {"configurable": {"thread_id": str(name)}}


def short(saver: Saver) -> CompiledGraph:
    return chain(("a", says("a")), ("b", says("b")), saver=saver)


def begin(graph: CompiledGraph, *names: object) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(graph.ainvoke({}, thread(name))) for name in names]


def queue(saver: Saver) -> Sequence[object]:
    """Who has asked to be written for, and is not yet."""
    return saver.owner().writer._queue


def goes_on(graph: CompiledGraph, *names: object) -> None:
    """See that threads can be used again, and are nobody's."""

    async def again() -> None:
        for name in names:
            assert (await graph.ainvoke({}, thread(name)))["items"][-2:] == ["a", "b"]

    ends(again)


def test_those_behind_a_write_are_not_left_waiting(saver: SqliteSaver) -> None:
    """The only lane of a file is writing for two when the loop ends, and one more has asked."""
    inner = saver.backend

    async def work() -> None:
        saver.backend = stuck = _Stuck(inner)
        runs = begin(short(saver), 0, 1)
        await stuck.reached.wait()
        runs += begin(short(saver), 2)
        while not queue(saver):
            await asyncio.sleep(0)

    ends(work)
    saver.backend = inner
    goes_on(short(saver), 0, 1, 2)
    saver.close()


@pytest.mark.parametrize(("nth", "around"), [(1, None), (1, _OneByOne), (2, _OneByOne)])
def test_a_write_that_has_not_begun(
    nth: int, around: type[Around] | None, saver: SqliteSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its task is cancelled before its first step, and does nothing at all."""
    inner = saver.backend
    if around is not None:
        saver.backend = around(inner)
    monkeypatch.setattr(owned, "start", ending(owned.start, nth))

    async def work() -> None:
        await asyncio.wait(begin(short(saver), 0, 1))

    with pytest.raises(asyncio.CancelledError):
        ends(work)
    saver.backend = inner
    goes_on(short(saver), 0, 1)
    saver.close()


def test_one_by_one_after_a_refusal(saver: SqliteSaver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several that are tried by themselves, the last has not begun."""
    inner = saver.backend
    saver.backend = spoilt = _Spoilt(inner)
    monkeypatch.setattr(owned, "start", ending(owned.start, 4))

    async def work() -> None:
        runs = begin(short(saver), 0)
        spoilt.queue = lambda: queue(saver)
        while not spoilt.appends:
            await asyncio.sleep(0)
        await asyncio.wait(runs + begin(short(saver), 1, 2))

    with pytest.raises(asyncio.CancelledError):
        ends(work)
    saver.backend = inner
    goes_on(short(saver), 0, 1, 2)
    saver.close()


def test_a_transaction_that_has_not_begun(
    saver: SqliteSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made all the same, and then not again; whoever asked for it is not left waiting."""
    done: list[str] = []

    def write(db: sqlite3.Connection) -> int:
        done.append("written")
        return 1

    async def node(state: Items, runtime: Runtime) -> Items:
        await runtime.transaction(write)
        return {"items": ["a"]}

    graph = chain(("a", node), ("b", says("b")), saver=saver)
    monkeypatch.setattr(owned, "begin", ending(owned.begin))

    async def work() -> None:
        await asyncio.wait(begin(graph, 0))

    with pytest.raises(asyncio.CancelledError):
        ends(work)
    goes_on(graph, 0)
    assert done == ["written"]
    saver.close()


def test_commands_that_have_not_been_sent() -> None:
    """Whoever waits for Redis is told, and closing does not wait for what will never begin."""

    async def exchange(commands: Sequence[Command]) -> Sequence[Any]:
        await asyncio.sleep(0)
        return commands

    async def work() -> None:
        lane = Lane(exchange, "redis", 1.0)
        for _ in range(2):
            call = asyncio.create_task(lane.call([("PING",)], writes=False))
            await asyncio.sleep(0)
            for task in asyncio.all_tasks() - {call, asyncio.current_task()}:
                task.cancel()
            with pytest.raises(StorageError, match="cancelled"):
                await call
            await lane.drain()
        assert await lane.call([("PING",)], writes=False) == [("PING",)]

    ends(work)
