"""The benchmarks run, and what they count is what is promised."""

from __future__ import annotations

import asyncio
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
from benchmarks.systems import LOCAL, SERVED, UnavailableError, system
from benchmarks.systems.kind import Group, Row
from durable_graph.engine.runs import run
from tests.services import redis

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


@pytest.mark.services
@pytest.mark.parametrize("name", SERVED)
def test_a_storage_system_is_measured_beside_its_driver(name: str, tmp_path: Path) -> None:
    """One run and many, ours and bare; LangGraph too, or the table says why not."""
    file = tmp_path / "figures.json"
    done = _run("--backend", name, "--json", str(file), check=False)
    if "cannot be measured here" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    (measured,) = json.loads(file.read_text())["scenarios"].values()
    beside = set() if "LangGraph is not measured: " in done.stdout else {PEER}
    assert len(measured["cases"]) == 2
    for case in measured["cases"]:
        rate = case["metrics"]["rate"]
        assert set(rate["systems"]) == {OURS, BARE, *beside}
        assert all(one["median"] > 0 for one in rate["systems"].values())
        assert rate["of_bare"]["median"] > 0


@pytest.mark.parametrize("name", LOCAL)
def test_what_needs_no_server_is_a_backend_too(name: str) -> None:
    """`--backend memory` is the cases of one run and of many that are measured anyway."""
    listed = _run("--backend", name, "--list").stdout.splitlines()
    assert listed == [f"loop: {LOCAL[name]}", f"concurrent: {LOCAL[name]}"]


def test_a_storage_system_that_cannot_be_had_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tests would skip, the benchmarks give the same reason."""
    monkeypatch.setattr(redis, "url", lambda: pytest.skip("no redis-server"))
    with pytest.raises(UnavailableError, match="no redis-server"):
        system("redis")


async def test_what_comes_during_a_write_goes_out_with_the_next() -> None:
    """The bare loop's group commit stores every row once, and says so when it is stored."""
    stored: list[list[int]] = []
    turns = [asyncio.Event() for _ in range(3)]

    async def store(rows: list[Row]) -> None:
        stored.append([row.number for row in rows])
        await turns[len(stored) - 1].wait()

    group = Group(store)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        writes = [tasks.create_task(group.write(Row("1", n, b""))) for n in range(3)]
        await asyncio.sleep(0)
        assert stored == [[0]]
        turns[0].set()
        await writes[0]
        assert not writes[1].done()
        writes.append(tasks.create_task(group.write(Row("1", 3, b""))))
        await asyncio.sleep(0)
        turns[1].set()
        turns[2].set()
    assert stored == [[0], [1, 2], [3]]


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
        [sys.executable, "-m", "benchmarks.run", "--quick", "--rounds", "1", *arguments],
        cwd=_ROOT,
        check=check,
        capture_output=True,
        text=True,
        timeout=50,
    )
