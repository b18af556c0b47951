"""An atomic store where several put at once, out of graphs within, or into a cache."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from durable_graph import START, CachePolicy, InMemoryCache, StateGraph, get_store
from durable_graph.errors import CacheWarning, InvalidUpdateError, StoreConflictError
from durable_graph.saver import Saver
from durable_graph.store import BaseStore, ItemStore
from durable_graph.types import Durability, RunnableConfig
from tests.runtime.kit import Items

HOME = ("notes",)


async def keys(store: BaseStore) -> list[str]:
    return sorted(item.key for item in await store.asearch((), limit=100))


async def count(store: BaseStore) -> None:
    """Count one more, and see that nobody else has meanwhile."""
    found = await store.aget(HOME, "k")
    number = 1 if found is None else found.value["n"] + 1
    await store.aput(HOME, "k", {"n": number}, if_version=0 if found is None else found.version)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("waiting", [0, 1])
async def test_a_sibling_that_was_slower_runs_again(
    saver: Saver,
    store: ItemStore,
    others: ItemStore,
    config: RunnableConfig,
    durability: Durability,
    waiting: int,
) -> None:
    """Its result does not stay without what it has put: no count is lost. The slower is
    the last of its superstep, or a third one is at work until then."""
    met, slower = asyncio.Barrier(2), asyncio.Event()
    runs: list[str] = []

    async def work(name: str) -> Items:
        runs.append(name)
        again = runs.count(name) > 1
        if name == "third":
            if not again:
                await slower.wait()
                await asyncio.sleep(0)
            return {"items": [name]}
        store = get_store()
        found = await store.aget(HOME, "k")
        if not again:
            await met.wait()
        number = 1 if found is None else found.value["n"] + 1
        version = 0 if found is None else found.version
        await store.aput(HOME, "k", {"n": number}, if_version=version)
        slower.set()
        return {"items": [name]}

    def node(name: str) -> Any:
        async def node(state: Items) -> Items:
            return await work(name)

        return node

    graph = StateGraph(Items)
    for name in ["b", "c", "third"][: 2 + waiting]:
        graph.add_node(name, node(name)).add_edge(START, name)
    made = graph.compile(saver, store=store)
    async with asyncio.timeout(20):
        with pytest.raises(StoreConflictError):
            await made.ainvoke({}, config, durability=durability)
        (due,) = set((await made.aget_state(config)).next) - {"third"}
        result = await made.ainvoke(None, config, durability=durability)
    assert sorted(result["items"]) == ["b", "c", "third"][: 2 + waiting]
    assert (runs.count("b") + runs.count("c"), runs.count(due)) == (3, 2)
    item = await others.aget(HOME, "k")
    assert item is not None
    assert item.value == {"n": 2}


async def test_what_a_node_puts_at_once_with_itself_is_compared(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """As if each were a caller of its own; and puts under other keys are not in the way."""
    found: list[Any] = []

    async def node(state: Items, store: BaseStore) -> None:
        puts = [store.aput(HOME, "k", {"n": n}, if_version=0) for n in range(3)]
        puts += [store.aput(HOME, f"other {n}", {}) for n in range(3)]
        found.extend(await asyncio.gather(*puts, return_exceptions=True))

    graph = StateGraph(Items).add_node(node).add_edge(START, "node")
    await graph.compile(saver, store=store).ainvoke({}, config)
    refused = [error for error in found if error is not None]
    assert [type(error) for error in refused] == [StoreConflictError] * 2
    assert await keys(others) == ["k", "other 0", "other 1", "other 2"]


async def test_a_cache_keeps_no_result_without_what_was_put(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """Whose write was refused would else go on with the result, and never put anything."""
    runs: list[int] = []

    async def node(state: Items, store: BaseStore) -> Items:
        runs.append(1)
        await count(store)
        if len(runs) == 1:
            await others.aput(HOME, "k", {"n": 10})
        return {"items": [1]}

    policy = CachePolicy(key_func=lambda state: "same")
    graph = StateGraph(Items).add_node("node", node, cache_policy=policy).add_edge(START, "node")
    made = graph.compile(saver, store=store, cache=InMemoryCache())
    with (
        pytest.warns(CacheWarning, match="'node' goes without its cache.*atomic"),
        pytest.raises(StoreConflictError),
    ):
        await made.ainvoke({}, config)
    with pytest.warns(CacheWarning):
        await made.ainvoke(None, config)
    item = await others.aget(HOME, "k")
    assert item is not None
    assert (item.value, runs) == ({"n": 11}, [1, 1])


@pytest.mark.parametrize("stored", [True, False])
async def test_a_graph_within_that_is_not_stored_sees_what_goes_with_its_caller(
    store: ItemStore, others: ItemStore, saver: Saver, config: RunnableConfig, stored: bool
) -> None:
    """What its caller has put and what its nodes before have, in whatever depth; so they can count
    on, and it is all written with the caller's result."""
    seen: list[list[str]] = []

    def put(key: str) -> Any:
        async def node(state: Items) -> None:
            seen.append(await keys(get_store()))
            await count(get_store())
            await get_store().aput(HOME, key, {})

        return node

    def around(name: str, inner: Any) -> Any:
        async def node(state: Items) -> None:
            await put(name)(state)
            await inner.ainvoke({})

        return node

    deep = (
        StateGraph(Items).add_node("x", put("d")).add_edge(START, "x").compile(checkpointer=False)
    )
    nodes = [("x", put("b")), ("y", around("c", deep)), ("z", put("e"))]
    within = StateGraph(Items).add_sequence(nodes).add_edge(START, "x").compile(checkpointer=False)
    graph = StateGraph(Items).add_node("node", around("a", within)).add_edge(START, "node")
    if stored:
        await graph.compile(saver, store=store).ainvoke({}, config)
    else:
        await graph.compile(store=store).ainvoke({})
    assert seen == [sorted("abcde"[:n]) + ["k"] * (n > 0) for n in range(5)]
    item = await others.aget(HOME, "k")
    assert item is not None
    assert item.value == {"n": 5}
    assert await keys(others) == [*"abcde", "k"]


@pytest.mark.xfail(
    reason="the result of a task that ends before its siblings is written at once, with its puts; "
    "that the superstep's results exclude each other is only seen at its end"
)
async def test_what_is_refused_with_its_superstep_leaves_nothing(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """Two nodes that exclude each other run again, so what the first has put comes twice."""

    async def first(state: Items, store: BaseStore) -> Items:
        await store.aput(HOME, "first", {})
        return {"last": 1}

    async def second(state: Items) -> Items:
        with suppress(TimeoutError):  # once it is mended, nothing comes
            async with asyncio.timeout(1):
                while await others.aget(HOME, "first") is None:
                    await asyncio.sleep(0)
        return {"last": 2}

    graph = StateGraph(Items).add_node(first).add_node(second)
    made = graph.add_edge(START, "first").add_edge(START, "second").compile(saver, store=store)
    with pytest.raises(InvalidUpdateError):
        await made.ainvoke({}, config)
    assert await keys(others) == []
