"""One thread over as many lives as it takes, in processes that are killed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from durable_graph.types import Durability
from tests.crash.harness.counts import seeded
from tests.crash.harness.effects import AckFile, EffectFile
from tests.crash.harness.graphs import GRAPHS
from tests.crash.harness.jobs import run_script
from tests.crash.harness.oracle import Ending, check_thread
from tests.crash.harness.places import place
from tests.crash.harness.processes import Worker
from tests.crash.harness.round import THREAD, Round
from tests.crash.harness.scripts import SCRIPTS

__all__ = ["Trial", "in_parallel"]


class Trial:
    """A thread of a script, and all that is known of it outside.

    Args:
        script: the script's name.
        folder: where the files go.
        durability: of the calls.
        kind: what keeps the thread.
    """

    def __init__(
        self,
        script: str,
        folder: Path,
        durability: Durability = "sync",
        kind: str = "sqlite",
    ) -> None:
        self.script = script
        self.durability: Durability = durability
        folder.mkdir(exist_ok=True)
        self.place = place(kind, folder)
        self.effects = EffectFile(folder / "effects")
        self.acks = AckFile(folder / "acks", self.effects)

    def start(self, **options: Any) -> Worker:
        """A process that runs the script."""
        options = {"durability": self.durability, **options}
        return Worker(run_script, self.place, self.effects.path, self.script, THREAD, options)

    def watch(self, worker: Worker, acks: int | None = None) -> bool:
        """Note what a worker is told, until it is gone or so many acknowledgements have come.

        Returns whether it was gone first.

        Raises:
            AssertionError: it has failed.
        """
        for message in worker.all():
            if self._hear(worker, message) and acks is not None:
                acks -= 1
                if acks <= 0:
                    return False
        return True

    def watch_for(self, worker: Worker, seconds: float) -> None:
        """Note what a worker is told, until it is gone or so much time has passed.

        Raises:
            AssertionError: it has failed.
        """
        until = time.monotonic() + seconds
        while worker.poll(max(0.0, until - time.monotonic())):
            message = worker.next()
            if message is None:
                break
            self._hear(worker, message)
            if time.monotonic() > until:
                break

    def _hear(self, worker: Worker, message: tuple[Any, ...]) -> bool:
        assert message[0] != "failed", f"{worker!r} said {message}"
        if message[0] == "ack":
            self.acks.note(*message[1:])
        return bool(message[0] == "ack")

    def finish(self) -> None:
        """Run the script to its end, undisturbed."""
        with self.start() as worker:
            self.watch(worker)
            worker.end()

    def check(self) -> None:
        """All that must hold in the end, whatever has happened."""
        asyncio.run(self._check(undisturbed(self.script, self.durability)))
        self.place.check()
        self.effects.close()
        self.acks.close()

    async def _check(self, expected: Ending) -> None:
        script = SCRIPTS[self.script]
        async with self.place.saver() as saver:
            await check_thread(
                GRAPHS[script.graph](self.effects).compile(saver),
                THREAD,
                self.effects.read(),
                self.acks.read(),
                expected,
                branches=script.branches,
                stored=self.durability == "sync",
            )


@cache
def undisturbed(script: str, durability: Durability) -> Ending:
    """How a script ends if nothing happens to it."""

    async def run(folder: Path) -> Ending:
        one = Round(SCRIPTS[script], durability, "memory", folder / "undisturbed")
        await one.live()
        return await one.ending()

    with TemporaryDirectory() as folder:
        return asyncio.run(run(Path(folder)))


def in_parallel(seeds: Iterable[int], one: Callable[[int, random.Random], None]) -> None:
    """Rounds, two at a time, each with random numbers of its own."""

    def round(seed: int) -> None:
        with seeded(seed) as random:
            one(seed, random)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(round, seed) for seed in seeds]:
            done.result()
