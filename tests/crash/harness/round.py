"""One thread over as many lives as it takes, in one process that only plays them."""

from __future__ import annotations

from pathlib import Path

from durable_graph.testing.crash import CrashingBackend, When
from durable_graph.types import Durability, RunnableConfig
from tests.crash.harness.client import Client
from tests.crash.harness.effects import AckFile, EffectFile
from tests.crash.harness.graphs import GRAPHS
from tests.crash.harness.oracle import Ending, check_thread, ending_of
from tests.crash.harness.scripts import Script
from tests.crash.harness.storage import Storage, StorageKind

__all__ = ["THREAD", "Round"]

THREAD = "thread"


class Round:
    """One thread, from its first call to its end over as many lives as it takes."""

    def __init__(
        self, script: Script, durability: Durability, kind: StorageKind, folder: Path
    ) -> None:
        folder.mkdir()
        self.script = script
        self.durability: Durability = durability
        self.storage = Storage(kind, folder)
        self.effects = EffectFile(folder / "effects")
        self.acks = AckFile(folder / "acks", self.effects)

    async def live(self, at: int | None = None, when: When = "before") -> CrashingBackend:
        """Run the script until it ends or dies."""
        async with self.storage.life(at, when) as (saver, dying):
            graph = GRAPHS[self.script.graph](self.effects).compile(saver)
            client = Client(graph, THREAD, self.acks.note, self.durability)
            await self.script.run(client)
        return dying

    async def ending(self) -> Ending:
        """How the thread ended."""
        async with self.storage.life() as (saver, _):
            graph = GRAPHS[self.script.graph](self.effects).compile(saver)
            config: RunnableConfig = {"configurable": {"thread_id": THREAD}}
            return await ending_of(graph, config, self.effects.read())

    async def check(self, expected: Ending) -> None:
        """All that must hold, whatever has happened."""
        async with self.storage.life() as (saver, _):
            graph = GRAPHS[self.script.graph](self.effects).compile(saver)
            await check_thread(
                graph,
                THREAD,
                self.effects.read(),
                self.acks.read(),
                expected,
                branches=self.script.branches,
                stored=self.durability == "sync",
            )
        self.storage.check()
        self.effects.close()
        self.acks.close()
