"""Measure every promise about speed and size, side by side with LangGraph.

    python -m benchmarks.run [--backend NAME] [--only NAME] [--rounds N] [--quick] [--json FILE]

Medians over the rounds; in every round the systems run in turn, and ratios (with least and most)
are taken inside a round. "CPU" counts all threads of the process, and moves
less than the clock on a machine that is busy otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.libraries import libraries
from benchmarks.measure import PEER, Case, Results, Scenario, run_case
from benchmarks.report import as_json, environment, show
from benchmarks.scenarios import SCENARIOS, backend, concurrent, loop
from benchmarks.systems import LOCAL, SERVED, UnavailableError, system

__all__ = ["main"]

_NARROWEST = 118


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from a command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        scenarios = _scenarios(options.backend)
    except UnavailableError as reason:
        print(f"{options.backend} cannot be measured here: {reason}", file=sys.stderr)
        return 2
    chosen = [
        (scenario, cases)
        for scenario in scenarios
        if (cases := _chosen(scenario, options.only or [""]))
    ]
    if not chosen:
        print(f"Nothing is named so. There are {_names(scenarios)}.", file=sys.stderr)
        return 2
    if options.list:
        for scenario, cases in chosen:
            print(f"{scenario.name}: {'; '.join(case.name for case in cases)}")
        return 0
    console = Console()
    if console.width < _NARROWEST:
        console = Console(width=_NARROWEST)
    place = environment(options.folder)
    _say_what(console, place, quick=options.quick, rounds=options.rounds)
    measured = []
    for scenario, cases in chosen:
        results = [_measure(scenario, case, options) for case in cases]
        show(console, scenario, results)
        measured.append((scenario, results))
        if options.json is not None:  # each time: what is there counts if the rest is cut off
            settings = {"rounds": options.rounds, "quick": options.quick}
            text = json.dumps(as_json(measured, settings, place), indent=1)
            options.json.write_text(text + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help=f"a scenario ({_names(SCENARIOS)}), or words in a case's name; "
        "can be given several times",
    )
    parser.add_argument(
        "--backend",
        choices=[*LOCAL, *SERVED],
        help="one run and many at once on this storage system; its server is started",
    )
    parser.add_argument("--rounds", type=_positive, default=5, metavar="N", help="default: 5")
    parser.add_argument("--quick", action="store_true", help="do little, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument("--folder", type=Path, help="where databases are made, and removed again")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _names(scenarios: Iterable[Scenario]) -> str:
    return ", ".join(scenario.name for scenario in scenarios)


def _scenarios(name: str | None) -> Sequence[Scenario]:
    """Those on a storage system; without one, all that need no server."""
    if name is None:
        return SCENARIOS
    if name in SERVED:
        return [backend.of(system(name))]
    return [
        replace(scenario, cases=partial(_named, scenario, LOCAL[name]))
        for scenario in (loop.SCENARIO, concurrent.SCENARIO)
    ]


def _named(scenario: Scenario, name: str) -> list[Case]:
    return [case for case in scenario.cases() if case.name == name]


def _chosen(scenario: Scenario, only: Sequence[str]) -> list[Case]:
    if scenario.name in only:
        return list(scenario.cases())
    return [
        case
        for case in scenario.cases()
        if any(name in f"{scenario.name}: {case.name}" for name in only)
    ]


def _say_what(console: Console, place: Mapping[str, Any], *, quick: bool, rounds: int) -> None:
    packages = ", ".join(f"{name} {version}" for name, version in place["packages"].items())
    console.print(
        f"Python {place['python']}, SQLite {place['sqlite']}, {place['cpus']} CPUs, "
        f"load {place['load']:.1f}, "
        f"a 4 KiB flush to disk {place['flush_ms']:.2f} ms. Medians of {rounds}.\n{packages}",
        style="dim",
        highlight=False,
    )
    if PEER not in [library.name for library in libraries()]:
        console.print("LangGraph is not installed: only our own side is measured.", style="yellow")
    if quick:
        console.print("Quick: sizes are tiny, and the figures mean nothing.", style="yellow")
    console.print()


def _measure(scenario: Scenario, case: Case, options: argparse.Namespace) -> Results:
    status = Console(stderr=True)
    with status.status("") as line:

        def progress(round: int, system: str) -> None:
            line.update(f"{scenario.name}: {case.name}, {round + 1} of {options.rounds}, {system}")

        return run_case(
            case,
            options.rounds,
            quick=options.quick,
            folder=options.folder,
            progress=progress,
        )


if __name__ == "__main__":
    sys.exit(main())
