"""Scenario 4: a process dies after a node has acted and before its result is stored."""

from __future__ import annotations

import random
from pathlib import Path

from tests.crash.harness.counts import rounds
from tests.crash.harness.payments import CUSTOMERS, Payments, pay_all
from tests.crash.harness.processes import Worker
from tests.crash.harness.trial import in_parallel


def test_an_effect_that_was_not_recorded_happens_again_under_the_same_key(tmp_path: Path) -> None:
    """A receiver that takes each key once charges once, though it is called twice."""

    def one(seed: int, random: random.Random) -> None:
        folder = tmp_path / str(seed)
        payments = Payments(folder)
        arguments = (folder / "threads.db", folder, random.randrange(CUSTOMERS))
        with Worker(pay_all, *arguments) as worker:
            assert worker.end() == ("gone",)
        with Worker(pay_all, *arguments) as worker:
            assert worker.end() == (
                "ended",
                {"log": [f"charged {number}" for number in range(CUSTOMERS)]},
            )
        assert payments.charges() == [f"customer {number}" for number in range(CUSTOMERS)]
        assert len(set(payments.calls())) == CUSTOMERS
        twice = [key for key in payments.calls() if payments.calls().count(key) == 2]
        assert twice, "nothing was called twice, so this has tested nothing"

    in_parallel(rounds(25, 500), one)
