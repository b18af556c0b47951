"""What programs do whose file system is not what it should be."""

from __future__ import annotations

import asyncio
import operator
import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Protocol, TypedDict

from durable_graph import START, Runtime, StateGraph
from durable_graph.errors import DurableGraphError, StorageFullError, ThreadBusyError
from durable_graph.graph import CompiledGraph
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Position
from durable_graph.saver import Lease, Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.client import Client
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.graphs import GRAPHS
from tests.crash.harness.scripts import finish

__all__ = ["Sayer", "faulty", "filling", "full_disk", "go_on_after_full", "released"]

CONFIG: RunnableConfig = {"configurable": {"thread_id": "thread"}}
STEPS = 40


class Sayer(Protocol):
    """Somebody to say things to."""

    def say(self, *message: Any) -> None:
        """Say something."""
        ...


async def faulty(line: Sayer, path: str, effects: str) -> None:
    """Run a long script until it ends or its disk fails; says what is acknowledged."""
    saver = SqliteSaver(path)
    graph = GRAPHS["long"](EffectFile(Path(effects))).compile(saver)
    try:
        await finish(Client(graph, "thread", lambda *ack: line.say("ack", *ack)))
    except DurableGraphError as error:
        line.say("failed", type(error).__name__, str(error))
    else:
        line.say("ended")
    await saver.aclose()


class Pages(TypedDict, total=False):
    pages: Annotated[list[str], operator.add]


def filling(saver: Saver, effects: EffectFile) -> CompiledGraph:
    """A graph that writes 10 KB in each of its steps."""

    async def write(state: Pages, runtime: Runtime) -> Pages:
        with effects.of(runtime):
            number = len(state.get("pages", []))
            return {"pages": [f"{number} " + random.Random(number).randbytes(5_000).hex()]}

    def route(state: Pages) -> str:
        return "write" if len(state["pages"]) < STEPS else "__end__"

    graph = StateGraph(Pages).add_node("write", write).add_edge(START, "write")
    return graph.add_conditional_edges("write", route).compile(saver)


async def released(saver: SqliteSaver) -> None:
    """Wait until a thread is not owned any more."""
    key = ThreadKey.of("thread")
    while (reading := await saver.backend.read(key)) and reading.head.status == "running":
        await saver.backend.changed(key, Position.of(reading.head))


async def go_on_after_full(
    saver: SqliteSaver, effects: EffectFile, free: Callable[[], None], *, at_once: bool
) -> None:
    """Run until there is no space left, look around, free some, and go on.

    Args:
        saver: on a file that is about to have no space.
        effects: what the nodes do.
        free: makes space.
        at_once: go on without waiting until the run has been able to say that it is over.
    """
    graph = filling(saver, effects)
    acknowledged = 0
    failed = None
    try:
        async for _ in graph.astream({"pages": []}, CONFIG):
            acknowledged += 1
    except StorageFullError as error:
        failed = str(error)
    assert failed is not None, "the disk is too large for this"
    assert "nothing was written" in failed
    began = [effect for effect in effects.read() if effect.what == "start"]

    state = await graph.aget_state(CONFIG)
    assert len(state.values["pages"]) == acknowledged, "something partial is to be seen"
    assert state.next == ("write",)
    assert len([one async for one in graph.aget_state_history(CONFIG)]) >= acknowledged
    assert await saver.averify("thread") == []

    free()
    if not at_once:
        await asyncio.wait_for(released(saver), 20)
        (info,) = [found async for found in saver.alist_threads()]
        assert (info.status, info.reason) == ("stopped", "storage")
    ended = await graph.ainvoke(None, CONFIG)
    assert [int(page.split()[0]) for page in ended["pages"]] == list(range(STEPS))
    assert await saver.averify("thread") == []
    again = [effect for effect in effects.read() if effect.what == "start"][len(began) :]
    told = {effect.key for effect in began[:acknowledged]}
    assert not [effect for effect in again if effect.key in told], "done again"


async def full_disk(line: Sayer, folder: str, at_once: str) -> None:
    """`go_on_after_full` in a folder of a small file system, where a large file can be deleted."""
    place = Path(folder)
    ballast = place / "ballast"
    ballast.write_bytes(b"x" * 7_600_000)
    effects = EffectFile(place.parent / "effects")
    async with SqliteSaver(place / "threads.db", lease=Lease(1.0, 0.1)) as saver:
        try:
            await go_on_after_full(saver, effects, ballast.unlink, at_once=bool(int(at_once)))
        except ThreadBusyError as error:
            line.say("failed", type(error).__name__)
        else:
            line.say("ended")
