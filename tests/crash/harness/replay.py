"""Threads that were cut off, and a program that goes on with all of them and says what it did."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

from durable_graph import START, Command, Runtime, Send, StateGraph
from durable_graph.log.seal import open_header
from durable_graph.ports.backend import ThreadKey
from durable_graph.saver import Saver
from durable_graph.testing import CrashingBackend
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.backend import SqliteBackend
from tests.crash.harness.effects import EffectFile
from tests.crash.harness.processes import Line
from tests.crash.harness.programs import Sayer
from tests.crash.harness.storage import StillClock, still, survives

__all__ = ["INPUT", "cut_off_everywhere", "go_on_with_all", "named", "shuffled"]

NAMES = ("delta", "alpha", "charlie", "bravo")
INPUT: dict[str, Any] = {"log": [], "tags": set(NAMES)}


class Tagged(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    tags: set[str]
    seen: Annotated[set[str], operator.or_]


class Tag(TypedDict):
    tag: str


def named(thread: str) -> RunnableConfig:
    """The config that names a thread."""
    return {"configurable": {"thread_id": thread}}


def shuffled(effects: EffectFile, order: Callable[[set[str]], list[str]] = sorted) -> StateGraph:
    """Sets everywhere: in the state, from routers, in commands; they differ with the hash seed.

    Args:
        effects: what its nodes do.
        order: in which a node sends packets; if that is not always the same, neither are its tasks.
    """

    def node(name: str) -> Any:
        async def run(state: Tagged, runtime: Runtime) -> Any:
            with effects.of(runtime):
                return {"log": [name], "seen": {name, *state.get("seen", ())}}

        return run

    async def scatter(state: Tagged, runtime: Runtime) -> Command[Any]:
        with effects.of(runtime):
            packets = [Send("each", {"tag": tag}) for tag in order(state["tags"])]
            return Command(update={"log": ["scatter"]}, goto=[*packets, "charlie"])

    async def each(part: Tag, runtime: Runtime) -> Any:
        with effects.of(runtime):
            return {"log": [f"each {part['tag']}"], "seen": {part["tag"]}}

    def everywhere(state: Tagged) -> Any:
        return set(state["tags"])

    graph = StateGraph(Tagged).add_node("scatter", scatter).add_node("each", each)
    for name in (*NAMES, "first", "join", "end"):
        graph.add_node(name, node(name))
    graph.add_edge(START, "first").add_conditional_edges("first", everywhere)
    graph.add_edge(["delta", "alpha", "bravo"], "join").add_edge("join", "scatter")
    return graph.add_edge("each", "end")


async def cut_off_everywhere(line: Line, path: Path, effects: Path) -> int:
    """Threads that were cut off behind each storage call of a run; returns how many."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: None)  # of those who write and die, many
    at, crashed = 0, True
    while crashed:
        at += 1
        backend, clock = SqliteBackend(path), StillClock()
        dying = CrashingBackend(backend, at, "after")
        saver = still(dying, clock)
        with survives():
            await shuffled(EffectFile(effects)).compile(saver).ainvoke(INPUT, named(f"cut {at:02}"))
        crashed = dying.crashed
        with survives():
            await saver.aclose()
        await backend.aclose()
    return at


async def go_on_with_all(line: Sayer, path: str, effects: str, order: str = "sorted") -> None:
    """Go on with every thread of a file; says for each what was run under which keys, and how it
    ended."""

    def ordered(tags: set[str]) -> list[str]:
        return sorted(tags) if order == "sorted" else list(tags)

    async with SqliteSaver(path) as saver:
        for thread in sorted([found.thread_id async for found in saver.alist_threads()]):
            file = EffectFile(Path(f"{effects}-{thread}"))
            graph = shuffled(file, ordered).compile(saver)
            state = await graph.ainvoke(INPUT, named(thread))  # the same input: it goes on
            ran = [[one.step, one.node, one.task, one.key] for one in file.read()]
            records = await contents(saver, thread)
            line.say(thread, sorted(ran), state["log"], sorted(state["seen"]), records)


async def contents(saver: Saver, thread: str) -> list[Any]:
    """What the records of a thread say, without what is new each time: ids and times."""
    key = ThreadKey.of(thread)
    reading = await saver.backend.read(key)
    assert reading is not None
    records = await saver.backend.scan(key, ((1, reading.head.seq),))
    said = []
    for record in records:
        commit = open_header(record, thread).commit
        if commit is not None:
            said.append([commit.step, commit.source, commit.nodes, commit.graph])
    return said
