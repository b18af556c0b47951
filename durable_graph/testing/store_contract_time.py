"""The contract of stores, on items that live for a time."""

from __future__ import annotations

from durable_graph.errors import StoreError
from durable_graph.ports.store import GetOp, PutOp, SearchOp
from durable_graph.testing.contract_kit import expect, expect_equal
from durable_graph.testing.store_contract_kit import (
    HOME,
    OTHER,
    SINK,
    StoreChapter,
    StoreStorage,
    embed,
    keys,
    value_of,
    version_of,
)

__all__ = ["CHAPTER"]

CHAPTER = StoreChapter("time", "ttl")

_MINUTE = 60.0


@CHAPTER.check
async def an_item_is_gone_when_its_time_is_over(storage: StoreStorage) -> None:
    """What has expired is neither read nor found nor listed; the rest stays."""
    store, clock = storage.store, storage.clock
    await store.aput(HOME, "short", {"n": 1}, ttl=1)
    await store.aput(HOME, "longer", {"n": 2}, ttl=2.5)
    await store.aput(OTHER, "ever", {"n": 3})
    await clock.advance(0.9 * _MINUTE)
    expect_equal(await keys(store, refresh_ttl=False), ["ever", "longer", "short"], "At 0.9")
    await clock.advance(0.2 * _MINUTE)
    expect_equal(await keys(store, refresh_ttl=False), ["ever", "longer"], "At 1.1 minutes")
    expect_equal(await store.aget(HOME, "short"), None, "What has expired")
    await clock.advance(2 * _MINUTE)
    expect_equal(await keys(store), ["ever"], "After all minutes")
    expect_equal(await store.alist_namespaces(), [OTHER], "The namespaces")


@CHAPTER.check
async def reading_prolongs_if_asked(storage: StoreStorage) -> None:
    """A read lets the time of an item begin anew, unless it is told not to."""
    store, clock = storage.store, storage.clock
    for key in ("get", "search", "op", "not", "found not"):
        await store.aput(HOME, key, {"key": key}, ttl=1)
    await clock.advance(0.6 * _MINUTE)
    await store.aget(HOME, "get", refresh_ttl=True)
    await store.asearch(HOME, filter={"key": "search"}, refresh_ttl=True)
    await store.abatch([GetOp(HOME, "op")])
    await store.aget(HOME, "not", refresh_ttl=False)
    await store.abatch([SearchOp(HOME, {"key": "found not"}, refresh_ttl=False)])
    await clock.advance(0.6 * _MINUTE)
    left = await keys(store, refresh_ttl=False)
    expect_equal(sorted(left), ["get", "op", "search"], "What lives on")
    await clock.advance(0.5 * _MINUTE)
    expect_equal(await keys(store), [], "What lives on after that")


@CHAPTER.given(ttl={"refresh_on_read": False, "default_ttl": 1})
async def a_store_may_say_how_long_items_live(storage: StoreStorage) -> None:
    """A store's default holds for puts that say nothing, and its rule for reads likewise."""
    store, clock = storage.store, storage.clock
    await store.aput(HOME, "default", {})
    await store.aput(HOME, "longer", {}, ttl=2)
    await store.aput(HOME, "ever", {}, ttl=None)
    await store.aput(HOME, "read", {})
    await clock.advance(0.6 * _MINUTE)
    await store.aget(HOME, "default")
    await store.aget(HOME, "read", refresh_ttl=True)
    await clock.advance(0.6 * _MINUTE)
    expect_equal(await keys(store), ["read", "ever", "longer"], "What lives on")


@CHAPTER.check
async def a_put_lets_time_begin_anew(storage: StoreStorage) -> None:
    """Each put says how long its item lives, whatever was said before."""
    store, clock = storage.store, storage.clock
    await store.aput(HOME, "again", {}, ttl=1)
    await store.aput(HOME, "ever", {}, ttl=1)
    await clock.advance(0.9 * _MINUTE)
    await store.aput(HOME, "again", {}, ttl=1)
    await store.aput(HOME, "ever", {})
    await clock.advance(0.9 * _MINUTE)
    expect_equal(await keys(store, refresh_ttl=False), ["ever", "again"], "What lives on")
    await clock.advance(100 * _MINUTE)
    expect_equal(await keys(store), ["ever"], "What lives for ever")


