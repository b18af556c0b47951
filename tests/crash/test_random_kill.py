"""Scenario 1: a process is killed at any time, whatever it is doing, and so may the next one be."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.crash.harness.counts import TORTURE
from tests.crash.harness.places import kinds, rounds_on
from tests.crash.harness.scripts import SCRIPTS
from tests.crash.harness.trial import Trial, in_parallel

MIXED = sorted(SCRIPTS)


@pytest.mark.timeout(3600 if TORTURE else 180)
@pytest.mark.parametrize("kind", kinds(emulated=True))
def test_killed_at_any_time_a_run_of_any_shape_comes_to_its_end(kind: str, tmp_path: Path) -> None:
    """Every second time, who goes on is killed as well; nobody's work is lost or done twice."""
    cut_off: list[str] = []

    def one(seed: int, random: random.Random) -> None:
        script = random.choice(MIXED)
        undisturbed = Trial(script, tmp_path / f"{seed}, undisturbed", kind=kind)
        begun = time.monotonic()
        undisturbed.finish()
        lasts = time.monotonic() - begun
        undisturbed.check()
        trial = Trial(script, tmp_path / f"{seed}", kind=kind)
        while True:
            with trial.start() as worker:
                trial.watch_for(worker, random.uniform(0.0, lasts))
                if not worker.poll(0.0):
                    cut_off.append(script)
            if random.random() < 0.5:
                break
        trial.finish()
        trial.check()

    rounds = rounds_on(kind, 25 if kind == "sqlite" else 10, 1000)
    in_parallel(rounds, one)
    # A kill that comes too late tries nothing.
    assert len(cut_off) >= len(rounds) // 3, cut_off
