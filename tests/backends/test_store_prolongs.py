"""To prolong what was read changes nothing that has gone on meanwhile, on every storage system."""

from __future__ import annotations

import pytest

from durable_graph.store import ItemStore
from durable_graph.testing import FakeClock, StoreStorage
from tests.backends.stores import STORES, stores

HOME = ("notes",)


@pytest.mark.parametrize("name", stores())
async def test_what_is_gone_stays_so(name: str) -> None:
    """What has expired since it was read does not come back, nor does what was removed; what was
    put anew keeps its own end, and what others have prolonged for longer keeps that."""
    clock = FakeClock()
    async with STORES[name](clock=clock) as storage:
        store = storage.store if isinstance(storage, StoreStorage) else storage
        assert isinstance(store, ItemStore)
        items, keys = store.items, ["expired", "removed", "anew", "longer"]
        for key in keys:
            await store.aput(HOME, key, {}, ttl=1)
        read = [entry for entry in await items.fetch([(HOME, key) for key in keys], 0.0) if entry]
        expired, removed, anew, longer = read
        await store.adelete(HOME, "removed")
        await store.aput(HOME, "anew", {}, ttl=2)
        now = clock.time()
        await items.prolong([(longer, now + 1000)], now)
        await items.prolong([(removed, now + 500), (anew, now + 500)], now)
        # By one who has read it before, and whose call comes late.
        await items.prolong([(longer, now + 500)], now)
        found = await items.fetch([(HOME, key) for key in keys], now)
        ends = [None if entry is None else entry.expires for entry in found]
        assert ends == [now + 60, None, now + 120, now + 1000]
        await clock.advance(70)
        await items.prolong([(expired, now + 500)], clock.time())
        assert await items.fetch([(HOME, "expired")], clock.time()) == [None]
        await store.aput(HOME, "expired", {}, if_version=0)
        assert sorted(item.key for item in await store.asearch(HOME)) == [
            "anew",
            "expired",
            "longer",
        ]
