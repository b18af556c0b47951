"""A history that went wrong can be seen again, from the command line."""

from __future__ import annotations

import pytest

from durable_graph.testing.simulation.__main__ import main
from durable_graph.testing.simulation.storm import run_seed
from tests.simulation.histories import Report, explore, told
from tests.simulation.planted import PLANTED


def test_a_history_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is the trace, and what it came to, which is what the tests' run came to."""
    assert main(["5"]) == 0
    *trace, ended = capsys.readouterr().out.splitlines()
    assert len(trace) > 50
    assert trace[0] == "0.000010 -: start w1"
    assert ended == str(run_seed(5))
    # Nor does it change a history that its events are counted.
    assert explore([5]).digests == {5: run_seed(5).digest}


def test_a_history_that_goes_wrong_says_where(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trace ends soon after what is wrong; the exit status tells."""
    PLANTED["same_epoch"](monkeypatch)
    assert main(["0"]) == 1
    printed = capsys.readouterr()
    assert "WRONG Thread" in printed.out
    assert printed.err.startswith("SimulationError: Thread")


def test_all_that_went_wrong_is_told_with_the_way_to_see_it_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Exploring goes on behind a history that went wrong."""
    PLANTED["same_epoch"](monkeypatch)
    report: Report = explore(range(4))
    assert sorted(report.wrong) == [0, 1, 2, 3]
    text = told(report.wrong)
    for seed in range(4):
        assert f"seed {seed}: SimulationError: Thread" in text
        assert f"python -m durable_graph.testing.simulation {seed}" in text
