"""A process that closes an event loop in the middle of a run."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from pathlib import Path
from typing import Any

from durable_graph import START, StateGraph
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.files import CONFIG
from tests.crash.harness.graphs import State
from tests.crash.harness.processes import Line

__all__ = ["close_a_loop"]


async def close_a_loop(line: Line, path: Path) -> Any:
    """Close a loop whose run hangs in a node, and go on with the thread on another.

    Returns the state, and what could not be raised when the first run was thrown away.
    """
    calls: list[int] = []
    noise: list[str] = []
    sys.unraisablehook = lambda failed: noise.append(repr(failed.exc_value))

    async def hang(state: State) -> State:
        calls.append(1)
        if len(calls) == 1:
            loop = asyncio.get_running_loop()
            loop.stop()
            await loop.create_future()
        return {"log": ["hang"]}

    saver = SqliteSaver(path)
    graph = StateGraph(State).add_node("hang", hang).add_edge(START, "hang").compile(saver)

    def stop_in_the_middle() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        task = loop.create_task(graph.ainvoke({"log": []}, CONFIG))
        loop.run_forever()
        loop.close()
        del task

    thread = threading.Thread(target=stop_in_the_middle)
    thread.start()
    await asyncio.to_thread(thread.join, 30)
    state = await graph.ainvoke(None, CONFIG)
    gc.collect()
    wrong = await saver.averify("thread")
    await saver.aclose()
    return state, noise, wrong
