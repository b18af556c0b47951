"""The benchmarks run, and what they count is what is promised."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.libraries import libraries
from benchmarks.measure import BARE, OURS, PEER, Case, Figures, Metric, Room, run_case
from benchmarks.scenarios import SCENARIOS
from durable_graph.engine import run

pytest.importorskip("rich")

_ROOT = Path(__file__).resolve().parents[2]


def test_a_benchmark_runs_and_tells_programs_what_it_told_people(tmp_path: Path) -> None:
    """`run.py --quick --only NAME --json FILE` measures, prints a table and writes the figures."""
    file = tmp_path / "figures.json"
    done = _run("--only", "loop: SQLite, sync", "--json", str(file))
    assert "SQLite, sync" in done.stdout
    (case,) = json.loads(file.read_text())["scenarios"]["loop"]["cases"]
    rate = case["metrics"]["rate"]
    assert set(rate["systems"]) == {BARE, *(library.name for library in libraries())}
    assert all(system["median"] > 0 for system in rate["systems"].values())
    assert rate["of_bare"]["median"] > 0


def test_langgraph_is_measured_beside_us(tmp_path: Path) -> None:
    """Where LangGraph is installed, every figure has one of its own beside it."""
    pytest.importorskip("langgraph.checkpoint.sqlite.aio")
    file = tmp_path / "figures.json"
    _run("--only", "counts", "--json", str(file))
    for case in json.loads(file.read_text())["scenarios"]["counts"]["cases"]:
        for metric in case["metrics"].values():
            assert set(metric["systems"]) == {OURS, PEER}


def test_a_superstep_is_one_durable_write_one_hop_and_no_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more superstep of a loop costs one commit and one trip to a thread; in memory, none."""
    monkeypatch.setattr(run, "_SLICE", math.inf)  # how often others get the loop is the clock's
    counts = {name: _counted(name, tmp_path) for name in ("loop, memory", "loop, SQLite, sync")}
    assert counts["loop, memory"]["tasks"] == 0
    assert counts["loop, memory"]["callbacks"] == 0
    assert counts["loop, SQLite, sync"]["commits"] == 1
    assert counts["loop, SQLite, sync"]["hops"] == 1


def test_systems_run_in_turn_and_ratios_are_taken_within_a_repetition() -> None:
    """A noisy minute that hits both systems of a repetition leaves the ratio as it is."""
    noise = iter([1.0, 1.0, 9.0, 9.0, 2.0, 2.0])
    order: list[str] = []

    def lane(name: str, cost: float) -> Any:
        def measure(room: Room) -> Figures:
            order.append(name)
            return {"time": cost * next(noise)}

        return measure

    metric = Metric("time", "s")
    case = Case("noisy", {OURS: lane("ours", 1), PEER: lane("theirs", 3)}, [metric])
    ratio = run_case(case, 3, quick=True).ratio(metric, OURS, PEER)
    assert ratio is not None
    assert (ratio.least, ratio.median, ratio.most) == (3, 3, 3)
    assert order == ["ours", "theirs", "theirs", "ours", "ours", "theirs"]


def test_a_name_that_nothing_has_is_refused() -> None:
    """A slip in ``--only`` does not look like a run in which all went well."""
    done = _run("--only", "no such thing", check=False)
    assert done.returncode == 2
    assert "loop" in done.stderr


def _counted(case_name: str, folder: Path) -> Figures:
    (scenario,) = (scenario for scenario in SCENARIOS if scenario.name == "counts")
    (case,) = (case for case in scenario.cases() if case.name == case_name)
    return case.lanes[OURS](Room(folder, quick=True))


def _run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.run", "--quick", "--repeat", "1", *arguments],
        cwd=_ROOT,
        check=check,
        capture_output=True,
        text=True,
        timeout=50,
    )
