"""Scenario 12: a process is stopped, another takes its thread over, and it comes back."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest

from tests.crash.harness.contention import Contender, contend, insist, records_of
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.oracle import check_effects, check_file
from tests.crash.harness.processes import Worker

INPUT = {"log": ["input"]}
ENDED = ("ended", {"log": ["input", "first", "held", "last"]})
LEASE = 0.4


@pytest.mark.parametrize(
    "graph",
    [
        "plain",
        pytest.param(
            "wide",
            marks=pytest.mark.xfail(
                strict=True,
                reason="an error of storage in a fan-out comes out of its task group as a group",
            ),
        ),
    ],
)
def test_a_run_that_was_stopped_in_a_node_is_fenced(graph: str, tmp_path: Path) -> None:
    """What it does after another has taken over changes no byte, and its caller hears of it."""
    path, effects = tmp_path / "threads.db", EffectFile(tmp_path / "effects")
    with Worker(contend, Contender(path, effects.path, graph, held=True, lease=LEASE), INPUT) as a:
        a.until("in")
        a.signal(signal.SIGSTOP)
        with Worker(insist, Contender(path, effects.path, graph, lease=LEASE), None) as b:
            assert b.end() == ENDED
        before = records_of(path)
        a.signal(signal.SIGCONT)
        a.tell("go on")
        assert a.end()[:2] == ("failed", "FencedError")
    assert records_of(path) == before
    check_effects(effects.read(), [])
    check_file(path)


def test_a_run_that_was_stopped_while_it_waits_to_commit_is_fenced(tmp_path: Path) -> None:
    """A write that is on its way when another takes over is refused when it arrives."""
    path, effects = tmp_path / "threads.db", EffectFile(tmp_path / "effects")
    owner = Contender(path, effects.path, held=True, lease=LEASE, tells_appends=True)
    with Worker(contend, owner, INPUT) as a:
        a.until("in")
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        a.tell("go on")
        a.until("append")
        a.signal(signal.SIGSTOP)
        db.execute("ROLLBACK")
        db.close()
        with Worker(insist, Contender(path, effects.path, lease=LEASE), None) as b:
            assert b.end() == ENDED
        before = records_of(path)
        a.signal(signal.SIGCONT)
        assert a.end()[:2] == ("failed", "FencedError")
    assert records_of(path) == before
    check_effects(effects.read(), [])


def test_a_run_that_is_stopped_inside_its_commit_blocks_others_and_then_ends(
    tmp_path: Path,
) -> None:
    """Whoever holds the file's lock cannot be overtaken: others are told so, in bounded time."""
    path, effects = tmp_path / "threads.db", EffectFile(tmp_path / "effects")
    owner = Contender(path, effects.path, held=True, lease=LEASE, stops_in_commit=True)
    with Worker(contend, owner, INPUT) as a:
        a.until("in")
        a.tell("go on")
        a.until("in a commit")
        a.signal(signal.SIGSTOP)
        with Worker(insist, Contender(path, effects.path, lease=LEASE, busy=0.1), None) as b:
            b.until("refused")
            a.signal(signal.SIGCONT)
            a.tell("go on")
            assert a.end() == ENDED
            assert b.end() == ENDED
    ran = [effect.node for effect in effects.read() if effect.what == "start"]
    assert ran == ["first", "held", "last"]
    check_file(path)
