"""Graphs within graphs for the tests of this folder, and a count of what they run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from tests.runtime.kit import Items, chain

__all__ = ["Count", "nest"]


class Count(Counter[str]):
    """How often each node has run."""

    def node(self, name: str, then: Callable[[Items], Any] | None = None) -> tuple[str, Any]:
        """A node that is counted, and says its name or does something else."""

        async def run(state: Items) -> Any:
            self[name] += 1
            return {"items": [name]} if then is None else then(state)

        return name, run


def nest(depth: int, nodes: Sequence[tuple[str, Any]], saver: Saver | None = None) -> CompiledGraph:
    """These nodes, so many graphs deep: ``level 1`` is the outermost inner one."""
    graph = chain(*nodes, saver=saver if depth == 0 else None)
    for level in range(depth, 0, -1):
        graph = chain((f"level {level}", graph), saver=saver if level == 1 else None)
    return graph
