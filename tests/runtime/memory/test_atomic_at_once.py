"""An atomic store where several put at once, out of graphs within, or into a cache."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import (
    START,
    CachePolicy,
    Command,
    InMemoryCache,
    StateGraph,
    get_store,
    interrupt,
)
from durable_graph.errors import CacheWarning, InvalidUpdateError, StoreConflictError
from durable_graph.saver import Saver
from durable_graph.store import BaseStore, ItemStore
from durable_graph.types import Durability, RunnableConfig
from tests.runtime.kit import Items, key_of
from tests.runtime.memory.kit import HOME, keys


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


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
@pytest.mark.parametrize("slower_puts", [True, False])
async def test_of_results_that_exclude_each_other_the_one_on_record_stays(
    saver: Saver,
    store: ItemStore,
    others: ItemStore,
    config: RunnableConfig,
    durability: Durability,
    slower_puts: bool,
) -> None:
    """What it has put is there, so it must not run again; the other leaves nothing, and does.
    That holds for a process that comes later, too, and until they agree."""
    done = asyncio.Event()
    runs: list[str] = []

    async def first(state: Items, store: BaseStore) -> Items:
        runs.append("first")
        await store.aput(HOME, f"first {runs.count('first')}", {})
        done.set()
        return {"last": 1}

    async def second(state: Items, store: BaseStore) -> Items:
        runs.append("second")
        await done.wait()
        for _ in range(5):  # until its sibling's result has been taken in
            await asyncio.sleep(0)
        if slower_puts:
            await store.aput(HOME, f"second {runs.count('second')}", {})
        return {"last": 2} if runs.count("second") < 3 else {}

    async def third(state: Items) -> Items:
        runs.append("third")
        while runs.count("second") == 1 and durability == "sync" and await keys(others) == []:
            await asyncio.sleep(0)
        return {"items": ["third"]}

    graph = StateGraph(Items)
    for node in (first, second, third):
        graph.add_node(node).add_edge(START, node.__name__)
    made = graph.compile(saver, store=store)
    async with asyncio.timeout(20):
        with pytest.raises(InvalidUpdateError, match="more than one value to 'last'"):
            await made.ainvoke({}, config, durability=durability)
        assert await keys(others) == ["first 1"]
        assert (await made.aget_state(config)).next == ("second",)
        elsewhere = Saver(saver.backend)  # which has seen nothing of it
        made = graph.compile(elsewhere, store=store)
        with pytest.raises(InvalidUpdateError):
            await made.ainvoke(None, config, durability=durability)
        assert await keys(others) == ["first 1"]
        result = await made.ainvoke(None, config, durability=durability)
    assert (result["last"], result["items"]) == (1, ["third"])
    assert sorted(runs) == ["first", "second", "second", "second", "third"]
    assert await keys(others) == ["first 1", *["second 3"] * slower_puts]


def within_ten(left: int, right: int) -> int:
    """A reducer that fails on several results together, each of which it takes."""
    if left + right > 10:
        raise ValueError("more than ten")
    return left + right


class Spent(TypedDict, total=False):
    """A state whose reducer may refuse."""

    sum: Annotated[int, within_ten]


@pytest.mark.parametrize("slower", ["a", "b", "c"])
async def test_what_no_reducer_takes_with_those_on_record_is_what_came_last(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig, slower: str
) -> None:
    """Also if, in the order of the nodes, the reducer fails at one that is on record."""
    runs: list[str] = []

    def node(name: str) -> Any:
        async def node(state: Spent, store: BaseStore) -> Spent:
            runs.append(name)
            run = runs.count(name)
            await store.aput(HOME, f"{name} {run}", {})
            while name == slower and run == 1 and len(await keys(others)) < 2:
                await asyncio.sleep(0)
            return {"sum": 4} if run < 3 else {}

        return node

    graph = StateGraph(Spent)
    for name in ("a", "b", "c"):
        graph.add_node(name, node(name)).add_edge(START, name)
    made = graph.compile(saver, store=store)
    quicker = [name for name in ("a", "b", "c") if name != slower]
    async with asyncio.timeout(20):
        for attempt in range(2):
            with pytest.raises(InvalidUpdateError, match="reducer of 'sum' failed"):
                await made.ainvoke(None if attempt else {}, config)
            assert await keys(others) == [f"{name} 1" for name in quicker]
            assert (await made.aget_state(config)).next == (slower,)
        assert await made.ainvoke(None, config) == {"sum": 8}
    assert sorted(runs) == sorted([*quicker, *[slower] * 3])
    assert await keys(others) == sorted([*(f"{name} 1" for name in quicker), f"{slower} 3"])


async def test_those_on_record_that_no_reducer_takes_together_run_again(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """And put again, as told of `BaseStore.atomic`: the one at which the reducer fails."""
    runs: list[str] = []

    def node(name: str) -> Any:
        async def node(state: Spent, store: BaseStore) -> Spent:
            runs.append(name)
            if name == "c":
                while len(await keys(others)) < 2:
                    await asyncio.sleep(0)
                return {}
            await store.aput(HOME, f"{name} {runs.count(name)}", {})
            return {"sum": 6} if runs.count(name) == 1 else {"sum": 1}

        return node

    graph = StateGraph(Spent)
    for name in ("a", "b", "c"):
        graph.add_node(name, node(name)).add_edge(START, name)
    made = graph.compile(saver, store=store)
    async with asyncio.timeout(20):
        with pytest.raises(InvalidUpdateError, match="failed on what node 'b' wrote"):
            await made.ainvoke({}, config)
        assert await made.ainvoke(None, config) == {"sum": 7}
    assert sorted(runs) == ["a", "b", "b", "c"]
    assert await keys(others) == ["a 1", "b 1", "b 2"]


@pytest.mark.parametrize("ends", ["closes", "fails", "asks"])
async def test_a_result_that_cannot_be_taken_leaves_nothing_whenever_it_comes(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig, ends: str
) -> None:
    """Also where its siblings are still at work as it comes, however those end."""
    runs: list[str] = []
    quick = asyncio.Event()

    async def bad(state: Items, store: BaseStore) -> Any:
        runs.append("bad")
        await store.aput(HOME, f"bad {runs.count('bad')}", {})
        quick.set()
        return {"items": 5} if runs.count("bad") == 1 else {"items": ["bad"]}

    async def slow(state: Items) -> Items:
        runs.append("slow")
        await quick.wait()
        for _ in range(20):  # until it would have been on record
            await asyncio.sleep(0)
            assert runs.count("slow") > 1 or await others.aget(HOME, "bad 1") is None
        if runs.count("slow") == 1 and ends == "fails":
            raise ValueError("no")
        if ends == "asks":
            interrupt("Go on?")
        return {"items": ["slow"]}

    graph = StateGraph(Items).add_node(bad).add_node(slow)
    made = graph.add_edge(START, "bad").add_edge(START, "slow").compile(saver, store=store)
    if ends == "asks":
        await made.ainvoke({}, config)
    else:
        with pytest.raises(InvalidUpdateError if ends == "closes" else ValueError):
            await made.ainvoke({}, config)
    assert await keys(others) == []
    given: Any = Command(resume=True) if ends == "asks" else None
    assert (await made.ainvoke(given, config))["items"] == ["bad", "slow"]
    assert await keys(others) == ["bad 2"]
    assert runs.count("bad") == 2


async def test_a_put_that_is_refused_does_not_hide_what_a_run_ends_with(
    saver: Saver, store: ItemStore, others: ItemStore, config: RunnableConfig
) -> None:
    """A failure that is told with all others comes while a result waits that a sibling's put
    excludes: the run ends with the failure, and the thread is not left running."""
    met, failing = asyncio.Barrier(2), asyncio.Event()
    runs: list[str] = []

    async def work(name: str) -> None:
        runs.append(name)
        store = get_store()
        found = await store.aget(HOME, "k")
        if runs.count("a") + runs.count("b") <= 2:
            await met.wait()
        number = 1 if found is None else found.value["n"] + 1
        version = 0 if found is None else found.version
        await store.aput(HOME, "k", {"n": number}, if_version=version)
        if name == "b":
            await failing.wait()
            for _ in range(5):  # until the others have ended
                await asyncio.sleep(0)

    async def a(state: Items) -> None:
        await work("a")

    async def b(state: Items) -> None:
        await work("b")

    async def fails(state: Items) -> None:
        runs.append("fails")
        if runs.count("fails") == 1:
            failing.set()
            raise ZeroDivisionError

    graph = StateGraph(Items)
    for node in (a, b, fails):
        graph.add_node(node).add_edge(START, node.__name__)
    made = graph.compile(saver, store=store, step_policy="collect")
    async with asyncio.timeout(20):
        with pytest.raises(ZeroDivisionError):
            await made.ainvoke({}, config, durability="exit")
        head = await saver.backend.read(key_of(config))
        assert head is not None
        assert head.head.status == "failed"
        await made.ainvoke(None, config)
    item = await others.aget(HOME, "k")
    assert item is not None
    assert item.value == {"n": 2}


async def test_what_was_refused_is_not_seen_by_who_goes_on(
    saver: Saver, store: ItemStore, config: RunnableConfig
) -> None:
    """Nor where puts are stored only when the run ends: a caller may live with the refusal."""
    seen: list[list[str]] = []

    async def bad(state: Items, store: BaseStore) -> Any:
        await store.aput(HOME, "bad", {})
        return {"items": 5}

    within = StateGraph(Items).add_node(bad).add_edge(START, "bad").compile()

    async def calls(state: Items) -> None:
        with pytest.raises(InvalidUpdateError):
            await within.ainvoke({})

    async def after(state: Items) -> None:
        seen.append(await keys(get_store()))

    graph = StateGraph(Items).add_sequence([calls, after]).add_edge(START, "calls")
    await graph.compile(saver, store=store).ainvoke({}, config, durability="exit")
    assert seen == [[]]
