"""Cached nodes: what is kept, when it is used, and that a cache can do no harm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

from durable_graph import (
    END,
    START,
    CachePolicy,
    Command,
    InMemoryCache,
    InMemorySaver,
    MessagesState,
    Overwrite,
    Send,
    StateGraph,
    interrupt,
)
from durable_graph.cache import BaseCache, CacheKey, CacheNamespace
from durable_graph.errors import CacheWarning, ConfigError, InvalidUpdateError, StorageFullError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteCache
from tests.runtime.backends import failing
from tests.runtime.kit import Items, collect, says


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> BaseCache:
    """A cache of each kind, on the test's time."""
    if request.param == "memory":
        return InMemoryCache(clock=clock)
    return SqliteCache(tmp_path / "cache.db", clock=clock)


def noting(seen: list[Any], result: Any = None) -> Callable[[Items], Any]:
    """A node that notes what it saw, and returns this, or what it saw."""

    async def node(state: Items) -> Any:
        seen.append(state.get("last"))
        return {"items": [f"saw {state.get('last')}"]} if result is None else result

    return node


def cached(
    node: Callable[..., Any],
    cache: BaseCache | None,
    saver: Saver | None = None,
    policy: CachePolicy | None = None,
    **options: Any,
) -> CompiledGraph:
    """A graph of this one node, whose results are kept."""
    by_last = CachePolicy(key_func=lambda state: state.get("last"))
    graph = StateGraph(Items).add_node("node", node, cache_policy=policy or by_last)
    return graph.add_edge(START, "node").compile(saver, cache=cache, **options)


def thread(name: Any) -> RunnableConfig:
    return {"configurable": {"thread_id": str(name)}}


async def test_a_kept_result_is_used_instead_of_running_the_node(
    cache: BaseCache, saver: Saver
) -> None:
    """For the same input, in whatever thread; and another input is another result."""
    seen: list[Any] = []
    graph = cached(noting(seen), cache, saver, CachePolicy())
    for name in (1, 2):
        assert (await graph.ainvoke({"last": "a"}, thread(name)))["items"] == ["saw a"]
    assert (await graph.ainvoke({"last": "b"}, thread(3)))["items"] == ["saw b"]
    assert seen == ["a", "b"]


async def test_an_update_says_that_it_was_kept(cache: BaseCache, saver: Saver) -> None:
    """As in LangGraph, beside the node's own; it is on record, so it is shown from there."""
    graph = cached(noting([]), cache, saver)
    first = await collect(graph.astream({"last": "a"}, thread(1)))
    second = await collect(graph.astream({"last": "a"}, thread(2)))
    assert first == [{"node": {"items": ["saw a"]}}]
    assert second == [{"node": {"items": ["saw a"]}, "__metadata__": {"cached": True}}]


async def test_commands_and_packets_are_kept_too(cache: BaseCache, saver: Saver) -> None:
    """Where a node's commands go is part of what it returned."""
    seen: list[Any] = []
    result = [
        Command(update={"last": Overwrite("b")}, goto=[Send("work", {"last": 1}, timeout=60)]),
        Command(goto="after"),
    ]
    graph = StateGraph(Items)
    graph.add_node(
        "node", noting(seen, result), cache_policy=CachePolicy(), destinations=["work", "after"]
    )
    graph.add_node("work", lambda part: {"items": [part["last"]]}).add_node("after", says("after"))
    compiled = graph.add_edge(START, "node").compile(saver, cache=cache)
    for name in (1, 2):
        values = await compiled.ainvoke({"last": "a"}, thread(name))
        assert (values["items"], values["last"]) == (["after", 1], "b")
    assert seen == ["a"]


