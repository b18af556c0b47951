"""The contract of stores, on what is odd or meant badly: words and keys are but data."""

from __future__ import annotations

from typing import Any, Final

from durable_graph.errors import InvalidNamespaceError, StoreError
from durable_graph.ports.store import PutOp
from durable_graph.testing.contract_kit import expect, expect_equal
from durable_graph.testing.store_contract_kit import (
    HOME,
    StoreChapter,
    StoreStorage,
    keys,
    value_of,
)

__all__ = ["CHAPTER"]

CHAPTER = StoreChapter("hostile")

_WORDS: Final = (
    "a",
    "A",
    "a ",
    " a",
    "a/b",
    "a:b",
    "a,b",
    "a|b",
    "a\x1fb",
    "a\x01b",
    "a\nb",
    "a\\b",
    "a%b",
    "a_b",
    "a*",
    "*",
    "?",
    "%",
    "_",
    "%%s%n",
    "'",
    '"',
    "''",
    "'; DROP TABLE items; --",
    '" OR ""="',
    "${a} $1 :a @a ?1",
    "{a}",
    "{",
    "}",
    "[a-z]",
    "null",
    "0",
    "-1",
    "ä",
    "a\u0308",
    "ß",
    "日本語",
    "🧵",
    "\uffff",
    "\U0010ffff",
    "\x7f",
    "x" * 200,
)


@CHAPTER.check
async def words_are_data(storage: StoreStorage) -> None:
    """Items under odd words are in namespaces of their own, none of which is another's."""
    store = storage.store
    names = [(word,) for word in _WORDS] + [("in", word, "it") for word in _WORDS]
    for at in range(0, len(names), 20):
        await store.abatch([PutOp(name, "k", {"name": list(name)}) for name in names[at : at + 20]])
    for name in names:
        expect_equal(await value_of(store, "k", name), {"name": list(name)}, f"What is in {name}")
        found = await store.asearch(name, limit=100)
        expect_equal([item.namespace for item in found], [name], f"What is beneath {name}")
    listed = await store.alist_namespaces(limit=1000)
    expect_equal(listed, sorted(names), "The namespaces")
    for word in _WORDS:
        if word != "*":
            found_names = await store.alist_namespaces(prefix=(word,))
            expect_equal(found_names, [(word,)], f"Namespaces that begin with {word!r}")


@CHAPTER.check
async def keys_are_data(storage: StoreStorage) -> None:
    """Items under odd keys are items of their own."""
    store = storage.store
    odd = [*_WORDS, "a.b", ".", "..", "../a", "k" * 900]
    await store.abatch([PutOp(HOME, key, {"key": key}) for key in odd])
    for key in odd:
        expect_equal(await value_of(store, key), {"key": key}, f"What is under {key!r}")
    await store.adelete(HOME, "%")
    await store.adelete(HOME, "*")
    left = [key for key in odd if key not in ("%", "*")]
    expect_equal(sorted(await keys(store, *HOME, limit=100)), sorted(left), "What is left")


@CHAPTER.check
async def words_do_not_run_together(storage: StoreStorage) -> None:
    """Where a word ends is part of a namespace: neither tenants nor keys run into each other."""
    store = storage.store
    places = [
        (("a:b", "c"), "k"),
        (("a", "b:c"), "k"),
        (("a", "b", "c"), "k"),
        (("a:b:c",), "k"),
        (("a/b", "c"), "k"),
        (("a", "b/c"), "k"),
        (("a", "b"), "c:k"),
        (("a", "b"), "c/k"),
        (("a",), "b:c:k"),
        (("a\x1fb",), "k"),
        (("ab", "c"), "k"),
        (("a", "bc"), "k"),
    ]
    for at, (namespace, key) in enumerate(places):
        await store.aput(namespace, key, {"at": at})
    for at, (namespace, key) in enumerate(places):
        expect_equal(await value_of(store, key, namespace), {"at": at}, f"{namespace}, {key!r}")
    for prefix in {name[:depth] for name, _ in places for depth in (1, 2)}:
        found = {(item.namespace, item.key) for item in await store.asearch(prefix, limit=100)}
        wanted = {place for place in places if place[0][: len(prefix)] == prefix}
        expect_equal(found, wanted, f"What is beneath {prefix}")


@CHAPTER.check
async def what_is_no_namespace_is_refused(storage: StoreStorage) -> None:
    """A namespace that is none is refused in every call, before anything is done."""
    store = storage.store
    bad: list[Any] = [
        (),
        ("a", ""),
        ("a.b",),
        ("a\0",),
        ("\ud800",),
        ("langgraph", "x"),
        "users",
        ["users"],
        (1,),
        (None,),
        ({"$ne": ""},),
        ("x" * 600, "y" * 600),
        None,
    ]
    for namespace in bad:
        for call in (
            store.aput(namespace, "k", {}),
            store.aget(namespace, "k"),
            store.adelete(namespace, "k"),
        ):
            try:
                await call
            except InvalidNamespaceError:
                continue
            raise AssertionError(f"The namespace {namespace!r:.80} is not refused.")
    expect_equal(await keys(store), [], "What is there")


@CHAPTER.check
async def what_is_no_key_or_argument_is_refused(storage: StoreStorage) -> None:
    """What is no key, value, filter, page, lifetime or version is refused with a `StoreError`."""
    store = storage.store
    await store.aput(HOME, "k", {"n": 1})
    no_keys: list[Any] = ["", None, 7, "a\0b", "\ud800", "k" * 1001, {}]
    bad: list[Any] = [
        *(store.aput(HOME, key, {}) for key in no_keys),
        *(store.aput(HOME, "k", value) for value in (["a"], {1: 2}, "text", {"f": object()})),  # type: ignore[arg-type]
        *(store.aput(HOME, "k", {}, ttl=ttl) for ttl in (0, -1, 1e300, "1", True, float("nan"))),  # type: ignore[arg-type]
        *(store.aput(HOME, "k", {}, if_version=v) for v in (-1, "1", 1.0, True)),  # type: ignore[arg-type]
        *(store.aput(HOME, "k", {}, index=index) for index in ("a", ["a["], [1], True)),  # type: ignore[arg-type]
        *(store.asearch((), filter=f) for f in ("n", [1], {1: 2}, {"n": {"$regex": "."}})),  # type: ignore[arg-type]
        *(store.asearch((), limit=n) for n in (-1, "1", 1.5, True, None)),  # type: ignore[arg-type]
        store.asearch((), query=7),  # type: ignore[arg-type]
        store.asearch(("a", None)),  # type: ignore[arg-type]
        store.asearch(("a", "\ud800")),
        store.alist_namespaces(prefix=("\ud800",)),
        *(store.alist_namespaces(max_depth=depth) for depth in (0, "1")),  # type: ignore[arg-type]
    ]
    for number, call in enumerate(bad):
        try:
            await call
        except StoreError:
            continue
        raise AssertionError(f"Bad argument number {number} is not refused.")
    expect(await value_of(store, "k") == {"n": 1}, "A call that was refused has changed something.")
