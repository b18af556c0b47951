"""The contract of stores as code: a store that passes can be used.

The docstrings of `durable_graph.ports.store` are the specification; each check here is one rule of
it. Give `check_store` a way to fresh storage, whose stores take the settings that it names::

    @asynccontextmanager
    async def fresh(**settings: Any) -> AsyncIterator[StoreStorage]:
        with TemporaryDirectory() as folder:
            async def open() -> MyStore:
                return MyStore(folder, **settings)

            store = await open()
            try:
                yield StoreStorage(store, reopen=open)
            finally:
                await store.aclose()


    async def test_my_store_keeps_the_contract() -> None:
        await check_store(fresh)

or let pytest show every check as a test of its own, with `STORE_CHECKS`.
"""

from __future__ import annotations

from typing import Final

from durable_graph.testing import (
    store_contract_hostile,
    store_contract_items,
    store_contract_search,
    store_contract_storage,
    store_contract_time,
)
from durable_graph.testing.checking import check_all
from durable_graph.testing.store_contract_kit import StoreCheck, StoreFactory, StoreStorage

__all__ = ["STORE_CHECKS", "StoreCheck", "StoreFactory", "StoreStorage", "check_store"]

STORE_CHECKS: Final[tuple[StoreCheck, ...]] = tuple(
    check
    for chapter in (
        store_contract_items.ITEMS,
        store_contract_items.VERSIONS,
        store_contract_items.BATCHES,
        store_contract_search.SEARCHING,
        store_contract_search.MEANING,
        store_contract_search.LISTING,
        store_contract_time.CHAPTER,
        store_contract_hostile.CHAPTER,
        store_contract_storage.RACES,
        store_contract_storage.CANCEL,
        store_contract_storage.DURABLE,
        store_contract_storage.SHARED,
    )
    for check in chapter.checks
)
"""Every check, chapter by chapter."""


async def check_store(factory: StoreFactory, *, timeout: float = 60.0) -> None:
    """Check a store against the whole contract.

    Args:
        factory: makes fresh, empty storage for each check: called with settings by name, it gives
            an async context manager that yields a store, or a `StoreStorage` if what it keeps can
            be opened again.
        timeout: seconds that one check may take.

    Raises:
        ExceptionGroup: what failed; its message names the checks, and each error in it has a note
            with the rule.
    """
    await check_all(STORE_CHECKS, factory, timeout)