async def test_routers_look_at_the_state_anew(cache: BaseCache, saver: Saver) -> None:
    """What a conditional edge says may depend on more than the node's input."""
    seen: list[Any] = []

    async def route(state: Items) -> Literal["more", "__end__"]:
        return "more" if state["count"] else END

    graph = StateGraph(Items)
    policy = CachePolicy(key_func=lambda state: state["last"])
    graph.add_node("node", noting(seen), cache_policy=policy).add_node("more", says("more"))
    graph.add_edge(START, "node").add_conditional_edges("node", route)
    compiled = graph.compile(saver, cache=cache)
    assert (await compiled.ainvoke({"last": "a", "count": 0}, thread(1)))["items"] == ["saw a"]
    result = await compiled.ainvoke({"last": "a", "count": 1}, thread(2))
    assert result["items"] == ["saw a", "more"]
    assert seen == ["a"]


async def test_a_kept_result_is_combined_with_the_state_in_which_it_is_used(
    cache: BaseCache, saver: Saver
) -> None:
    """It is what the node returned, and not what came of it; whatever is done to it then."""
    seen: list[Any] = []
    graph = cached(noting(seen), cache, saver)
    await graph.ainvoke({"last": "a", "items": ["x" * 5000]}, thread(1))
    result = await graph.ainvoke({"last": "a", "items": ["y"]}, thread(2))
    assert result["items"] == ["y", "saw a"]
    result["items"].append("spoilt")
    assert (await graph.ainvoke({"last": "a"}, thread(3)))["items"] == ["saw a"]
    assert seen == ["a"]


async def test_kept_messages_are_new_messages(cache: BaseCache, saver: Saver) -> None:
    """They get ids of their own each time, so in one thread they do not replace each other."""
    ran: list[int] = []

    async def model(state: MessagesState) -> MessagesState:
        ran.append(1)
        return {"messages": [("assistant", "Hello")]}

    graph = StateGraph(MessagesState)
    graph.add_node(model, cache_policy=CachePolicy(key_func=lambda state: "always"))
    compiled = graph.add_edge(START, "model").compile(saver, cache=cache)
    for _ in range(2):
        result = await compiled.ainvoke({"messages": "Hi"}, thread(1))
    assert [message.content for message in result["messages"]] == ["Hi", "Hello", "Hi", "Hello"]
    assert len({message.id for message in result["messages"]}) == 4
    assert len(ran) == 1


async def test_results_grow_old(cache: BaseCache, saver: Saver, clock: FakeClock) -> None:
    """By the cache's clock."""
    seen: list[Any] = []
    graph = cached(noting(seen), cache, saver, CachePolicy(ttl=10))
    for name, pause in enumerate((9.0, 1.0, 9.9)):
        await graph.ainvoke({"last": "a"}, thread(name))
        await clock.advance(pause)
    assert seen == ["a", "a"]


async def test_errors_and_questions_are_never_kept(cache: BaseCache, saver: Saver) -> None:
    """Only what a node returned once it had all its answers."""
    ran: list[str] = []

    async def node(state: Items) -> Items:
        ran.append("ran")
        if len(ran) == 1:
            raise ValueError
        return {"items": [interrupt("which?")]}

    graph = cached(node, cache, saver)
    with pytest.raises(ValueError):
        await graph.ainvoke({"last": "a"}, thread(1))
    await graph.ainvoke(None, thread(1))
    await graph.ainvoke({"last": "a"}, thread(2))
    assert len(ran) == 3
    await graph.ainvoke(Command(resume="this"), thread(1))
    assert (await graph.ainvoke({"last": "a"}, thread(3)))["items"] == ["this"]
    assert len(ran) == 4


async def test_what_is_kept_belongs_to_graph_node_and_version(
    cache: BaseCache, saver: Saver
) -> None:
    """Two nodes, two graphs or two versions of the code do not see each other's results."""
    seen: list[Any] = []
    node = noting(seen)

    def policy(version: str) -> CachePolicy:
        return CachePolicy(key_func=lambda state: 1, version=version)

    graphs = [
        cached(node, cache, saver, policy("1"), name="one"),
        cached(node, cache, saver, policy("1"), name="two"),
        cached(node, cache, saver, policy("2"), name="one"),
    ]
    for number, graph in enumerate(graphs):
        await graph.ainvoke({"last": number}, thread(f"a {number}"))
    assert seen == [0, 1, 2]
    for number, graph in enumerate(graphs):
        result = await graph.ainvoke({"last": "x"}, thread(f"b {number}"))
        assert result["items"] == [f"saw {number}"]


