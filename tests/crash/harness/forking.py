"""A process that forks while it has a saver open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from durable_graph.errors import StorageClosedError
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.crash.harness.files import simple
from tests.crash.harness.processes import Line

__all__ = ["child_makes_its_own", "child_uses_inherited"]


def named(thread: str) -> RunnableConfig:
    """The config that names a thread."""
    return {"configurable": {"thread_id": thread}}


def in_a_child(work: Callable[[], Awaitable[str]]) -> int:
    """Fork; the child does its work, writes what came of it to the pipe and exits."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        _children[reading] = pid
        return reading
    try:
        os.write(writing, asyncio.run(work()).encode())  # type: ignore[arg-type]
    except BaseException as error:
        os.write(writing, repr(error).encode())
    finally:
        os._exit(0)


_children: dict[int, int] = {}


def outcome(reading: int) -> str:
    """What came of a child's work; waits for its exit."""
    parts = []
    while part := os.read(reading, 4096):
        parts.append(part)
    os.close(reading)
    os.waitpid(_children.pop(reading), 0)
    return b"".join(parts).decode()


async def child_uses_inherited(line: Line, path: Path) -> Any:
    """Fork with an open saver, which the child uses; returns what the child and the parent get."""
    async with SqliteSaver(path) as saver:
        graph = simple(saver)
        await graph.ainvoke({"log": ["before"]}, named("before"))

        async def child() -> str:
            refused = []
            for call in (
                lambda: graph.ainvoke({"log": ["child"]}, named("child")),
                lambda: graph.aget_state(named("before")),
                lambda: saver.adelete_thread("before"),
            ):
                try:
                    await call()
                except StorageClosedError:
                    refused.append("refused")
            # Leaving it is not using it.
            await saver.aclose()
            return " ".join(refused)

        said = outcome(in_a_child(child))
        await graph.ainvoke({"log": ["after"]}, named("after"))
        return said, sorted([found.thread_id async for found in saver.alist_threads()])


async def child_makes_its_own(line: Line, path: Path) -> Any:
    """Fork with an open saver; the child makes its own, and the parent closes its one meanwhile.

    Returns what the child says, and the threads that are found on the file afterwards.
    """
    saver = SqliteSaver(path)
    await simple(saver).ainvoke({"log": ["before"]}, named("before"))
    ready, to_go_on = os.pipe(), os.pipe()

    async def child() -> str:
        async with SqliteSaver(path) as own:
            graph = simple(own)
            await graph.ainvoke({"log": ["child"]}, named("child 1"))
            os.write(ready[1], b"x")
            os.read(to_go_on[0], 1)
            await graph.ainvoke({"log": ["child"]}, named("child 2"))
            # The end of a process is all the end it gets.
            os._exit(0)

    reading = in_a_child(child)
    os.close(ready[1])
    os.read(ready[0], 1)
    await saver.aclose()
    os.write(to_go_on[1], b"x")
    said = outcome(reading)
    async with SqliteSaver(path) as again:
        return said, sorted([found.thread_id async for found in again.alist_threads()])
