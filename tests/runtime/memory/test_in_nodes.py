"""The store as nodes get it."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import START, InMemoryStore, Runtime, StateGraph, get_store
from durable_graph.errors import MissingStoreError
from durable_graph.saver import Saver
from durable_graph.store import BaseStore
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items

HOME = ("notes",)


async def test_nodes_get_the_store_of_their_graph(saver: Saver, config: RunnableConfig) -> None:
    """As a parameter, from the runtime and from `get_store`; in threads and routers too."""
    store, seen = InMemoryStore(), []

    async def one(state: Items, store: BaseStore) -> None:
        await store.aput(HOME, "one", {"n": 1})

    def two(state: Items, *, runtime: Runtime) -> None:
        assert runtime.store is not None
        runtime.store.put(HOME, "two", {"n": 2})

    async def three(state: Items) -> None:
        await get_store().aput(HOME, "three", {"n": 3})

    def router(state: Items, store: BaseStore) -> list[str]:
        seen.extend(sorted(item.key for item in store.search(HOME)))
        return []

    graph = StateGraph(Items).add_sequence([one, two, three]).add_edge(START, "one")
    compiled = graph.add_conditional_edges("three", router).compile(saver, store=store)
    await compiled.with_config({"tags": ["t"]}).ainvoke({}, config)
    assert seen == ["one", "three", "two"]
    assert [item.key for item in await store.asearch(HOME)] == ["three", "two", "one"]


async def test_a_store_outlives_threads(saver: Saver) -> None:
    """What one thread has put there another finds."""

    async def count(state: Items, store: BaseStore) -> Items:
        item = await store.aget(HOME, "count")
        n = 1 if item is None else item.value["n"] + 1
        await store.aput(HOME, "count", {"n": n})
        return {"items": [n]}

    graph = StateGraph(Items).add_node(count).add_edge(START, "count")
    compiled = graph.compile(saver, store=InMemoryStore())
    for n in (1, 2, 3):
        state = await compiled.ainvoke({}, {"configurable": {"thread_id": str(n)}})
        assert state["items"] == [n]


async def test_a_node_that_needs_a_store_is_not_run_without(
    saver: Saver, config: RunnableConfig
) -> None:
    """The call says so before anything is stored; a node that can do without gets ``None``."""
    seen: list[Any] = []

    async def needs(state: Items, store: BaseStore) -> None:
        raise AssertionError

    async def can(state: Items, runtime: Runtime, store: BaseStore | None = None) -> None:
        seen.append((store, runtime.store))

    async def asks(state: Items) -> None:
        get_store()

    graph = StateGraph(Items).add_node(needs).add_edge(START, "needs").compile(saver)
    with pytest.raises(MissingStoreError, match=r"'needs' takes a store.*compile\(store="):
        await graph.ainvoke({}, config)
    assert (await graph.aget_state(config)).created_at is None
    other = StateGraph(Items).add_sequence([can, asks]).add_edge(START, "can").compile(saver)
    with pytest.raises(MissingStoreError, match="'asks' wants a store"):
        await other.ainvoke({}, config)
    assert seen == [(None, None)]


def test_what_is_no_store_is_refused() -> None:
    """As the graph is compiled."""
    graph = StateGraph(Items).add_node("n", lambda s: None).add_edge(START, "n")
    with pytest.raises(TypeError, match="The store is one such as InMemoryStore"):
        graph.compile(store={})  # type: ignore[arg-type]
