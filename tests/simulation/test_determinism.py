"""A seed says all that happens: the same one is the same history, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from durable_graph.testing.simulation.__main__ import replay
from durable_graph.testing.simulation.storm import Outcome, run_seed
from tests.simulation.histories import ROOT

_SEEDS: Final = (0, 3, 7, 11, 42, 1234)


def test_a_seed_is_the_same_history_again() -> None:
    """One process runs a seed over and over, and every line of its trace stays the same."""
    for seed in _SEEDS:
        first, ended = replay(seed)
        between = run_seed(seed)
        again, ended_again = replay(seed)
        assert first == again, seed
        assert len(first) > 50
        # Keeping the trace changes nothing.
        assert ended == ended_again == between


def test_a_seed_is_the_same_history_in_every_interpreter() -> None:
    """A fresh interpreter, which hashes text otherwise, prints the very same trace."""

    def apart(seed: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "durable_graph.testing.simulation", str(seed)],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(seed % 100 + 1)},
            timeout=50,
        )
        return done.stdout.decode().splitlines()

    with ThreadPoolExecutor(2) as pool:
        for seed, printed in zip(_SEEDS, pool.map(apart, _SEEDS), strict=True):
            trace, ended = replay(seed)
            assert printed == [*trace, str(ended)], seed


def test_other_seeds_are_other_histories() -> None:
    """No two seeds have a digest in common."""
    ended = [replay(seed)[1] for seed in range(20)]
    digests = {one.digest for one in ended if isinstance(one, Outcome)}
    assert len(digests) == len(ended)
