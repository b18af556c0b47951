"""What worker processes do."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from durable_graph.saver import Saver
from durable_graph.testing import CrashingBackend
from tests.crash.harness.client import Client
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import GRAPHS
from tests.crash.harness.places import Place
from tests.crash.harness.processes import Line
from tests.crash.harness.scripts import SCRIPTS

__all__ = ["die", "run_script"]


async def run_script(
    line: Line, place: Place, effects: Path, script: str, thread: str, options: dict[str, Any]
) -> None:
    """Run a script to its end, and say what is acknowledged at once.

    Args:
        line: to whoever watches.
        place: where the thread is.
        effects: the effect file.
        script: the script's name.
        thread: the thread's id.
        options: `durability`, of its calls; `die_at` and `die_when`, to be killed at a storage
            call.
    """
    backend = place.backend()
    if at := options.get("die_at"):
        backend = CrashingBackend(backend, at, options["die_when"], die=die)
    saver = Saver(backend)
    graph = GRAPHS[SCRIPTS[script].graph](EffectFile(effects)).compile(saver)
    client = Client(graph, thread, lambda *ack: line.say("ack", *ack), options["durability"])
    await SCRIPTS[script].run(client)
    await saver.aclose()


def die() -> None:
    """What no process survives."""
    os.kill(os.getpid(), signal.SIGKILL)
