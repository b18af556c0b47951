"""Scenario 13: many processes with many threads each, stopped, continued and killed at random."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.harness.counts import TORTURE
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.oracle import check_effects, check_log
from tests.crash.harness.places import EMULATED, Place, kinds, place, rounds_on
from tests.crash.harness.processes import Worker, working
from tests.crash.harness.swarm import STEPS, finish_swarm, swarm, thread_names

pytestmark = pytest.mark.timeout(1200 if TORTURE else 60)


@dataclass(frozen=True, slots=True)
class Size:
    """How large a swarm is.

    Attributes:
        processes: how many there are.
        runs: how many threads each of them has.
        moment: seconds in which much happens, so that one is disturbed somewhere within.
    """

    processes: int
    runs: int
    moment: float

    @staticmethod
    def on(kind: str) -> Size:
        """One that comes to its end there in the time that there is."""
        if kind in EMULATED:
            return Size(6, 10, 2.0) if TORTURE else Size(3, 2, 0.6)
        return Size(16, 50, 0.05) if TORTURE else Size(4, 8, 0.05)


@pytest.mark.parametrize("kind", kinds(emulated=True))
def test_whatever_happens_to_its_processes_a_swarm_comes_to_its_end(
    kind: str, tmp_path: Path
) -> None:
    """Those that were stopped go on, what the killed ones left is gone on with, and the log of
    each thread is one and whole."""
    size = Size.on(kind)
    all_runs = size.processes * size.runs
    for seed in rounds_on(kind, 2, 20 if kind not in EMULATED else 60):
        folder = tmp_path / str(seed)
        folder.mkdir()
        where, effects = place(kind, folder), EffectFile(folder / "effects")
        killed = disturb(where, effects.path, size, random.Random(seed))
        with Worker(finish_swarm, where, effects.path, size.processes, size.runs) as worker:
            assert worker.end() == ("ended", all_runs), f"seed {seed}"
        check_effects(effects.read(), [])
        ran = [effect for effect in effects.read() if effect.what == "start"]
        # Only tasks in flight are done again, and of a killed process each thread had one.
        assert 0 <= len(ran) - all_runs * (STEPS + 1) <= killed * size.runs, f"seed {seed}"
        asyncio.run(verify(where, size))
        where.check()
        effects.close()


def disturb(where: Place, effects: Path, size: Size, random: random.Random) -> int:
    """Let the swarm run, stop and kill some of it; returns how many were killed."""
    killed = 0
    jobs = [Worker(swarm, where, effects, number, size.runs) for number in range(size.processes)]
    with working(*jobs) as workers:
        for worker in workers:
            worker.until("ready")
        for worker in workers:
            worker.tell("go")
        for worker in random.sample(workers, max(2, size.processes // 2)):
            worker.poll(random.uniform(0.0, size.moment))
            if random.random() < 0.5:
                worker.kill()
                killed += 1
                continue
            worker.stop()
            random.choice(workers).poll(random.uniform(0.0, 2 * size.moment))
            worker.go_on()
        for worker in workers:
            assert worker.end() in (("ended", size.runs), ("gone",))
    return killed


async def verify(where: Place, size: Size) -> None:
    """The log of each thread, from its first record to its last."""
    async with where.saver() as saver:
        for process in range(size.processes):
            for name in thread_names(process, size.runs):
                await check_log(saver, name)