@CHAPTER.check
async def what_has_expired_is_not_in_the_way(storage: StoreStorage) -> None:
    """An item over one that has expired is new: in its time, its version and for a condition."""
    store, clock = storage.store, storage.clock
    await store.aput(HOME, "k", {"n": 1}, ttl=1)
    seen = await version_of(store, "k")
    await clock.advance(1.5 * _MINUTE)
    try:
        await store.aput(HOME, "k", {"n": 2}, if_version=seen)
    except StoreError:
        pass
    else:
        raise AssertionError("A version that has expired is still met.")
    await store.aput(HOME, "k", {"n": 2}, if_version=0)
    item = await store.aget(HOME, "k")
    expect(
        item is not None and abs(item.created_at.timestamp() - clock.time()) < 1e-3,
        f"An item over one that has expired is {item}.",
    )


@CHAPTER.check
async def an_item_says_when_it_expires(storage: StoreStorage) -> None:
    """`expires_at` is when the item is gone, after it was read as well."""
    store, clock = storage.store, storage.clock
    await store.abatch([PutOp(HOME, "k", {}, None, 10), PutOp(HOME, "ever", {})])
    await clock.advance(5 * _MINUTE)
    for item in (await store.aget(HOME, "k"), (await store.asearch(HOME, offset=1))[0]):
        until = item.expires_at if item is not None else None
        wanted = clock.time() + 10 * _MINUTE
        expect(
            until is not None and abs(until.timestamp() - wanted) < 1.0,
            f"An item that was read says {until}.",
        )
    ever = await store.aget(HOME, "ever")
    expect_equal(ever and ever.expires_at, None, "expires_at of an item that lives for ever")


@CHAPTER.check
async def a_sweep_removes_what_has_expired(storage: StoreStorage) -> None:
    """A sweep removes all that has expired, and only that."""
    store, clock = storage.store, storage.clock
    puts = [PutOp(HOME, str(n), {"n": n}, ttl=1 + n % 2) for n in range(700)]
    for at in range(0, 700, 100):
        await store.abatch(puts[at : at + 100])
    await clock.advance(1.5 * _MINUTE)
    await store.aput(SINK, "k", {})
    sweep = getattr(store, "asweep_ttl", None)
    if sweep is None:
        raise AssertionError("The store supports ttl and has no asweep_ttl.")
    removed = await sweep()
    expect(0 < removed <= 350, f"A sweep of 350 expired items says it removed {removed}.")
    expect_equal(await sweep(), 0, "What a second sweep removed")
    left = await store.asearch(HOME, limit=1000, refresh_ttl=False)
    expect_equal(sorted(int(i.key) for i in left), list(range(1, 700, 2)), "What is left")


@CHAPTER.given(index={"dims": 4, "embed": embed})
async def what_has_expired_has_no_meaning(storage: StoreStorage) -> None:
    """A query does not find what has expired."""
    store, clock = storage.store, storage.clock
    await store.aput(HOME, "gone", {"t": "a"}, ttl=1)
    await store.aput(HOME, "there", {"t": "b"})
    await clock.advance(2 * _MINUTE)
    expect_equal(await keys(store, query="a"), ["there"], "What is found")


@CHAPTER.check
async def a_late_read_does_not_wake_the_dead(storage: StoreStorage) -> None:
    """Reading what has expired does not bring it back."""
    store, clock = storage.store, storage.clock
    await store.aput(HOME, "k", {"n": 1}, ttl=1)
    await clock.advance(1.01 * _MINUTE)
    for _ in range(2):
        expect_equal(await value_of(store, "k"), None, "What has expired")
        expect_equal(await keys(store), [], "What a search finds of it")
