"""The shapes of version "v2": what a stream says, and what a call returns, each in one kind of
value. A state comes as its schema has it."""

from __future__ import annotations

from typing import Any

from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.execute import describe
from durable_graph.engine.invoke import Result
from durable_graph.engine.stream import Event
from durable_graph.state.schema import Schema
from durable_graph.types import GraphOutput, StreamPart

__all__ = ["output_of", "part_of"]


def part_of(definition: GraphDefinition, event: Event) -> StreamPart:
    """An event as a part of a stream."""
    data = event.data
    part: StreamPart = {"type": event.mode, "ns": event.ns, "data": data, "cursor": event.cursor}
    own = not event.ns  # of a graph within, the schema is not known here
    match event.mode:
        case "values":
            asked = isinstance(data, dict) and "__interrupt__" in data
            part["interrupts"] = data.pop("__interrupt__") if asked else ()
            if own:
                part["data"] = _typed(definition, data)
        case "checkpoints":
            if own:
                data["values"] = _typed(definition, data["values"])
        case "tasks":
            _as_written(data)
        case "debug":
            payload = data["payload"]
            if data["type"] == "checkpoint" and own:
                payload["values"] = _typed(definition, payload["values"])
            _as_written(payload)
    return part


def output_of(definition: GraphDefinition, result: Result) -> GraphOutput[Any]:
    """What a call has come to."""
    return GraphOutput(_made(definition.output, result.values), result.interrupts)


def _typed(definition: GraphDefinition, values: Any) -> Any:
    return _made(definition.output, values)


def _made(schema: Schema, values: Any) -> Any:
    """Values as their schema has them; as they are if it cannot be made of them yet."""
    if schema.plain or schema.single or not isinstance(values, dict):
        return values
    try:
        return schema.make({key: values[key] for key in schema.channels if key in values})
    except (TypeError, ValueError):  # something it requires is not there so far
        return values


def _as_written(payload: dict[str, Any]) -> None:
    """An error as the log has it, so that it is the same whenever it is read."""
    if isinstance(payload.get("error"), BaseException):
        payload["error"] = describe(payload["error"])
