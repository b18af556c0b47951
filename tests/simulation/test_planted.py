"""Scenario 66: bugs that are planted into the engine, or into the storage, do not stay unseen.

What the scenario asks for, and who catches it:

==========================  ==========================================================
ack before commit           here: `ack_before_commit`, `event_before_commit`
missing epoch check         here: `no_fence`, `same_epoch`; the contract: `IgnoresEpoch`
lease-only fence            here: `fence_of_leases`, `everybody_is_dead`
swallowed decode error      here: `swallowed_damage`
``except: return None``     here: `swallowed_write`, `lost_error`
retry with a new commit_id  here: `another_commit`; the contract: `RefusesARepetition`
unsalted key join           the contract: `JoinsNames`
fsync off                   `test_a_disk_that_lies_is_noticed`
lock held across an await   the contract: `LockedByCancelling`
no authenticated data       here: `digest_of_nothing` (nothing is encrypted)
==========================  ==========================================================

The contract's faults are in `tests/backends/test_contract_finds_faults.py`, what a disk does in
`tests/backends/test_sqlite_power_loss.py`. Ours are caught by the histories of `test_seeds.py`,
most of them by one of the first ten.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import pytest

from durable_graph.errors import DurableGraphError
from durable_graph.testing.simulation import SimulationError
from durable_graph.testing.simulation.storm import run_seed
from tests.simulation.planted import PLANTED, Plant
from tests.simulation.stories import STORIES

_SEEDS: Final = range(200)

_ACCIDENT: Final = re.compile(
    r"\b(Attribute|Type|Name|Key|Index|Lookup|Value|Runtime|Import)Error\b"
)
"""A planted bug that breaks off the engine proves nothing: any test would notice that."""


def histories(name: str) -> list[Callable[[], object]]:
    """What is to catch a bug: a story of its own if it has one, or else the first seeds."""
    if name in STORIES:
        return [STORIES[name]]
    return [lambda seed=seed: run_seed(seed) for seed in _SEEDS]  # type: ignore[misc]


def finding(history: Callable[[], object], plant: Plant) -> Exception | None:
    """What a history finds wrong if there is a bug; ``None`` if it does not notice."""
    with pytest.MonkeyPatch.context() as patch:
        plant(patch)
        try:
            history()
        except Exception as error:  # it is looked at below
            return error
    return None


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_is_caught(name: str) -> None:
    """A history that is right as it is goes wrong with the bug, and says what is wrong."""
    for history in histories(name):
        error = finding(history, PLANTED[name])
        if error is None:
            continue
        assert isinstance(error, SimulationError | AssertionError | DurableGraphError), error
        assert not _ACCIDENT.search(str(error)), error
        history()
        return
    pytest.fail(f"Nobody has noticed {name}.")
