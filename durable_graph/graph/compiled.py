"""A compiled graph: what users call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, Unpack, cast, overload

from typing_extensions import TypeVar

from durable_graph.decisions.keeping import namespace_of
from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.node import Node
from durable_graph.definition.within import subgraphs_within
from durable_graph.drawing.describe import describe
from durable_graph.drawing.graph import Graph
from durable_graph.engine.control import RunControl
from durable_graph.engine.history.retelling import read_cursor, retell
from durable_graph.engine.history.snapshots import history, snapshot
from durable_graph.engine.runs.call import Call, Policies
from durable_graph.engine.runs.editing import edit
from durable_graph.engine.runs.inner import Keeps, call_inside
from durable_graph.engine.runs.invoke import Result, RunTask
from durable_graph.engine.statistics import GraphStatistics, RunStatistics, Tally
from durable_graph.engine.streams.stream import Event, MessageEvent, Stream
from durable_graph.engine.tasks.context import TaskContext, current_task, loop_around, running_task
from durable_graph.errors import ConfigError, MissingCheckpointerError
from durable_graph.graph.batch import all_of, concurrency_of, configs_of
from durable_graph.graph.config import (
    check_edit,
    check_history,
    check_places,
    checkpoint_before,
    merge_configs,
    modes_of,
    nodes_of,
    place_of,
    read_call,
    refuse_empty,
    supersteps_of,
)
from durable_graph.graph.parts import check_keys, narrowed, narrowed_event, output_of, part_of
from durable_graph.graph.schemas import json_schema_of, model_of
from durable_graph.ports.clock import SystemChance
from durable_graph.saver import Saver
from durable_graph.state.channel import Channel
from durable_graph.state.schema import updates_of
from durable_graph.store import BaseStore
from durable_graph.sync import SyncGraph
from durable_graph.types import (
    UNSET,
    All,
    Durability,
    OnPending,
    RunnableConfig,
    StateSnapshot,
    StateUpdate,
    StreamMode,
    StreamPart,
    Unset,
)
from durable_graph.typing import ContextT, InputT, OutputT, RunInput, RunOptions, StateT

if TYPE_CHECKING:
    from durable_graph.graph.state_graph import StateGraph

__all__ = ["CompiledGraph", "RunStream"]

EventT = TypeVar("EventT", default=Any)

_chance = SystemChance()

_GIVEN: Final[Mapping[Keeps, bool | None]] = {"call": None, "thread": True, "nothing": False}
"""What `checkpointer` says of a graph within another."""

_COPIED: Final = (
    "checkpointer",
    "store",
    "cache",
    "name",
    "interrupt_before",
    "interrupt_after",
)
"""What a copy may have otherwise."""


class CompiledGraph(SyncGraph[InputT, ContextT], Generic[StateT, ContextT, InputT, OutputT]):
    """A graph that can be run; made by `StateGraph.compile`.

    Attributes:
        definition: the graph.
        checkpointer: where its threads are stored, if they are; see `StateGraph.compile`.
        store: what its nodes get as their store.
        name: its name.
        builder: what it was compiled from; ``None`` if that is a function.
    """

    def __init__(
        self,
        definition: GraphDefinition,
        checkpointer: Saver | bool | None,
        *,
        interrupt_before: Collection[str] | All = (),
        interrupt_after: Collection[str] | All = (),
        store: BaseStore | None = None,
        config: RunnableConfig | None = None,
        policies: Policies | None = None,
        builder: StateGraph[Any, Any, Any, Any] | None = None,
    ) -> None:
        self.definition = definition
        self.checkpointer: Saver | None = checkpointer if isinstance(checkpointer, Saver) else None
        self._keeps: Keeps = next(
            (k for k, given in _GIVEN.items() if given is checkpointer), "call"
        )
        self.store = store
        self.name: str = definition.name
        self._interrupt_before = nodes_of(definition, interrupt_before, "interrupt_before")
        self._interrupt_after = nodes_of(definition, interrupt_after, "interrupt_after")
        self._config: RunnableConfig = config if config is not None else {}
        self._policies = policies if policies is not None else Policies()
        self.builder = builder
        self._tally = Tally()

    def __repr__(self) -> str:
        nodes = ", ".join(self.definition.nodes)
        return f"<CompiledGraph {self.name!r}: {nodes}; checkpointer {self.checkpointer!r}>"

    def with_config(self, config: RunnableConfig | None = None, **entries: Any) -> Self:
        """The same graph, whose calls have this config beneath their own; `entries` go into it."""
        bound = merge_configs(merge_configs(self._config, config), cast("RunnableConfig", entries))
        other = self._again(config=bound)
        other._tally = self._tally
        return other

    def copy(self, update: Mapping[str, Any] | None = None) -> Self:
        """The same graph, compiled with other options.

        Args:
            update: the options: any of "checkpointer", "store", "cache", "name",
                "interrupt_before" and "interrupt_after"; see `StateGraph.compile`.

        Raises:
            ConfigError: there is no such option, or a breakpoint names no node.
            TypeError: one of them is of the wrong kind.
        """
        given = dict(update or {})
        for name in given:
            if name not in _COPIED:
                raise ConfigError(
                    f"A copy of a graph cannot have another {name!r}, only other "
                    f"{', '.join(_COPIED)}. For anything else, compile it again: "
                    f"graph.builder.compile(...)."
                )
        check_places(given.get("checkpointer"), given.get("store"), given.get("cache"))
        for name in ("interrupt_before", "interrupt_after"):
            if name in given:
                given[name] = given[name] or ()
        if "name" in given:
            named = str(given.pop("name") or "LangGraph")
            given["definition"] = replace(self.definition, name=named)
        if "cache" in given:
            given["policies"] = replace(self._policies, cache=given.pop("cache"))
        return self._again(**given)

    def _again(self, **others: Any) -> Self:
        keeps = self.checkpointer if self.checkpointer is not None else _GIVEN[self._keeps]
        given: dict[str, Any] = {
            "definition": self.definition,
            "checkpointer": keeps,
            "interrupt_before": self._interrupt_before,
            "interrupt_after": self._interrupt_after,
            "store": self.store,
            "config": self._config,
            "policies": self._policies,
            "builder": self.builder,
        }
        return type(self)(**{**given, **others})

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Its nodes, by name."""
        return MappingProxyType({**self.definition.nodes})

    @property
    def channels(self) -> Mapping[str, Channel]:
        """The keys of its state, private ones included, with their reducers."""
        return MappingProxyType({**self.definition.channels})

    def get_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> Iterator[tuple[str, CompiledGraph[Any, Any, Any, Any]]]:
        """The graphs within this one, each with the name of the node that runs or calls it.

        Those that a node's code calls are found as far as its function names them.

        Args:
            namespace: only what is at this place: names of nodes, with "|" between them.
            recurse: whether those within them are listed as well; they come with their place.
        """
        for place, graph in subgraphs_within(self.definition, recurse or namespace is not None):
            if isinstance(graph, CompiledGraph) and namespace in (None, place):
                yield place, graph

    async def aget_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> AsyncIterator[tuple[str, CompiledGraph[Any, Any, Any, Any]]]:
        """See `get_subgraphs`."""
        for found in self.get_subgraphs(namespace=namespace, recurse=recurse):
            yield found

    def get_input_schema(self, config: RunnableConfig | None = None) -> Any:
        """The pydantic model of an input. `config` means nothing here.

        Raises:
            ConfigError: pydantic is not installed.
        """
        return model_of(self.definition.input, f"{self.name}Input")

    def get_output_schema(self, config: RunnableConfig | None = None) -> Any:
        """The pydantic model of what a call returns; see `get_input_schema`."""
        return model_of(self.definition.output, f"{self.name}Output")

    def get_input_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """The JSON schema of an input. `config` means nothing here.

        Raises:
            ConfigError: pydantic is not installed.
            ConfigError: the state has a type that JSON has nothing for; the message names it.
        """
        return json_schema_of(self.get_input_schema())

    def get_output_jsonschema(self, config: RunnableConfig | None = None) -> dict[str, Any]:
        """The JSON schema of what a call returns; see `get_input_jsonschema`."""
        return json_schema_of(self.get_output_schema())

    def get_context_jsonschema(self) -> dict[str, Any] | None:
        """The JSON schema of a call's context, if the graph says what it is; see
        `get_input_jsonschema`."""
        given = self.definition.context
        return None if given is None else json_schema_of(given)

    def statistics(self) -> GraphStatistics:
        """How large it is, and what it has been used for in this process."""
        tally = self._tally
        return GraphStatistics(
            name=self.name,
            nodes=len(self.definition.nodes),
            edges=len(self.get_graph().edges),
            keys=len(self.definition.channels),
            calls=tally.calls,
            running=tally.running,
            supersteps=tally.supersteps,
            events=tally.events,
        )

    def get_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Graph:
        """The graph to look at: it draws itself as Mermaid, SVG, PNG and text.

        Args:
            config: means nothing here; LangGraph takes one.
            xray: whether nodes that are graphs are opened; a number says how many levels deep.
        """
        return describe(
            self.definition,
            before=self._interrupt_before,
            after=self._interrupt_after,
            xray=xray,
        )

    async def aget_graph(
        self, config: RunnableConfig | None = None, *, xray: int | bool = False
    ) -> Graph:
        """See `get_graph`."""
        return self.get_graph(config, xray=xray)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        try:
            shown = self.get_graph()._repr_mimebundle_()
        except Exception:  # a notebook that only wants to show a value must not fail
            shown = {}
        return {**shown, "text/plain": repr(self)}

    async def ainvoke(
        self,
        input: RunInput[InputT],
        config: RunnableConfig | None = None,
        *,
        context: ContextT | Mapping[str, Any] | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] = "values",
        interrupt_before: Collection[str] | All | None = None,
        interrupt_after: Collection[str] | All | None = None,
        durability: Durability | None = None,
        on_pending: OnPending = "reject",
        by: str | None = None,
        control: RunControl | None = None,
        print_mode: StreamMode | Sequence[StreamMode] = (),
        output_keys: str | Sequence[str] | None = None,
        version: Literal["v1", "v2"] = "v1",
    ) -> Any:
        """Run the graph until it ends, asks something or is to stop.

        Args:
            input: the input: a mapping of the state's keys, a schema object, or a `Command`;
                ``None`` to go on with the thread as it stands.
            config: at least ``{"configurable": {"thread_id": ...}}`` if the graph has a
                checkpointer. `checkpoint_id` beside it starts a new branch at that checkpoint.
            context: what nodes get as `runtime.context`; not stored. A dict becomes what the
                graph's `context_schema` says.
            stream_mode: with another mode than "values", or several in a list, the list of the
                events is returned.
            interrupt_before: nodes to stop before; ``"*"`` for all.
            interrupt_after: nodes to stop after; ``"*"`` for all.
            durability: "sync" (default): every step is durable before the next begins. "async":
                at most a bounded number of steps behind. "exit": only the last state is written.
            on_pending: what a new input does to open questions: "reject" the input (default),
                take it for the "answer", or "supersede" them.
            by: who calls; kept with the input or answer.
            control: asks the run to stop after a superstep.
            print_mode: modes whose events are printed as they come.
            output_keys: the keys to return, or to show in "values" and "updates"; of a single
                one its value.
            version: "v2" returns a `GraphOutput`, or the parts of a stream of that version.

        Returns:
            The values of the output's keys; with ``"__interrupt__"``, a list of `Interrupt`, if
            something is asked.

        Raises:
            Exception: what a node raised, as it raised it; the thread can be gone on with.
            RunError: the thread's state does not allow the call.
            InvalidUpdateError: an update cannot become part of the state.
            GraphDrained: `control` asked the run to stop; the thread can be gone on with.
            GraphRecursionError: the run took more supersteps than `recursion_limit`.
            FencedError: another owner has taken the thread over.
            StorageError: storage failed.
        """
        modes = modes_of(stream_mode)
        options: dict[str, Any] = {
            "interrupt_before": interrupt_before,
            "interrupt_after": interrupt_after,
            "durability": durability,
            "on_pending": on_pending,
            "by": by,
            "context": context,
            "control": control,
        }
        _check_version(version)
        check_keys(self.definition, output_keys)
        if modes != ("values",) or not isinstance(stream_mode, str):
            options |= {"print_mode": print_mode, "output_keys": output_keys, "version": version}
            parts = self.astream(input, config, stream_mode=stream_mode, **options)
            return [part async for part in parts]
        begin = self._beginning(input, config, **options)
        result = await (_printed(begin, print_mode) if print_mode else begin(Stream()).result())
        if output_keys is not None:
            result = replace(result, values=narrowed(result.values, output_keys))
        return output_of(self.definition, result) if version == "v2" else _returned(result)

    async def abatch(
        self,
        inputs: Sequence[RunInput[InputT]],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> list[Any]:
        """Run the graph for each of several inputs, all at once.

        Args:
            inputs: the inputs.
            config: one for all, or one for each. A graph with a checkpointer needs one for each:
                a thread has one run at a time. The smallest `max_concurrency` among them is also
                how many runs there are at once.
            return_exceptions: whether an error stands in the place of its result. By default the
                first one cancels the other runs and is raised.
            options: see `ainvoke`.

        Returns:
            What `ainvoke` returns, for each input in its place.

        Raises:
            ConfigError: there are not as many configs as inputs, or two name one thread.
            Exception: see `ainvoke`.
        """
        if not inputs:
            return []
        configs = configs_of(config, len(inputs), stored=self.checkpointer is not None)
        calls = [
            partial(self.ainvoke, input, given, **options)
            for input, given in zip(inputs, configs, strict=True)
        ]
        return await all_of(calls, concurrency_of(configs), collect=return_exceptions)

    # What comes depends on how it is asked for; one overload for each shape of events.
    @overload
    def astream(
        self,
        input: RunInput[InputT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        subgraphs: bool = False,
        version: Literal["v2"],
        **options: Unpack[RunOptions[ContextT]],
    ) -> RunStream[StreamPart]: ...
    @overload
    def astream(
        self,
        input: RunInput[InputT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        subgraphs: Literal[True],
        version: Literal["v1"] = "v1",
        **options: Unpack[RunOptions[ContextT]],
    ) -> RunStream[tuple[Any, ...]]: ...
    @overload
    def astream(
        self,
        input: RunInput[InputT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: Literal["updates", "tasks", "checkpoints", "debug"] | None = None,
        subgraphs: Literal[False] = False,
        version: Literal["v1"] = "v1",
        **options: Unpack[RunOptions[ContextT]],
    ) -> RunStream[dict[str, Any]]: ...
    @overload
    def astream(
        self,
        input: RunInput[InputT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: Literal["messages"],
        subgraphs: Literal[False] = False,
        version: Literal["v1"] = "v1",
        **options: Unpack[RunOptions[ContextT]],
    ) -> RunStream[MessageEvent]: ...
    @overload
    def astream(
        self,
        input: RunInput[InputT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: list[StreamMode] | tuple[StreamMode, ...],
        subgraphs: Literal[False] = False,
        version: Literal["v1"] = "v1",
        **options: Unpack[RunOptions[ContextT]],
    ) -> RunStream[tuple[StreamMode, Any]]: ...
    @overload
    def astream(
        self,
        input: RunInput[InputT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        subgraphs: bool = False,
        version: Literal["v1", "v2"] = "v1",
        **options: Unpack[RunOptions[ContextT]],
    ) -> RunStream[Any]: ...
    def astream(
        self,
        input: RunInput[InputT],
        config: RunnableConfig | None = None,
        *,
        context: ContextT | Mapping[str, Any] | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        interrupt_before: Collection[str] | All | None = None,
        interrupt_after: Collection[str] | All | None = None,
        durability: Durability | None = None,
        on_pending: OnPending = "reject",
        by: str | None = None,
        control: RunControl | None = None,
        subgraphs: bool = False,
        print_mode: StreamMode | Sequence[StreamMode] = (),
        output_keys: str | Sequence[str] | None = None,
        version: Literal["v1", "v2"] = "v1",
    ) -> RunStream[Any]:
        """Run the graph and watch it.

        Leaving the loop early, or closing the iterator, cancels the run; its thread stays at its
        last step and can be gone on with.

        Args:
            input: see `ainvoke`.
            config: see `ainvoke`.
            context: see `ainvoke`.
            stream_mode: one mode, or several at once: "updates" (default) what each node
                changed; "values" the state after each step; "messages" tokens and messages;
                "tasks" beginning and end of each task; "checkpoints" each checkpoint; "custom"
                what nodes emit; "debug" tasks and checkpoints with step and time.
            interrupt_before: see `ainvoke`.
            interrupt_after: see `ainvoke`.
            durability: see `ainvoke`.
            on_pending: see `ainvoke`.
            by: see `ainvoke`.
            control: see `ainvoke`.
            subgraphs: whether to watch graphs within this one, too. Then each event comes with
                the way to its graph, in front: ``(ns, event)`` or ``(ns, mode, event)``, where
                `ns` is a tuple of ``"node:task_id"``, empty for this graph.
            print_mode: see `ainvoke`; besides what is asked for by `stream_mode`.
            output_keys: see `ainvoke`.
            version: "v1": the event, or ``(mode, event)`` for several modes. "v2": a
                `StreamPart`, with the event's cursor in the log and its `ns`; states in it are of
                the type that their schema is.

        Raises:
            Exception: see `ainvoke`; raised while iterating.
        """
        _check_version(version)
        modes = modes_of(stream_mode)
        printed = modes_of(print_mode) if print_mode else ()
        check_keys(self.definition, output_keys)
        begin = self._beginning(
            input,
            config,
            interrupt_before=interrupt_before,
            interrupt_after=interrupt_after,
            durability=durability,
            on_pending=on_pending,
            by=by,
            context=context,
            control=control,
        )
        several = stream_mode is not None and not isinstance(stream_mode, str)

        def watched() -> RunTask:
            return begin(Stream({*modes, *printed}, subgraphs=subgraphs))

        def shape(event: Event) -> Any:
            event = narrowed_event(event, output_keys)
            if event.mode in printed:
                _print(event)
            if event.mode not in modes:
                return UNSET
            if version == "v2":
                return part_of(self.definition, event)
            shaped = (event.mode, event.data) if several else (event.data,)
            if subgraphs:
                return (event.ns, *shaped)
            return shaped if several else event.data

        return RunStream(watched, shape)

    async def astream_history(
        self,
        config: RunnableConfig | str,
        *,
        after: str | None = None,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        subgraphs: bool = False,
    ) -> AsyncIterator[StreamPart]:
        """What the runs of a thread have told, read back from its log, as far as it has got.

        The parts are those that a watcher of the runs got from ``astream(..., version="v2")``: the
        same data, in the same order, under the same cursors. So whoever has lost the connection to
        a stream reads on after the last cursor that it has seen, loses nothing and gets nothing
        twice. Edits between the runs are told as well.

        Not kept, and so not told: tokens (their message is told as a whole), custom events,
        beginnings of tasks, and what a call shows of a state that was there before it. Of a run
        that is stored only at its end, that end is told.

        Args:
            config: names the thread; its id alone will do.
            after: a part's `cursor`; by default the parts from the thread's beginning are given.
            stream_mode: see `astream`.
            subgraphs: whether what has happened in graphs within is told, too.

        Raises:
            ConfigError: `after` is no cursor of this thread.
            CheckpointNotFoundError: what came behind it was pruned.
            IntegrityError: what is stored is damaged.
        """
        saver = self._saver("astream_history")
        named: RunnableConfig = (
            config if isinstance(config, Mapping) else {"configurable": {"thread_id": config}}
        )
        place = place_of(merge_configs(self._config, named))
        key, modes = saver.key(place.thread), modes_of(stream_mode)
        told = retell(self.definition, saver, key, modes, read_cursor(after), subgraphs=subgraphs)
        async for event in told:
            yield part_of(self.definition, event)

    async def aget_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """The state of a thread now, with the results of finished tasks in it; or, with a
        `checkpoint_id` in the config, as it was at that checkpoint.

        Of a thread that does not exist, an empty one. A `checkpoint_ns` in the config names a graph
        within this one.

        Args:
            config: names the thread.
            subgraphs: whether the `state` of a task that runs a graph is that graph's snapshot,
                and not only the config that names it.

        Raises:
            CheckpointNotFoundError: the thread has no such checkpoint.
            IntegrityError: what is stored is damaged.
        """
        saver = self._saver("aget_state")
        place = place_of(merge_configs(self._config, config))
        return await snapshot(self.definition, saver, place, subgraphs=subgraphs)

    async def aget_state_history(
        self,
        config: RunnableConfig,
        *,
        filter: Mapping[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """The checkpoints of a thread as they were, newest first.

        A checkpoint whose records are damaged has the `IntegrityError` as its `values`.

        Args:
            config: names the thread; with a `checkpoint_id`, that checkpoint alone is meant.
            filter: only checkpoints with this metadata, such as ``{"source": "input"}``.
            before: only checkpoints before the one that this config names.
            limit: how many at most.

        Raises:
            CheckpointNotFoundError: the thread has no checkpoint that is named.
        """
        saver = self._saver("aget_state_history")
        place = place_of(merge_configs(self._config, config))
        check_history(filter, limit)
        shown = history(
            self.definition,
            saver,
            place,
            filter=filter,
            before=checkpoint_before(before),
            limit=limit,
        )
        async for one in shown:
            yield one

    async def aupdate_state(
        self,
        config: RunnableConfig,
        values: Any,
        as_node: str | None = None,
        *,
        checkpoint_id: str | None = None,
        by: str | None = None,
    ) -> RunnableConfig:
        """Write to a thread's state as if a node had, and make due what follows that node.

        Args:
            config: names the thread; with a `checkpoint_id`, a branch is made at that checkpoint.
            values: the update, which goes through the reducers.
            as_node: the node it counts for: by default the one that ran last. ``END`` makes
                nothing due.
            checkpoint_id: the checkpoint, if the config does not name it.
            by: who edits.

        Returns:
            The config that names the new checkpoint.

        Raises:
            InvalidUpdateError: the update cannot become part of the state, or it is not clear as
                which node it is meant.
            ThreadBusyError: a live run owns the thread.
            CheckpointNotFoundError: the thread has no such checkpoint.
        """
        saver = self._saver("aupdate_state")
        check_edit(as_node, checkpoint_id)
        if checkpoint_id is not None:
            config = merge_configs(config, {"configurable": {"checkpoint_id": checkpoint_id}})
        call = self._call(None, config, by=by)
        return await edit(self.definition, saver, call, [[StateUpdate(values, as_node)]])

    async def abulk_update_state(
        self,
        config: RunnableConfig,
        supersteps: Sequence[Sequence[StateUpdate]],
        *,
        by: str | None = None,
    ) -> RunnableConfig:
        """Write several times to a thread's state, as if nodes had in superstep after superstep.

        Each superstep makes a checkpoint; all of them are stored in one write, or none is.

        Args:
            config: see `aupdate_state`.
            supersteps: for each, its updates: of one superstep, each counts for another node.
            by: who edits.

        Returns:
            The config that names the last checkpoint.

        Raises:
            ConfigError: there is nothing to write, or not in this shape.
            InvalidUpdateError: see `aupdate_state`; or updates of one superstep exclude each other.
            ThreadBusyError: a live run owns the thread.
            CheckpointNotFoundError: the thread has no such checkpoint.
        """
        saver = self._saver("abulk_update_state")
        written = supersteps_of(supersteps)
        return await edit(self.definition, saver, self._call(None, config, by=by), written)

    async def inside(self, state: Any) -> Any:
        """Run as a node of another graph: with its state, as far as this one has a use for it.

        Returns:
            What this graph has come to, as far as the other graph has a use for it.
        """
        task = running_task("A graph as a node")
        given = {} if self.definition.input.single else updates_of(state)
        if given:
            keys = self.definition.input.channels
            state = {key: value for key, value in given.items() if key in keys}
        begin = self._inside(task, state, None, node=True)
        values = (await begin(Stream()).result()).values
        known = task.host.channels
        if isinstance(values, dict) and not self.definition.output.single:
            return {key: value for key, value in values.items() if key in known}
        return values

    def _beside(self) -> asyncio.AbstractEventLoop | None:
        return loop_around()

    async def aclear_cache(self, nodes: Sequence[str] | None = None) -> None:
        """Forget what the cache keeps of these nodes; of all of them by default.

        Raises:
            ConfigError: one of them does not exist.
        """
        cache = self._policies.cache
        names = nodes_of(self.definition, "*" if nodes is None else nodes, "aclear_cache")
        chosen = self.definition.nodes if "*" in names else names
        if cache is not None:
            places = (namespace_of(self.definition, self.definition.nodes[n]) for n in chosen)
            # Of any code and version: what an earlier one returned is not to be kept either.
            await cache.aclear([place[:3] for place in places])

    def _saver(self, what: str) -> Saver:
        if self.checkpointer is None:
            raise MissingCheckpointerError(
                f"{what} reads stored state, but the graph has no checkpointer of its own: "
                f"compile(checkpointer=...). The state of a graph within another is read through "
                f"the outermost one."
            )
        return self.checkpointer

    def _beginning(
        self, input: Any, config: RunnableConfig | None, **options: Any
    ) -> Callable[[Stream], RunTask]:
        """What begins a call, once it is known who watches."""
        task = self._caller(config)
        if task is not None:
            return self._inside(task, input, config, **options)
        if self._keeps == "thread":
            raise MissingCheckpointerError(
                "checkpointer=True keeps a graph's state in the thread of the graph that calls it, "
                "and no graph calls this one. Give it a saver, such as InMemorySaver()."
            )
        saver = self.checkpointer
        if saver is not None:
            refuse_empty(input)
        call = self._call(input, config, **options)
        return partial(RunTask.of, self.definition, saver, call, self._tally)

    def _caller(self, config: RunnableConfig | None) -> TaskContext | None:
        """The task of another graph that calls this one as a part of its own run.

        A graph with a saver of its own that is given a thread of its own is not part of it. Nor
        is one that is called on another event loop, as by a synchronous call in an async node:
        it cannot write to a log of that loop, which moreover waits for it.
        """
        task = current_task.get(None)
        if loop_around() is not None:
            return None
        if task is None or self.checkpointer is None:
            return task
        configurable = (config or {}).get("configurable") or {}
        passed_on = "checkpoint_ns" in configurable  # as in the config that a node gets
        own = configurable.get("thread_id") is not None and not passed_on
        return None if own or task.host.thread is None else task

    def _inside(
        self,
        task: TaskContext,
        input: Any,
        config: RunnableConfig | None,
        *,
        node: bool = False,
        **options: Any,
    ) -> Callable[[Stream], RunTask]:
        thread = ((config or {}).get("configurable") or {}).get("thread_id")
        if thread is not None and task.host.thread is not None and str(thread) != task.host.thread:
            raise ConfigError(
                f"Node {task.due.node!r} of thread {task.host.thread!r} calls a graph for thread "
                f"{thread!r}. What has no checkpointer of its own is part of its caller's thread: "
                f"compile it with one, or leave out the thread_id."
            )
        given = merge_configs(task.host.node_config, merge_configs(self._config, config))
        store = task.host.store if task.host.store is not None else self.store
        call = self._call(input, given, stored=False, store=store, **options)
        return partial(
            call_inside,
            task,
            self.definition,
            call,
            keeps=self._keeps,
            node=node,
            tally=self._tally,
        )

    def _call(
        self,
        input: Any,
        config: RunnableConfig | None,
        *,
        stored: bool | None = None,
        interrupt_before: Collection[str] | All | None = None,
        interrupt_after: Collection[str] | All | None = None,
        durability: Durability | None = None,
        on_pending: OnPending = "reject",
        by: str | None = None,
        context: Any = None,
        store: BaseStore | None = None,
        control: RunControl | None = None,
    ) -> Call:
        saver = self.checkpointer
        before = self._interrupt_before if interrupt_before is None else interrupt_before
        after = self._interrupt_after if interrupt_after is None else interrupt_after
        return read_call(
            self.definition,
            input,
            merge_configs(self._config, config) if self._config else config,
            stored=saver is not None if stored is None else stored,
            new_id=(saver.chance if saver is not None else _chance).id(),
            durability=durability,
            on_pending=on_pending,
            by=by,
            policies=self._policies,
            interrupt_before=before,
            interrupt_after=after,
            context=context,
            store=self.store if store is None else store,
            control=control,
        )


class RunStream(AsyncIterator[EventT]):
    """The events of a run that is made for them; iterate over it once.

    The run begins with the first event that is asked for. It is cancelled when the iterator is
    closed, when waiting for an event is cancelled, or when nobody holds the iterator any more.
    """

    def __init__(
        self, begin: Callable[[], RunTask], shape: Callable[[Event], EventT | Unset]
    ) -> None:
        self._begin = begin
        self._shape = shape
        self._task: RunTask | None = None
        self._over = False
        self._waiting = False

    def __repr__(self) -> str:
        now = self.statistics()
        return (
            f"<RunStream {now.state}: {now.supersteps} supersteps, {now.events} events, "
            f"{now.waiting} of them waiting>"
        )

    def statistics(self) -> RunStatistics:
        """How far the run is."""
        return RunStatistics("new", 0, 0, 0) if self._task is None else self._task.statistics()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> EventT:
        if self._over:
            raise StopAsyncIteration
        if self._waiting:
            raise RuntimeError(
                "Somebody waits for this stream's next event already. Iterate over it in one "
                "task only, and pass on from there what others want to see."
            )
        if self._task is None:
            self._task = self._begin()
        shaped: EventT | Unset = UNSET
        while isinstance(shaped, Unset):
            shaped = self._shape(await self._next(self._task))
        return shaped

    async def _next(self, task: RunTask) -> Event:
        self._waiting = True
        try:
            event = await task.next()
        except asyncio.CancelledError:
            self._over = True
            await task.cancel()
            raise
        except BaseException:
            self._over = True
            raise
        finally:
            self._waiting = False
        if event is None:
            self._over = True
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """Cancel the run and wait until its thread is in order. Harmless if it has ended."""
        self._over = True
        if self._task is not None:
            await self._task.cancel()

    def __del__(self) -> None:
        # After `break`, nobody holds the iterator: the run must not go on for no one.
        if self._task is not None and not self._over:
            self._task.cancel_soon()


def _check_version(version: Any) -> None:
    if version not in ("v1", "v2"):
        raise ConfigError(f"version is 'v1' or 'v2', not {version!r}.")


async def _printed(
    begin: Callable[[Stream], RunTask], print_mode: StreamMode | Sequence[StreamMode]
) -> Result:
    """Run to the end, and print what happens."""
    task = begin(Stream(modes_of(print_mode)))
    try:
        while (event := await task.next()) is not None:
            _print(event)
        return await task.result()
    finally:
        await task.cancel()


def _print(event: Event) -> None:
    way = f"{'|'.join(event.ns)} " if event.ns else ""
    print(f"{way}[{event.mode}] {event.data!r}", flush=True)


def _returned(result: Result) -> Any:
    if not result.interrupts:
        return result.values
    asked = {"__interrupt__": list(result.interrupts)}
    return {**result.values, **asked} if isinstance(result.values, dict) else asked
