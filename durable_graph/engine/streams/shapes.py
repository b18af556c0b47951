"""What each stream mode shows, in LangGraph's shapes.

Everything is decoded from what was written down, never passed on from a node: so an event shows
what the log has, and changing it changes nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from durable_graph.definition.graph import GraphDefinition
from durable_graph.log.codec import ABSENT
from durable_graph.log.delta import Encoded, apply_op
from durable_graph.log.fold import Due, Scope, task_id
from durable_graph.log.namespace import called_ns, tasks_in
from durable_graph.log.records import Answer, Ask, Outcome, Step
from durable_graph.state.channel import PREVIOUS
from durable_graph.types import START, UNSET, GivenAnswer, Interrupt, RunnableConfig

__all__ = [
    "call_id",
    "call_payload",
    "call_result_payload",
    "call_update_payload",
    "checkpoint_config",
    "checkpoint_payload",
    "config_of",
    "debug_payload",
    "graph_config",
    "interrupts_of",
    "message_metadata",
    "metadata_of",
    "path_of",
    "recorded_result",
    "result_of",
    "task_payload",
    "task_result_payload",
    "timestamp",
    "triggers_of",
    "update_payload",
    "values_of",
]

Thaw = Callable[[Encoded], Any]


def values_of(
    definition: GraphDefinition,
    values: Mapping[str, Encoded],
    keys: Iterable[str],
    thaw: Thaw,
) -> Any:
    """The values of some keys; of a single-valued state, the value."""
    shown = {}
    for key in keys:
        value = values.get(key, definition.initial.get(key))
        if value is not None and (one := thaw(value)) is not ABSENT:
            shown[key] = one
    return shown if definition.state.key is None else shown.get(definition.state.key)


def result_of(
    definition: GraphDefinition, base: Mapping[str, Encoded], outcome: Outcome, thaw: Thaw
) -> dict[str, Any]:
    """A task's updates as one: a key that was written more than once has all its values."""
    shown: dict[str, Any] = {}
    several: set[str] = set()
    for update in outcome.writes:
        for key, written in update.items():
            if key == PREVIOUS:
                continue
            value = (
                apply_op(base.get(key), written, _none) if isinstance(written, tuple) else written
            )
            if value is None or (one := thaw(value)) is ABSENT:
                continue
            if key in shown:
                shown[key] = [*(shown[key] if key in several else [shown[key]]), one]
                several.add(key)
            else:
                shown[key] = one
    return {key: {"$writes": v} if key in several else v for key, v in shown.items()}


def recorded_result(
    definition: GraphDefinition, base: Mapping[str, Encoded], outcome: Outcome, thaw: Thaw
) -> Any:
    """A task's updates as a checkpoint shows them; of a single-valued state, the value."""
    shown = result_of(definition, base, outcome, thaw)
    return shown if definition.state.key is None else shown.get(definition.state.key)


def update_payload(
    definition: GraphDefinition,
    base: Mapping[str, Encoded],
    node: str,
    outcome: Outcome,
    thaw: Thaw,
) -> dict[str, Any]:
    """``updates``: what a node changed, ``None`` if nothing; and whether a cache had it."""
    cached = {"__metadata__": {"cached": True}} if outcome.cached else {}
    return {node: _updates_of(definition, base, outcome, thaw), **cached}


def _updates_of(
    definition: GraphDefinition, base: Mapping[str, Encoded], outcome: Outcome, thaw: Thaw
) -> Any:
    updates = [
        shown
        for update in outcome.writes
        if (shown := result_of(definition, base, Outcome(outcome.index, [update]), thaw))
    ]
    if not updates:
        return None
    if definition.state.key is not None:
        values = [update[definition.state.key] for update in updates]
        return values[0] if len(values) == 1 else values
    writes = [{key: value} for update in updates for key, value in update.items()]
    if len({key for write in writes for key in write}) < len(writes):
        return writes  # a key that repeats: each write by itself, in order
    return {key: value for write in writes for key, value in write.items()}


