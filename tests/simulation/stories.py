"""Stories for bugs that histories of seeds would take too long to stumble upon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from durable_graph import Command
from durable_graph.testing.simulation import Simulation
from tests.simulation.scripts import THREAD, asks, graph, play, says

__all__ = ["STORIES"]


def answers_taken_twice() -> None:
    """An answer is left for a run that goes on; its sender hears that it was taken."""

    async def scenario(simulation: Simulation) -> None:
        one, two = simulation.worker(), simulation.worker()
        nodes = (("ask", asks), ("slow", says("slow", 5.0)))
        running = one.start(graph(one.saver, *nodes, beside=True).ainvoke({"log": []}, THREAD))
        await asyncio.sleep(1.0)
        answering = graph(two.saver, *nodes, beside=True).ainvoke(Command(resume="this"), THREAD)
        result = await two.run(answering)
        await asyncio.wait([running])
        assert result["log"] == ["this", "slow"]

    play(scenario)


STORIES: Final[dict[str, Callable[[], None]]] = {"answers_taken_twice": answers_taken_twice}
"""By the name of the bug."""
