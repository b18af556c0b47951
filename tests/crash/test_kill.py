"""Scenarios 3, 5, 6 and 8: a process is killed, and the next one goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from durable_graph.testing.crash import When
from durable_graph.types import Durability
from tests.crash.harness.counts import rounds
from tests.crash.harness.oracle import acknowledged_again
from tests.crash.harness.places import kinds, rounds_on
from tests.crash.harness.trial import Trial, in_parallel


@pytest.mark.parametrize(
    ("kind", "durability"),
    # What a level means is the engine's, and the same everywhere.
    [*kinds("sync", emulated=True), pytest.param("sqlite", "async", id="sqlite-async")],
)
@pytest.mark.parametrize("script", ["long", "wide"])
def test_what_was_acknowledged_is_not_executed_again(
    kind: str, script: str, durability: Durability, tmp_path: Path
) -> None:
    """A worker killed the instant its client hears of a step has done that step for good."""

    def one(seed: int, random: random.Random) -> None:
        trial = Trial(script, tmp_path / str(seed), durability, kind)
        lives = random.randint(1, 3)
        for _ in range(lives):
            with trial.start() as worker:
                trial.watch(worker, random.randint(1, 20 // lives))
        trial.finish()
        assert trial.acks.read()
        assert acknowledged_again(trial.effects.read(), trial.acks.read()) == []
        trial.check()

    in_parallel(rounds_on(kind, 25, 500), one)


@pytest.mark.parametrize("kind", kinds())
def test_recovery_can_be_killed_over_and_over(kind: str, tmp_path: Path) -> None:
    """However often those who recover are killed, one left in peace brings it to its end."""

    def one(seed: int, random: random.Random) -> None:
        trial = Trial("long", tmp_path / str(seed), kind=kind)
        with trial.start() as worker:
            trial.watch(worker, random.randint(1, 20))
        for _ in range(random.randint(1, 10)):
            with trial.start() as worker:
                # At any moment of it, not only where it says something.
                trial.watch_for(worker, random.uniform(0.0, random.choice([0.03, 0.2])))
        trial.finish()
        trial.check()

    in_parallel(rounds_on(kind, 25, 500), one)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("script", ["chain", "entry"])
@pytest.mark.parametrize("kind", kinds())
def test_a_start_that_was_told_is_kept_and_one_that_was_not_can_be_repeated(
    kind: str, script: str, when: When, tmp_path: Path
) -> None:
    """Killed around the first commit, a thread is absent or can be gone on with, never doubled."""
    for at in range(1, 8):
        trial = Trial(script, tmp_path / str(at), kind=kind)
        with trial.start(die_at=at, die_when=when) as worker:
            trial.watch(worker)
            worker.end()
        trial.finish()
        trial.check()


def test_of_a_large_fan_out_only_what_was_not_stored_is_done_again(tmp_path: Path) -> None:
    """Of 200 tasks, those with stored results do not run again, and the join runs once."""

    def one(seed: int, random: random.Random) -> None:
        trial = Trial("many", tmp_path / str(seed))
        for _ in range(random.randint(1, 3)):
            with trial.start() as worker:
                if random.random() < 0.5:
                    trial.watch(worker, random.randint(1, 200))
                else:
                    trial.watch_for(worker, random.uniform(0.0, 0.4))
        trial.finish()
        trial.check()
        joins = [e.key for e in trial.effects.read() if e.what == "end" and e.node == "collect"]
        assert len(set(joins)) == 1

    in_parallel(rounds(25, 500), one)
