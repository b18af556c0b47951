"""The graph as the engine runs it: validated, frozen, and with a fingerprint."""

from __future__ import annotations

import dataclasses
import difflib
import enum
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from durable_graph.definition.description import Described, fingerprint_of
from durable_graph.definition.migration import Migration, check_migrations, read_migrations
from durable_graph.definition.node import Node
from durable_graph.errors import (
    GraphDefinitionError,
    IncompatibleGraphError,
    UnreachableNodeWarning,
)
from durable_graph.log.codec import Codec, UnstorableValueError
from durable_graph.log.registered import TypeCodec
from durable_graph.state.channel import Channel
from durable_graph.state.families import FAMILIES
from durable_graph.state.langchain import prepare
from durable_graph.state.messages import MESSAGE_TYPES
from durable_graph.state.responses import KnownForms
from durable_graph.state.schema import Check, Schema, checks_of
from durable_graph.state.storable import storable_types
from durable_graph.types import END, START, UNSET

__all__ = ["GraphDefinition"]


@dataclass(frozen=True, slots=True)
class GraphDefinition:
    """A graph that can run.

    Attributes:
        name: shown in events and errors.
        nodes: by name, in the order they were added; without the start.
        start: the virtual node that a run begins at.
        state: the schema of the whole state.
        input: the keys that an input may hold.
        output: the keys that a call returns.
        deferred: names of the nodes that wait until nothing else is due.
        joins_to: names of the joins that lead to a node, by its name.
        channels: every key of the state, private ones included.
        fading: the keys whose values last one superstep.
        untracked: whether there are keys whose values are not stored.
        initial: the encoded value of each key that has one before the first update.
        managed: keys whose values the engine supplies.
        checks: how the values of single keys are checked.
        codec: stores values of this graph's types.
        strict: whether an update with an unknown key is an error.
        context: the schema of the context that a call brings; ``None`` for any.
        stored: nodes that cannot do without a store.
        description: the structure as JSON: what is stored of the definition.
        fingerprint: digest of the description.
        entry: of an entrypoint, its one node, which takes the input as its whole argument.
        described: the description, read.
        migrations: what becomes of threads that earlier versions have written.
        forms: what its nodes have been seen to ask for; the one thing here that changes.
    """

    name: str
    nodes: Mapping[str, Node]
    start: Node
    state: Schema
    input: Schema
    output: Schema
    deferred: frozenset[str]
    joins_to: Mapping[str, tuple[str, ...]]
    channels: Mapping[str, Channel]
    fading: tuple[str, ...]
    untracked: bool
    initial: Mapping[str, bytes]
    managed: frozenset[str]
    checks: Mapping[str, Check]
    codec: Codec
    strict: bool
    context: Any
    stored: tuple[str, ...]
    description: bytes
    fingerprint: str
    described: Described
    entry: str | None = None
    migrations: tuple[Migration, ...] = ()
    forms: KnownForms = field(default_factory=KnownForms, compare=False)

    @classmethod
    def of(
        cls,
        *,
        name: str,
        nodes: Mapping[str, Node],
        start: Node,
        state: Schema,
        input: Schema,
        output: Schema,
        strict: bool,
        context: Any = None,
        entry: str | None = None,
        migrations: Iterable[Any] = (),
    ) -> GraphDefinition:
        """Validate and freeze a graph.

        Raises:
            GraphDefinitionError: it cannot run; the message says what to change.
        """
        schemas = [state, input, output, *(node.input for node in nodes.values())]
        schemas += [
            branch.input
            for node in (start, *nodes.values())
            for branch in node.branches
            if branch.input is not None
        ]
        _check_kinds(state, input, output, nodes)
        channels = _channels(schemas)
        if entry is None:
            _check_edges(nodes, start)
        own = _own_types(schemas)
        codec = _codec({**_own_types(_schemas_within(nodes)), **own})
        initial = {}
        for key, channel in list(channels.items()):
            if channel.initial is not UNSET:
                try:
                    initial[key] = codec.encode(channel.initial)
                except UnstorableValueError:  # then the first update is the value
                    channels[key] = replace(channel, initial=UNSET)
        description = _describe(nodes, start, channels, own)
        fingerprint = fingerprint_of(description)
        changes = read_migrations(migrations)
        check_migrations(changes, nodes, channels)
        return cls(
            name=name,
            nodes=dict(nodes),
            start=start,
            state=state,
            input=input,
            output=output,
            deferred=frozenset(name for name, node in nodes.items() if node.defer),
            joins_to=_joins_to(nodes),
            channels=channels,
            fading=tuple(key for key, channel in channels.items() if channel.fades),
            untracked=not all(channel.tracked for channel in channels.values()),
            initial=initial,
            managed=frozenset(key for schema in schemas for key in schema.managed),
            checks={key: check for schema in schemas for key, check in checks_of(schema).items()},
            codec=codec,
            strict=strict,
            context=context,
            stored=tuple(node.name for node in nodes.values() if _needs_store(node)),
            description=description,
            fingerprint=fingerprint,
            entry=entry,
            described=Described.read(description, fingerprint),
            migrations=changes,
        )

    def node(self, name: str) -> Node:
        """A node by name, the start included."""
        return self.start if name == START else self.nodes[name]

    def check_due(self, names: Iterable[str], thread: str) -> None:
        """Refuse a stored run that needs nodes this graph does not have.

        Raises:
            IncompatibleGraphError: it does; the message names them.
        """
        missing = sorted({name for name in names if name != START and name not in self.nodes})
        if missing:
            raise IncompatibleGraphError(
                f"Thread {thread!r} is to go on with {', '.join(map(repr, missing))}, which the "
                f"graph {self.name!r} does not have. Nothing was run. Resume it with a version "
                f"of the graph that has {'it' if len(missing) == 1 else 'them'}."
            )

    def nearest(self, key: Any, keys: Iterable[str] | None = None) -> str:
        """A hint at the key that somebody may have meant; by default one of the state."""
        known = self.channels if keys is None else keys
        near = difflib.get_close_matches(str(key), known, n=1)
        return f" Did you mean {near[0]!r}?" if near else ""


