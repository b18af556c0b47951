"""What runs next: from the results of one superstep to the tasks of the next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.node import Join
from durable_graph.log.records import DueTask, Outcome
from durable_graph.types import END, START

__all__ = ["Plan", "plan"]


@dataclass(slots=True)
class Plan:
    """What is due next.

    Attributes:
        due: nodes that an edge leads to, each once and by name; then the sends, in the order in
            which they were made.
        joins: names seen so far by the joins that still wait.
    """

    due: list[DueTask]
    joins: Mapping[str, tuple[str, ...]]


def plan(
    definition: GraphDefinition,
    waiting: Mapping[str, tuple[str, ...]],
    outcomes: Iterable[tuple[str, Outcome]],
) -> Plan:
    """What these results make due.

    Args:
        definition: the graph.
        waiting: names seen so far by each waiting join.
        outcomes: nodes and their results, in the order of the tasks.
    """
    targets: set[str] = set()
    sends: list[DueTask] = []
    joins = dict(waiting)
    touched: dict[str, Join] = {}
    for name, outcome in outcomes:
        node = definition.start if name == START else definition.nodes[name]
        if node.targets:
            targets.update(node.targets)
        if outcome.goto:
            targets.update(outcome.goto)
        if outcome.sends:
            sends.extend([DueTask(target, arg) for target, arg in outcome.sends])
        for join in node.joins:
            touched[join.name] = join
            seen = joins.get(join.name, ())
            if name not in seen:
                joins[join.name] = (*seen, name)
    for join in touched.values():  # only now: all that ran in one superstep ran at once
        if len(joins[join.name]) == len(join.sources):
            targets.add(join.target)
            joins.pop(join.name)
    targets.discard(END)
    return Plan([*map(DueTask, sorted(targets)), *sends], joins)
