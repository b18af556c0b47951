"""`InMemoryStore`: what is put there is found again, and only that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.errors import InvalidNamespaceError, StoreConflictError, StoreError
from durable_graph.ports.items import Entry, Namespace
from durable_graph.ports.memory_items import InMemoryItems
from durable_graph.ports.store import GetOp, Item, ListNamespacesOp, Op, PutOp, SearchOp
from durable_graph.state.messages import Message
from durable_graph.store import BaseStore, InMemoryStore, ItemStore
from durable_graph.testing import FakeClock

HOME = ("users", "7")


async def keys(store: InMemoryStore, *prefix: str, **options: Any) -> list[str]:
    return [item.key for item in await store.asearch(prefix, **options)]


async def test_what_is_put_is_there_until_it_is_deleted() -> None:
    """Under its namespace and key, and nowhere else."""
    store = InMemoryStore()
    assert await store.aget(HOME, "k") is None
    await store.aput(HOME, "k", {"n": 1})
    item = await store.aget(HOME, "k")
    assert item is not None
    assert (item.value, item.key, item.namespace) == ({"n": 1}, "k", HOME)
    assert await store.aget(("users",), "k") is None
    assert await store.aget(HOME, "other") is None
    await store.adelete(HOME, "k")
    await store.adelete(HOME, "k")
    assert await store.aget(HOME, "k") is None
    assert await store.alist_namespaces() == []


async def test_an_item_knows_when_it_was_made_and_changed() -> None:
    """Putting anew changes the one and not the other."""
    clock = FakeClock()
    store = InMemoryStore(clock=clock)
    first = datetime.fromtimestamp(clock.time(), UTC)
    await store.aput(HOME, "k", {"n": 1})
    await clock.advance(60)
    await store.aput(HOME, "k", {"n": 2})
    item = await store.aget(HOME, "k")
    assert item == Item({"n": 2}, "k", HOME, first, datetime.fromtimestamp(clock.time(), UTC))
    assert item.dict() == {
        "namespace": ["users", "7"],
        "key": "k",
        "value": {"n": 2},
        "created_at": first.isoformat(),
        "updated_at": item.updated_at.isoformat(),
    }
    (found,) = await store.asearch(HOME)
    assert (found.score, found.dict()) == (None, {**item.dict(), "score": None})


async def test_nobodys_changes_reach_what_is_kept() -> None:
    """Neither to what was put, nor to what was read or found."""
    store, value = InMemoryStore(), {"list": [1]}
    await store.aput(HOME, "k", value)
    value["list"].append(2)
    for _ in range(2):
        item = await store.aget(HOME, "k")
        assert item is not None
        assert item.value == {"list": [1]}
        item.value["list"].append(3)
        (found,) = await store.asearch(HOME)
        found.value.clear()


async def test_values_come_back_as_they_were() -> None:
    """All that a state can hold, types included."""
    store = InMemoryStore()
    value = {"t": (1, 2), "d": datetime(2026, 1, 1, tzinfo=UTC), "m": Message("user", "hi")}
    await store.aput(HOME, "k", value)
    item = await store.aget(HOME, "k")
    assert item is not None
    assert item.value == value
    assert type(item.value["m"]) is Message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"f": object()}, "The value under 'k' cannot be kept"),
        (["a"], "is to be a dict with texts as keys"),
        ({1: 2}, "is to be a dict with texts as keys"),
        (None, "There is no value to put under 'k'; adelete"),
    ],
)
async def test_what_cannot_be_kept_is_refused(value: Any, message: str) -> None:
    """And what was there stays."""
    store = InMemoryStore()
    await store.aput(HOME, "k", {"n": 1})
    with pytest.raises(StoreError, match=message):
        await store.aput(HOME, "k", value)
    assert await keys(store) == ["k"]


@pytest.mark.parametrize(
    ("namespace", "message"),
    [
        ((), "at least one word"),
        (("a", ""), "'' cannot be a word"),
        (("a.b",), "'a.b' cannot be a word"),
        (("a\0",), "cannot be a word"),
        (("langgraph", "x"), "cannot be 'langgraph'"),
        ("users", "is a tuple of words"),
        (["users"], "is a tuple of words"),
        ((1,), "is a tuple of words"),
    ],
)
async def test_a_namespace_that_is_none_is_refused(namespace: Any, message: str) -> None:
    """In every call that names one."""
    store = InMemoryStore()
    for call in (
        store.aput(namespace, "k", {}),
        store.aget(namespace, "k"),
        store.adelete(namespace, "k"),
    ):
        with pytest.raises(InvalidNamespaceError, match=message):
            await call


@pytest.mark.parametrize("key", ["", None, 7, "a\0b"])
async def test_a_key_that_is_none_is_refused(key: Any) -> None:
    """A key is a text with something in it."""
    with pytest.raises(StoreError, match="A key is a text"):
        await InMemoryStore().aput(HOME, key, {})


async def test_a_search_finds_what_is_beneath_a_namespace() -> None:
    """Word by word, not letter by letter; the last that was put comes first."""
    store = InMemoryStore()
    for words in (("a",), ("a", "b"), ("ab",), ("a", "bc"), ("a", "b", "c")):
        await store.aput(words, "/".join(words), {})
    assert await keys(store, "a") == ["a/b/c", "a/bc", "a/b", "a"]
    assert await keys(store, "a", "b") == ["a/b/c", "a/b"]
    assert await keys(store) == ["a/b/c", "a/bc", "ab", "a/b", "a"]
    assert await keys(store, "b") == []
    await store.aput(("a",), "a", {})
    assert (await keys(store, "a"))[0] == "a"


async def test_a_search_is_cut_into_pages() -> None:
    """Ten by default; pages do not overlap and leave nothing out."""
    store = InMemoryStore()
    for n in range(25):
        await store.aput(HOME, str(n), {"even": n % 2 == 0})
    assert await keys(store) == [str(n) for n in range(24, 14, -1)]
    pages = [await keys(store, limit=10, offset=at) for at in (0, 10, 20, 30)]
    assert [key for page in pages for key in page] == [str(n) for n in range(24, -1, -1)]
    assert await keys(store, filter={"even": True}, limit=2, offset=1) == ["22", "20"]
    assert await keys(store, limit=0) == []


@pytest.mark.parametrize("query", [None, "words"])
@pytest.mark.parametrize("puts", [1, 30, 250])
async def test_a_search_finds_what_is_there_all_the_time(query: str | None, puts: int) -> None:
    """Once each, though it is put anew between two pages, from one that is still to come to before
    the first, or from the first; and it ends, though others put on and on."""
    many = 700

    class Busy(InMemoryItems):
        """Items of which some are put anew before each page is read."""

        scans = 0

        async def scan(self, prefix: Namespace, now: float, **options: Any) -> Sequence[Entry]:
            self.scans += 1
            if self.scans > 1 and (puts < 250 or self.scans < 40):
                for number in range(puts):
                    key = str((number * 7 + self.scans * 3) % many)
                    await others.aput(HOME, key, {"n": int(key), "text": "words"})
            return await super().scan(prefix, now, **options)

    index: Any = {"dims": 1, "embed": lambda texts: [[1.0] for _ in texts], "fields": ["text"]}
    items = Busy()
    store, others = ItemStore(items, index=index), ItemStore(items, index=index)
    for number in range(many):
        await others.aput(HOME, str(number), {"n": number, "text": "words"})
    found = await store.asearch(HOME, query=query, filter={"n": {"$lt": 100}}, limit=150)
    numbers = [item.value["n"] for item in found]
    assert len(numbers) == len(set(numbers))
    if puts < 250:
        assert sorted(numbers) == list(range(100))
    assert items.scans < 60


@pytest.mark.parametrize("number", [-1, "1", 1.5, True, None])
async def test_a_page_that_is_none_is_refused(number: Any) -> None:
    """In searches and listings, as limit and as offset."""
    store = InMemoryStore()
    for name in ("limit", "offset"):
        with pytest.raises(StoreError, match=f"{name} is a number, at least 0"):
            await store.asearch((), **{name: number})
        with pytest.raises(StoreError, match=f"{name} is a number, at least 0"):
            await store.alist_namespaces(**{name: number})


async def test_namespaces_are_listed() -> None:
    """In order, by their beginning and end with ``*`` for any word, cut off and in pages."""
    store = InMemoryStore()
    for words in (("u", "1", "notes"), ("u", "2", "notes"), ("u", "2", "facts"), ("x",)):
        await store.aput(words, "k", {})
        await store.aput(words, "l", {})
    assert await store.alist_namespaces() == [
        ("u", "1", "notes"),
        ("u", "2", "facts"),
        ("u", "2", "notes"),
        ("x",),
    ]
    assert await store.alist_namespaces(prefix=("u", "2"), limit=1) == [("u", "2", "facts")]
    assert await store.alist_namespaces(prefix=("u", "*", "facts")) == [("u", "2", "facts")]
    assert await store.alist_namespaces(suffix=("notes",), offset=1) == [("u", "2", "notes")]
    assert await store.alist_namespaces(suffix=("*", "*", "*", "*")) == []
    assert await store.alist_namespaces(max_depth=1) == [("u",), ("x",)]
    with pytest.raises(StoreError, match="max_depth"):
        await store.alist_namespaces(max_depth=0)
    with pytest.raises(InvalidNamespaceError):
        await store.alist_namespaces(prefix="u")  # type: ignore[arg-type]


async def test_a_batch_is_done_in_order() -> None:
    """Reads see the writes before them; if one is wrong, none is done."""
    store = InMemoryStore()
    done = await store.abatch(
        [
            PutOp(HOME, "k", {"n": 1}),
            GetOp(HOME, "k"),
            PutOp(HOME, "k", {"n": 2}),
            SearchOp(HOME),
            PutOp(HOME, "k", None),
            GetOp(HOME, "k"),
            ListNamespacesOp(),
        ]
    )
    assert [done[0], done[1].value, done[2], done[3][0].value, *done[4:]] == [
        None,
        {"n": 1},
        None,
        {"n": 2},
        None,
        None,
        [],
    ]
    with pytest.raises(StoreError):
        await store.abatch([PutOp(HOME, "k", {}), PutOp(HOME, "l", {"f": object()})])
    with pytest.raises(StoreError, match="is no operation"):
        await store.abatch(["get"])  # type: ignore[list-item]
    assert repr(store) == "<InMemoryStore: 0 items>"


def test_the_synchronous_face_does_the_same() -> None:
    """Each method has a namesake without the ``a``."""
    store = InMemoryStore()
    store.setup()  # nothing has to be, but LangGraph's users are used to it
    store.put(HOME, "k", {"n": 1})
    store.put(HOME, "l", {"n": 2})
    assert store.get(HOME, "k").value == {"n": 1}
    assert [item.key for item in store.search(HOME, filter={"n": {"$gt": 1}})] == ["l"]
    store.delete(HOME, "l")
    assert store.list_namespaces(prefix=("users",)) == [HOME]
    (item,) = store.batch([GetOp(HOME, "k")])
    assert item.value == {"n": 1}
    with pytest.raises(StoreError):
        store.put(HOME, "", {})
    store.put(HOME, "k", {"n": 3}, ["n"], ttl=5, if_version=item.version)
    with pytest.raises(StoreConflictError, match="Somebody else has written 'k' in"):
        store.delete(HOME, "k", if_version=item.version)
    assert store.get(HOME, "k", refresh_ttl=False).expires_at is not None
    assert store.sweep_ttl() == 0
    with store as same:
        assert same is store


async def test_the_synchronous_face_works_in_async_code() -> None:
    """A store in memory has nothing to wait for, so it holds up no loop."""
    store = InMemoryStore()
    store.put(HOME, "k", {})
    await asyncio.to_thread(store.put, HOME, "l", {})
    assert sorted(await keys(store)) == ["k", "l"]


words = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(tuple)
puts = st.tuples(words, st.sampled_from("kl"), st.none() | st.integers(0, 3))


@given(st.lists(puts, max_size=12), st.lists(st.sampled_from("abc"), max_size=2).map(tuple))
def test_a_search_agrees_with_a_list_of_what_was_put(
    given_puts: list[tuple[tuple[str, ...], str, int | None]], prefix: tuple[str, ...]
) -> None:
    """For any puts and deletions: a model that is a list of the last put under each key."""
    store = InMemoryStore()
    model: dict[tuple[tuple[str, ...], str], int] = {}
    for namespace, key, n in given_puts:
        model.pop((namespace, key), None)
        if n is None:
            store.delete(namespace, key)
        else:
            model[namespace, key] = n
            store.put(namespace, key, {"n": n})
    wanted = [(*place, n) for place, n in model.items() if place[0][: len(prefix)] == prefix]
    found = store.search(prefix, limit=100)
    assert [(i.namespace, i.key, i.value["n"]) for i in found] == wanted[::-1]
    some = store.search(prefix, filter={"n": {"$gte": 1, "$lt": 3}}, limit=100)
    assert [i.value["n"] for i in some] == [n for *_, n in wanted[::-1] if 1 <= n < 3]
    assert store.list_namespaces() == sorted({namespace for namespace, _ in model})


async def test_a_store_of_ones_own_has_a_batch_and_no_lifetimes() -> None:
    """All the rest is made of it; a time to live is refused where it would be forgotten."""

    class Upper(BaseStore):
        async def abatch(self, ops: Iterable[Op]) -> list[Any]:
            return [op.key.upper() if isinstance(op, GetOp) else None for op in ops]

    async with Upper() as store:
        assert await store.abatch([GetOp(HOME, "k")]) == ["K"]
        await store.aput(HOME, "k", {})
        await store.aput(HOME, "k", {}, ttl=None)
        with pytest.raises(StoreError, match="Upper keeps its items for ever"):
            await store.aput(HOME, "k", {}, ttl=5)
    assert not store.capabilities.durable


async def test_puts_remove_what_has_expired() -> None:
    """A bit each time, so that nobody has to come for it."""
    clock = FakeClock()
    store = InMemoryStore(clock=clock, ttl={"default_ttl": 1})
    await store.abatch([PutOp(HOME, str(n), {}, ttl=1) for n in range(50)])
    await clock.advance(61)
    await store.aput(HOME, "k", {})
    assert repr(store) == "<InMemoryStore: 42 items>"
    for _ in range(5):
        await store.aput(HOME, "k", {})
    assert repr(store) == "<InMemoryStore: 1 items>"


async def test_versions_of_several_threads_differ() -> None:
    """Though all of them are drawn from one moment."""
    store = InMemoryStore(clock=FakeClock())

    def put(number: int) -> None:
        for n in range(100):
            store.put((str(number),), str(n), {})

    await asyncio.gather(*(asyncio.to_thread(put, number) for number in range(4)))
    found = await store.asearch((), limit=1000)
    assert len({item.version for item in found}) == 400
