"""The contract's checks notice what is wrong with a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from durable_graph.ports.store import Op
from durable_graph.store import BaseStore, ItemStore
from durable_graph.testing import STORE_CHECKS, StoreStorage, check_store
from durable_graph.testing.store_contract import StoreFactory
from tests.backends import faults_of_stores
from tests.backends.faults_of_stores import FaultyItems
from tests.backends.stores import STORES

FAULTS = FaultyItems.__subclasses__()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_fault_is_found(fault: type[FaultyItems]) -> None:
    """Each planted fault breaks at least one rule of the chapter that it belongs to."""
    failed = []
    for check in STORE_CHECKS:
        if check.name.split(".")[0] != fault.found_by:
            continue
        try:
            await check.run(_over(fault), timeout=2.0)
        except Exception as error:  # however it shows
            failed.append((check.name, error))
            break
    assert failed, f"{fault.__name__} passes the chapter {fault.found_by!r}"


def test_there_are_faults_for_every_chapter() -> None:
    """No chapter of the contract is there without a fault that it finds."""
    chapters = {check.name.split(".")[0] for check in STORE_CHECKS}
    assert {fault.found_by for fault in FAULTS} == chapters


async def test_storage_without_a_fault_passes() -> None:
    """It is the fault that is found, and not what it is planted into."""

    class Good(FaultyItems):
        found_by = ""

    await check_store(_over(Good))


async def test_all_failures_are_told_at_once() -> None:
    """`check_store` raises one group that names each check that failed, with its rule."""
    with pytest.raises(ExceptionGroup, match=r"checks failed: .*races\.") as caught:
        await check_store(_over(faults_of_stores.IgnoresConditions))
    names = caught.value.message.partition("failed: ")[2].split(", ")
    assert 2 < len(names) == len(caught.value.exceptions) < len(STORE_CHECKS)
    for name, error in zip(names, caught.value.exceptions, strict=True):
        (note,) = error.__notes__
        rule = next(check.rule for check in STORE_CHECKS if check.name == name)
        assert note == f"{name}: {rule}"


async def test_a_store_that_never_answers_fails() -> None:
    """A check ends after its timeout, and says so."""

    class Silent(BaseStore):
        async def abatch(self, ops: Iterable[Op]) -> list[Any]:
            await asyncio.Event().wait()
            return []

    @asynccontextmanager
    async def fresh(**settings: Any) -> AsyncIterator[BaseStore]:
        yield Silent()

    with pytest.raises(AssertionError, match=r"no answer for 0\.05 s"):
        await STORE_CHECKS[0].run(fresh, timeout=0.05)


async def test_a_store_of_ones_own_needs_no_lifetimes() -> None:
    """Rules about what a store does not declare do not apply to it."""

    class Plain(ItemStore):
        supports_ttl = False

    @asynccontextmanager
    async def fresh(**settings: Any) -> AsyncIterator[BaseStore]:
        async with STORES["memory"](**settings) as made:
            assert isinstance(made, StoreStorage)
            assert isinstance(made.store, ItemStore)
            yield Plain(made.store.items, **settings)

    applied = [await check.run(fresh) for check in STORE_CHECKS]
    needs = [check.needs for check in STORE_CHECKS]
    assert applied == [need is None for need in needs]
    assert set(needs) == {None, "ttl", "durable", "shared"}


async def test_a_promise_that_cannot_be_checked_is_refused() -> None:
    """A store that declares itself durable needs a factory that can reopen its storage."""

    @asynccontextmanager
    async def without_reopen(**settings: Any) -> AsyncIterator[BaseStore]:
        yield ItemStore(faults_of_stores.IsNotDurable(), **settings)

    check = next(c for c in STORE_CHECKS if c.needs == "durable")
    with pytest.raises(AssertionError, match="`reopen`"):
        await check.run(without_reopen)


def _over(kind: type[FaultyItems]) -> StoreFactory:
    """Stores on faulty storage; what is "reopened" is as empty as the first."""

    @asynccontextmanager
    async def fresh(**settings: Any) -> AsyncIterator[StoreStorage]:
        async def reopen() -> BaseStore:
            return ItemStore(kind(), **settings)

        yield StoreStorage(await reopen(), reopen)

    return fresh
