"""The shapes of version "v2": what a stream says, and what a call returns, each in one kind of
value. A state comes as its schema has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.runs.invoke import Result
from durable_graph.engine.streams.stream import Event
from durable_graph.engine.tasks.execute import describe
from durable_graph.errors import ConfigError
from durable_graph.state.schema import Schema
from durable_graph.types import GraphOutput, StreamPart

__all__ = ["check_keys", "narrowed", "narrowed_event", "output_of", "part_of"]


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


def check_keys(definition: GraphDefinition, keys: str | Sequence[str] | None) -> None:
    """Refuse keys that the state does not have.

    Raises:
        ConfigError: one of them is none.
    """
    for key in (keys,) if isinstance(keys, str) else keys or ():
        if key not in definition.channels:
            raise ConfigError(
                f"output_keys has {key!r}, which is no key of the state."
                f"{definition.nearest(key)} It has {', '.join(definition.channels)}."
            )


def narrowed(values: Any, keys: str | Sequence[str] | None) -> Any:
    """Of a state or an update only some keys, with the questions; of one key, its value."""
    if keys is None or not isinstance(values, dict):
        return values
    if not isinstance(keys, str):
        return {key: values[key] for key in (*keys, "__interrupt__") if key in values}
    if "__interrupt__" in values:
        return {"__interrupt__": values["__interrupt__"]}
    return values.get(keys)


def narrowed_event(event: Event, keys: str | Sequence[str] | None) -> Event:
    """An event of the modes "values" and "updates" with only some keys of the state."""
    if keys is None or event.ns or not isinstance(event.data, dict):
        return event
    if event.mode == "values":
        return event._replace(data=narrowed(event.data, keys))
    if event.mode == "updates" and "__interrupt__" not in event.data:
        shown = {node: _narrowed_update(update, keys) for node, update in event.data.items()}
        return event._replace(data=shown)
    return event


def _narrowed_update(update: Any, keys: str | Sequence[str]) -> Any:
    if isinstance(update, list):  # several writes to one key
        left = [narrowed(one, keys) for one in update]
        return [one for one in left if one not in (None, {})] or None
    left_over = narrowed(update, keys)
    return None if left_over == {} else left_over


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
