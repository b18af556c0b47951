"""Scenario 46: whoever goes on with a thread does the same under the same keys."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.crash.harness.processes import Worker
from tests.crash.harness.replay import cut_off_everywhere

ROOT = Path(__file__).parents[2]
SEEDS = range(10)


def go_on(seed: int, path: Path, order: str = "sorted") -> list[Any]:
    """What a process with this hash seed does with all threads of a file."""
    folder = path.parent / f"seed {seed} {order}"
    folder.mkdir()
    copy = shutil.copy(path, folder)
    job = ["-m", "tests.crash.harness.main", "go_on_with_all"]
    done = subprocess.run(
        [sys.executable, *job, str(copy), str(folder / "effects"), order],
        check=False,
        capture_output=True,
        cwd=ROOT,
        timeout=50,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_every_hash_seed_gives_the_same_tasks_keys_and_history(tmp_path: Path) -> None:
    """A thread that was cut off anywhere is gone on with in the same way by every process."""
    path = tmp_path / "threads.db"
    with Worker(cut_off_everywhere, path, tmp_path / "effects") as worker:
        kind, threads = worker.end()
    assert kind == "ended"
    assert threads > 8
    two = asyncio.Semaphore(2)

    async def one(seed: int) -> list[Any]:
        async with two:
            return await asyncio.to_thread(go_on, seed, path)

    said = await asyncio.gather(*map(one, SEEDS))
    assert len(said[0]) >= threads - 2  # a thread that was cut off before its input is none
    for seed, other in zip(SEEDS, said, strict=True):
        for mine, theirs in zip(said[0], other, strict=True):
            assert mine == theirs, f"hash seed {seed}"
    assert any(ran for _, ran, *_ in said[0])
    for thread, _, log, seen, _ in said[0]:
        # A thread that had ended before it was cut off has been run once more.
        assert len(log) in (13, 26), (thread, log)
        assert len(seen) == 7


async def test_a_node_that_leaves_the_order_to_chance_is_found_out(tmp_path: Path) -> None:
    """A graph whose packets come in the order of a set does not pass for one that is the same
    everywhere: the test above can fail."""
    path = tmp_path / "threads.db"
    with Worker(cut_off_everywhere, path, tmp_path / "effects") as worker:
        assert worker.end()[0] == "ended"
    one, *others = [go_on(seed, path, "any") for seed in (0, 1, 2)]
    assert any(one != other for other in others)
