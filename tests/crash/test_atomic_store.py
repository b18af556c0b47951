"""An atomic store and crashes: what a node has put and its result are stored together, always."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from durable_graph import START, InMemoryStore, StateGraph, open_saver, open_store
from durable_graph.decisions.liveness import Process
from durable_graph.errors import InvalidUpdateError, OutcomeUnknownError, StoreConflictError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.ports.backend import Append, Outcome
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.saver import Saver
from durable_graph.store import BaseStore, ItemStore
from durable_graph.testing import Crash, CrashingBackend, FakeClock
from durable_graph_sqlite import SqliteBackend, SqliteSaver, SqliteStore
from tests.backends.kit import child
from tests.runtime.kit import Items
from tests.services import postgres

HOME = ("counts",)
STEPS = 6

_COUNT = """
import asyncio, sys
from durable_graph_sqlite import SqliteSaver, SqliteStore
from tests.crash.test_atomic_store import counting

async def main():
    saver = SqliteSaver(sys.argv[1])
    store = SqliteStore(sys.argv[1], atomic=True)
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000_000}
    print("ready", flush=True)
    given = {"items": []} if sys.argv[2] == "first" else None
    await counting(saver, store, 1_000_000).ainvoke(given, config)

asyncio.run(main())
"""

_FAN = """
import asyncio, sys
from tests.crash.test_atomic_store import fanning, opened

async def main():
    saver, store = opened(sys.argv[1], sys.argv[2])
    config = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000_000}
    given = {"items": []} if sys.argv[3] == "first" else None
    async for _ in fanning(saver, store, 1_000_000).astream(given, config):
        print("stored", flush=True)

