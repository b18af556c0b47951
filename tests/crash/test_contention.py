"""Scenarios 11 and 36: several processes want the same thread at once."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from durable_graph import Command
from tests.crash.harness.contention import (
    Contender,
    check_contended,
    contend,
    insist,
    keep_trying,
)
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.oracle import check_effects
from tests.crash.harness.places import file_in, kinds, place, rounds_on
from tests.crash.harness.processes import Worker, working
from tests.crash.harness.trial import in_parallel

INPUT = {"log": ["input"]}
REFUSALS = {"ThreadBusyError", "FencedError", "NothingToResumeError", "AlreadyAnsweredError"}

# How a thread comes to be wanted by two: how it is prepared, and what both call it with.
BEGINNINGS: dict[str, Any] = {"new": INPUT, "killed": None, "asking": Command(resume="this one")}


def prepare(beginning: str, who: Contender) -> None:
    """Bring the thread to where two will want it."""
    match beginning:
        case "killed":
            with Worker(contend, who, INPUT) as worker:
                worker.until("in")
        case "asking":
            with Worker(contend, who, INPUT) as worker:
                assert worker.end()[0] == "ended"


@pytest.mark.parametrize("beginning", BEGINNINGS)
@pytest.mark.parametrize(
    ("kind", "apart"), [*kinds(600.0), pytest.param("sqlite", 0.0, id="sqlite, right clocks")]
)
def test_of_two_who_want_a_thread_exactly_one_gets_it(
    kind: str, beginning: str, apart: float, tmp_path: Path
) -> None:
    """One proceeds, the other is refused while it does, and every node has run once."""

    waited: list[float] = []

    def one(seed: int, random: random.Random) -> None:
        folder = tmp_path / str(seed)
        folder.mkdir()
        effects = EffectFile(folder / "effects")
        where, graph = place(kind, folder), "asking" if beginning == "asking" else "plain"
        who = Contender(where, effects.path, graph, held=True, barrier=True)
        before = Contender(where, effects.path, graph, held=beginning == "killed")
        prepare(beginning, before)
        done = len(effects.read())
        skewed = [replace(who, wall=wall) for wall in (apart, -apart)]
        with working(*(Worker(contend, each, BEGINNINGS[beginning]) for each in skewed)) as pair:
            for worker in pair:
                worker.until("ready")
            for worker in random.sample(pair, 2):
                worker.tell("go")
            said = [worker.until("in", "refused") for worker in pair]
            assert sorted(message[0] for message in said) == ["in", "refused"], said
            ((_, error, seconds),) = [message for message in said if message[0] == "refused"]
            assert error in REFUSALS, said
            waited.append(seconds)
            winner = pair[0] if said[0][0] == "in" else pair[1]
            winner.tell("go on")
            ended, result, *_ = winner.end()
        assert ended == "ended", result
        first = "first: this one" if beginning == "asking" else "first"
        assert result["log"] == ["input", first, "held", "last"]
        ran = [effect.node for effect in effects.read()[done:] if effect.what == "start"]
        assert ran == [*([] if beginning == "killed" else ["first"]), "held", "last"]
        check_effects(effects.read(), [])
        check_contended(where)

    in_parallel(rounds_on(kind, 25, 500), one)
    # A machine that has something else to do may keep one of them waiting, but not most.
    assert sorted(waited)[len(waited) * 3 // 4] < 1.0


def test_a_live_owner_keeps_its_thread_however_long_it_takes(tmp_path: Path) -> None:
    """A run that outlasts its lease many times is left alone, whatever the others' clocks say."""
    where, effects = file_in(tmp_path), tmp_path / "effects"
    # Long enough for signs of life to be in time on a machine that has something else to do.
    owner = Contender(where, effects, held=True, lease=0.8, wall=-600.0)
    other = Contender(where, effects, lease=0.8, wall=600.0)
    with Worker(contend, owner, INPUT) as worker:
        worker.until("in")
        with Worker(keep_trying, other, 2.5) as trying:
            ended, refused, *_ = trying.end()
        assert ended == "ended", refused
        assert refused > 3
        worker.tell("go on")
        assert worker.end()[0] == "ended"


@pytest.mark.parametrize("apart", [0.0, 600.0], ids=["", "clocks 20 minutes apart"])
def test_what_a_killed_owner_left_is_taken_over_at_once(apart: float, tmp_path: Path) -> None:
    """Nobody waits for the lease of a process of this host that is known to be dead."""
    where, effects = file_in(tmp_path), tmp_path / "effects"
    owner = Contender(where, effects, held=True, lease=100_000.0, wall=-apart)
    with Worker(contend, owner, INPUT) as worker:
        worker.until("in")
    with Worker(contend, Contender(where, effects, wall=apart), None) as worker:
        assert worker.end() == ("ended", {"log": ["input", "first", "held", "last"]})


def test_an_owner_that_is_stopped_loses_its_thread_when_its_lease_is_over(tmp_path: Path) -> None:
    """No lease lasts for ever, whatever the clocks on the wall say."""
    where, effects = file_in(tmp_path), tmp_path / "effects"
    owner = Contender(where, effects, held=True, lease=0.4, wall=600.0)
    with Worker(contend, owner, INPUT) as worker:
        worker.until("in")
        worker.stop()
        with Worker(insist, Contender(where, effects, lease=0.4, wall=-600.0), None) as other:
            assert other.end() == ("ended", {"log": ["input", "first", "held", "last"]})
