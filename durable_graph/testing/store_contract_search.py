"""The contract of stores, on what is searched and listed."""

from __future__ import annotations

from typing import Any, Final

from durable_graph.ports.store import PutOp
from durable_graph.testing.contract_kit import expect_equal
from durable_graph.testing.store_contract_kit import (
    HOME,
    StoreChapter,
    StoreStorage,
    embed,
    keys,
)

__all__ = ["LISTING", "MEANING", "SEARCHING"]

SEARCHING = StoreChapter("searching")
LISTING = StoreChapter("listing")
MEANING = StoreChapter("meaning", index={"dims": 4, "embed": embed, "fields": ["text"]})

_TEXTS: Final = {"a": "aaa", "ab": "ab", "b": "bbb", "c": "c", "none": "xyz"}


@SEARCHING.check
async def a_search_finds_what_is_beneath_a_namespace(storage: StoreStorage) -> None:
    """A search finds what is in a namespace and beneath it, word by word, the last put first."""
    store = storage.store
    for words in (("a",), ("a", "b"), ("ab",), ("a", "bc"), ("a", "b", "c")):
        await store.aput(words, "/".join(words), {})
    expect_equal(await keys(store, "a"), ["a/b/c", "a/bc", "a/b", "a"], "What is beneath a")
    expect_equal(await keys(store, "a", "b"), ["a/b/c", "a/b"], "What is beneath a, b")
    everything = ["a/b/c", "a/bc", "ab", "a/b", "a"]
    expect_equal(await keys(store), everything, "What is beneath everything")
    expect_equal(await keys(store, "b"), [], "What is beneath b")
    await store.aput(("a",), "a", {})
    expect_equal(await keys(store, "a", limit=2), ["a", "a/b/c"], "What was put anew")


@SEARCHING.check
async def items_come_in_the_order_of_time(storage: StoreStorage) -> None:
    """The last that was put comes first, whenever that was."""
    for n in range(5):
        await storage.store.aput(HOME, str(n), {})
        await storage.clock.advance(1.0 if n % 2 else 3600.0)
    expect_equal(await keys(storage.store), ["4", "3", "2", "1", "0"], "The keys")


@SEARCHING.check
async def a_search_is_cut_into_pages(storage: StoreStorage) -> None:
    """Pages do not overlap and leave nothing out; ten by default."""
    store = storage.store
    await store.abatch([PutOp(HOME, str(n), {"even": n % 2 == 0}) for n in range(25)])
    backwards = [str(n) for n in range(24, -1, -1)]
    expect_equal(await keys(store), backwards[:10], "The first page")
    pages = [await keys(store, limit=7, offset=at) for at in range(0, 35, 7)]
    expect_equal([key for page in pages for key in page], backwards, "All pages")
    expect_equal(
        await keys(store, filter={"even": True}, limit=2, offset=1), ["22", "20"], "Even ones"
    )
    expect_equal(await keys(store, limit=0), [], "A page of nothing")
    expect_equal(await keys(store, offset=25), [], "What is after the end")


@SEARCHING.check
async def filters_look_into_values(storage: StoreStorage) -> None:
    """A filter compares values as Python does, wherever they are kept: numbers are no texts."""
    store = storage.store
    values: list[dict[str, Any]] = [
        {"n": 9, "t": "9"},
        {"n": 10, "t": "10"},
        {"n": 10.5, "t": "x"},
        {"n": None},
        {"n": True},
        {"t": "%_'\""},
        {"d": {"x": 1, "y": [1, 2]}},
    ]
    await store.abatch([PutOp(HOME, str(at), value) for at, value in enumerate(values)])
    for filter, found in (
        ({"n": 10}, "1"),
        ({"n": {"$gt": 9}}, "21"),
        ({"n": {"$gte": 9, "$lt": 10.5}}, "10"),
        ({"t": {"$gt": "9"}}, "2"),
        ({"n": None}, "3"),
        ({"n": {"$ne": 10}}, "654320"),
        ({"t": "%_'\""}, "5"),
        ({"t": "%"}, ""),
        ({"d": {"x": 1}}, "6"),
        ({"d": {"y": [1, 2]}}, "6"),
        ({"d": {"y": [1]}}, ""),
        ({"n": {"$in": [9, 10.5, "x"]}}, "20"),
        ({"d": {"$exists": True}}, "6"),
        ({"t": {"$exists": False}}, "643"),
    ):
        expect_equal("".join(await keys(store, filter=filter)), found, f"What {filter} finds")


