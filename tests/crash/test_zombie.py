"""Scenario 12: a process is stopped, another takes its thread over, and it comes back."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from tests.crash.harness.contention import (
    THREAD,
    Contender,
    check_contended,
    contend,
    insist,
)
from tests.crash.harness.counts import rounds
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.oracle import check_effects
from tests.crash.harness.places import kinds, place, records_of, rounds_on
from tests.crash.harness.processes import Worker
from tests.crash.harness.trial import in_parallel

INPUT = {"log": ["input"]}
ENDED = ("ended", {"log": ["input", "first", "held", "last"]})
FENCED = ("failed", "FencedError")


class Rivals:
    """Two who want one thread: the first is stopped, and for the second its lease is over.

    In the first round that takes as long as a lease lasts; in all others the second one's clock
    is ahead. Where leases go by a server's clock, it always takes so long.
    """

    def __init__(self, folder: Path, seed: int, graph: str = "plain", kind: str = "sqlite") -> None:
        folder = folder / str(seed)
        folder.mkdir()
        self.place = place(kind, folder)
        self.effects = EffectFile(folder / "effects")
        self._graph = graph
        waits = seed == 0 or kind != "sqlite"
        self._lease, self._ahead = (0.4, 0.0) if waits else (10.0, 20.0)

    def first(self, **options: bool) -> Worker:
        """The one who will be stopped."""
        return Worker(contend, self._who(held=True, **options), INPUT)

    def second(self, *, held: bool = False, busy: float = 10.0) -> Worker:
        """The one who takes over."""
        return Worker(insist, self._who(ahead=self._ahead, held=held, busy=busy), None)

    def _who(self, **options: float) -> Contender:
        options = {"lease": self._lease, **options}
        return Contender(self.place, self.effects.path, self._graph, **options)  # type: ignore[arg-type]

    def ran(self) -> list[str]:
        """The nodes, as often as they have begun."""
        return [effect.node for effect in self.effects.read() if effect.what == "start"]

    def check(self) -> None:
        """All that must hold in the end."""
        check_effects(self.effects.read(), [])
        check_contended(self.place)
        self.effects.close()


@pytest.mark.parametrize("graph", ["plain", "wide"])
@pytest.mark.parametrize("kind", kinds(emulated=True))
def test_a_run_that_was_stopped_in_a_node_is_fenced(kind: str, graph: str, tmp_path: Path) -> None:
    """What it does after another has taken over changes no byte, and its caller hears of it."""

    def one(seed: int, random: random.Random) -> None:
        rivals = Rivals(tmp_path, seed, graph, kind)
        meanwhile = random.random() < 0.5  # it comes back before the other has ended
        with rivals.first() as a:
            # In its node, and with nothing on the way: a file's lock can be stopped as well.
            to_hear = {"in", "stored"} if graph == "wide" else {"in"}
            while to_hear:
                to_hear -= {a.until(*to_hear)[0]}
            a.stop()
            with rivals.second(held=meanwhile) as b:
                if meanwhile:
                    b.until("in")
                else:
                    assert b.end() == ENDED
                before = records_of(rivals.place, THREAD)
                a.go_on()
                a.tell("go on")
                assert a.end()[:2] == FENCED
                if not meanwhile or graph == "plain":  # else the other has written something
                    assert records_of(rivals.place, THREAD) == before
                if meanwhile:
                    b.tell("go on")
                    assert b.end() == ENDED
        assert rivals.ran().count("held") == 2
        rivals.check()

    in_parallel(rounds_on(kind, 25, 500), one)


def test_a_run_that_was_stopped_while_it_waits_to_commit_is_fenced(tmp_path: Path) -> None:
    """A write that is on its way when another takes over is refused when it arrives."""

    def one(seed: int, random: random.Random) -> None:
        rivals = Rivals(tmp_path, seed)
        with rivals.first(tells_appends=True) as a:
            a.until("in")
            db = sqlite3.connect(rivals.place.where, isolation_level=None)
            db.execute("BEGIN IMMEDIATE")
            a.tell("go on")
            a.until("append")
            a.poll(random.uniform(0.0, 0.01))  # more or less far on its way
            a.stop()
            db.execute("ROLLBACK")
            db.close()
            with rivals.second() as b:
                assert b.end() == ENDED
            before = records_of(rivals.place, THREAD)
            a.go_on()
            assert a.end()[:2] == FENCED
        assert records_of(rivals.place, THREAD) == before
        rivals.check()

    in_parallel(rounds(25, 500), one)


def test_a_run_that_is_stopped_inside_its_commit_blocks_others_and_then_commits(
    tmp_path: Path,
) -> None:
    """Whoever holds the file's lock cannot be overtaken: others are told so, in bounded time.

    What it was about to commit is committed, and never done again. It loses the thread only then,
    if at all.
    """

    def one(seed: int, random: random.Random) -> None:
        rivals = Rivals(tmp_path, seed)
        with rivals.first(stops_in_commit=True) as a:
            a.until("in")
            a.tell("go on")
            a.until("in a commit")
            a.stop()
            with rivals.second(busy=random.uniform(0.0, 0.1)) as b:
                b.until("refused")
                a.go_on()
                a.tell("go on")
                assert a.end()[:2] in (ENDED, FENCED)
                assert b.end() == ENDED
        assert rivals.ran()[:3] == ["first", "held", "last"]
        assert set(rivals.ran()[3:]) <= {"last"}
        rivals.check()

    in_parallel(rounds(25, 500), one)
