"""A process that is killed while a node waits for its next attempt, or its error handler runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from durable_graph import START, NodeError, RetryPolicy, Runtime, StateGraph
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items

CONFIG: RunnableConfig = {"configurable": {"thread_id": "1"}}
WAIT = 3600.0


def graph(saver: Saver, notes: Path, *, handled: bool) -> CompiledGraph:
    """A node that fails for ever and notes its attempts; its handler kills its process at first,
    if it is `handled` that is tried."""

    def note(text: str) -> None:
        with notes.open("a") as file:
            file.write(f"{text}\n")

    async def node(state: Items, runtime: Runtime) -> None:
        note(f"attempt {runtime.attempt}")
        raise ConnectionError("no answer")

    async def handler(state: Items, error: NodeError) -> Items:
        first = "handler" not in notes.read_text()
        note("handler")
        if first and handled:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"items": [error.text]}

    attempts = 1 if handled else 3
    policy = RetryPolicy(WAIT, max_interval=WAIT, max_attempts=attempts, jitter=False)
    made = StateGraph(Items).add_edge(START, "node")
    made.add_node("node", node, retry_policy=policy, error_handler=handler)
    return made.compile(saver)


def main(path: str, notes: str, handled: str) -> None:
    """The process that is killed."""
    graph(SqliteSaver(path), Path(notes), handled=bool(handled)).invoke({}, CONFIG)


def begin(folder: Path, handled: str) -> tuple[subprocess.Popen[Any], Path]:
    notes = folder / "notes"
    notes.touch()
    code = "import sys; from tests.crash.test_retry_kill import main; main(*sys.argv[1:])"
    arguments = [str(folder / "threads.db"), str(notes), handled]
    return subprocess.Popen([sys.executable, "-c", code, *arguments]), notes


async def test_killed_while_it_waits_it_goes_on_with_the_next_attempt(tmp_path: Path) -> None:
    """The failed attempt and when the next is due are on record: neither is begun anew."""
    process, notes = begin(tmp_path, "")
    path = tmp_path / "threads.db"
    try:
        until = time.monotonic() + 30
        waits = False
        while not waits and time.monotonic() < until:
            time.sleep(0.02)
            if notes.read_text():
                async with SqliteSaver(path) as looking:
                    state = await graph(looking, notes, handled=False).aget_state(CONFIG)
                waits = bool(state.tasks) and state.tasks[0].error is not None
        assert waits, "it did not get as far as waiting"
    finally:
        process.kill()
        process.wait(30)
    clock = FakeClock(time.time() + 600, jump=True)
    async with SqliteSaver(path, clock=clock) as saver:
        result = await graph(saver, notes, handled=False).ainvoke(None, CONFIG)
    assert result["items"] == ["ConnectionError: no answer"]
    assert notes.read_text().splitlines() == ["attempt 1", "attempt 2", "attempt 3", "handler"]
    # Of the wait that was under way, what was left; the next one as a whole.
    waits_were = [slept for slept in clock.slept if slept > 100]
    assert len(waits_were) == 2
    assert waits_were[0] < waits_were[1] == WAIT


async def test_killed_in_its_handler_it_goes_on_with_the_handler(tmp_path: Path) -> None:
    """The node is not executed again, whatever its handler did to the process."""
    process, notes = begin(tmp_path, "handled")
    assert process.wait(30) == -signal.SIGKILL
    assert notes.read_text().split() == ["attempt", "1", "handler"]
    async with SqliteSaver(tmp_path / "threads.db") as saver:
        result = await graph(saver, notes, handled=True).ainvoke(None, CONFIG)
    assert result["items"] == ["ConnectionError: no answer"]
    assert notes.read_text().splitlines() == ["attempt 1", "handler", "handler"]
