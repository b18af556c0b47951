"""The port's contract as code: a backend that passes can be used.

The docstrings of `durable_graph.ports.backend` are the specification; each check here is one rule
of it. Give `check_backend` a way to fresh storage::

    @asynccontextmanager
    async def fresh() -> AsyncIterator[Storage]:
        with TemporaryDirectory() as folder:
            async def open() -> MyBackend:
                return MyBackend(folder)

            backend = await open()
            try:
                yield Storage(backend, reopen=open)
            finally:
                await backend.aclose()


    async def test_my_backend_keeps_the_contract() -> None:
        await check_backend(fresh)

With what else a `Storage` can bring along, more is checked: processes that are killed
(``elsewhere=functools.partial(MyBackend, folder)``), damaged bytes (``raw``), and lost answers
(``line``).

To let pytest show every check as a test of its own::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
    async def test_my_backend(check: Check) -> None:
        if not await check.run(fresh):
            pytest.skip("does not apply")
"""

from __future__ import annotations

from typing import Final

from durable_graph.testing import (
    contract_append,
    contract_cancel,
    contract_cards,
    contract_corruption,
    contract_crash,
    contract_expiry,
    contract_hostile,
    contract_inbox,
    contract_paging,
    contract_processes,
    contract_races,
    contract_read,
    contract_storage,
    contract_threads,
    contract_transactions,
    contract_unknown,
)
from durable_graph.testing.checking import check_all
from durable_graph.testing.contract_kit import Check, Factory, Storage

__all__ = ["CHECKS", "Check", "Factory", "Storage", "check_backend"]

CHECKS: Final[tuple[Check, ...]] = tuple(
    check
    for chapter in (
        contract_append.CHAPTER,
        contract_read.READ,
        contract_read.SCAN,
        contract_read.BLOBS,
        contract_threads.HEADS,
        contract_inbox.INBOX,
        contract_inbox.BEAT,
        contract_threads.REMOVE,
        contract_threads.CHANGED,
        contract_cards.CHAPTER,
        contract_paging.CHAPTER,
        contract_expiry.CHAPTER,
        contract_hostile.CHAPTER,
        contract_races.CHAPTER,
        contract_cancel.CANCEL,
        contract_cancel.CLOSE,
        contract_storage.DURABLE,
        contract_storage.SHARED,
        contract_transactions.CHAPTER,
        contract_processes.CHAPTER,
        contract_crash.CHAPTER,
        contract_corruption.CHAPTER,
        contract_unknown.CHAPTER,
    )
    for check in chapter.checks
)
"""Every check, chapter by chapter."""


async def check_backend(factory: Factory, *, timeout: float = 60.0) -> None:
    """Check a backend against the whole contract.

    Args:
        factory: makes fresh, empty storage for each check: an async context manager that yields
            a backend, or a `Storage` if what it stores can be opened again.
        timeout: seconds that one check may take.

    Raises:
        ExceptionGroup: what failed; its message names the checks, and each error in it has a note
            with the rule.
    """
    await check_all(CHECKS, factory, timeout)
