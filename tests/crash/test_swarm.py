"""Scenario 13: many processes with many threads each, stopped, continued and killed at random."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.crash.harness.counts import TORTURE
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.oracle import check_effects, check_log
from tests.crash.harness.places import Place, kinds, place, rounds_on
from tests.crash.harness.processes import Worker, working
from tests.crash.harness.swarm import STEPS, finish_swarm, swarm, thread_names

pytestmark = pytest.mark.timeout(1200 if TORTURE else 60)

PROCESSES = 16 if TORTURE else 4
RUNS = 50 if TORTURE else 8


@pytest.mark.parametrize("kind", kinds())
def test_whatever_happens_to_its_processes_a_swarm_comes_to_its_end(
    kind: str, tmp_path: Path
) -> None:
    """Those that were stopped go on, what the killed ones left is gone on with, and the log of
    each thread is one and whole."""
    for seed in rounds_on(kind, 2, 20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        where, effects = place(kind, folder), EffectFile(folder / "effects")
        killed = disturb(where, effects.path, random.Random(seed))
        with Worker(finish_swarm, where, effects.path, PROCESSES, RUNS) as worker:
            assert worker.end() == ("ended", PROCESSES * RUNS), f"seed {seed}"
        check_effects(effects.read(), [])
        ran = [effect for effect in effects.read() if effect.what == "start"]
        # Only tasks in flight are done again, and of a killed process each thread had one.
        assert 0 <= len(ran) - PROCESSES * RUNS * (STEPS + 1) <= killed * RUNS, f"seed {seed}"
        asyncio.run(verify(where))
        where.check()
        effects.close()


def disturb(where: Place, effects: Path, random: random.Random) -> int:
    """Let the swarm run, stop and kill some of it; returns how many were killed."""
    killed = 0
    jobs = [Worker(swarm, where, effects, process, RUNS) for process in range(PROCESSES)]
    with working(*jobs) as workers:
        for worker in workers:
            worker.until("ready")
        for worker in workers:
            worker.tell("go")
        for worker in random.sample(workers, PROCESSES // 2):
            worker.poll(random.uniform(0.0, 0.05))
            if random.random() < 0.5:
                worker.kill()
                killed += 1
                continue
            worker.stop()
            random.choice(workers).poll(random.uniform(0.0, 0.1))
            worker.go_on()
        for worker in workers:
            assert worker.end() in (("ended", RUNS), ("gone",))
    return killed


async def verify(where: Place) -> None:
    """The log of each thread, from its first record to its last."""
    async with where.saver() as saver:
        for process in range(PROCESSES):
            for name in thread_names(process, RUNS):
                await check_log(saver, name)
