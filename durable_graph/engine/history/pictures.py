"""A thread's graphs as snapshots show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from durable_graph.decisions.advance import changes
from durable_graph.decisions.freeze import Freezer
from durable_graph.decisions.reduce import Reducers
from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.within import definition_at
from durable_graph.engine.streams import shapes
from durable_graph.errors import IncompatibleGraphError, InvalidUpdateError
from durable_graph.log.delta import Encoded
from durable_graph.log.fold import Scope
from durable_graph.log.records import Outcome
from durable_graph.types import PregelTask, RunnableConfig, StateSnapshot

__all__ = ["Pictures", "graph_at", "nothing"]


def graph_at(definition: GraphDefinition, root: Scope, ns: str) -> GraphDefinition:
    """The graph at a namespace of a thread.

    Raises:
        IncompatibleGraphError: it is not among the graphs that the root graph's nodes refer to.
    """
    if not ns:
        return definition

    def graph(inner: str) -> str | None:
        scope = root.nested.get(inner)
        return None if scope is None else scope.graph

    found = definition_at(definition, ns, graph)
    if found is None:
        raise IncompatibleGraphError(
            f"No graph is known at {ns!r}: no node on the way refers to it. A graph that a node "
            f"calls is found as long as the node's function, or what stands around it, names it."
        )
    return found


def nothing(thread: str, ns: str = "") -> StateSnapshot:
    """What is shown of a thread or a graph within it that has no state."""
    config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}
    return StateSnapshot({}, (), config, None, None, None, (), ())


class Pictures:
    """Shows the graphs of one thread.

    Args:
        definition: its root graph.
        thread: its id.
        freezer: thaws the root graph's values.
        subgraphs: whether a task that runs a graph shows its state, and not only its config.
    """

    def __init__(
        self, definition: GraphDefinition, thread: str, freezer: Freezer, *, subgraphs: bool
    ) -> None:
        self._definition = definition
        self._thread = thread
        self._freezer = freezer
        self._subgraphs = subgraphs

    def now(self, scope: Scope, reducers: Reducers | None = None) -> StateSnapshot:
        """A graph now: finished results are in its values, and only open questions are shown."""
        definition, freezer = self._graph(scope)
        reducers = reducers or Reducers(freezer)
        values: Mapping[str, Encoded] = scope.values
        done = [
            (due.node, outcome)
            for index, due in enumerate(scope.due)
            if (outcome := scope.outcomes.get(index)) is not None and outcome.done
        ]
        if done:
            try:
                _, after = changes(definition, reducers, values, done)
                merged = {**values, **after}
                values = {key: value for key, value in merged.items() if value is not None}
            except InvalidUpdateError:  # they exclude each other: going on will say so
                done = []
        tasks = []
        for index, due in enumerate(scope.due):
            outcome = scope.outcomes.get(index)
            result = None
            if done and outcome is not None and outcome.done:
                result = shapes.recorded_result(definition, scope.values, outcome, freezer.thaw)
            error = _error_of(outcome)
            asks = shapes.interrupts_of(scope.open_asks(index), freezer.thaw)
            path, state = shapes.path_of(definition, due), self._state(definition, scope, index)
            tasks.append(PregelTask(due.id, due.node, path, error, asks, state, result))
        waiting = scope.unfinished() if done else range(len(scope.due))
        next_ = tuple(scope.due[index].node for index in waiting)
        return self._shown(scope, values, tasks, next_)

    def then(self, scope: Scope, after: Scope) -> StateSnapshot:
        """A graph as it was at a checkpoint: its values, and all its tasks with what became of
        them, which is what `after` has."""
        definition, freezer = self._graph(scope)
        tasks = []
        for index, due in enumerate(after.due):
            outcome = after.outcomes.get(index)
            result = None
            if outcome is not None and outcome.done:
                result = shapes.recorded_result(definition, scope.values, outcome, freezer.thaw)
            asked, answers = after.asked.get(index, ()), after.whole.answers
            tasks.append(
                PregelTask(
                    due.id,
                    due.node,
                    shapes.path_of(definition, due),
                    _error_of(outcome),
                    shapes.interrupts_of(asked, freezer.thaw, answers),
                    self._state(definition, after, index),
                    result,
                )
            )
        next_ = tuple(due.node for due in after.due)
        return self._shown(scope, scope.values, tasks, next_)

    def _graph(self, scope: Scope) -> tuple[GraphDefinition, Freezer]:
        if not scope.ns:
            return self._definition, self._freezer
        definition = graph_at(self._definition, scope.whole, scope.ns)
        return definition, self._freezer.inside(definition)

    def _state(self, definition: GraphDefinition, scope: Scope, index: int) -> Any:
        """The graph that a task runs: its state, or the config that names it."""
        config = shapes.graph_config(self._thread, scope, index, definition)
        if config is None or not self._subgraphs:
            return config
        ns = config["configurable"]["checkpoint_ns"]
        inner = scope.whole.nested.get(ns)
        if inner is None:
            return nothing(self._thread, ns)
        try:
            return self.now(inner)
        except IncompatibleGraphError:  # nobody knows its schema; where it is can be said
            return config

    def _shown(
        self,
        scope: Scope,
        values: Mapping[str, Encoded],
        tasks: Sequence[PregelTask],
        next_: tuple[str, ...],
    ) -> StateSnapshot:
        definition, freezer = self._graph(scope)
        parent = shapes.config_of(scope, self._thread, scope.parent) if scope.parent else None
        return StateSnapshot(
            values=shapes.values_of(definition, values, definition.channels, freezer.thaw),
            next=next_,
            config=shapes.config_of(scope, self._thread),
            metadata=shapes.metadata_of(scope),
            created_at=shapes.timestamp(scope.time),
            parent_config=parent,
            tasks=tuple(tasks),
            interrupts=tuple(ask for task in tasks for ask in task.interrupts),
        )


def _error_of(outcome: Outcome | None) -> str | None:
    """What a task has failed with; also if that was handled, and it has a result all the same."""
    if outcome is None:
        return None
    return outcome.error if outcome.error is not None else outcome.caught