async def test_clearing(cache: BaseCache, saver: Saver) -> None:
    """Of one node or of all; of nothing where there is no such node."""
    seen: list[Any] = []
    graph = StateGraph(Items).set_node_defaults(cache_policy=CachePolicy(key_func=lambda s: 1))
    graph.add_sequence([("a", noting(seen, {"last": "a"})), ("b", noting(seen, {"last": "b"}))])
    compiled = graph.add_edge(START, "a").compile(saver, cache=cache)
    for nodes in (["b"], None, ["a"]):
        await compiled.ainvoke({"last": "in"}, thread(len(seen)))
        await compiled.aclear_cache(nodes)
    assert seen == ["in", "a", "a", "in", "a"]
    with pytest.raises(ConfigError, match="'c'"):
        await compiled.aclear_cache(["c"])
    await asyncio.to_thread(compiled.clear_cache)
    await asyncio.to_thread(cache.clear)
    assert await cache.aget([]) == {}


async def test_a_policy_counts_only_in_a_graph_with_a_cache(saver: Saver) -> None:
    """Without one it says nothing, and that is said."""
    seen: list[Any] = []
    with pytest.warns(CacheWarning, match="'node' has a cache_policy"):
        graph = cached(noting(seen), None, saver)
    for name in (1, 2):
        await graph.ainvoke({"last": "a"}, thread(name))
    assert seen == ["a", "a"]
    with pytest.raises(TypeError, match="InMemoryCache"):
        cached(noting(seen), {}, saver)  # type: ignore[arg-type]


class Whole(TypedDict, total=False):
    thing: Any


async def test_an_input_that_cannot_be_a_key_is_an_error(cache: BaseCache) -> None:
    """Or nothing would ever be kept, and nobody would know; a `key_func` helps."""
    graph = StateGraph(Whole).add_node("node", lambda state: None, cache_policy=CachePolicy())
    with pytest.raises(InvalidUpdateError, match="key_func"):
        await graph.add_edge(START, "node").compile(cache=cache).ainvoke({"thing": object()})


async def test_a_result_that_cannot_be_kept_is_used_all_the_same(cache: BaseCache) -> None:
    """In a run that is not stored it may be anything; that it is not kept is said."""
    policy = CachePolicy(key_func=lambda state: 1)
    graph = StateGraph(Whole)
    graph.add_node("node", lambda state: {"thing": object()}, cache_policy=policy)
    with pytest.warns(CacheWarning, match="cannot be kept"):
        await graph.add_edge(START, "node").compile(cache=cache).ainvoke({})


@dataclass
class Odd(BaseCache):
    """A cache that fails, or returns something else."""

    found: bytes | Exception

    async def aget(self, keys: Collection[CacheKey]) -> Mapping[CacheKey, bytes]:
        if isinstance(self.found, Exception):
            raise self.found
        return dict.fromkeys(keys, self.found)

    async def aset(self, entries: Mapping[CacheKey, tuple[bytes, float | None]]) -> None:
        if isinstance(self.found, Exception):
            raise self.found

    async def aclear(self, namespaces: Iterable[CacheNamespace] | None = None) -> None:
        raise NotImplementedError


async def test_a_cache_that_fails_is_done_without(saver: Saver) -> None:
    """It is a convenience: the run goes on, and says so."""
    graph = cached(noting([]), Odd(OSError("gone")), saver)
    with pytest.warns(CacheWarning, match="could not be read from: OSError: gone"):
        assert (await graph.ainvoke({"last": "a"}, thread(1)))["items"] == ["saw a"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not json",
        b"null",
        b"[]",
        b"[2,[],[]]",
        b'[1,[[["unknown",1]]],[]]',
        b'[1,[],["unknown"]]',
        b'[1,[[["items"]]],[]]',
        b'[1,[],[["node"]]]',
        b'[1,[],[["node",1,[-1,null,"auto"]]]]',
        b"[1,7,8]",
        b'{"~unknown":1}',
    ],
)
async def test_damaged_or_foreign_bytes_are_no_result(data: bytes, saver: Saver) -> None:
    """The node runs: a cache can make nothing wrong, and run nothing."""
    graph = cached(noting([]), Odd(data), saver)
    assert (await graph.ainvoke({"last": "a"}, thread(1)))["items"] == ["saw a"]