asyncio.run(main())
"""


def opened(address: str, schema: str) -> tuple[Saver, BaseStore]:
    """A saver, and an atomic store in the same storage."""
    options = {"schema": schema} if schema else {}
    return open_saver(address, **options), open_store(address, atomic=True, **options)


def counting(saver: Saver, store: BaseStore, steps: int) -> CompiledGraph:
    """A node that counts, in the state and in the store, which it reads what it puts from."""

    async def count(state: Items, store: BaseStore) -> Items:
        item = await store.aget(HOME, "n")
        before = 0 if item is None else item.value["n"]
        assert before == len(state.get("items", [])), (before, state)
        await store.aput(HOME, "n", {"n": before + 1}, if_version=item.version if item else 0)
        await store.aput(HOME, f"n{before}", {"n": before})
        return {"items": [before]}

    def over(state: Items) -> str:
        return "__end__" if len(state["items"]) >= steps else "count"

    graph = StateGraph(Items).add_node(count).add_edge(START, "count")
    return graph.add_conditional_edges("count", over).compile(saver, store=store)


def config(thread: str = "t") -> Any:
    return {"configurable": {"thread_id": thread}}


async def expect_whole(store: ItemStore, steps: int) -> None:
    """Every step has put its items once, and no other is there."""
    found = {item.key: item.value["n"] for item in await store.asearch(HOME, limit=1000)}
    assert found == {"n": steps, **{f"n{n}": n for n in range(steps)}}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_at_every_storage_call(tmp_path: Path, kind: str, when: Any) -> None:
    """Whoever goes on finds state and store agreeing, and comes to the end as without a crash."""
    for at in range(1, 100):
        if kind == "memory":
            inner: Any = InMemoryBackend()
            store: ItemStore = InMemoryStore(atomic=True)
        else:
            inner = SqliteBackend(tmp_path / f"{at}.db", synchronous="normal")
            store = SqliteStore(tmp_path / f"{at}.db", synchronous="normal", atomic=True)
        clock = FakeClock(jump=True)
        dying = CrashingBackend(inner, at=at, when=when)
        crashed = False
        try:
            await counting(Saver(dying, clock=clock), store, STEPS).ainvoke({"items": []}, config())
        except Crash:
            crashed = True
        await clock.advance(100)
        saver = Saver(inner, clock=clock)
        graph = counting(saver, store, STEPS)
        begun = (await graph.aget_state(config())).created_at is not None
        state = await graph.ainvoke(None if begun else {"items": []}, config())
        assert state["items"] == list(range(STEPS))
        await expect_whole(store, STEPS)
        await saver.aclose()
        await store.aclose()
        if not crashed:
            assert at > STEPS
            return
    raise AssertionError("There is no end to the storage calls.")


def excluding(saver: Saver, store: BaseStore, runs: list[str], agree: int) -> CompiledGraph:
    """Two nodes at once that write the same key until the second has run so many times; each
    puts an item for each of its runs. The second is slower, and a third one ends the superstep."""

    def node(name: str, turns: int) -> Any:
        async def node(state: Items, store: BaseStore) -> Any:
            runs.append(name)
            run = runs.count(name)
            await store.aput(HOME, f"{name} {run}", {})
            for _ in range(turns):
                await asyncio.sleep(0)
            return {"last": name} if name == "first" or (name == "second" and run < agree) else {}

        return node

    graph = StateGraph(Items)
    for name, turns in [("first", 0), ("second", 40), ("third", 80)]:
        graph.add_node(name, node(name, turns)).add_edge(START, name)
    return graph.compile(saver, store=store)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_crash_while_results_exclude_each_other(when: Any) -> None:
    """Whenever it comes, an item is there if and only if its run's result stays, and the node
    of such a result does not run again."""
    refused = 0
    for at in range(1, 100):
        inner, clock = InMemoryBackend(), FakeClock(jump=True)
        store, runs = InMemoryStore(atomic=True), list[str]()
        dying = CrashingBackend(inner, at=at, when=when)
        crashed = False
        try:
            await excluding(Saver(dying, clock=clock), store, runs, 3).ainvoke({}, config())
        except (Crash, BaseExceptionGroup):
            crashed = True
        except InvalidUpdateError:
            refused += 1
        for _ in range(5):
            await clock.advance(100)
            graph = excluding(Saver(inner, clock=clock), store, runs, 3)
            state = await graph.aget_state(config())
            if state.created_at is not None and not state.next:
                break
            there = {item.key.split()[0] for item in await store.asearch(HOME)}
            assert there.isdisjoint(state.next)
            if state.created_at is not None:
                assert there | set(state.next) == {"first", "second", "third"}
            try:
                await graph.ainvoke({} if state.created_at is None else None, config())
            except InvalidUpdateError:
                refused += 1
        else:
            raise AssertionError("The run does not come to an end.")
        assert state.values["last"] == "first"
        assert sorted(item.key for item in await store.asearch(HOME)) == sorted(
            f"{name} {runs.count(name)}" for name in ("first", "second", "third")
        )
        if not crashed:
            assert refused > at
            return
    raise AssertionError("There is no end to the storage calls.")


@pytest.mark.parametrize("base", [InMemoryBackend, SqliteBackend])
async def test_lost_answers_are_no_conflicts(tmp_path: Path, base: Any) -> None:
    """A write that is asked for again meets its own puts, and knows them."""

    class Losing(base):  # type: ignore[misc]
        """Answers each append only when it is asked for it again."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            self.capabilities = SqliteBackend(":memory:").capabilities
            self.capabilities = type(self.capabilities)(
                durable=False, shared=False, groups=True, stores=True
            )
            self.lost: set[bytes] = set()

        async def append(
            self, batch: Sequence[Append], beat: Process | None = None
        ) -> Sequence[Outcome]:
            outcomes: Sequence[Outcome] = await super().append(batch, beat)
            links = {append.head.link for append in batch}
            if not links <= self.lost:
                self.lost |= links
                raise OutcomeUnknownError("The answer was lost.")
            return outcomes

    path = tmp_path / "a.db"
    sqlite = base is SqliteBackend
    backend = Losing(path) if sqlite else Losing()
    store: ItemStore = SqliteStore(path, atomic=True) if sqlite else InMemoryStore(atomic=True)
    saver = Saver(backend, clock=FakeClock(jump=True))
    state = await counting(saver, store, STEPS).ainvoke({"items": []}, config())
    assert state["items"] == list(range(STEPS))
    await expect_whole(store, STEPS)
    assert len(backend.lost) > STEPS
    await saver.aclose()
    await store.aclose()