@SEARCHING.check
async def a_filter_looks_at_every_item(storage: StoreStorage) -> None:
    """What a filter finds may be behind many that it does not."""
    wanted = {7: True, 450: True, 899: True}
    puts = [PutOp(HOME, str(n), {"w": wanted.get(n, False)}) for n in range(900)]
    for at in range(0, 900, 100):
        await storage.store.abatch(puts[at : at + 100])
    found = await keys(storage.store, filter={"w": True}, limit=3)
    expect_equal(found, ["899", "450", "7"], "What is found")
    found = await keys(storage.store, filter={"w": True}, limit=3, offset=2)
    expect_equal(found, ["7"], "What is found after two")


# -- by meaning ------------------------------------------------------------------------------------


@MEANING.check
async def what_is_nearest_comes_first(storage: StoreStorage) -> None:
    """Items are ranked by the cosine of their vectors with the query's, the nearest first."""
    store = storage.store
    await store.abatch([PutOp(HOME, key, {"text": text}) for key, text in _TEXTS.items()])
    found = await store.asearch(HOME, query="a")
    expect_equal([item.key for item in found[:2]], ["a", "ab"], "The nearest")
    scores = [None if item.score is None else round(item.score, 6) for item in found]
    expect_equal(scores, [1.0, 0.707107, 0.0, 0.0, 0.0], "The scores")
    expect_equal([item.key for item in found[2:]], ["none", "c", "b"], "Those equally far")
    expect_equal(await keys(store, query="b", limit=1, offset=1), ["ab"], "The second page")
    plain = await store.asearch(HOME)
    expect_equal([item.score for item in plain], [None] * 5, "Scores without a query")


@MEANING.check
async def what_has_no_vector_comes_last(storage: StoreStorage) -> None:
    """An item that is not searched by meaning comes after those that are, without a score."""
    store = storage.store
    await store.aput(HOME, "unsaid", {"text": "aaa"}, index=False)
    await store.aput(HOME, "empty", {"other": "aaa"})
    await store.aput(HOME, "far", {"text": "d"})
    found = [(item.key, item.score) for item in await store.asearch(HOME, query="a")]
    expect_equal(found, [("far", 0.0), ("empty", None), ("unsaid", None)], "What is found")


@MEANING.check
async def the_nearest_text_of_an_item_counts(storage: StoreStorage) -> None:
    """An item with several texts is as near as the nearest of them; a put may name other paths."""
    store = storage.store
    await store.aput(HOME, "one", {"parts": ["bbb", "aaa"]}, index=["parts[*]"])
    await store.aput(HOME, "mixed", {"text": "aab"})
    await store.aput(HOME, "other", {"text": "b", "more": {"deep": "a"}}, index=["more.deep"])
    expect_equal(await keys(store, query="a"), ["other", "one", "mixed"], "What is near a")
    expect_equal(await keys(store, query="b", limit=2), ["one", "mixed"], "What is near b")


@MEANING.check
async def a_query_keeps_to_namespace_and_filter(storage: StoreStorage) -> None:
    """Only what is beneath the namespace and passes the filter is ranked."""
    store = storage.store
    for user in ("7", "77"):
        await store.aput(("users", user), "near", {"text": "a", "kind": "x"})
        await store.aput(("users", user), "far", {"text": "ab", "kind": "y"})
    found = await store.asearch(("users", "7"), query="a", filter={"kind": "y"})
    expect_equal([(i.namespace, i.key) for i in found], [(("users", "7"), "far")], "What is found")