async def test_a_crash_at_any_write_comes_to_the_same_end(cache: BaseCache, saver: Saver) -> None:
    """What was kept before the crash is used after it; nothing is taken twice."""
    plain = saver.backend
    for good in range(1, 5):
        seen: list[Any] = []
        await cache.aclear()
        graph = StateGraph(Items).set_node_defaults(cache_policy=CachePolicy())
        graph.add_sequence([("a", noting(seen)), ("b", noting(seen, {"items": ["b"]}))])
        compiled = graph.add_edge(START, "a").compile(saver, cache=cache)
        around = failing(saver, good)
        try:
            await compiled.ainvoke({"last": "in"}, thread(good))
        except StorageFullError:
            around.good = around.appends + 100
            await compiled.ainvoke(None, thread(good))
        saver.backend = plain
        assert (await compiled.aget_state(thread(good))).values["items"] == ["saw in", "b"]
        assert seen == ["in", "in"]


async def test_tasks_at_once_have_places_of_their_own(cache: BaseCache, saver: Saver) -> None:
    """Each packet is an input by itself."""
    seen: list[Any] = []

    async def work(part: dict[str, Any]) -> Items:
        seen.append(part["n"])
        return {"items": [part["n"] * 10]}

    graph = StateGraph(Items).add_node("work", work, cache_policy=CachePolicy())
    graph.add_conditional_edges(
        START, lambda state: [Send("work", {"n": n}) for n in range(state["count"])], ["work"]
    )
    compiled = graph.compile(saver, cache=cache)
    await compiled.ainvoke({"count": 3}, thread(1))
    result = await compiled.ainvoke({"count": 5}, thread(2))
    assert result["items"] == [0, 10, 20, 30, 40]
    assert sorted(seen) == [0, 1, 2, 3, 4]


async def test_without_a_checkpointer_results_are_kept_as_well(cache: BaseCache) -> None:
    """A cache needs no threads."""
    seen: list[Any] = []
    graph = cached(noting(seen), cache)
    for _ in range(2):
        assert (await graph.ainvoke({"last": "a"}))["items"] == ["saw a"]
    assert seen == ["a"]


def test_a_cache_works_from_synchronous_code(cache: BaseCache) -> None:
    """And over several event loops: the synchronous face has its own."""
    seen: list[Any] = []
    graph = cached(noting(seen), cache, InMemorySaver())
    for name in (1, 2):
        assert graph.invoke({"last": "a"}, thread(name))["items"] == ["saw a"]
    assert seen == ["a"]
    cache.set({(("x",), "k"): (b"v", None)})
    assert cache.get([(("x",), "k")]) == {(("x",), "k"): b"v"}


async def test_a_command_for_the_graph_around_goes_there(
    cache: BaseCache, saver: Saver, config: RunnableConfig
) -> None:
    """It is no result of the node's own graph, so it is not kept, and means the same each time."""

    async def up(state: Items) -> Command[str]:
        return Command(graph=Command.PARENT, goto="next", update={"items": ["up"]})

    inner = StateGraph(Items).add_node("up", up, cache_policy=CachePolicy())
    child = inner.add_edge(START, "up").compile(cache=cache)
    graph = StateGraph(Items).add_node("child", child, destinations=("next",))
    compiled = graph.add_node("next", says("next")).add_edge(START, "child").compile(saver)
    for turn in (1, 2):
        result = await compiled.ainvoke({"items": []}, config)
        assert result["items"] == turn * ["up", "next"]
