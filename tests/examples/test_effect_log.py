"""The demo's checks: each of them fails when what it watches over goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from effect_log import EffectLog, checks_of

FILES = ["a", "b", "c", "d"]


@pytest.fixture
def log(tmp_path: Path) -> EffectLog:
    """What a right run leaves: killed with a and b finished and c in flight, then gone on with."""
    first = EffectLog(tmp_path / "effects.log", "first")
    second = EffectLog(tmp_path / "effects.log", "second")
    for file in ("a", "b", "c"):
        first.add("analysed", file)
    first.add("acknowledged", "a")
    for file in ("c", "d"):
        second.add("analysed", file)
        second.add("acknowledged", file)
    return second


def failed(
    log: EffectLog, finished: list[str] | None = None, in_state: list[str] | None = None
) -> set[str]:
    """The checks that do not hold."""
    checks = checks_of(FILES, finished or ["a", "b"], in_state or FILES, log, at_once=1)
    return {check.what for check in checks if not check.holds}


def test_a_right_run_passes_every_check(log: EffectLog) -> None:
    """A file in flight may be analysed again; all else exactly once."""
    assert failed(log) == set()


@pytest.mark.parametrize("file", ["a", "b"])
def test_a_finished_file_that_is_analysed_again_is_seen(log: EffectLog, file: str) -> None:
    """The planted duplicate of a finished file."""
    log.add("analysed", file)
    assert "no finished file was analysed twice" in failed(log)


def test_a_third_analysis_of_a_file_in_flight_is_seen(log: EffectLog) -> None:
    """In flight once means twice at most."""
    log.add("analysed", "c")
    assert failed(log) == {"only what was in flight was analysed again"}


def test_a_second_analysis_of_a_new_file_is_seen(log: EffectLog) -> None:
    """What was not in flight at the kill has no reason to be repeated."""
    log.add("analysed", "d")
    assert failed(log) == {"only what was in flight was analysed again"}


def test_a_lost_acknowledgement_is_seen(log: EffectLog) -> None:
    """A result that was told and is not stored."""
    assert "what was acknowledged is stored" in failed(log, finished=["b"])


def test_a_missed_file_is_seen(tmp_path: Path) -> None:
    """A file that nobody analysed."""
    log = EffectLog(tmp_path / "effects.log", "first")
    for file in FILES[:-1]:
        log.add("analysed", file)
    assert "no file was missed" in failed(log)


@pytest.mark.parametrize("in_state", [["a", "b", "c"], ["a", "b", "c", "d", "d"]])
def test_a_wrong_number_of_facts_is_seen(log: EffectLog, in_state: list[str]) -> None:
    """A file that is missing in the state, or is there twice."""
    assert failed(log, in_state=in_state) == {"every file is in the state exactly once"}


def test_lost_work_is_seen(log: EffectLog) -> None:
    """What was begun and is not stored must be what was in flight, and no more."""
    EffectLog(log.path, "first").add("analysed", "d")
    assert "only what was in flight was lost" in failed(log)


def test_a_process_that_died_too_late_is_seen(log: EffectLog) -> None:
    """A kill after the last file proves nothing."""
    assert "it died in the middle of the fan-out" in failed(log, finished=FILES)