@MEANING.check
async def what_is_put_anew_means_what_it_now_says(storage: StoreStorage) -> None:
    """A put replaces the vectors, and a removal takes them along."""
    store = storage.store
    await store.aput(HOME, "k", {"text": "a"})
    await store.aput(HOME, "k", {"text": "b"})
    await store.aput(HOME, "gone", {"text": "a"})
    await store.adelete(HOME, "gone")
    found = [(item.key, item.score) for item in await store.asearch(HOME, query="a")]
    expect_equal(found, [("k", 0.0)], "What is near what it said before")
    await store.aput(HOME, "k", {"text": "a"}, index=False)
    found = [(item.key, item.score) for item in await store.asearch(HOME, query="a")]
    expect_equal(found, [("k", None)], "What is said without being searched")


@MEANING.check
async def the_nearest_of_many_are_found(storage: StoreStorage) -> None:
    """The nearest are found among many, and of equal ones the last that was put comes first."""
    store = storage.store
    texts = ["b" * (n % 7 + 1) + "a" * (n % 3) for n in range(500)]
    puts = [PutOp(HOME, str(n), {"text": text}) for n, text in enumerate(texts)]
    for at in range(0, 500, 100):
        await store.abatch(puts[at : at + 100])
    near = [n for n, text in enumerate(texts) if text == "baa"][::-1]
    wanted = [str(n) for n in near]
    expect_equal(await keys(store, query="aab", limit=len(near)), wanted, "The nearest")
    pages = [await keys(store, query="aab", limit=5, offset=at) for at in range(0, len(near), 5)]
    found = [key for page in pages for key in page][: len(near)]
    expect_equal(found, wanted, "The nearest, page by page")


# -- listing ---------------------------------------------------------------------------------------


@LISTING.check
async def namespaces_are_listed(storage: StoreStorage) -> None:
    """Each namespace that holds something is listed once, in order."""
    store = storage.store
    names = [("u", "2", "notes"), ("u", "1", "notes"), ("u", "2", "facts"), ("x",), ("u",)]
    for words in names:
        await store.aput(words, "k", {})
        await store.aput(words, "l", {})
    expect_equal(await store.alist_namespaces(), sorted(names), "The namespaces")
    for options, found in (
        ({"prefix": ("u", "2")}, [("u", "2", "facts"), ("u", "2", "notes")]),
        ({"prefix": ("u", "*", "facts")}, [("u", "2", "facts")]),
        ({"prefix": ("*", "1")}, [("u", "1", "notes")]),
        ({"suffix": ("notes",)}, [("u", "1", "notes"), ("u", "2", "notes")]),
        ({"suffix": ("*", "*", "*", "*")}, []),
        ({"prefix": ("u",), "suffix": ("2", "*")}, [("u", "2", "facts"), ("u", "2", "notes")]),
        ({"max_depth": 1}, [("u",), ("x",)]),
        ({"max_depth": 2}, [("u",), ("u", "1"), ("u", "2"), ("x",)]),
        ({"max_depth": 2, "limit": 2, "offset": 1}, [("u", "1"), ("u", "2")]),
        ({"limit": 0}, []),
    ):
        expect_equal(await store.alist_namespaces(**options), found, f"Those with {options}")
    for key in ("k", "l"):
        await store.adelete(("x",), key)
    expect_equal(await store.alist_namespaces(suffix=("x",)), [], "A namespace that was emptied")


@LISTING.check
async def namespaces_are_listed_page_by_page(storage: StoreStorage) -> None:
    """Pages of namespaces do not overlap and leave nothing out."""
    names = [("n", f"{n:03}") for n in range(150)] + [("n", f"{n:03}", "x") for n in range(150)]
    for at in range(0, 300, 100):
        await storage.store.abatch([PutOp(name, "k", {}) for name in names[at : at + 100]])
    pages = [await storage.store.alist_namespaces(limit=64, offset=at) for at in range(0, 320, 64)]
    expect_equal([name for page in pages for name in page], sorted(names), "All pages")
    deep = await storage.store.alist_namespaces(suffix=("x",), limit=200)
    expect_equal(deep, sorted(names[150:]), "Those with an x at their end")
    cut = await storage.store.alist_namespaces(max_depth=1)
    expect_equal(cut, [("n",)], "Those of one word")
