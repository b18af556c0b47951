"""What a node returned, read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from durable_graph.definition.graph import GraphDefinition
from durable_graph.errors import InvalidUpdateError
from durable_graph.state.channel import PREVIOUS, VALUE
from durable_graph.state.schema import updates_of
from durable_graph.types import END, START, Command, Send

__all__ = [
    "Result",
    "Written",
    "read_command",
    "read_input",
    "read_result",
    "read_route",
    "read_start",
]


@dataclass(slots=True)
class Result:
    """What a node returned.

    Attributes:
        updates: its updates, in order.
        goto: where its commands go.
        above: a command for the graph around this one; then the rest counts for nothing.
    """

    updates: list[Mapping[str, Any]] = field(default_factory=list)
    goto: list[str | Send] = field(default_factory=list)
    above: Command[Any] | None = None


@dataclass(slots=True)
class Written:
    """An update by the keys of the state, whatever its schema; what an entrypoint returns."""

    update: Mapping[str, Any]


def read_result(
    definition: GraphDefinition, node: str, value: Any, *, around: bool = False
) -> Result:
    """Updates and destinations in what a node returned.

    Args:
        definition: the graph.
        node: the node.
        value: what it returned.
        around: whether there is a graph around this one.

    Raises:
        InvalidUpdateError: it is of a kind that cannot be an update, or it goes nowhere known.
    """
    if type(value) is dict and not definition.state.single:  # by far the most frequent
        return Result([value])
    if type(value) is Written:
        return Result([value.update])
    result = Result()
    several = isinstance(value, (list, tuple)) and any(isinstance(v, Command) for v in value)
    for part in value if several else [value]:
        if isinstance(part, Command):
            if part.graph is not None:
                result.above = _above(node, part, around=around)
                continue
            if part.update is not None:
                result.updates.append(_update(definition, node, part.update))
            result.goto.extend(read_route(definition, f"A command of {node!r}", part.goto))
        elif part is not None:
            result.updates.append(_update(definition, node, part))
    return result


def read_command(definition: GraphDefinition, command: Command[Any]) -> Result:
    """Update and destinations of a command that is the input of a call."""
    inner = Command(command.graph, command.update, goto=command.goto)
    return read_result(definition, START, inner)


def read_input(definition: GraphDefinition, value: Any) -> Mapping[str, Any]:
    """An input as an update.

    Raises:
        InvalidUpdateError: it is of a kind that cannot be an input.
    """
    if definition.input.key is not None:
        return {definition.input.key: value}
    update = updates_of(value)
    if update is None:
        raise InvalidUpdateError(
            f"The input must be a mapping of the state's keys or an object with such fields, "
            f"not {type(value).__name__}."
        )
    return update


def read_start(definition: GraphDefinition, value: Any) -> Result:
    """What an input comes to: an update; of an entrypoint, the whole argument of its node.

    Raises:
        InvalidUpdateError: it is of a kind that cannot be an input.
    """
    if definition.entry is not None:
        return Result(goto=[Send(definition.entry, value)])
    return Result([read_input(definition, value)])


def read_route(definition: GraphDefinition, who: str, value: Any) -> list[str | Send]:
    """Destinations in what a router returned or a command said, ``END`` left out.

    Raises:
        InvalidUpdateError: one of them is no node of this graph.
    """
    if type(value) is str and value in definition.nodes:  # by far the most frequent
        return [value]
    if isinstance(value, (str, Send)) or value is None:
        parts: Iterable[Any] = () if value is None else (value,)
    elif isinstance(value, Iterable):
        parts = value
    else:
        parts = (value,)
    found: list[str | Send] = []
    for part in parts:
        name = part.node if isinstance(part, Send) else part
        if name == END and isinstance(part, Send):
            raise InvalidUpdateError(f"{who} sends to END, which takes no input.")
        if name == END:
            continue
        if not isinstance(name, str) or name not in definition.nodes:
            raise InvalidUpdateError(
                f"{who} leads to {name!r}, which is no node of the graph. "
                f"Its nodes are {', '.join(definition.nodes)}."
            )
        if definition.strict and isinstance(part, Send):
            _check_packet(definition, who, part)
        found.append(part)
    return found


def _check_packet(definition: GraphDefinition, who: str, packet: Send) -> None:
    """Refuse a packet with keys that its node, which says what it reads, does not know.

    A node that reads the state may be sent anything: that is what packets are for.
    """
    schema = definition.nodes[packet.node].input
    if schema.type is definition.state.type or schema.single or not isinstance(packet.arg, Mapping):
        return
    for key in packet.arg:
        if key not in schema.channels:
            raise InvalidUpdateError(
                f"{who} sends {key!r} to {packet.node!r}, which reads "
                f"{', '.join(map(repr, schema.channels))}."
                f"{definition.nearest(key, schema.channels)}"
            )


def _above(node: str, command: Command[Any], *, around: bool) -> Command[Any]:
    """A command as the graph around this one is to take it."""
    if around and command.graph == Command.PARENT:
        return Command(update=command.update, goto=command.goto)
    why = (
        "only Command.PARENT names one, the graph around this one"
        if around
        else "there is no graph around this one"
    )
    raise InvalidUpdateError(
        f"Node {node!r} returned a command for the graph {command.graph!r}; {why}."
    )


def _update(definition: GraphDefinition, node: str, value: Any) -> Mapping[str, Any]:
    if definition.entry is not None:  # an edit: what the next run gets goes with it
        return {VALUE: value, PREVIOUS: value}
    if definition.state.key is not None:
        return {definition.state.key: value}
    if isinstance(value, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 and isinstance(pair[0], str)
        for pair in value
    ):
        return dict(value)
    update = updates_of(value)
    if update is None:
        raise InvalidUpdateError(
            f"Node {node!r} returned {type(value).__name__}; a node returns a dict of the keys "
            f"it changes, a Command, or None."
        )
    return update
