"""The contract of stores, on calls at the same time, cancelled calls, ends, and other instances."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable

from durable_graph.errors import StoreConflictError
from durable_graph.ports.store import PutOp
from durable_graph.store import BaseStore
from durable_graph.testing.contract_kit import cancel_everywhere, expect, expect_equal
from durable_graph.testing.store_contract_kit import (
    HOME,
    OTHER,
    StoreChapter,
    StoreStorage,
    embed,
    keys,
    second_store,
    value_of,
    version_of,
)

__all__ = ["CANCEL", "DURABLE", "RACES", "SHARED"]

RACES = StoreChapter("races")
CANCEL = StoreChapter("cancel")
DURABLE = StoreChapter("durable", "durable")
SHARED = StoreChapter("shared", "shared")

_RACERS = 6


@RACES.check
async def one_of_many_racers_wins(storage: StoreStorage) -> None:
    """Of many puts that expect one version exactly one is done, round after round."""
    await storage.store.aput(HOME, "k", {"n": -1})
    await _expect_one_winner([storage.store] * _RACERS)


@RACES.check
async def conditions_make_a_counter(storage: StoreStorage) -> None:
    """Of many who count by reading and putting under a condition, none loses another's count."""
    await _expect_counted([storage.store] * _RACERS)


@RACES.check
async def puts_at_the_same_time_are_whole(storage: StoreStorage) -> None:
    """Batches at the same time over the same keys leave what one of them has put."""
    store = storage.store
    names = ["a", "b", "c", "d"]

    async def put(n: int) -> None:
        order = names if n % 2 else names[::-1]
        await store.abatch([PutOp(HOME, key, {"n": n}) for key in order])

    for _ in range(5):
        await asyncio.gather(*(put(n) for n in range(_RACERS)))
        found = {item.value["n"] for item in await store.asearch(HOME)}
        expect_equal(len(found), 1, f"The number of batches that are left, {found}")


@RACES.check
async def several_loops_may_use_one_store(storage: StoreStorage) -> None:
    """One instance serves several event loops, each in a thread of its own, at once."""
    store = storage.store
    failures: list[BaseException] = []

    async def use(number: int) -> None:
        for n in range(10):
            await store.aput(HOME, f"{number}.{n}", {"n": n})
            expect_equal(await value_of(store, f"{number}.{n}"), {"n": n}, "What was put")

    def run(number: int) -> None:
        try:
            asyncio.run(use(number))
        except BaseException as error:  # told where the check runs
            failures.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    await asyncio.gather(use(3), *(asyncio.to_thread(thread.join) for thread in threads))
    if failures:
        raise failures[0]
    expect_equal(len(await keys(store, limit=100)), 40, "The number of items")


# -- cancelled, closed -----------------------------------------------------------------------------


@CANCEL.check
async def a_cancelled_batch_is_whole(storage: StoreStorage) -> None:
    """Wherever a batch is cancelled, it is written as a whole or not at all, and others go on."""
    store = storage.store
    names = [f"{n}" for n in range(8)]
    last: dict[str, int] = {}

    async def put(number: int) -> None:
        await store.abatch([PutOp(HOME, key, {"n": number}) for key in names])

    async def check(number: int, ended: bool) -> None:
        nonlocal last
        await store.aput(OTHER, "k", {"n": number})
        found = {item.key: item.value["n"] for item in await store.asearch(HOME)}
        whole = dict.fromkeys(names, number)
        expect(
            found == whole or (found == last and not ended),
            f"Of a batch that was cancelled, there is {found}; before, there was {last}.",
        )
        last = found

    await cancel_everywhere(put, check)


@CANCEL.check
async def a_store_may_be_closed_twice(storage: StoreStorage) -> None:
    """Closing releases everything, and doing so again is harmless."""
    await storage.store.aput(HOME, "k", {})
    await storage.store.aclose()
    await storage.store.aclose()


# -- other instances -------------------------------------------------------------------------------


