"""Models that give a store's texts their meaning: which may be given, and how they are called."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypedDict

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding

from durable_graph import START, InMemoryStore, StateGraph
from durable_graph.errors import MissingExtraError, StoreError, StoreWarning
from durable_graph.ports.store import GetOp, PutOp, SearchOp
from durable_graph.store import BaseStore
from durable_graph.testing.store_contract_kit import embed

HOME = ("users", "7")


async def later(texts: Sequence[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    return embed(texts)


class Calls:
    """A model that is called, sync, and notes where and with what."""

    def __init__(self) -> None:
        self.texts: list[list[str]] = []
        self.threads: set[int] = set()

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts.append(list(texts))
        self.threads.add(threading.get_ident())
        return embed(texts)


class CallsLater:
    """A model that is called, async."""

    async def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        return await later(texts)


class Methods:
    """A model with the methods of LangChain's, which tells queries from documents."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return embed(texts)

    def embed_query(self, text: str) -> list[float]:
        return embed([text.removeprefix("query: ")])[0]


def store_of(model: Any) -> InMemoryStore:
    return InMemoryStore(index={"dims": 4, "embed": model, "fields": ["text"]})


@pytest.mark.parametrize(
    "make",
    [
        lambda: embed,
        lambda: later,
        Calls,
        CallsLater,
        lambda: partial(later),
        Methods,
    ],
    ids=["function", "async function", "object", "async object", "async partial", "methods"],
)
async def test_a_model_may_have_many_forms(make: Callable[[], Any]) -> None:
    """All of them do the same, async and from other threads."""
    store = store_of(make())
    await store.aput(HOME, "near", {"text": "aab"})
    await store.aput(HOME, "far", {"text": "b"})
    found = await store.asearch(HOME, query="query: a")
    assert [item.key for item in found] == ["near", "far"]
    found = await asyncio.to_thread(partial(store.search, HOME, query="b"))
    assert [item.key for item in found] == ["far", "near"]


async def test_langchains_embeddings_are_models() -> None:
    """As they come."""
    model = DeterministicFakeEmbedding(size=8)
    store = InMemoryStore(index={"dims": 8, "embed": model})
    await store.aput(HOME, "k", {"text": "hello"})
    (item,) = await store.asearch(HOME, query='{"text": "hello"}')
    assert item.score == pytest.approx(1.0)


async def test_a_sync_model_holds_up_no_event_loop() -> None:
    """It is called in another thread; from the synchronous face in that call's own."""
    model = Calls()
    store = store_of(model)
    await store.aput(HOME, "k", {"text": "a"})
    await store.asearch(HOME, query="a")
    assert threading.get_ident() not in model.threads
    model.threads.clear()
    store.put(HOME, "k", {"text": "b"})
    assert model.threads == {threading.get_ident()}


async def test_a_batch_asks_the_model_once() -> None:
    """For all that it puts, and for the same text once."""
    model = Calls()
    store = store_of(model)
    puts = [PutOp(HOME, str(n), {"text": f"a{n % 3}"}) for n in range(9)]
    await store.abatch([*puts, PutOp(HOME, "not", {"text": "x"}, index=False), GetOp(HOME, "1")])
    assert model.texts == [["a0", "a1", "a2"]]
    await store.abatch([SearchOp(HOME, query=None), SearchOp(HOME, query="")])
    assert len(model.texts) == 1


async def test_a_search_in_a_batch_ranks_what_was_put_before() -> None:
    """Though that is not written yet."""
    store = store_of(embed)
    await store.aput(HOME, "old", {"text": "ab"})
    done = await store.abatch([PutOp(HOME, "new", {"text": "a"}), SearchOp(HOME, query="a")])
    assert [(item.key, item.score) for item in done[1]] == [
        ("new", 1.0),
        ("old", pytest.approx(0.707107, abs=1e-6)),
    ]


@pytest.mark.parametrize("model", [embed, later], ids=["sync", "async"])
async def test_async_nodes_may_use_the_synchronous_face(model: Any) -> None:
    """Also of a store that is searched by meaning."""

    class State(TypedDict, total=False):
        found: list[str]

    async def remember(state: State, store: BaseStore) -> State:
        store.put(HOME, "k", {"text": "a"})
        return {"found": [item.key for item in store.search(HOME, query="a")]}

    graph = StateGraph(State).add_node(remember).add_edge(START, "remember")
    assert await graph.compile(store=store_of(model)).ainvoke({}) == {"found": ["k"]}


async def test_a_model_that_fails_puts_nothing() -> None:
    """Its error comes out as it is."""

    def fails(texts: Sequence[str]) -> list[list[float]]:
        raise ConnectionError("no model")

    store = store_of(fails)
    with pytest.raises(ConnectionError, match="no model"):
        await store.abatch([PutOp(HOME, "l", {}), PutOp(HOME, "k", {"text": "a"})])
    assert await store.asearch(()) == []


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda texts: [[1.0]] * len(texts), r"dims=4, and `embed` returned a vector of 1"),
        (lambda texts: [], "given 1 texts and returned 0 vectors"),
        (lambda texts: [[1.0] * 4] * 2, "given 1 texts and returned 2 vectors"),
        (lambda texts: None, "a list of vectors, not None"),
        (lambda texts: [["x"] * 4], "no list of numbers"),
        (lambda texts: later([*texts]), "Make it an `async def`"),
    ],
)
async def test_what_a_model_returns_is_checked(model: Any, message: str) -> None:
    """Before anything is put, and before anything is searched for."""
    store = store_of(model)
    with pytest.raises(StoreError, match=message):
        await store.aput(HOME, "k", {"text": "a"})
    with pytest.raises(StoreError, match=message):
        await store.asearch(HOME, query="a")
    assert await store.asearch(()) == []


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (5, "index is a dict"),
        ({"dims": 4}, "index is a dict"),
        ({"dims": 0, "embed": embed}, "dims is how many"),
        ({"dims": 4, "embed": 7}, "embed is a function"),
        ({"dims": 4, "embed": embed, "fields": ["a["]}, "is no path"),
        ({"dims": 4, "embed": embed, "fields": "text"}, "list of paths"),
        ({"dims": 4, "embed": embed, "metric": "l2"}, "index has 'metric'"),
    ],
)
def test_an_index_that_makes_no_sense_is_refused(index: Any, message: str) -> None:
    """As the store is made."""
    with pytest.raises(StoreError, match=message):
        InMemoryStore(index=index)


def test_a_name_needs_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    """And says so."""
    monkeypatch.setitem(__import__("sys").modules, "langchain.embeddings", None)
    with pytest.raises(MissingExtraError, match="pip install langchain"):
        InMemoryStore(index={"dims": 4, "embed": "openai:text-embedding-3-small"})


async def test_a_query_without_an_index_warns_once() -> None:
    """The items come as without a query: whoever moves here from another store has that."""
    store = InMemoryStore()
    await store.aput(HOME, "k", {"text": "a"})
    with pytest.warns(StoreWarning, match="has no index"):
        assert [item.key for item in await store.asearch(HOME, query="a")] == ["k"]
    assert [item.key for item in await store.asearch(HOME, query="a")] == ["k"]
