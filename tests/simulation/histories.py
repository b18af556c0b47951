"""Many simulated histories at once: what went wrong in them, and what happened in them.

``python -m tests.simulation.histories FIRST LAST`` runs those of a range of seeds and prints a
line of JSON for each.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from durable_graph.testing.simulation.storm import run_seed
from tests.simulation.census import census

__all__ = ["CHUNKS", "Report", "explore", "explore_apart", "told", "usual"]

ROOT: Final = Path(__file__).parents[2]

CHUNKS: Final = [range(first, first + 30) for first in range(0, 300, 30)]
"""The seeds of every run of the tests, in parts that take a few seconds."""


@dataclass(slots=True)
class Report:
    """What became of some histories.

    Attributes:
        wrong: what was wrong, by seed.
        seen: how often each kind of event happened.
        seeds: in how many of the histories it did.
        digests: of all that happened, by seed.
    """

    wrong: dict[int, str] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    seeds: Counter[str] = field(default_factory=Counter)
    digests: dict[int, str] = field(default_factory=dict)

    def add(self, other: Report) -> None:
        """Take in what became of other histories."""
        self.wrong |= other.wrong
        self.seen += other.seen
        self.seeds += other.seeds
        self.digests |= other.digests


def explore(seeds: Iterable[int]) -> Report:
    """Run the histories of these seeds, whatever happens in them."""
    report = Report()
    for seed in seeds:
        with census() as seen:
            try:
                report.digests[seed] = run_seed(seed).digest
            except Exception as error:  # however it shows: this seed has found something
                report.wrong[seed] = f"{type(error).__name__}: {error}"
        report.seen += seen
        report.seeds.update(kind for kind, count in seen.items() if count)
    return report


@cache
def usual(chunk: range) -> Report:
    """What became of the histories of a chunk of seeds, which are run once for all tests."""
    return explore(chunk)


def explore_apart(seeds: range, seconds: float) -> dict[int, str]:
    """What was wrong in the histories of these seeds, which a process of its own runs.

    It has so many seconds; the history that it was at when they were over is wrong as well.
    """
    job = ["-m", "tests.simulation.histories", str(seeds.start), str(seeds.stop)]
    try:
        done = subprocess.run(
            [sys.executable, *job], check=False, capture_output=True, cwd=ROOT, timeout=seconds
        )
        output, end = done.stdout, f"the process ended: {done.stderr.decode()[-2000:]}"
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        end = f"no end after {seconds} s for all of {seeds}; those behind it were not run"
    lines = [json.loads(line) for line in output.splitlines() if line.endswith(b"]")]
    wrong = {seed: problem for seed, problem in lines if problem is not None}
    if len(lines) < len(seeds):
        wrong[seeds[len(lines)]] = end
    return wrong


def told(wrong: dict[int, str]) -> str:
    """What was wrong in which histories, and how to see them again."""
    lines = [f"  seed {seed}: {problem:.400}" for seed, problem in sorted(wrong.items())]
    again = [f"  python -m durable_graph.testing.simulation {seed}" for seed in sorted(wrong)]
    return "\n".join([f"{len(wrong)} histories went wrong:", *lines, "To see them again:", *again])


def _main(first: int, last: int) -> None:
    for seed in range(first, last):
        problem = explore([seed]).wrong.get(seed)
        print(json.dumps([seed, problem]), flush=True)


if __name__ == "__main__":
    _main(*map(int, sys.argv[1:]))
