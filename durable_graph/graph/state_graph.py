"""Building graphs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Generic, Self, Unpack, overload

from durable_graph.cache import BaseCache
from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.migration import Change, Migration
from durable_graph.definition.node import (
    NOTHING,
    Branch,
    Function,
    Join,
    Node,
    destinations_of,
    name_of,
)
from durable_graph.definition.policies import NodePolicies
from durable_graph.definition.runnable import Runnable
from durable_graph.engine.runs.call import Policies
from durable_graph.errors import CacheWarning, GraphDefinitionError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.graph.config import check_places, nodes_of, step_policy_of
from durable_graph.saver import Saver
from durable_graph.state.schema import Schema
from durable_graph.store import BaseStore
from durable_graph.types import (
    END,
    START,
    All,
    CachePolicy,
    RetryPolicy,
    StepPolicy,
    TimeoutPolicy,
)
from durable_graph.typing import ContextT, InputT, NodeInputT, NodeOptions, OutputT, StateT
from durable_graph.typing import Node as NodeFunction

__all__ = ["StateGraph"]


@dataclass(slots=True)
class NodeSpec:
    """A node as it was added.

    Attributes:
        function: what it runs.
        input: the schema of what it reads; ``None`` for the whole state.
        graph: the graph it is, if it is one.
        policies: retries, timeout, cache and error handler, as far as it says so itself.
        defer: whether it waits until nothing else is due.
        metadata: the user's.
        destinations: the nodes that its commands may go to, if it says so.
    """

    function: Function
    input: Any
    graph: CompiledGraph[Any, Any, Any, Any] | None
    policies: NodePolicies
    defer: bool
    metadata: Mapping[str, Any] | None
    destinations: Mapping[str, str | None] | None


@dataclass(slots=True)
class BranchSpec:
    """A conditional edge as it was added.

    Attributes:
        path: the router.
        ends: node by what the router returns; ``None`` if it may return any node's name.
        input: the schema of what it reads; ``None`` for what its node reads.
    """

    path: Function
    ends: Mapping[Any, str] | None
    input: Any


@dataclass(slots=True)
class _Edges:
    """What leaves a node."""

    targets: dict[str, None] = field(default_factory=dict)
    branches: dict[str, BranchSpec] = field(default_factory=dict)


class StateGraph(Generic[StateT, ContextT, InputT, OutputT]):
    """A graph of nodes over a shared state, to be compiled.

    Each node takes the state and returns the keys it changes. Updates of a key are combined by
    its reducer, ``Annotated[type, reducer]``; without one, a key takes its last value.

    Args:
        state_schema: the state: a TypedDict, a dataclass, a pydantic model, or the type of a
            single value.
        context_schema: what a call may bring as `context=`: a dataclass, a TypedDict or a
            pydantic model.
        input_schema: the keys an input may hold; by default all.
        output_schema: the keys a call returns; by default all.
    """

    @overload
    def __init__(
        self,
        state_schema: type[StateT],
        context_schema: type[ContextT] | None = None,
        *,
        input_schema: type[InputT] | None = None,
        output_schema: type[OutputT] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: StateGraph[Any, Any, Any, Any],
        state_schema: Any,
        context_schema: Any = None,
        *,
        input_schema: Any = None,
        output_schema: Any = None,
    ) -> None: ...
    def __init__(
        self,
        state_schema: Any,
        context_schema: Any = None,
        *,
        input_schema: Any = None,
        output_schema: Any = None,
    ) -> None:
        self.state_schema = state_schema
        self.context_schema = context_schema
        self.input_schema: Any = input_schema if input_schema is not None else state_schema
        self.output_schema: Any = output_schema if output_schema is not None else state_schema
        self._nodes: dict[str, NodeSpec] = {}
        self._edges: dict[str, _Edges] = {}
        self._joins: dict[tuple[tuple[str, ...], str], None] = {}
        self._defaults = NodePolicies()

    def __repr__(self) -> str:
        return f"<StateGraph: {', '.join(self._nodes) or 'no nodes'}>"

    @property
    def nodes(self) -> Mapping[str, NodeSpec]:
        """The nodes so far, by name."""
        return MappingProxyType(self._nodes)

    @property
    def edges(self) -> set[tuple[str, str]]:
        """The plain edges so far."""
        return {(one, other) for one, edges in self._edges.items() for other in edges.targets}

    @property
    def waiting_edges(self) -> set[tuple[tuple[str, ...], str]]:
        """The edges from several nodes so far, each with its sources in order of their names."""
        return set(self._joins)

    @property
    def branches(self) -> Mapping[str, Mapping[str, BranchSpec]]:
        """The conditional edges so far: by the node that they leave, and their function's name."""
        leaving = self._edges.items()
        return {name: dict(edges.branches) for name, edges in leaving if edges.branches}

    # What a node reads is tied to its function only where `input_schema` says it: without that,
    # a `Send` may bring anything. A function that takes the state alone comes first, so that a
    # lambda's parameter is known to be the state.
    @overload
    def add_node(
        self, node: str, action: Callable[[StateT], Any], **options: Unpack[NodeOptions]
    ) -> Self: ...
    @overload
    def add_node(self, node: Callable[[StateT], Any], **options: Unpack[NodeOptions]) -> Self: ...
    @overload
    def add_node(
        self,
        node: str,
        action: NodeFunction[NodeInputT],
        *,
        input_schema: type[NodeInputT] | None,
        **options: Unpack[NodeOptions],
    ) -> Self: ...
    @overload
    def add_node(
        self,
        node: NodeFunction[NodeInputT],
        *,
        input_schema: type[NodeInputT] | None,
        **options: Unpack[NodeOptions],
    ) -> Self: ...
    @overload
    def add_node(
        self,
        node: str,
        action: CompiledGraph[Any, Any, Any, Any] | Runnable,
        *,
        input_schema: Any = None,
        **options: Unpack[NodeOptions],
    ) -> Self: ...
    @overload
    def add_node(
        self,
        node: CompiledGraph[Any, Any, Any, Any] | Runnable,
        *,
        input_schema: Any = None,
        **options: Unpack[NodeOptions],
    ) -> Self: ...
    @overload
    def add_node(
        self, node: str, action: Callable[..., Any], **options: Unpack[NodeOptions]
    ) -> Self: ...
    @overload
    def add_node(self, node: Callable[..., Any], **options: Unpack[NodeOptions]) -> Self: ...
    def add_node(
        self,
        node: str | Callable[..., Any] | CompiledGraph[Any, Any, Any, Any] | Runnable,
        action: Callable[..., Any] | CompiledGraph[Any, Any, Any, Any] | Runnable | None = None,
        *,
        defer: bool = False,
        metadata: Mapping[str, Any] | None = None,
        input_schema: Any = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        timeout: TimeoutPolicy | float | timedelta | None = None,
        cache_policy: CachePolicy | None = None,
        error_handler: Callable[..., Any] | None = None,
        destinations: Mapping[str, str] | Sequence[str] | None = None,
    ) -> Self:
        """Add a node.

        Args:
            node: its name; or its function, whose name it then has.
            action: its function, sync or async, a callable object, or a partial. It takes the
                state and, by name, any of `config`, `runtime`, `store`, `writer`. A sync function
                runs in a thread. Or a compiled graph, which takes of the state the keys of
                its own input, and writes those of its output that this graph has. Or a
                runnable of LangChain's.
            defer: run it only once nothing else is due: after all other branches, however long,
                have come to their ends.
            metadata: shown in events.
            input_schema: what it reads; by default what its first parameter is annotated with,
                or the whole state. Keys that only it declares are private to those who do.
            retry_policy: when to try again after an error; of several, the first that matches.
            timeout: how long one attempt may take: seconds, or a `TimeoutPolicy`.
            cache_policy: when its result may be one that the graph's cache has kept.
            error_handler: what runs in its place, in the same superstep, once it has failed for
                good: takes the state and, by name, the `NodeError` as `error`, and what a node
                can take. It returns what a node returns; the node's edges are not followed, so a
                `Command` says where to go, if anywhere.
            destinations: the nodes that its commands may go to, if its return annotation does
                not say; as a dict, with what pictures write at the edges.

        Raises:
            GraphDefinitionError: the name is taken or reserved, or the function is none.
        """
        if not isinstance(node, str):
            if action is not None:
                raise GraphDefinitionError("Give add_node a name and a function, or a function.")
            action, name = node, node.name if isinstance(node, CompiledGraph) else name_of(node)
            if name is None:
                raise GraphDefinitionError(f"{node!r} has no name; give one: add_node(name, ...).")
            node = name
        if action is None:
            raise GraphDefinitionError(f"Node {node!r} needs a function: add_node(name, function).")
        self._check_new_name(node)
        if metadata is not None and not isinstance(metadata, Mapping):
            raise GraphDefinitionError(
                f"The metadata of node {node!r} is a dict, not {metadata!r}."
            )
        graph = action if isinstance(action, CompiledGraph) else None
        function = Function.of(graph.inside if graph is not None else action, f"Node {node!r}")
        if input_schema is None and _is_schema(function.annotation):
            input_schema = function.annotation
        self._nodes[node] = NodeSpec(
            function=function,
            input=input_schema,
            graph=graph,
            policies=NodePolicies.of(
                f"node {node!r}",
                retry_policy=retry_policy,
                timeout=timeout,
                cache_policy=cache_policy,
                error_handler=error_handler,
            ),
            defer=bool(defer),
            metadata=metadata,
            destinations=_destinations(function.call, destinations),
        )
        return self

    def set_node_defaults(
        self,
        *,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        timeout: TimeoutPolicy | float | timedelta | None = None,
        cache_policy: CachePolicy | None = None,
        error_handler: Callable[..., Any] | None = None,
    ) -> Self:
        """What nodes go by that say nothing else themselves, also those added before.

        A second call replaces what it names. Retries and timeout count for error handlers as
        well.

        Args:
            retry_policy: see `add_node`; a node with ``retry_policy=()`` is not tried again.
            timeout: see `add_node`; a node with ``timeout=TimeoutPolicy()`` has no limit.
            cache_policy: see `add_node`.
            error_handler: see `add_node`.

        Raises:
            GraphDefinitionError: something is of the wrong kind, or cannot work.
        """
        given = NodePolicies.of(
            "the nodes by default",
            retry_policy=retry_policy,
            timeout=timeout,
            cache_policy=cache_policy,
            error_handler=error_handler,
        )
        self._defaults = given.over(self._defaults)
        return self

    def add_edge(self, start_key: str | Sequence[str], end_key: str) -> Self:
        """Run `end_key` after `start_key`; after all of them, if it is a list.

        Raises:
            GraphDefinitionError: it leads from END or to START, or a node of a list is unknown.
        """
        if end_key == START:
            raise GraphDefinitionError("No edge can lead to START.")
        if not isinstance(end_key, str):
            raise GraphDefinitionError(f"An edge leads to a node's name, not to {end_key!r}.")
        if isinstance(start_key, str):
            self._check_source(start_key)
            self._leaving(start_key).targets[end_key] = None
            return self
        names = list(start_key) if isinstance(start_key, Iterable) else [start_key]
        if not all(isinstance(name, str) for name in names):
            raise GraphDefinitionError(
                f"An edge leads from a node's name, or a list of names, not {start_key!r}."
            )
        sources = tuple(sorted(set(names)))  # their order means nothing, so it names nothing
        if not sources:
            raise GraphDefinitionError(f"The edge to {end_key!r} has an empty list of sources.")
        for source in sources:
            self._check_source(source)
            if source == START or source not in self._nodes:
                raise GraphDefinitionError(
                    f"A list of sources may only name nodes, and add them before: {source!r}."
                )
        self._joins[sources, end_key] = None
        return self

    @overload
    def add_conditional_edges(
        self,
        source: str,
        path: Callable[[StateT], Any],
        path_map: Mapping[Hashable, str] | Sequence[str] | None = None,
    ) -> Self: ...
    @overload
    def add_conditional_edges(
        self,
        source: str,
        path: Callable[..., Any] | Runnable,
        path_map: Mapping[Hashable, str] | Sequence[str] | None = None,
    ) -> Self: ...
    def add_conditional_edges(
        self,
        source: str,
        path: Callable[..., Any] | Runnable,
        path_map: Mapping[Hashable, str] | Sequence[str] | None = None,
    ) -> Self:
        """After `source`, go where `path` says.

        Args:
            source: the node, or START.
            path: a function, sync or async, that takes the state as the node has left it and
                returns a node's name, a `Send`, END, or a list of those.
            path_map: node by what `path` returns; or the nodes it may return. By default what
                its annotation ``-> Literal[...]`` says; else it may return any node.

        Raises:
            GraphDefinitionError: `path` is no function, or `source` has a branch of its name.
        """
        self._check_source(source)
        name = name_of(path) or ("<lambda>" if callable(path) else "condition")
        branches = self._leaving(source).branches
        if name in branches:
            raise GraphDefinitionError(
                f"Node {source!r} has a conditional edge {name!r} already; give the function "
                f"another name."
            )
        function = Function.of(path, f"The conditional edge {name!r} of {source!r}")
        ends: Mapping[Any, str] | None
        if path_map is None:
            found = destinations_of(path)
            ends = {end: end for end in found} if found else None
        elif isinstance(path_map, Mapping):
            ends = dict(path_map)
        else:
            ends = {end: end for end in _names(path_map)}
        schema = function.annotation if _is_schema(function.annotation) else None
        branches[name] = BranchSpec(function, ends, schema)
        return self

    def add_sequence(
        self,
        nodes: Sequence[Callable[..., Any] | Runnable | tuple[str, Callable[..., Any] | Runnable]],
    ) -> Self:
        """Add nodes, each with an edge to the next.

        Raises:
            GraphDefinitionError: there are none, or two have the same name.
        """
        if not nodes:
            raise GraphDefinitionError("A sequence needs at least one node.")
        if not isinstance(nodes, Sequence):
            raise GraphDefinitionError(f"A sequence is a list of nodes, not {nodes!r}.")
        before: str | None = None
        for entry in nodes:
            name, action = entry if isinstance(entry, tuple) else (name_of(entry), entry)
            if name is None:
                raise GraphDefinitionError(f"{entry!r} has no name; give (name, function).")
            self.add_node(name, action)
            if before is not None:
                self.add_edge(before, name)
            before = name
        return self

    def set_entry_point(self, key: str) -> Self:
        """Begin with this node: ``add_edge(START, key)``."""
        return self.add_edge(START, key)

    @overload
    def set_conditional_entry_point(
        self,
        path: Callable[[StateT], Any],
        path_map: Mapping[Hashable, str] | Sequence[str] | None = None,
    ) -> Self: ...
    @overload
    def set_conditional_entry_point(
        self,
        path: Callable[..., Any] | Runnable,
        path_map: Mapping[Hashable, str] | Sequence[str] | None = None,
    ) -> Self: ...
    def set_conditional_entry_point(
        self,
        path: Callable[..., Any] | Runnable,
        path_map: Mapping[Hashable, str] | Sequence[str] | None = None,
    ) -> Self:
        """Begin where `path` says: ``add_conditional_edges(START, path, path_map)``."""
        return self.add_conditional_edges(START, path, path_map)

    def set_finish_point(self, key: str) -> Self:
        """End with this node: ``add_edge(key, END)``."""
        return self.add_edge(key, END)

    def validate(self, interrupt: Sequence[str] | None = None) -> Self:
        """Check what `compile` checks, without compiling.

        Args:
            interrupt: nodes that a run is to stop at.

        Raises:
            GraphDefinitionError: the graph cannot run; the message says what to change.
            ConfigError: a breakpoint names no node.
        """
        definition = self._definition("LangGraph", strict=False, migrations=())
        nodes_of(definition, interrupt or (), "interrupt")
        return self

    def compile(
        self,
        checkpointer: Saver | bool | None = None,
        *,
        interrupt_before: Collection[str] | All | None = None,
        interrupt_after: Collection[str] | All | None = None,
        store: BaseStore | None = None,
        name: str | None = None,
        strict: bool = False,
        step_policy: StepPolicy = "fail_fast",
        cache: BaseCache | None = None,
        migrations: Sequence[Change | Migration] = (),
    ) -> CompiledGraph[StateT, ContextT, InputT, OutputT]:
        """Check the graph and make it one that can be run. Later changes do not reach it.

        Args:
            checkpointer: where threads are stored; without one, nothing is. Of a graph within
                another, its caller's thread holds the state, and this says for how long: by
                default for one call; with ``True`` from call to call, one state for the node that
                calls it; with ``False`` not at all, so that it begins anew if its node runs again.
            interrupt_before: nodes to stop before; ``"*"`` for all.
            interrupt_after: nodes to stop after; ``"*"`` for all.
            store: what nodes get as their store.
            name: shown in errors and representations.
            strict: refuse updates with unknown keys instead of warning, and packets with keys
                that a node which says what it reads does not know.
            step_policy: what the failure of one task is to the others of its superstep.
                "fail_fast" (default): they are cancelled, and the run ends with that error.
                "collect": they finish and their results are stored; then the run ends with the
                error, or with an `ExceptionGroup` of several.
            cache: where results of nodes with a `cache_policy` are kept.
            migrations: what has become of the nodes and keys with which earlier versions of the
                graph have written threads; see `durable_graph.migration`.

        Raises:
            GraphDefinitionError: the graph cannot run; the message says what to change.
            ConfigError: a breakpoint names no node.
        """
        check_places(checkpointer, store, cache)
        policies = Policies(step_policy_of(step_policy), cache)
        if cache is None:
            self._warn_of_no_cache()
        return CompiledGraph(
            self._definition(name or "LangGraph", strict, migrations),
            checkpointer,
            interrupt_before=interrupt_before or (),
            interrupt_after=interrupt_after or (),
            store=store,
            policies=policies,
            builder=self,
        )

    def _definition(
        self, name: str, strict: bool, migrations: Sequence[Change | Migration]
    ) -> GraphDefinition:
        state = Schema.of(self.state_schema)
        for source in self._edges:
            if source != START and source not in self._nodes:
                raise GraphDefinitionError(f"An edge leads from {source!r}, which is no node.")
        return GraphDefinition.of(
            name=name,
            nodes={name: self._node(name, spec, state) for name, spec in self._nodes.items()},
            start=self._node(START, None, state),
            state=state,
            input=Schema.of(self.input_schema),
            output=Schema.of(self.output_schema),
            strict=strict,
            context=self.context_schema,
            migrations=migrations,
        )

    def _warn_of_no_cache(self) -> None:
        given = [name for name, spec in self._nodes.items() if spec.policies.cache is not None]
        if given or self._defaults.cache is not None:
            warnings.warn(
                f"{', '.join(map(repr, given)) or 'Every node'} has a cache_policy, and the graph "
                f"no cache, so nothing is kept: compile(cache=InMemoryCache()).",
                CacheWarning,
                stacklevel=3,
            )

    def _node(self, name: str, spec: NodeSpec | None, state: Schema) -> Node:
        edges = self._edges.get(name, _Edges())
        made = Node(name, NOTHING, state) if spec is None else self._made(name, spec, state)
        return replace(
            made,
            targets=tuple(edges.targets),
            branches=tuple(
                Branch(
                    branch,
                    given.path,
                    given.ends,
                    Schema.of(given.input) if given.input is not None else None,
                )
                for branch, given in edges.branches.items()
            ),
            joins=tuple(
                Join("+".join(sources) + ":" + target, sources, target)
                for sources, target in self._joins
                if name in sources
            ),
        )

    def _made(self, name: str, spec: NodeSpec, state: Schema) -> Node:
        policies, defaults = spec.policies.over(self._defaults), self._defaults
        reads = Schema.of(spec.input) if spec.input is not None else state
        handler, destinations = None, spec.destinations
        if policies.handler is not None:
            goes = destinations_of(policies.handler.call)
            if goes is not None:
                destinations = {**dict.fromkeys(goes), **(destinations or {})}
            handler = Node(
                f"__error_handler__{name}",
                policies.handler,
                reads,
                retry=defaults.retry or (),
                timeout=_limits(defaults.timeout),
            )
        return Node(
            name,
            spec.function,
            reads,
            graph=spec.graph,
            retry=policies.retry or (),
            timeout=_limits(policies.timeout),
            cache=policies.cache,
            handler=handler,
            defer=spec.defer,
            metadata=spec.metadata,
            destinations=destinations,
        )

    def _leaving(self, source: str) -> _Edges:
        return self._edges.setdefault(source, _Edges())

    def _check_source(self, source: str) -> None:
        if not isinstance(source, str):
            raise GraphDefinitionError(f"An edge leads from a node's name, not from {source!r}.")
        if source == END:
            raise GraphDefinitionError("No edge can lead from END.")

    def _check_new_name(self, name: str) -> None:
        if name in (START, END, "__interrupt__"):
            raise GraphDefinitionError(f"The name {name!r} is reserved.")
        if name in self._nodes:
            raise GraphDefinitionError(f"There is a node {name!r} already.")
        if not name or any(mark in name for mark in "|:") or not _can_be_written(name):
            raise GraphDefinitionError(
                f"{name!r} cannot be a node's name: it is empty, or has a '|', a ':' or half a "
                f"character in it."
            )


def _names(given: Mapping[str, str] | Sequence[str]) -> tuple[str, ...]:
    # A text is a sequence of letters, which nobody means.
    names = (given,) if isinstance(given, str) else given
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise GraphDefinitionError(f"A list of nodes' names was meant, not {given!r}.")
    return tuple(names)


def _can_be_written(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _destinations(
    action: Callable[..., Any], given: Mapping[str, str] | Sequence[str] | None
) -> Mapping[str, str | None] | None:
    if given is None:
        found = destinations_of(action)
        return None if found is None else dict.fromkeys(found)
    return dict(given) if isinstance(given, Mapping) else dict.fromkeys(_names(given))


def _limits(timeout: TimeoutPolicy | None) -> TimeoutPolicy | None:
    """A timeout, if it limits anything."""
    unlimited = timeout is None or timeout.run_timeout is timeout.idle_timeout is None
    return None if unlimited else timeout


def _is_schema(annotation: Any) -> bool:
    """Whether an annotation of a first parameter says what is to be read."""
    if not isinstance(annotation, type) or annotation in (dict, list, str, int, float, object):
        return False
    return Schema.of(annotation).channels.keys() != {"__root__"}
