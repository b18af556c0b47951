"""The contract's checks notice what is wrong with a backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from durable_graph.ports.backend import Backend
from durable_graph.testing import CHECKS, Storage, check_backend
from tests.backends import (
    faults_of_cards,
    faults_of_logs,
    faults_of_threads,
    faults_of_time,
    faults_of_transactions,
)
from tests.backends.faulty import Faulty, all_faults
from tests.backends.storages import STORAGES

FAULTS = [
    fault
    for fault in all_faults(Faulty)
    if fault.__module__
    in {
        module.__name__
        for module in (
            faults_of_cards,
            faults_of_logs,
            faults_of_threads,
            faults_of_time,
            faults_of_transactions,
        )
    }
]

# So long a backend may take that never answers; the others answer within milliseconds.
_PATIENCE = 2.0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_fault_is_found(fault: type[Faulty]) -> None:
    """Each planted fault breaks at least one rule of the chapter that it belongs to."""
    failed = []
    for check in CHECKS:
        if check.name.split(".")[0] != fault.found_by:
            continue
        try:
            await check.run(lambda: _fresh(fault), timeout=_PATIENCE)
        except Exception as error:  # however it shows
            failed.append((check.name, error))
            break
    assert failed, f"{fault.__name__} passes the chapter {fault.found_by!r}"


def test_there_are_faults_for_every_chapter() -> None:
    """No chapter of the contract is there without a fault that it finds."""
    chapters = {check.name.split(".")[0] for check in CHECKS}
    assert {fault.found_by for fault in FAULTS} == chapters


async def test_all_failures_are_told_at_once() -> None:
    """`check_backend` raises one group that names each check that failed, with its rule."""
    with pytest.raises(ExceptionGroup, match=r"checks failed: threads\.") as caught:
        await check_backend(lambda: _fresh(faults_of_threads.EndsEarly), timeout=_PATIENCE)
    group = caught.value
    names = group.message.partition("failed: ")[2].split(", ")
    assert "threads.every_thread_is_on_one_page" in names
    assert len(names) == len(group.exceptions) < len(CHECKS)
    for name, error in zip(names, group.exceptions, strict=True):
        (note,) = error.__notes__
        rule = next(check.rule for check in CHECKS if check.name == name)
        assert note == f"{name}: {rule}"


async def test_a_failure_says_what_was_expected() -> None:
    """The message of a broken rule tells what came and what should have come."""
    check = next(c for c in CHECKS if c.name == "append.the_epoch_is_compared")
    with pytest.raises(AssertionError, match=r"APPLIED.* instead of .*REFUSED"):
        await check.run(lambda: _fresh(faults_of_logs.IgnoresEpoch))


async def test_a_backend_that_never_answers_fails() -> None:
    """A check ends after its timeout, and says so."""

    class Silent(Faulty):
        async def changed(self, *args: object) -> None:
            await asyncio.Event().wait()

    check = next(c for c in CHECKS if c.name == "changed.a_change_that_has_been_is_told_at_once")
    with pytest.raises(AssertionError, match=r"no answer for 0\.05 s"):
        await check.run(lambda: _fresh(Silent), timeout=0.05)


async def test_a_promise_that_cannot_be_checked_is_refused() -> None:
    """A backend that declares itself durable needs a factory that can reopen its storage."""

    @asynccontextmanager
    async def without_reopen() -> AsyncIterator[Backend]:
        async with STORAGES["sqlite"]() as storage:
            assert isinstance(storage, Storage)
            yield storage.backend

    check = next(c for c in CHECKS if c.needs == "durable")
    with pytest.raises(AssertionError, match="`reopen`"):
        await check.run(without_reopen)


@asynccontextmanager
async def _fresh(fault: type[Faulty]) -> AsyncIterator[Storage]:
    """Storage of a faulty backend; what it "reopens" is as empty as the first."""

    async def reopen() -> Backend:
        return fault()

    yield Storage(fault(), reopen)
