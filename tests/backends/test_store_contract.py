"""The contract of stores, over every store."""

from __future__ import annotations

import pytest

from durable_graph.testing import STORE_CHECKS, StoreCheck, check_store
from tests.backends.stores import STORES, stores


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.name)
@pytest.mark.parametrize("name", stores())
async def test_a_store_keeps_the_contract(check: StoreCheck, name: str) -> None:
    """Each rule of the contract holds on each store that it applies to."""
    if not await check.run(STORES[name]):
        pytest.skip(f"the store does not declare {check.needs!r}")


def test_every_rule_is_told_in_a_sentence() -> None:
    """A check that fails can say which rule was broken, and has a name of its own."""
    assert all(check.rule.endswith(".") for check in STORE_CHECKS)
    assert len({check.name for check in STORE_CHECKS}) == len(STORE_CHECKS) > 40


async def test_a_good_store_passes_as_a_whole() -> None:
    """`check_store` has nothing to say about a store that keeps the contract."""
    await check_store(STORES["memory"])