def interrupts_of(
    asks: Iterable[Ask], thaw: Thaw, answers: Mapping[str, Answer] | None = None
) -> tuple[Interrupt, ...]:
    """Questions, as users see them; with those of these answers that are theirs."""
    return tuple(
        Interrupt(
            value=thaw(ask.value),
            id=ask.id,
            response_schema=None if ask.schema is None else thaw(ask.schema),
            deadline=ask.deadline,
            answer=None if answers is None else _given(answers.get(ask.id), thaw),
        )
        for ask in asks
    )


def _given(answer: Answer | None, thaw: Thaw) -> GivenAnswer | None:
    if answer is None:
        return None
    value = UNSET if answer.value is None else thaw(answer.value)
    return GivenAnswer(value, answer.by, answer.time)


def triggers_of(definition: GraphDefinition, due: Due) -> tuple[str, ...]:
    """What may make a task due, in LangGraph's words."""
    if due.push is not None and due.node != definition.entry:
        return ("__pregel_push",)
    if due.node in (START, definition.entry):
        return ("__start__",)
    joins = definition.joins_to.get(due.node, ())
    return (f"branch:to:{due.node}", *(f"join:{name}" for name in joins))


def path_of(definition: GraphDefinition, due: Due) -> tuple[str | int, ...]:
    """A task's path, in LangGraph's words."""
    if due.push is not None and due.node != definition.entry:
        return ("__pregel_push", due.push, False)  # not called by another task
    return ("__pregel_pull", due.node)


