"""An atomic store: what a node puts is stored with its result, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from durable_graph import (
    END,
    START,
    Command,
    InMemorySaver,
    InMemoryStore,
    RetryPolicy,
    Runtime,
    StateGraph,
    entrypoint,
    get_store,
    interrupt,
    step,
)
from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.errors import StoreConflictError, StoreError, UnsupportedError
from durable_graph.ports.store import PutOp
from durable_graph.saver import Saver
from durable_graph.store import BaseStore, ItemStore
from durable_graph.types import Durability, RunnableConfig
from durable_graph_sqlite import SqliteSaver, SqliteStore
from tests.runtime.kit import Items
from tests.runtime.memory.kit import HOME, keys


def one_node(node: Callable[..., Any], saver: Saver, store: BaseStore, **options: Any) -> Any:
    graph = StateGraph(Items).add_node("node", node, **options).add_edge(START, "node")
    return graph.compile(saver, store=store)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_node_sees_its_puts_and_others_see_them_with_its_result(
    saver: Saver,
    store: ItemStore,
    others: ItemStore,
    config: RunnableConfig,
    durability: Durability,
) -> None:
    """In every way of reading; and all of them are stored when the run has ended."""
    await others.aput(HOME, "old", {"n": 0})
    seen: list[Any] = []

    async def node(state: Items, store: BaseStore, runtime: Runtime) -> Items:
        assert runtime.store is store is get_store()
        await store.aput(HOME, "one", {"n": 1})
        await store.abatch([PutOp(HOME, "two", {"n": 2}), PutOp(HOME, "old", None)])
        item = await store.aget(HOME, "one")
        seen.append((item and item.value, await keys(store), await keys(others)))
        await store.aput(HOME, "one", {"n": 3}, if_version=item.version if item else 0)
        seen.append(await others.aget(HOME, "one"))
        return {"items": [1]}

    def after(state: Items, *, runtime: Runtime) -> None:
        assert runtime.store is not None
        found = runtime.store.search(HOME)
        seen.append({item.key: item.value["n"] for item in found})

    graph = StateGraph(Items).add_sequence([("node", node), ("after", after)])
    compiled = graph.add_edge(START, "node").compile(saver, store=store)
    await compiled.ainvoke({}, config, durability=durability)
    assert seen[:2] == [({"n": 1}, ["one", "two"], ["old"]), None]
    if durability == "sync":
        assert seen[2] == {"one": 3, "two": 2}
    assert await keys(others) == ["one", "two"]


@pytest.mark.parametrize("ends", ["fails", "asks", "is cancelled", "is refused"])
async def test_what_does_not_end_well_leaves_nothing(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig, ends: str
) -> None:
    """Until it does: then what the execution has put that came to a result."""
    tries: list[int] = []
    begun = asyncio.Event()

    async def node(state: Items, store: BaseStore) -> Any:
        tries.append(len(tries))
        await store.aput(HOME, f"try {tries[-1]}", {})
        if ends == "asks":
            interrupt("Go on?")
        if len(tries) > 1:
            return None
        begun.set()
        match ends:
            case "fails":
                raise ValueError("no")
            case "is cancelled":
                await asyncio.Event().wait()
            case "is refused":
                return {"items": 5}
        return None

    graph = one_node(node, saver, store)
    run = asyncio.ensure_future(graph.ainvoke({}, config))
    if ends == "is cancelled":
        await begun.wait()
        run.cancel()
    await asyncio.wait([run])
    assert ends in ("asks", "is cancelled") or run.exception() is not None
    assert await keys(others) == []
    await graph.ainvoke(Command(resume=True) if ends == "asks" else None, config)
    assert await keys(others) == ["try 1"]


async def test_of_attempts_only_the_last_leaves_something(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """And an error handler's is its own."""
    tries: list[str] = []

    async def node(state: Items, store: BaseStore) -> None:
        tries.append(str(len(tries)))
        await store.aput(HOME, f"node {tries[-1]}", {})
        if len(tries) != 3:
            raise ValueError("no")

    async def handler(state: Items, store: BaseStore) -> None:
        await store.aput(HOME, "handler", {})

    policy = RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=False, retry_on=ValueError)
    await one_node(node, saver, store, retry_policy=policy).ainvoke({}, config)
    assert await keys(others) == ["node 2"]
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    await one_node(node, saver, store, error_handler=handler).ainvoke({}, other)
    assert await keys(others) == ["handler", "node 2"]


