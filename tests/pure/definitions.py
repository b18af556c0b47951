"""Graphs of nodes that do nothing: what is tested is what is decided about them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, TypedDict

from durable_graph import START, StateGraph
from durable_graph.decisions.freeze import Freezer
from durable_graph.definition.graph import GraphDefinition

__all__ = ["define", "freezer_of", "graph", "idle", "schema_of"]


class Free(TypedDict, total=False):
    """A state of two keys that take their last value."""

    a: Any
    b: Any


async def idle(state: Any) -> None:
    """A node that does nothing."""


def graph(
    nodes: Sequence[str] = ("a",),
    edges: Sequence[tuple[str | Sequence[str], str]] = ((START, "a"),),
    schema: Any = Free,
) -> StateGraph:
    """A graph of idle nodes."""
    made = StateGraph(schema)
    for name in nodes:
        made.add_node(name, idle)
    for start, end in edges:
        made.add_edge(start, end)
    return made


def define(
    nodes: Sequence[str] = ("a",),
    edges: Sequence[tuple[str | Sequence[str], str]] = ((START, "a"),),
    schema: Any = Free,
    **options: Any,
) -> GraphDefinition:
    """The definition of a graph of idle nodes."""
    return graph(nodes, edges, schema).compile(**options).definition


def schema_of(**annotations: Any) -> Any:
    """A TypedDict with these keys."""
    return TypedDict("State", annotations, total=False)  # type: ignore[operator]


def freezer_of(definition: GraphDefinition) -> Freezer:
    """A freezer that gives messages the ids "id 1", "id 2", ..."""
    ids = (f"id {number}" for number in itertools.count(1))
    return Freezer(definition, definition.codec, b"0123456789abcdef", ids.__next__)