def task_payload(
    definition: GraphDefinition, due: Due, value: Any, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """``tasks``: a task begins."""
    triggers = triggers_of(definition, due)
    shown = {"id": due.id, "name": due.name, "input": value, "triggers": triggers}
    return shown | {"metadata": dict(metadata)} if metadata else shown


def task_result_payload(
    due: Due, result: dict[str, Any], error: str | None, interrupts: Iterable[Interrupt]
) -> dict[str, Any]:
    """``tasks``: a task has ended, or stopped at a question."""
    return {
        "id": due.id,
        "name": due.name,
        "error": error,
        "result": result,
        "interrupts": [_plain(interrupt) for interrupt in interrupts],
    }


def call_id(due: Due, step: str) -> str:
    """The id of a call within a task, in the form of a task's."""
    return task_id(due.branch, due.ns, due.step, due.id + step, None)


def call_payload(id: str, name: str, given: Any) -> dict[str, Any]:
    """``tasks``: a function of the functional API begins."""
    return {"id": id, "name": name, "input": given, "triggers": ("__pregel_push",)}


def call_update_payload(step: Step, value: Any) -> dict[str, Any]:
    """``updates``: what a function of the functional API has come to."""
    cached = {"__metadata__": {"cached": True}} if step.cached else {}
    return {step.name: value, **cached}


def call_result_payload(id: str, name: str, value: Any) -> dict[str, Any]:
    """``tasks``: a function of the functional API has ended."""
    shown = {"__return__": value}
    return {"id": id, "name": name, "error": None, "result": shown, "interrupts": []}


def checkpoint_payload(
    definition: GraphDefinition,
    scope: Scope,
    thread: str,
    values: Any,
    thaw: Thaw,
) -> dict[str, Any]:
    """``checkpoints``: a checkpoint has been made."""
    tasks = []
    for index, due in enumerate(scope.due):
        shown: dict[str, Any] = {"id": due.id, "name": due.node}
        state = graph_config(thread, scope, index, definition)
        outcome = scope.outcomes.get(index)
        if outcome is not None and outcome.error is not None:
            tasks.append(shown | {"error": outcome.error, "state": state})
            continue
        if outcome is not None and outcome.done and due.node != START:
            shown["result"] = recorded_result(definition, scope.values, outcome, thaw)
        # As in the history: what a task has asked at this checkpoint, answered or not.
        asks = interrupts_of(scope.asked.get(index, ()), thaw)
        tasks.append(shown | {"interrupts": tuple(map(_plain, asks)), "state": state})
    return {
        "config": config_of(scope, thread),
        "parent_config": config_of(scope, thread, scope.parent) if scope.parent else None,
        "values": values,
        "metadata": metadata_of(scope),
        "next": [due.node for due in scope.due],
        "tasks": tasks,
    }


def metadata_of(scope: Scope) -> dict[str, Any]:
    """The metadata of the last checkpoint."""
    meta = copy.deepcopy({**scope.meta})  # the next commit may write the scope's own again
    around = parents_of(scope)
    return {**meta, "source": scope.source, "step": scope.step, "parents": around}


def debug_payload(kind: str, step: int, time: float, payload: Any) -> dict[str, Any]:
    """``debug``: a checkpoint or task event with step and time."""
    return {"step": step, "timestamp": timestamp(time), "type": kind, "payload": payload}


def message_metadata(
    definition: GraphDefinition, due: Due, step: int, metadata: Mapping[str, Any]
) -> dict[str, Any]:
    """``messages``: where a message comes from."""
    ns = called_ns(due.ns, due.node, due.id)
    return {
        **metadata,
        "langgraph_step": step,
        "langgraph_node": due.node,
        "langgraph_triggers": triggers_of(definition, due),
        "langgraph_path": path_of(definition, due),
        "langgraph_checkpoint_ns": ns,
        "checkpoint_ns": ns,
    }


def checkpoint_config(
    thread: str, checkpoint: str, ns: str = "", around: Mapping[str, str] | None = None
) -> RunnableConfig:
    """The config that names a checkpoint.

    Args:
        thread: the thread.
        checkpoint: the checkpoint.
        ns: the namespace of its graph.
        around: checkpoints of the graphs around that one, by namespace.
    """
    configurable = {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": checkpoint}
    if not ns:
        return {"configurable": configurable}
    checkpoints = {**(around or {}), ns: checkpoint}
    return {"configurable": {**configurable, "checkpoint_map": checkpoints}}


def config_of(scope: Scope, thread: str, checkpoint: str | None = None) -> RunnableConfig:
    """The config that names a scope's checkpoint, or another one of its graph."""
    named = scope.checkpoint if checkpoint is None else checkpoint
    return checkpoint_config(thread, named, scope.ns, parents_of(scope))


def graph_config(thread: str, scope: Scope, index: int, definition: GraphDefinition) -> Any:
    """The config that names the graph which a due task runs; ``None`` if it runs none."""
    called, due = scope.called_by(index), scope.due[index]
    node = definition.nodes.get(due.node)
    if not called and (node is None or node.graph is None):
        return None
    ns = called[0].ns if called else called_ns(due.ns, due.node, due.id)
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}


def parents_of(scope: Scope) -> dict[str, str]:
    """The checkpoints of the graphs around one, by namespace, the outermost first."""
    found: dict[str, str] = {}
    caller = scope.caller
    while caller is not None:
        scope = _caller_of(scope, caller.due)
        found[scope.ns] = scope.checkpoint
        caller = scope.caller
    return dict(reversed(found.items()))


def _caller_of(scope: Scope, task: str) -> Scope:
    root = scope.whole
    for graph, id in tasks_in(scope.ns):
        if id == task:
            return root.nested[graph] if graph else root
    for other in root.nested.values():  # what keeps its state does not say whose it is
        if any(other.executed(index) == task for index in range(len(other.due))):
            return other
    return root


def timestamp(time: float) -> str:
    """A time for people."""
    return datetime.fromtimestamp(time, UTC).isoformat()


def _plain(interrupt: Interrupt) -> dict[str, Any]:
    return {
        "value": interrupt.value,
        "id": interrupt.id,
        "response_schema": interrupt.response_schema,
    }


def _none(task: int) -> tuple[()]:
    return ()
