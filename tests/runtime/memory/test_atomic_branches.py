"""An atomic store beside time travel, edits and interruptions: each execution puts once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from durable_graph import START, Command, StateGraph, get_store, interrupt
from durable_graph.errors import StoreConflictError
from durable_graph.saver import Saver
from durable_graph.store import BaseStore, ItemStore
from durable_graph.types import Durability, RunnableConfig
from durable_graph_postgres import PostgresSaver, PostgresStore
from durable_graph_sqlite import SqliteSaver, SqliteStore
from tests.runtime.kit import Items, history, reached
from tests.runtime.memory.kit import HOME, keys


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_each_branch_puts_what_its_own_executions_do(
    saver: Saver,
    store: ItemStore,
    others: ItemStore,
    config: RunnableConfig,
    durability: Durability,
) -> None:
    """A branch sees what the branch it left has put: the store is as it is now. What a replayed
    node puts is there once for each of its executions, and what is not replayed is not."""
    runs: list[str] = []

    def node(name: str) -> Any:
        async def node(state: Items, store: BaseStore) -> Items:
            runs.append(name)
            found = await store.aget(HOME, "n")
            number = 1 if found is None else found.value["n"] + 1
            version = 0 if found is None else found.version
            await store.aput(HOME, "n", {"n": number}, if_version=version)
            await store.aput(HOME, f"{name} {runs.count(name)}", {})
            return {"items": [number]}

        return node

    graph = StateGraph(Items).add_sequence([(name, node(name)) for name in "abc"])
    made = graph.add_edge(START, "a").compile(saver, store=store)
    await made.ainvoke({}, config, durability="sync")
    (before,) = [s for s in await history(made, config) if s.next == ("b",)]
    result = await made.ainvoke(None, before.config, durability=durability)
    assert result["items"] == [1, 4, 5]
    edited = await made.aupdate_state(before.config, {"items": ["edit"]}, as_node="b")
    assert await keys(others) == ["a 1", "b 1", "b 2", "c 1", "c 2", "n"]
    result = await made.ainvoke(None, edited, durability=durability)
    assert result["items"] == [1, "edit", 6]
    assert await keys(others) == ["a 1", "b 1", "b 2", "c 1", "c 2", "c 3", "n"]
    assert runs == list("abcbcc")


async def test_routers_of_an_edit_put_nothing_twice(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """A router that runs for an edit belongs to no execution: what it puts is there at once."""
    runs: list[int] = []

    async def node(state: Items, store: BaseStore) -> Items:
        await store.aput(HOME, "node", {})
        return {"items": ["node"]}

    async def route(state: Items) -> str:
        runs.append(1)
        await get_store().aput(HOME, f"route {len(runs)}", {})
        return "__end__"

    graph = StateGraph(Items).add_node(node).add_edge(START, "node")
    made = graph.add_conditional_edges("node", route).compile(saver, store=store)
    await made.ainvoke({}, config)
    assert await keys(others) == ["node", "route 1"]
    await made.aupdate_state(config, {"items": ["edit"]}, as_node="node")
    assert await keys(others) == ["node", *(f"route {n + 1}" for n in range(len(runs)))]
    assert len(runs) == 2


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_cancelled_run_keeps_what_has_come_to_a_result(
    saver: Saver,
    store: ItemStore,
    others: ItemStore,
    config: RunnableConfig,
    durability: Durability,
) -> None:
    """Of tasks at once: what is on record is put, and once; what was at work leaves nothing."""
    begun = asyncio.Event()
    runs: list[str] = []

    async def quick(state: Items, store: BaseStore) -> Items:
        runs.append("quick")
        await store.aput(HOME, f"quick {runs.count('quick')}", {})
        return {"items": ["quick"]}

    async def slow(state: Items, store: BaseStore) -> Items:
        runs.append("slow")
        await store.aput(HOME, f"slow {runs.count('slow')}", {})
        if runs.count("slow") == 1:
            for _ in range(5):
                await asyncio.sleep(0)
            begun.set()
            await asyncio.Event().wait()
        return {"items": ["slow"]}

    graph = StateGraph(Items).add_node(quick).add_node(slow)
    made = graph.add_edge(START, "quick").add_edge(START, "slow").compile(saver, store=store)
    run = asyncio.ensure_future(made.ainvoke({}, config, durability=durability))
    await reached(begun, run)
    run.cancel()
    await asyncio.wait([run])
    assert run.cancelled()
    there = await keys(others)
    state = await made.aget_state(config)
    assert there == ["quick 1"] * ("quick" not in state.next)
    result = await made.ainvoke(None, config, durability=durability)
    assert result["items"] == ["quick", "slow"]
    assert await keys(others) == [f"quick {runs.count('quick')}", "slow 2"]
    assert runs.count("quick") == 2 - len(there)


@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_a_node_that_asks_puts_once_though_it_runs_twice(
    saver: Saver,
    store: ItemStore,
    others: ItemStore,
    config: RunnableConfig,
    durability: Durability,
) -> None:
    """Also in a graph within, where what its earlier nodes have put stays; and beside others."""
    runs: list[str] = []

    def put(name: str, *, asks: bool = False) -> Any:
        async def node(state: Items) -> Items:
            runs.append(name)
            await get_store().aput(HOME, f"{name} {runs.count(name)}", {})
            if asks:
                interrupt(name)
            return {"items": [name]}

        return node

    inner = StateGraph(Items).add_sequence([("x", put("x")), ("y", put("y", asks=True))])
    within = inner.add_edge(START, "x").compile()

    async def calls(state: Items) -> Items:
        runs.append("calls")
        await get_store().aput(HOME, f"calls {runs.count('calls')}", {})
        await within.ainvoke({})
        return {"items": ["calls"]}

    graph = StateGraph(Items).add_node("calls", calls).add_node("beside", put("beside"))
    made = graph.add_edge(START, "calls").add_edge(START, "beside").compile(saver, store=store)
    await made.ainvoke({}, config, durability=durability)
    assert await keys(others) == ["beside 1", "x 1"]
    result = await made.ainvoke(Command(resume=True), config, durability=durability)
    assert sorted(result["items"]) == ["beside", "calls"]
    assert await keys(others) == ["beside 1", "calls 2", "x 1", "y 2"]


async def test_runs_elsewhere_that_count_together_lose_no_count(
    saver: Saver, store: ItemStore, others: ItemStore
) -> None:
    """On connections of their own, each against all others: of those that put over one version
    one has its result stored, and the others run again."""
    refused: list[str] = []

    async def count(state: Items, store: BaseStore) -> Items:
        found = await store.aget(HOME, "n")
        await asyncio.sleep(0)
        number = 1 if found is None else found.value["n"] + 1
        version = 0 if found is None else found.version
        await store.aput(HOME, "n", {"n": number}, if_version=version)
        return {"items": [number]}

    def over(state: Items) -> str:
        return "__end__" if len(state["items"]) >= 5 else "count"

    async def run(thread: str) -> list[int]:
        async with AsyncExitStack() as stack:
            own: Saver = saver
            own_store: ItemStore = store
            backend: Any = saver.backend
            if isinstance(saver, SqliteSaver):
                own = await stack.enter_async_context(SqliteSaver(backend.path))
                own_store = SqliteStore(backend.path, atomic=True)
            elif isinstance(saver, PostgresSaver):
                place = {"schema": backend.schema}
                own = await stack.enter_async_context(PostgresSaver(backend._dsn, **place))
                own_store = PostgresStore(backend._dsn, atomic=True, **place)
            if own_store is not store:
                stack.push_async_callback(own_store.aclose)
            graph = StateGraph(Items).add_node(count).add_edge(START, "count")
            graph.add_conditional_edges("count", over)
            made = graph.compile(own, store=own_store)
            config: RunnableConfig = {"configurable": {"thread_id": thread}}
            given: Items | None = {"items": []}
            for _ in range(200):
                try:
                    found: list[int] = (await made.ainvoke(given, config))["items"]
                except StoreConflictError:
                    refused.append(thread)
                    given = None
                else:
                    return found
            raise AssertionError("It never gets through.")

    async with asyncio.timeout(30):
        counted = await asyncio.gather(*(run(f"t{number}") for number in range(3)))
    assert sorted(number for of_one in counted for number in of_one) == list(range(1, 16))
    item = await others.aget(HOME, "n")
    assert item is not None
    assert item.value == {"n": 15}
    assert refused
