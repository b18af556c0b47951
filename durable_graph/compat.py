"""Which stored threads a version of a graph would break: as a function, and as a command for CI.

    python -m durable_graph.compat module:graph sqlite:///threads.db

exits with 0 if all threads that have not finished can go on, with 1 if one cannot, and with 2 if
that could not be found out.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from durable_graph.decisions.compat import misfits_within
from durable_graph.engine.history.reading import load
from durable_graph.errors import DurableGraphError, IncompatibleGraphError, IntegrityError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.graph.state_graph import StateGraph
from durable_graph.log.records import Head, Status
from durable_graph.log.seal import open_header
from durable_graph.ports.backend import ThreadQuery
from durable_graph.registry import open_saver
from durable_graph.saver import Saver

__all__ = ["Incompatibility", "check_compat"]

_PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class Incompatibility:
    """Something stored with which a thread cannot go on under a version of a graph.

    Attributes:
        thread_id: the thread.
        checkpoint_id: its last checkpoint.
        node: the node that it is about, if it is about one.
        key: the key of the state that it is about, if it is about one.
        reason: what is wrong, as the end of a sentence.
    """

    thread_id: str
    checkpoint_id: str
    node: str | None
    key: str | None
    reason: str

    def __str__(self) -> str:
        about = [f"node {self.node!r}"] if self.node is not None and self.key is None else []
        about += [f"key {self.key!r}"] if self.key is not None else []
        return f"thread {self.thread_id!r}: {' '.join([*about, self.reason])}"


async def check_compat(
    graph: CompiledGraph[Any, Any, Any, Any], saver: Saver, *, finished: bool = False
) -> list[Incompatibility]:
    """The threads that a version of a graph, with its migrations, could not go on with.

    Writes nothing. Of a thread that this very version wrote last, only the end is looked at.

    Args:
        graph: the version of the graph.
        saver: where the threads are.
        finished: whether to look at threads that have finished as well: a new input goes on with
            their state, too.

    Raises:
        StorageError: storage failed.
    """
    saver.check_usable()
    found: list[Incompatibility] = []
    for status in get_args(Status):
        if status == "finished" and not finished:
            continue
        after: str | None = None
        while True:
            query = ThreadQuery(saver.tenant, status, limit=_PAGE, after=after)
            page = await saver.backend.threads(query)
            for head in (thread.head for thread in page.threads if thread.head is not None):
                found += await _look_at(graph, saver, head, due=status != "finished")
            after = page.next
            if after is None:
                break
    return found


async def _look_at(
    graph: CompiledGraph[Any, Any, Any, Any], saver: Saver, head: Head, *, due: bool
) -> list[Incompatibility]:
    key, definition = head.key, graph.definition

    def about(node: str | None, name: str | None, reason: str) -> Incompatibility:
        return Incompatibility(key.thread, head.checkpoint, node, name, reason)

    try:
        nests = any(node.graph is not None for node in definition.nodes.values())
        if not nests and await _writer_of(saver, head) == definition.fingerprint:
            return []
        view = await load(saver, definition, key)
        if view is None:  # deleted meanwhile
            return []
        found = misfits_within(definition, view.scope) if due else []
        if view.origin is not None:
            found += view.origin.misfits(definition, view.scope, view.freezer, due=due)
        return [about(misfit.node, misfit.key, misfit.reason) for misfit in found]
    except IncompatibleGraphError as error:
        return [about(None, None, f"cannot be migrated: {error}")]
    except IntegrityError as error:
        return [about(None, None, f"is damaged: {error}")]


async def _writer_of(saver: Saver, head: Head) -> str | None:
    """The graph that made a thread's last checkpoint, without reading what it holds."""
    last = ((max(1, head.seq - _LAST + 1), head.seq),)
    for record in reversed(await saver.backend.scan(head.key, last, bodies=False)):
        header = open_header(record, head.key.thread)
        if header.commit is not None and not header.ns:
            return header.commit.graph
    return None


_LAST: Final = 8
"""How many records at a thread's end are looked at for its last checkpoint."""


def _graph(spec: str) -> CompiledGraph[Any, Any, Any, Any]:
    module, _, name = spec.partition(":")
    if not module or not name:
        raise ValueError(f"{spec!r} does not name a graph: give module:graph.")
    thing: Any = importlib.import_module(module)  # noqa: TID251 - the command line names it
    for part in name.split("."):
        thing = getattr(thing, part)
    if not isinstance(thing, (CompiledGraph, StateGraph)) and callable(thing):
        thing = thing()
    if isinstance(thing, StateGraph):
        thing = thing.compile()
    if not isinstance(thing, CompiledGraph):
        raise TypeError(f"{spec} is {thing!r}, and no graph.")
    return thing


async def _check(spec: str, url: str, *, finished: bool) -> list[Incompatibility]:
    graph = _graph(spec)
    async with open_saver(url) as saver:
        if [thread async for thread in saver.alist_threads(limit=1)] == []:
            print(f"There are no threads in {url} at all.", file=sys.stderr)
        return await check_compat(graph, saver, finished=finished)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m durable_graph.compat",
        description="List the stored threads that a version of a graph could not go on with.",
    )
    parser.add_argument(
        "graph", help="module:name of a compiled graph, a StateGraph, or a function that makes one"
    )
    parser.add_argument("saver", help="where the threads are, as sqlite:///threads.db")
    parser.add_argument("--finished", action="store_true", help="look at finished threads as well")
    options = parser.parse_args(arguments)
    try:
        found = asyncio.run(_check(options.graph, options.saver, finished=options.finished))
    except (DurableGraphError, ImportError, AttributeError, TypeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for one in found:
        print(one)
    threads = len({one.thread_id for one in found})
    print(f"{threads} threads cannot go on." if found else "All threads can go on.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
