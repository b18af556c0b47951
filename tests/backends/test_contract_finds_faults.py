"""The contract's checks notice what is wrong with a backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from durable_graph.ports.backend import Backend
from durable_graph.testing import CHECKS, Check, Storage, check_backend
from durable_graph.testing.contract_kit import HOOKS
from tests.backends import (
    faults_of_answers,
    faults_of_cards,
    faults_of_damage,
    faults_of_listing,
    faults_of_logs,
    faults_of_processes,
    faults_of_threads,
    faults_of_time,
    faults_of_transactions,
)
from tests.backends.faults_of_answers import OverALine
from tests.backends.faults_of_damage import SoundMemory
from tests.backends.faults_of_processes import SoundFile
from tests.backends.faulty import Faulty, Planted, faults_in
from tests.backends.storages import STORAGES

# What others are made faulty from, and what the contract must find nothing in.
SOUND: list[type[Planted]] = [OverALine, SoundFile, SoundMemory]

FAULTS = [
    fault
    for module in (
        faults_of_answers,
        faults_of_cards,
        faults_of_damage,
        faults_of_listing,
        faults_of_logs,
        faults_of_processes,
        faults_of_threads,
        faults_of_time,
        faults_of_transactions,
    )
    for fault in faults_in(module)
    if fault not in SOUND
]

# So long a backend may take that never answers; the others answer within milliseconds, unless
# processes have to be started.
_PATIENCE = 2.0


def _patience(check: Check) -> float:
    return 50.0 if check.needs == "elsewhere" else _PATIENCE


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_a_fault_is_found(fault: type[Planted]) -> None:
    """Each planted fault breaks at least one rule of the chapter that it belongs to."""
    failed = []
    for check in CHECKS:
        if check.name.split(".")[0] != fault.found_by:
            continue
        try:
            await check.run(fault.fresh, timeout=_patience(check))
        except Exception as error:  # however it shows
            failed.append((check.name, error))
            break
    assert failed, f"{fault.__name__} passes the chapter {fault.found_by!r}"


@pytest.mark.parametrize(
    "check", [check for check in CHECKS if check.needs in HOOKS], ids=lambda check: check.name
)
async def test_nothing_is_found_where_nothing_is_wrong(check: Check) -> None:
    """What the faulty ones are made from passes, so it is their faults that are found."""
    ran = [await check.run(sound.fresh, timeout=_patience(check)) for sound in SOUND]
    assert sum(ran) == 1


def test_there_are_faults_for_every_chapter() -> None:
    """No chapter of the contract is there without a fault that it finds."""
    chapters = {check.name.split(".")[0] for check in CHECKS}
    assert {fault.found_by for fault in FAULTS} == chapters


async def test_all_failures_are_told_at_once() -> None:
    """`check_backend` raises one group that names each check that failed, with its rule."""
    with pytest.raises(ExceptionGroup, match=r"checks failed: threads\.") as caught:
        await check_backend(faults_of_threads.EndsEarly.fresh, timeout=_PATIENCE)
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
        await check.run(faults_of_logs.IgnoresEpoch.fresh)


async def test_a_backend_that_never_answers_fails() -> None:
    """A check ends after its timeout, and says so."""

    class Silent(Faulty):
        async def changed(self, *args: object) -> None:
            await asyncio.Event().wait()

    check = next(c for c in CHECKS if c.name == "changed.a_change_that_has_been_is_told_at_once")
    with pytest.raises(AssertionError, match=r"no answer for 0\.05 s"):
        await check.run(Silent.fresh, timeout=0.05)


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
