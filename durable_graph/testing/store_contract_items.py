"""The contract of stores, on single items: what is put there, and which version it is of."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, Final

from durable_graph.errors import StoreError
from durable_graph.ports.store import GetOp, Item, ListNamespacesOp, PutOp, SearchOp
from durable_graph.testing.contract_kit import expect, expect_equal
from durable_graph.testing.store_contract_kit import (
    HOME,
    OTHER,
    StoreChapter,
    StoreStorage,
    expect_conflict,
    keys,
    value_of,
    version_of,
)

__all__ = ["BATCHES", "ITEMS", "VERSIONS"]

ITEMS = StoreChapter("items")
VERSIONS = StoreChapter("versions")
BATCHES = StoreChapter("batches")

_VALUES: Final[dict[str, Any]] = {
    "texts": ["", "ä\u0308 🧵", "a\0b", "line\nbreak", '"', "\\", "'; --"],
    "numbers": [0, -1, 2**53 + 1, 2**70, 1.5, 1e300, -0.0],
    "others": [None, True, False],
    "tuple": (1, (2, 3)),
    "bytes": bytes(range(256)),
    "date": datetime(2026, 1, 1, tzinfo=UTC),
    "set": {1, 2, 3},
    "": {"nested": {"deeply": [{"a": {}}]}},
    "$gt": "a key that looks like an operator",
}


@ITEMS.check
async def what_is_put_is_there_until_it_is_removed(storage: StoreStorage) -> None:
    """An item is under its namespace and key, and nowhere else, until it is removed."""
    store = storage.store
    expect_equal(await value_of(store, "k"), None, "What is in an empty store")
    await store.aput(HOME, "k", {"n": 1})
    expect_equal(await value_of(store, "k"), {"n": 1}, "What was put")
    for namespace, key in ((HOME, "l"), (OTHER, "k"), (HOME[:1], "k"), ((*HOME, "x"), "k")):
        expect_equal(await value_of(store, key, namespace), None, f"What is at {namespace}, {key}")
    await store.adelete(HOME, "k")
    expect_equal(await value_of(store, "k"), None, "What was removed")
    await store.adelete(HOME, "k")


@ITEMS.check
async def values_come_back_as_they_were(storage: StoreStorage) -> None:
    """A value comes back equal and of the same types, also from a search."""
    await storage.store.aput(HOME, "k", _VALUES)
    found = await value_of(storage.store, "k")
    expect_equal(found, _VALUES, "The value")
    expect_equal([type(v) for v in found.values()], [type(v) for v in _VALUES.values()], "Types")
    (item,) = await storage.store.asearch(HOME)
    expect_equal(item.value, _VALUES, "The value that was found")


@ITEMS.check
async def the_last_put_counts(storage: StoreStorage) -> None:
    """Putting again replaces the whole value, and keeps the time of the first put."""
    store, clock = storage.store, storage.clock
    first = clock.time()
    await store.aput(HOME, "k", {"a": 1, "b": 2})
    await clock.advance(60.0)
    await store.aput(HOME, "k", {"a": 3})
    item = await store.aget(HOME, "k")
    if item is None:
        raise AssertionError("What was put twice is not there.")
    expect_equal(item.value, {"a": 3}, "The value")
    expect(_near(item.created_at, first), f"created_at is {item.created_at}, not the first put's.")
    expect(_near(item.updated_at, clock.time()), f"updated_at is {item.updated_at}, not now.")
    (found,) = await store.asearch(HOME)
    expect_equal(found.created_at, item.created_at, "created_at, as a search tells it")
    expect_equal(found.updated_at, item.updated_at, "updated_at, as a search tells it")


@ITEMS.check
async def what_is_put_after_removing_is_new(storage: StoreStorage) -> None:
    """An item that was removed has no past: it is created when it is put anew."""
    store, clock = storage.store, storage.clock
    await store.aput(HOME, "k", {"n": 1})
    await store.adelete(HOME, "k")
    await clock.advance(60.0)
    await store.aput(HOME, "k", {"n": 2})
    await store.aput(HOME, "l", {"n": 1})
    await clock.advance(60.0)
    await store.abatch([PutOp(HOME, "l", None), PutOp(HOME, "l", {"n": 2})])
    for key, since in (("k", 60.0), ("l", 0.0)):
        item = await store.aget(HOME, key)
        created = None if item is None else item.created_at
        wanted = datetime.fromtimestamp(clock.time() - since, UTC)
        expect_equal(created, wanted, f"created_at of {key!r}")


@ITEMS.check
async def a_large_value_comes_back(storage: StoreStorage) -> None:
    """A value of a megabyte is kept like any other."""
    large = {"text": "0123456789abcdef" * 65536}
    await storage.store.aput(HOME, "k", large)
    expect(await value_of(storage.store, "k") == large, "A large value comes back otherwise.")
    await storage.store.aput(HOME, "k", {"small": 1})
    expect_equal(await value_of(storage.store, "k"), {"small": 1}, "What replaced it")


# -- versions --------------------------------------------------------------------------------------


@VERSIONS.check
async def each_put_is_another_version(storage: StoreStorage) -> None:
    """Every put makes another version, also of the same value; reading makes none."""
    store = storage.store
    seen = []
    for _ in range(3):
        await store.aput(HOME, "k", {"n": 1})
        seen += [await version_of(store, "k"), await version_of(store, "k")]
    expect_equal(len(set(seen)), 3, f"The number of different versions in {seen}")
    (found,) = await store.asearch(HOME)
    expect_equal(found.version, seen[-1], "The version that a search tells")


@VERSIONS.check
async def a_put_of_the_expected_version_is_done(storage: StoreStorage) -> None:
    """A put or a removal that expects the version that is there is done."""
    store = storage.store
    for nothing in (0, None):
        await store.aput(HOME, "k", {"n": 1}, if_version=nothing)
        await store.aput(HOME, "k", {"n": 2}, if_version=await version_of(store, "k"))
        expect_equal(await value_of(store, "k"), {"n": 2}, "What was put under a condition")
        await store.adelete(HOME, "k", if_version=await version_of(store, "k"))
        expect_equal(await value_of(store, "k"), None, "What was removed under a condition")


@VERSIONS.check
async def a_stale_version_is_refused(storage: StoreStorage) -> None:
    """A put or a removal that expects another version is refused, and changes nothing."""
    store = storage.store
    await store.aput(HOME, "k", {"n": 1})
    stale = await version_of(store, "k")
    await store.aput(HOME, "k", {"n": 2})
    for version in (stale, 0, None, stale + 10**15):
        await expect_conflict(
            store.aput(HOME, "k", {"n": 3}, if_version=version), f"A put if {version}"
        )
        await expect_conflict(store.adelete(HOME, "k", if_version=version), f"A removal, {version}")
    await expect_conflict(store.aput(HOME, "l", {"n": 3}, if_version=stale), "A put if there is")
    expect_equal(await keys(store, *HOME), ["k"], "The keys")
    expect_equal(await value_of(store, "k"), {"n": 2}, "What should have stayed")


@VERSIONS.check
async def a_version_does_not_come_again(storage: StoreStorage) -> None:
    """What was read before an item was removed is no ground to overwrite one that came later."""
    store = storage.store
    for _ in range(20):
        await store.aput(HOME, "k", {"n": 1})
        seen = await version_of(store, "k")
        await store.adelete(HOME, "k")
        await store.aput(HOME, "k", {"n": 2})
        await expect_conflict(
            store.aput(HOME, "k", {"n": 3}, if_version=seen), "A put over another"
        )
        await store.adelete(HOME, "k")


@VERSIONS.check
async def a_batch_with_a_conflict_is_not_done(storage: StoreStorage) -> None:
    """If one put of a batch meets another version, nothing of the batch is written."""
    store = storage.store
    await store.aput(HOME, "k", {"n": 1})
    await store.aput(HOME, "gone", {"n": 1})
    puts = [
        PutOp(HOME, "before", {"n": 2}),
        PutOp(HOME, "k", {"n": 2}, if_version=0),
        PutOp(HOME, "gone", None),
        PutOp(OTHER, "after", {"n": 2}),
    ]
    for batch in (puts, puts[::-1]):
        await expect_conflict(store.abatch(batch), "A batch with a conflict")
    expect_equal(await keys(store), ["gone", "k"], "The keys")
    expect_equal(await value_of(store, "k"), {"n": 1}, "What should have stayed")


@VERSIONS.check
async def puts_of_one_batch_know_each_other(storage: StoreStorage) -> None:
    """A put may expect the version that one before it in the same batch has made or removed."""
    store = storage.store
    await store.aput(HOME, "k", {"n": 1})
    await expect_conflict(
        store.abatch([PutOp(HOME, "k", {"n": 2}), PutOp(HOME, "k", {"n": 3}, if_version=0)]),
        "A put that expects nothing after a put",
    )
    await store.abatch([PutOp(HOME, "k", None), PutOp(HOME, "k", {"n": 4}, if_version=0)])
    expect_equal(await value_of(store, "k"), {"n": 4}, "What was put after it was removed")


# -- batches ---------------------------------------------------------------------------------------


@BATCHES.check
async def a_batch_is_done_in_order(storage: StoreStorage) -> None:
    """Each operation of a batch sees what those before it have done, and nothing of those after."""
    store = storage.store
    await store.aput(HOME, "old", {"n": 0})
    await store.aput(("x", "y"), "only", {"n": 0})
    done = await store.abatch(
        [
            GetOp(HOME, "k"),
            PutOp(HOME, "k", {"n": 1}),
            GetOp(HOME, "k"),
            SearchOp(HOME),
            SearchOp(HOME, filter={"n": 1}),
            PutOp(HOME, "k", {"n": 2}),
            PutOp(HOME, "old", None),
            GetOp(HOME, "k"),
            SearchOp(HOME),
            PutOp(("x", "y"), "only", None),
            PutOp(("a",), "k", {}),
            ListNamespacesOp(),
            PutOp(HOME, "k", None),
            GetOp(HOME, "k"),
            ListNamespacesOp(),
        ]
    )
    expect_equal(
        [_told(one) for one in done],
        [
            None,
            None,
            {"n": 1},
            ["k", "old"],
            ["k"],
            None,
            None,
            {"n": 2},
            ["k"],
            None,
            None,
            [("a",), HOME],
            None,
            None,
            [("a",)],
        ],
        "What a batch returns",
    )
    expect_equal(await store.alist_namespaces(), [("a",)], "The namespaces afterwards")


@BATCHES.check
async def a_malformed_batch_is_not_done(storage: StoreStorage) -> None:
    """If one operation of a batch is malformed, nothing of the batch is done."""
    bad: list[Any] = [
        PutOp(HOME, "l", {"f": object()}),
        PutOp(HOME, "", {}),
        GetOp((), "k"),
        SearchOp(HOME, {"n": {"$where": 1}}),
        SearchOp(HOME, limit=-1),
        ListNamespacesOp(max_depth=0),
        "put",
    ]
    for op in bad:
        for batch in ([PutOp(HOME, "k", {"n": 1}), op], [op, PutOp(HOME, "k", {"n": 1})]):
            await _expect_refused(storage.store.abatch(batch), f"A batch with {op!r}")
    expect_equal(await keys(storage.store), [], "The keys")


@BATCHES.check
async def an_empty_batch_is_done(storage: StoreStorage) -> None:
    """A batch of nothing returns nothing."""
    expect_equal(await storage.store.abatch([]), [], "What an empty batch returns")


@BATCHES.check
async def a_large_batch_is_done(storage: StoreStorage) -> None:
    """A batch of a hundred puts is one batch, and the last of equal times stands first."""
    puts = [PutOp(HOME, f"{n}", {"n": n}) for n in range(100)]
    await storage.store.abatch(puts)
    found = await keys(storage.store, limit=1000)
    expect_equal(found, [f"{n}" for n in range(99, -1, -1)], "The keys")
    again = [PutOp(HOME, f"{n}", {"n": -1}) for n in range(99)]
    conflict = PutOp(HOME, "99", {"n": -1}, if_version=0)
    await expect_conflict(storage.store.abatch([*again, conflict]), "A batch with a conflict")
    values = [item.value["n"] for item in await storage.store.asearch(HOME, limit=1000)]
    expect_equal(values, list(range(99, -1, -1)), "The values")


def _told(result: Any) -> Any:
    if isinstance(result, list):
        return [part.key if isinstance(part, Item) else part for part in result]
    return result.value if isinstance(result, Item) else result


def _near(moment: datetime, time: float) -> bool:
    return abs(moment.timestamp() - time) < 1e-3


async def _expect_refused(call: Awaitable[Any], what: str) -> None:
    try:
        await call
    except StoreError:
        return
    raise AssertionError(f"{what} is not refused with StoreError.")