async def test_of_runs_that_exclude_each_other_one_is_stored(tmp_path: Path) -> None:
    """Also if both are written in one go; and a third beside them is not touched."""
    path = tmp_path / "a.db"
    async with SqliteSaver(path) as saver, SqliteStore(path, atomic=True) as store:
        barrier = asyncio.Barrier(3)

        async def node(state: Items, store: BaseStore) -> Items:
            key = "k" if state["items"][0] != "third" else "other"
            await store.aput(HOME, key, {"by": state["items"][0]}, if_version=0)
            await barrier.wait()
            return {"items": ["done"]}

        graph = StateGraph(Items).add_node(node).add_edge(START, "node")
        compiled = graph.compile(saver, store=store)
        names = ["first", "second", "third"]
        ended = await asyncio.gather(
            *(compiled.ainvoke({"items": [name]}, config(name)) for name in names),
            return_exceptions=True,
        )
        lost = [n for n, end in zip(names, ended, strict=True) if isinstance(end, BaseException)]
        assert len(lost) == 1
        assert isinstance(ended[names.index(lost[0])], StoreConflictError)
        assert lost[0] in ("first", "second")
        found = {item.key: item.value["by"] for item in await store.asearch(HOME)}
        (winner,) = {"first", "second"} - set(lost)
        assert found == {"k": winner, "other": "third"}
        for name in names:
            done = (await compiled.aget_state(config(name))).values["items"]
            assert ("done" in done) == (name not in lost)


def test_a_killed_process_leaves_state_and_store_agreeing(tmp_path: Path) -> None:
    """SIGKILL at any moment: both have counted equally far, and going on is right."""
    path, chance = tmp_path / "a.db", random.Random(7)
    for number in range(4):
        with child(_COUNT, path, "first" if number == 0 else "again") as process:
            process.expect("ready")
            time.sleep(0.3 + chance.random() * 0.3)
            process.process.send_signal(signal.SIGKILL)
            process.process.wait()
        with contextlib.closing(SqliteSaver(path)) as saver, SqliteStore(path) as store:
            graph = counting(saver, store, 1)
            counted = len(graph.get_state(config()).values.get("items", []))
            item = store.get(HOME, "n")
            assert (0 if item is None else item.value["n"]) == counted
    assert counted > 4


def fanning(saver: Saver, store: BaseStore, rounds: int) -> CompiledGraph:
    """Nodes at once, round after round; each puts under a name of its execution's own, which it
    also returns, and some are slower than others."""
    wide = 4

    def node(number: int) -> Any:
        async def node(state: Items, store: BaseStore) -> Items:
            name = f"{len(state['items']) // wide}:{number}:{uuid4()}"
            await store.aput(HOME, name, {})
            for _ in range(number):
                await asyncio.sleep(0.001)
            return {"items": [name]}

        return node

    async def start(state: Items) -> None:
        """Where a round begins."""

    def over(state: Items) -> list[str]:
        over = len(state["items"]) >= rounds * wide
        return ["__end__"] if over else [str(number) for number in range(wide)]

    graph = StateGraph(Items).add_node(start).add_edge(START, "start")
    graph.add_conditional_edges("start", over)
    for number in range(wide):
        graph.add_node(str(number), node(number)).add_edge(str(number), "start")
    return graph.compile(saver, store=store)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.services)])
def test_a_process_killed_in_the_middle_of_tasks_at_once_leaves_each_put_once(
    tmp_path: Path, kind: str
) -> None:
    """Whoever takes over runs only those that have not ended; what is in the store are the puts of
    the executions whose results are in the state, and no others."""
    address, schema = f"sqlite:///{tmp_path}/a.db", ""
    if kind == "postgres":
        address, schema = postgres.dsn(), postgres.emptied_schema()
    chance = random.Random(11)
    for number in range(3):  # each takes over from the one before it
        with child(_FAN, address, schema, "first" if number == 0 else "again") as process:
            for _ in range(chance.randrange(10, 40)):
                process.expect("stored")
            time.sleep(chance.random() * 0.02)
            process.process.send_signal(signal.SIGKILL)
            process.process.wait()
    saver, store = opened(address, schema)
    with contextlib.closing(saver), store:
        done = len(fanning(saver, store, 1).get_state(config()).values["items"])
        limits: Any = {**config(), "recursion_limit": 1_000_000}
        state = fanning(saver, store, done // 4 + 2).invoke(None, limits)
        assert len(state["items"]) == 4 * (done // 4 + 2)
        found = {item.key for item in store.search(HOME, limit=1_000_000)}
        assert found == set(state["items"])
        assert done > 16
