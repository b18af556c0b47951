"""The contract of the storage port, over every backend."""

from __future__ import annotations

import pytest

from durable_graph.testing import CHECKS, Check, Storage, check_backend
from durable_graph.testing.contract_kit import HOOKS
from tests.backends.storages import STORAGES, storages


@pytest.fixture(params=storages())
def storage(request: pytest.FixtureRequest) -> str:
    """The name of a kind of storage."""
    return str(request.param)


# Servers that stand in for a service take milliseconds for a request, one after the other.
SLOW = {"s3"}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
async def test_a_backend_keeps_the_contract(check: Check, storage: str) -> None:
    """Each rule of the contract holds on each backend that it applies to."""
    if not await check.run(STORAGES[storage], timeout=180 if storage in SLOW else 60):
        pytest.skip(f"the storage has no {check.needs!r}")


def test_every_rule_is_told_in_a_sentence() -> None:
    """A check that fails can say which rule was broken, and has a name of its own."""
    assert all(check.rule.endswith(".") for check in CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS) > 100


async def test_a_good_backend_passes_as_a_whole() -> None:
    """`check_backend` has nothing to say about a backend that keeps the contract."""
    await check_backend(STORAGES["memory"])


def test_a_storage_tells_what_it_is() -> None:
    """Only checks that need it depend on a capability, or on what the factory brings along."""
    needs = {check.needs for check in CHECKS}
    assert needs == {None, "durable", "shared", "transactions", *HOOKS}
    assert Storage.__doc__