def _check_kinds(state: Schema, input: Schema, output: Schema, nodes: Mapping[str, Node]) -> None:
    for what, schema in (("input", input), ("output", output)):
        if schema.managed and schema.type is not state.type:
            raise GraphDefinitionError(
                f"The {what} schema {schema.type!r} has {', '.join(map(repr, schema.managed))}, "
                f"which the engine supplies to nodes; it is neither given nor returned."
            )
        if schema.single != state.single:
            one, other = ("one value", "keys") if schema.single else ("keys", "one value")
            raise GraphDefinitionError(
                f"The {what} schema {schema.type!r} describes {one}, but the state has {other}."
            )
    for node in nodes.values():
        if node.input.single and not state.single:
            raise GraphDefinitionError(
                f"The input schema {node.input.type!r} of node {node.name!r} describes one value, "
                f"but the state has keys."
            )


def _channels(schemas: Iterable[Schema]) -> dict[str, Channel]:
    channels: dict[str, Channel] = {}
    for schema in schemas:
        if "__interrupt__" in schema.channels:
            raise GraphDefinitionError(
                f"{schema.type!r} has a key '__interrupt__'; that is where a result has its "
                f"questions."
            )
        for key, channel in schema.channels.items():
            known = channels.get(key)
            if known is None or (known.reducer is None and not known.kind):
                channels[key] = channel
            elif channel.reducer is None and not channel.kind:
                continue  # a schema that only names the key says nothing of what it is
            elif channel.kind != known.kind:
                raise GraphDefinitionError(
                    f"The key {key!r} is of two different kinds; schemas that share a key must "
                    f"agree on what it is."
                )
            elif not _alike(channel.reducer, known.reducer):
                raise GraphDefinitionError(
                    f"The key {key!r} has two different reducers, {known.reducer!r} and "
                    f"{channel.reducer!r}; schemas that share a key must agree on its reducer."
                )
    return channels


