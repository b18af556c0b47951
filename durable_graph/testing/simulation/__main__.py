"""Replays the history of a seed: ``python -m durable_graph.testing.simulation SEED``."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from durable_graph.testing.simulation.knobs import turned
from durable_graph.testing.simulation.simulate import Simulation, simulate
from durable_graph.testing.simulation.storm import Outcome, _history

__all__ = ["main", "replay"]


def replay(seed: int) -> tuple[list[str], Outcome | Exception]:
    """The trace of a seed's history, and what it came to or what was wrong with it."""
    seen: list[Simulation] = []
    with turned(random.Random(f"{seed} knobs")):  # noqa: S311 - chance, not a secret
        try:
            ended: Outcome | Exception = simulate(
                _history, seed=seed, keep_trace=True, after=seen.append
            )
        except Exception as error:
            ended = error
    return seen[0].trace, ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay a seed and print what happens; the exit status says whether it went well."""
    parser = argparse.ArgumentParser("python -m durable_graph.testing.simulation")
    parser.add_argument("seed", type=int, help="of the history")
    trace, ended = replay(parser.parse_args(arguments).seed)
    print(*trace, sep="\n")
    if isinstance(ended, Exception):
        print(f"{type(ended).__name__}: {ended}", file=sys.stderr)
        return 1
    print(ended)
    return 0


if __name__ == "__main__":
    sys.exit(main())