async def test_a_finished_sibling_is_stored_though_another_fails(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """It does not run again, so its puts must not be lost."""
    put = asyncio.Event()
    runs: list[str] = []

    async def good(state: Items, store: BaseStore) -> None:
        runs.append("good")
        await store.aput(HOME, "good", {})
        put.set()

    async def bad(state: Items, store: BaseStore) -> None:
        runs.append("bad")
        await store.aput(HOME, "bad", {})
        await put.wait()
        while await others.aget(HOME, "good") is None:
            await asyncio.sleep(0)
        if runs.count("bad") == 1:
            raise ValueError("no")

    graph = StateGraph(Items).add_node(good).add_node(bad)
    compiled = graph.add_edge(START, "good").add_edge(START, "bad").compile(saver, store=store)
    with pytest.raises(ValueError, match="no"):
        await compiled.ainvoke({}, config)
    assert await keys(others) == ["good"]
    await compiled.ainvoke(None, config)
    assert await keys(others) == ["bad", "good"]
    assert sorted(runs) == ["bad", "bad", "good"]


async def test_siblings_may_put_the_same(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """Each its own, and one of them the last."""

    async def node(state: Items, store: BaseStore) -> None:
        await store.aput(HOME, "same", {})
        await store.aput(HOME, str(len(await keys(store))), {})

    graph = StateGraph(Items)
    for name in "abc":
        graph.add_node(name, node).add_edge(START, name)
    await graph.compile(saver, store=store).ainvoke({}, config)
    assert "same" in await keys(others)


async def test_a_condition_that_does_not_hold_is_told_to_the_node(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """So that it can do something about it."""
    await others.aput(HOME, "k", {"n": 1})

    async def node(state: Items, store: BaseStore) -> None:
        with pytest.raises(StoreConflictError):
            await store.abatch([PutOp(HOME, "l", {}), PutOp(HOME, "k", {"n": 2}, if_version=0)])
        assert await keys(store) == ["k"]
        item = await store.aget(HOME, "k")
        assert item is not None
        await store.aput(HOME, "k", {"n": 2}, if_version=item.version)

    await one_node(node, saver, store).ainvoke({}, config)
    item = await others.aget(HOME, "k")
    assert item is not None
    assert item.value == {"n": 2}


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_condition_that_others_break_meanwhile_stops_the_run(
    saver: Saver,
    store: ItemStore,
    others: ItemStore,
    config: RunnableConfig,
    durability: Durability,
) -> None:
    """Nothing of the node is stored, and it runs again when the thread is gone on with."""
    runs: list[int] = []

    async def node(state: Items, store: BaseStore) -> Items:
        runs.append(1)
        item = await store.aget(HOME, "k")
        n = 0 if item is None else item.value["n"]
        await store.aput(HOME, "k", {"n": n + 1}, if_version=item.version if item else None)
        await store.aput(HOME, "beside", {})
        if len(runs) == 1:
            await others.aput(HOME, "k", {"n": 10})
        return {"items": [n]}

    graph = one_node(node, saver, store)
    with pytest.raises(StoreConflictError, match="'k' in"):
        await graph.ainvoke({}, config, durability=durability)
    assert await keys(others) == ["k"]
    given: Items | None = None if durability != "exit" else {}
    assert (await graph.ainvoke(given, config, durability=durability))["items"] == [10]
    item = await others.aget(HOME, "k")
    assert item is not None
    assert item.value == {"n": 11}
    assert await keys(others) == ["beside", "k"]


async def test_what_a_step_puts_is_there_at_once(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """A step is an effect that is on record before its node has ended, and not had again."""
    runs: list[int] = []

    async def put() -> None:
        await get_store().aput(HOME, "step", {})

    async def node(state: Items, store: BaseStore) -> None:
        runs.append(1)
        await store.aput(HOME, "node", {})
        await step("put", put)
        if len(runs) == 1:
            raise ValueError("no")

    graph = one_node(node, saver, store)
    with pytest.raises(ValueError, match="no"):
        await graph.ainvoke({}, config)
    assert await keys(others) == ["step"]
    await graph.ainvoke(None, config)
    assert await keys(others) == ["node", "step"]


@pytest.mark.parametrize("keeps", [None, False], ids=["in the thread", "nowhere"])
async def test_graphs_within_put_with_their_results(
    saver: Saver,
    store: ItemStore,
    others: ItemStore,
    config: RunnableConfig,
    keeps: bool | None,
) -> None:
    """Where those are stored: in the thread, or else with the result of the node that calls."""
    seen: list[list[str]] = []

    async def inner(state: Items, store: BaseStore) -> None:
        await store.aput(HOME, "inner", {})

    async def second(state: Items, store: BaseStore) -> None:
        seen.append(await keys(store))

    within = StateGraph(Items).add_sequence([inner, second]).add_edge(START, "inner")
    called = within.compile(keeps)

    async def node(state: Items, store: BaseStore) -> None:
        await store.aput(HOME, "outer", {})
        await called.ainvoke({})
        seen.append(await keys(others))

    await one_node(node, saver, store).ainvoke({}, config)
    assert seen[1] == (["inner"] if keeps is None else [])
    assert await keys(others) == ["inner", "outer"]


async def test_a_command_for_the_graph_above_takes_puts_along(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """They go with the result of the node that has called the graph."""

    async def inner(state: Items, store: BaseStore) -> Command[str]:
        await store.aput(HOME, "inner", {})
        return Command(graph=Command.PARENT, goto="after", update={"items": ["up"]})

    async def after(state: Items) -> None:
        assert await keys(others) == ["inner"]

    within = StateGraph(Items).add_node(inner).add_edge(START, "inner").compile()
    graph = StateGraph(Items).add_node("within", within, destinations=("after",)).add_node(after)
    compiled = graph.add_edge(START, "within").add_edge("after", END).compile(saver, store=store)
    assert (await compiled.ainvoke({}, config))["items"] == ["up"]


async def test_functions_as_graphs_have_it_too(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """An entrypoint's function is a node."""

    @entrypoint(saver, store=store)
    async def flow(what: str, *, store: BaseStore) -> None:
        await store.aput(HOME, "k", {})
        if what == "fail":
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await flow.ainvoke("fail", config)
    assert await keys(others) == []
    await flow.ainvoke("end", config)
    assert await keys(others) == ["k"]


async def test_without_a_saver_a_node_puts_all_or_nothing() -> None:
    """There is no result to store; what it puts is written when it has come to one."""
    store = InMemoryStore(atomic=True)
    others = ItemStore(store.items)
    seen: list[list[str]] = []

    async def node(state: Items, store: BaseStore) -> None:
        await store.aput(HOME, "k", {})
        seen.append(await keys(others))
        if len(seen) == 1:
            raise ValueError("no")

    graph = StateGraph(Items).add_node(node).add_edge(START, "node").compile(store=store)
    with pytest.raises(ValueError, match="no"):
        await graph.ainvoke({})
    await graph.ainvoke({})
    assert (seen, await keys(others)) == ([[], []], ["k"])


async def test_what_comes_too_late_is_an_error(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """What is put after the node's result is stored would be lost."""
    handle: list[BaseStore] = []

    async def node(state: Items, store: BaseStore) -> None:
        handle.append(store)

    await one_node(node, saver, store).ainvoke({}, config)
    with pytest.raises(StoreError, match="execution is over"):
        await handle[0].aput(HOME, "late", {})
    assert await keys(others) == []


async def test_what_is_encrypted_is_atomic_too(tmp_path: Path, config: RunnableConfig) -> None:
    """Saver and store each have their keys; in the file nothing lies in the clear."""
    encryption = Encryption(LocalKeys({"k": b"k" * 32}))
    path = tmp_path / "a.db"
    saver = SqliteSaver(path, encryption=encryption)
    store = SqliteStore(path, encryption=encryption, atomic=True)

    async def node(state: Items, store: BaseStore) -> None:
        await store.aput(HOME, "k", {"text": "a secret"})
        assert await store.aget(HOME, "k") is not None

    await one_node(node, saver, store).ainvoke({}, config)
    item = await store.aget(HOME, "k")
    assert item is not None
    assert item.value == {"text": "a secret"}
    await saver.aclose()
    await store.aclose()
    assert b"a secret" not in path.read_bytes()


def test_storage_must_be_the_same(tmp_path: Path) -> None:
    """A saver elsewhere is refused as the graph is compiled; the same file has many names."""
    graph = StateGraph(Items).add_node("n", lambda s: None).add_edge(START, "n")
    path = tmp_path / "a.db"
    (tmp_path / "link.db").symlink_to(path)
    pairs: list[tuple[Saver, ItemStore]] = [
        (SqliteSaver(path), SqliteStore(tmp_path / "b.db", atomic=True)),
        (SqliteSaver(":memory:"), SqliteStore(":memory:", atomic=True)),
        (SqliteSaver(path), InMemoryStore(atomic=True)),
        (InMemorySaver(), SqliteStore(path, atomic=True)),
    ]
    for saver, store in pairs:
        with pytest.raises(UnsupportedError, match=r"atomic.*not in the same storage"):
            graph.compile(saver, store=store)
        with pytest.raises(UnsupportedError, match=r"atomic"):
            entrypoint(saver, store=store)
    graph.compile(SqliteSaver(path), store=SqliteStore(tmp_path / "link.db", atomic=True))
    graph.compile(SqliteSaver(path), store=SqliteStore(tmp_path / "b.db"))


async def _count() -> int:
    """Count one more in the store, and see that nobody else has meanwhile."""
    found = await get_store().aget(HOME, "k")
    number = 1 if found is None else found.value["n"] + 1
    known = None if found is None else found.version
    await get_store().aput(HOME, "k", {"n": number}, if_version=known)
    return number


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_a_node_sees_what_earlier_nodes_of_its_run_have_put(
    saver: Saver, store: ItemStore, config: RunnableConfig, durability: Durability
) -> None:
    """Nodes that count one after the other lose no count, whenever it is that it is stored."""

    async def count(state: Items) -> Items:
        first = await _count()
        return {"items": [str(first), str(await _count())]}

    async def inner(state: Items) -> Items:
        within = StateGraph(Items).add_node("b", count).add_edge(START, "b").compile()
        found: Items = await within.ainvoke({"items": []})
        return found

    graph = StateGraph(Items).add_sequence([("a", count), ("inner", inner), ("c", count)])
    made = graph.add_edge(START, "a").compile(saver, store=store)
    result = await made.ainvoke({}, config, durability=durability)
    assert result["items"] == list("123456")
    found = await store.aget(HOME, "k")
    assert found is not None
    assert found.value == {"n": 6}


@pytest.mark.parametrize("durability", ["sync", "exit"])
async def test_of_two_nodes_at_once_one_is_told_that_the_other_was_faster(
    saver: Saver, store: ItemStore, config: RunnableConfig, durability: Durability
) -> None:
    """Also where both write over what an earlier node has put and is not stored yet."""
    both = asyncio.Barrier(2)

    async def count(state: Items) -> Items:
        return {"items": [str(await _count())]}

    async def together(state: Items) -> Items:
        found = await count(state)
        await both.wait()
        return found

    graph = StateGraph(Items).add_node("a", count).add_node("b", together).add_node("c", together)
    graph.add_edge(START, "a").add_edge("a", "b").add_edge("a", "c")
    made = graph.compile(saver, store=store)
    async with asyncio.timeout(20):
        with pytest.raises(StoreConflictError):
            await made.ainvoke({}, config, durability=durability)