def _joins_to(nodes: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
    joins = {join.name: join.target for node in nodes.values() for join in node.joins}
    return {
        target: tuple(sorted(name for name in joins if joins[name] == target))
        for target in joins.values()
    }


def _alike(one: Any, other: Any) -> bool:
    # A lambda in an annotation that is text is made anew each time the text is evaluated.
    code = getattr(one, "__code__", None)
    return bool(one == other) or (code is not None and code == getattr(other, "__code__", None))


def _schemas_within(nodes: Mapping[str, Node]) -> Iterator[Schema]:
    """The schemas of graphs that are nodes: their questions and answers pass through this one."""
    for node in nodes.values():
        if node.graph is not None:
            graph = node.graph.definition
            yield from (graph.state, graph.input, graph.output)
            yield from (inner.input for inner in graph.nodes.values())
            yield from _schemas_within(graph.nodes)


def _own_types(schemas: Iterable[Schema]) -> dict[type[Any], TypeCodec]:
    """The application's types that the schemas mention."""
    types: dict[type[Any], TypeCodec] = {}
    for schema in schemas:
        annotations = [channel.annotation for channel in schema.channels.values()]
        for annotation in (schema.type, *annotations):
            for entry in storable_types(annotation):
                types.setdefault(entry.cls, entry)
    for entry in MESSAGE_TYPES:
        types.pop(entry.cls, None)
    return types


def _codec(own: Mapping[type[Any], TypeCodec]) -> Codec:
    prepare()
    try:
        return Codec((*MESSAGE_TYPES, *own.values()), FAMILIES)
    except ValueError as error:
        raise GraphDefinitionError(str(error)) from None


def _check_edges(nodes: Mapping[str, Node], start: Node) -> None:
    if not (start.targets or start.branches):
        raise GraphDefinitionError(
            "The graph has no entry point: add an edge from START to the node to begin with."
        )
    for node in (start, *nodes.values()):
        for target in node.targets:
            _check_known(target, nodes, f"the edge from {node.name!r}")
        for join in node.joins:
            _check_known(join.target, nodes, f"the edge from {list(join.sources)}")
        for branch in node.branches:
            for target in (branch.ends or {}).values():
                _check_known(
                    target, nodes, f"the conditional edge {branch.name!r} of {node.name!r}"
                )
        for target in node.destinations or ():
            _check_known(target, nodes, f"a command of {node.name!r}")
    unreachable = _unreachable(nodes, start)
    if unreachable:
        warnings.warn(
            f"No edge leads to {', '.join(map(repr, unreachable))}. If a command does, say so "
            f"where the command's node is added: destinations=(...), or annotate its function "
            f"with -> Command[Literal[...]].",
            UnreachableNodeWarning,
            stacklevel=5,
        )


def _check_known(target: str, nodes: Mapping[str, Node], where: str) -> None:
    if target != END and target not in nodes:
        near = difflib.get_close_matches(str(target), nodes, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise GraphDefinitionError(f"There is no node {target!r}, where {where} leads.{hint}")


def _unreachable(nodes: Mapping[str, Node], start: Node) -> list[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        ends = set(node.targets) | {join.target for join in node.joins}
        for branch in node.branches:
            if branch.ends is None:
                return []  # a router that may return any node's name can reach them all
            ends.update(branch.ends.values())
        ends.update(node.destinations or ())
        for name in sorted(ends - {END} - reached):
            reached.add(name)
            waiting.append(nodes[name])
    return [name for name in nodes if name not in reached]


def _needs_store(node: Node) -> bool:
    functions = (node.function, *(branch.path for branch in node.branches))
    return any(
        given.what == "store" and given.needed for each in functions for given in each.injected
    )


def _describe(
    nodes: Mapping[str, Node],
    start: Node,
    channels: Mapping[str, Channel],
    own: Mapping[type[Any], TypeCodec],
) -> bytes:
    def edges(node: Node) -> dict[str, Any]:
        return {
            "targets": sorted(node.targets),
            "joins": sorted([*join.sources, join.target] for join in node.joins),
            "branches": {
                branch.name: None
                if branch.ends is None
                else {str(label): target for label, target in branch.ends.items()}
                for branch in node.branches
            },
        }

    # Only where there are any: so graphs without have the description they always had.
    deferred = sorted(node.name for node in nodes.values() if node.defer)
    return orjson.dumps(
        {
            **({"deferred": deferred} if deferred else {}),
            "nodes": {node.name: edges(node) for node in (start, *nodes.values())},
            "channels": {
                key: {"type": _spell(channel.annotation), "reducer": _spell(channel.reducer)}
                | ({"kind": channel.kind} if channel.kind else {})
                for key, channel in channels.items()
            },
            "types": {entry.tag: _parts_of(entry.cls) for entry in own.values()},
        },
        option=orjson.OPT_SORT_KEYS,
    )


def _spell(thing: Any) -> str | None:
    """A name that is the same in every process, unlike a repr with an address in it."""
    if thing is None:
        return None
    name = getattr(thing, "__qualname__", None)
    if isinstance(name, str) and not hasattr(thing, "__origin__"):
        return name
    text = repr(thing)
    return text.partition(" at 0x")[0]


def _parts_of(kind: Any) -> list[str]:
    """What a type consists of, as far as stored values depend on it: fields, or members."""
    if issubclass(kind, enum.Enum):
        return sorted(kind.__members__)
    fields = getattr(kind, "model_fields", None)
    if isinstance(fields, dict):
        return sorted(f"{name}: {_spell(field.annotation)}" for name, field in fields.items())
    if dataclasses.is_dataclass(kind):
        fields = {f.name: f.type for f in dataclasses.fields(kind)}
        return sorted(f"{n}: {t if isinstance(t, str) else _spell(t)}" for n, t in fields.items())
    return [str(name) for name in getattr(kind, "_fields", ())]