@DURABLE.given(index={"dims": 4, "embed": embed})
async def what_was_put_outlives_the_instance(storage: StoreStorage) -> None:
    """A store that is opened again has everything: values, times, versions and meaning."""
    store = storage.store
    await store.aput(HOME, "k", {"t": "a"})
    await store.aput(OTHER, "l", {"t": "b"}, ttl=1)
    await store.aput(OTHER, "gone", {"t": "b"})
    await store.adelete(OTHER, "gone")
    before = await store.asearch((), query="a")
    await store.aclose()
    async with second_store(storage) as again:
        after = await again.asearch((), query="a")
        expect_equal(after, before, "What is found")
        told = [(item.version, item.expires_at) for item in after]
        expect_equal(told, [(item.version, item.expires_at) for item in before], "Versions, ends")
        expect_equal(await again.alist_namespaces(), [HOME, OTHER], "The namespaces")
        await storage.clock.advance(90.0)
        expect_equal(await keys(again), ["k"], "What lives on")
        await again.aput(HOME, "k", {"t": "c"}, if_version=before[0].version)


@SHARED.check
async def instances_see_each_other(storage: StoreStorage) -> None:
    """What one instance was told it has put, the others read."""
    async with second_store(storage) as other:
        for n in range(20):
            writer, reader = (storage.store, other) if n % 2 else (other, storage.store)
            await writer.aput(HOME, "k", {"n": n})
            expect_equal(await value_of(reader, "k"), {"n": n}, "What the other has put")
            expect_equal(
                await version_of(reader, "k"), await version_of(writer, "k"), "Its version"
            )
        await other.adelete(HOME, "k")
        expect_equal(await value_of(storage.store, "k"), None, "What the other has removed")


@SHARED.check
async def of_two_instances_one_wins(storage: StoreStorage) -> None:
    """Of puts by several instances that expect one version exactly one is done."""
    await storage.store.aput(HOME, "k", {"n": -1})
    async with second_store(storage) as other:
        await _expect_one_winner([storage.store, other] * (_RACERS // 2))


@SHARED.check
async def instances_make_a_counter(storage: StoreStorage) -> None:
    """Of several instances that count under conditions, none loses another's count."""
    async with second_store(storage) as other:
        await _expect_counted([storage.store, other] * (_RACERS // 2))


@SHARED.check
async def instances_prolong_what_is_read(storage: StoreStorage) -> None:
    """What one instance reads lives longer for all; what was put since is left as it was put."""
    if not storage.store.supports_ttl:
        return
    async with second_store(storage) as other:
        await storage.store.aput(HOME, "k", {}, ttl=1)
        await storage.clock.advance(50.0)
        await other.aget(HOME, "k")
        await storage.clock.advance(50.0)
        expect_equal(await value_of(storage.store, "k"), {}, "What the other has read")


async def _expect_one_winner(stores: list[BaseStore]) -> None:
    for _ in range(5):
        version = await version_of(stores[0], "k")
        done = await asyncio.gather(
            *(
                _succeeds(store.aput(HOME, "k", {"n": n}, if_version=version))
                for n, store in enumerate(stores)
            )
        )
        winners = [n for n, ended in enumerate(done) if ended]
        expect_equal(len(winners), 1, f"The number of winners, {winners}")
        expect_equal(await value_of(stores[-1], "k"), {"n": winners[0]}, "What the winner has put")
    await stores[0].adelete(HOME, "k")
    created = await asyncio.gather(
        *(_succeeds(store.aput(HOME, "k", {}, if_version=0)) for store in stores)
    )
    expect_equal(sum(created), 1, "The number of those who have created one item")


async def _expect_counted(stores: list[BaseStore]) -> None:
    rounds = 5

    async def count(store: BaseStore) -> None:
        done = 0
        for _ in range(10_000):
            if done == rounds:
                return
            item = await store.aget(HOME, "count")
            n = 0 if item is None else item.value["n"]
            version = 0 if item is None else item.version
            put = store.aput(HOME, "count", {"n": n + 1}, if_version=version)
            done += await _succeeds(put)
        raise AssertionError("Puts under a condition do not get through.")

    await asyncio.gather(*(count(store) for store in stores))
    counted = await value_of(stores[0], "count")
    expect_equal(counted, {"n": rounds * len(stores)}, "What was counted")


async def _succeeds(call: Awaitable[None]) -> bool:
    try:
        await call
    except StoreConflictError:
        return False
    return True
