"""What is drawn: nodes, edges, and which nodes lie within which subgraph. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from durable_graph.types import END, START

__all__ = ["Edge", "Group", "Node", "grouped", "notes_of"]


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as it is drawn.

    Attributes:
        id: unique in the picture: its name, behind the names of the nodes it lies within,
            ``"outer:inner"``.
        name: what the picture calls it.
        data: its function; ``None`` for the start and the end.
        metadata: the user's, and what else the picture shows of it: ``"__interrupt"``
            ("before", "after" or "before,after") and ``"defer"``.
    """

    id: str
    name: str
    data: Any = None
    metadata: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        """ "first" for where a graph begins, "last" for where it ends, else "default"."""
        return {START: "first", END: "last"}.get(self.name, "default")


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge.

    Attributes:
        source: id of the node it leaves.
        target: id of the node it leads to.
        data: its label, if it has one.
        conditional: whether a router or a command decides if it is taken.
    """

    source: str
    target: str
    data: str | None = None
    conditional: bool = False


@dataclass(slots=True)
class Group:
    """A subgraph with what lies directly within it; the whole picture is one without a node."""

    node: Node | None
    nodes: list[Node]
    groups: list[Group]


def grouped(nodes: Sequence[Node], subgraphs: Mapping[str, Node]) -> Group:
    """The nodes, each within the subgraph that its id names."""
    whole = Group(None, [], [])
    by_id = {"": whole}
    for id, node in subgraphs.items():  # the outer ones come before those within them
        group = by_id[id] = Group(node, [], [])
        by_id[id.rpartition(":")[0]].groups.append(group)
    for node in nodes:
        by_id[node.id.rpartition(":")[0]].nodes.append(node)
    return whole


def notes_of(node: Node) -> list[str]:
    """What is written beneath a node's name."""
    notes = []
    for key, value in (node.metadata or {}).items():
        if key == "__interrupt":
            notes.append(f"interrupt {str(value).replace(',', ' and ')}")
        elif key == "defer":
            notes += ["deferred"] if value else []
        else:
            notes.append(f"{key} = {value}")
    return notes
