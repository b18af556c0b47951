"""A caller's config, read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import orjson

from durable_graph.cache import BaseCache
from durable_graph.decisions.answers import DEADLINE
from durable_graph.definition.context import coerce_context
from durable_graph.definition.graph import GraphDefinition
from durable_graph.engine.control import RunControl
from durable_graph.engine.history.reading import Place
from durable_graph.engine.runs.call import Call, Policies
from durable_graph.engine.storage.writer import NOT_KEPT
from durable_graph.errors import ConfigError, EmptyInputError, MissingStoreError, UnsupportedError
from durable_graph.log.records import ThreadKey
from durable_graph.saver import Saver
from durable_graph.store import BaseStore, ItemStore
from durable_graph.types import (
    UNSET,
    All,
    Command,
    Durability,
    OnPending,
    RunnableConfig,
    StateUpdate,
    StepPolicy,
    StreamMode,
)

__all__ = [
    "merge_configs",
    "modes_of",
    "nodes_of",
    "place_of",
    "read_call",
    "refuse_empty",
    "step_policy_of",
]

_MODES: tuple[StreamMode, ...] = (
    "values",
    "updates",
    "messages",
    "tasks",
    "checkpoints",
    "custom",
    "debug",
)


def read_call(
    definition: GraphDefinition,
    input: Any,
    config: RunnableConfig | None,
    *,
    stored: bool,
    new_id: str,
    durability: Durability | None,
    on_pending: OnPending,
    by: str | None,
    policies: Policies,
    interrupt_before: Collection[str] | All,
    interrupt_after: Collection[str] | All,
    context: Any = None,
    store: BaseStore | None = None,
    control: RunControl | None = None,
) -> Call:
    """A call, from its arguments.

    Raises:
        ConfigError: an argument is of the wrong kind, or a `thread_id` is missing.
        MissingStoreError: a node needs a store.
    """
    given: RunnableConfig = config if config is not None else {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"The config is a dict, not {type(given).__name__}.")
    if durability not in (None, "sync", "async", "exit"):
        raise ConfigError(f"durability is 'sync', 'async' or 'exit', not {durability!r}.")
    if on_pending not in ("reject", "answer", "supersede"):
        raise ConfigError(f"on_pending is 'reject', 'answer' or 'supersede', not {on_pending!r}.")
    if by is not None and not _is_text(by):
        raise ConfigError(f"by= names who calls, as text that can be written, not {by!r}.")
    if by == DEADLINE:
        raise ConfigError(f"by={by!r} is how answers are marked that hold because of a deadline.")
    if control is not None and not isinstance(control, RunControl):
        raise ConfigError(f"control= is a RunControl, not {control!r}.")
    if store is None and definition.stored:
        raise MissingStoreError(
            f"Node {definition.stored[0]!r} takes a store, and the graph has none. Compile it "
            f"with one: compile(store=InMemoryStore())."
        )
    limit = given.get("recursion_limit", 10_007)
    if not isinstance(limit, int) or limit < 1:
        raise ConfigError(f"recursion_limit must be at least 1, not {limit!r}.")
    concurrency = given.get("max_concurrency")
    if concurrency is not None and (not isinstance(concurrency, int) or concurrency < 1):
        raise ConfigError(f"max_concurrency must be at least 1, not {concurrency!r}.")
    place = place_of(given) if stored else None
    return Call(
        input=input,
        config=given,
        thread=place.thread if place is not None else None,
        checkpoint=place.checkpoint if place is not None else None,
        ns=place.ns if place is not None else "",
        run=str(given.get("run_id") or new_id),
        metadata=_metadata(given),
        durability=durability or "sync",
        on_pending=on_pending,
        by=by,
        recursion_limit=limit,
        max_concurrency=concurrency,
        interrupt_before=nodes_of(definition, interrupt_before, "interrupt_before"),
        interrupt_after=nodes_of(definition, interrupt_after, "interrupt_after"),
        context=coerce_context(definition.context, context),
        store=store,
        control=control,
        policies=policies,
    )


def check_places(checkpointer: Any, store: Any, cache: Any) -> None:
    """Refuse what cannot keep threads, items or results.

    Raises:
        TypeError: one of them is of the wrong kind.
        UnsupportedError: the store is atomic, and the saver is on other storage.
    """
    if checkpointer is not None and not isinstance(checkpointer, (Saver, bool)):
        raise TypeError(
            f"The checkpointer is a saver such as InMemorySaver() or SqliteSaver('state.db'); "
            f"of a graph within another also True or False; not {checkpointer!r}."
        )
    if store is not None and not isinstance(store, BaseStore):
        raise TypeError(f"The store is one such as InMemoryStore(), not {store!r}.")
    check_atomic(checkpointer, store)
    if cache is not None and not isinstance(cache, BaseCache):
        raise TypeError(f"The cache is one such as InMemoryCache(), not {cache!r}.")


def check_atomic(checkpointer: Any, store: BaseStore | None) -> None:
    """Refuse an atomic store whose items no write of the saver's can reach.

    Raises:
        UnsupportedError: they are on other storage, or its appends put nothing into stores.
    """
    if isinstance(store, ItemStore) and store.atomic and isinstance(checkpointer, Saver):
        backend: Any = checkpointer.backend
        if not (backend.capabilities.stores and backend.keeps(store.storage)):
            raise UnsupportedError(NOT_KEPT)


def step_policy_of(given: Any) -> StepPolicy:
    """What the failure of one task is to its siblings.

    Raises:
        ConfigError: it is no such policy.
    """
    if given not in ("fail_fast", "collect"):
        raise ConfigError(f"step_policy is 'fail_fast' or 'collect', not {given!r}.")
    policy: StepPolicy = given
    return policy


def place_of(config: RunnableConfig) -> Place:
    """Thread, graph in it and checkpoint that a config names.

    Raises:
        ConfigError: it names no thread, or not in a way that can be one's id.
    """
    configurable = config.get("configurable", {})
    if not isinstance(configurable, Mapping):
        raise ConfigError(f"config['configurable'] is a dict, not {configurable!r}.")
    thread = configurable.get("thread_id")
    if thread is None:
        raise ConfigError(
            "The graph has a checkpointer, so a call must say which thread it is for: "
            'config={"configurable": {"thread_id": "..."}}.'
        )
    ns = configurable.get("checkpoint_ns") or ""
    if not isinstance(ns, str):
        raise ConfigError(f"A checkpoint_ns is a str, not {type(ns).__name__}.")
    checkpoint = configurable.get("checkpoint_id")
    checkpoints = configurable.get("checkpoint_map")
    if checkpoint is None and isinstance(checkpoints, Mapping):
        checkpoint = checkpoints.get(ns)
    if checkpoint is not None and not isinstance(checkpoint, str):
        raise ConfigError(f"A checkpoint_id is a str, not {type(checkpoint).__name__}.")
    return Place(ThreadKey.of(thread).thread, checkpoint, ns)


def nodes_of(
    definition: GraphDefinition, nodes: Collection[str] | All, what: str
) -> Collection[str]:
    """The nodes of a list of breakpoints.

    Raises:
        ConfigError: one of them does not exist.
    """
    if isinstance(nodes, str):
        nodes = ["*"] if nodes == "*" else [nodes]
    if not isinstance(nodes, Collection):
        raise ConfigError(f'{what} is a list of nodes\' names, or "*" for all, not {nodes!r}.')
    for name in nodes:
        if not isinstance(name, str) or (name != "*" and name not in definition.nodes):
            raise ConfigError(
                f"{what} names {name!r}, which is no node of the graph. Its nodes are "
                f"{', '.join(definition.nodes)}."
            )
    return nodes


def refuse_empty(input: Any) -> None:
    """Refuse a command that says nothing: as an input it would drop what is due.

    Raises:
        EmptyInputError: it is one.
    """
    if not isinstance(input, Command):
        return
    if input.update is None and input.resume is UNSET and not input.goto:
        raise EmptyInputError(
            "The command is empty. Give it an update, a goto or an answer; to go on with a thread "
            "as it stands, call with None."
        )


def modes_of(stream_mode: StreamMode | Sequence[StreamMode] | None) -> tuple[StreamMode, ...]:
    """The modes that are asked for.

    Raises:
        ConfigError: one of them does not exist.
    """
    if stream_mode is None:
        return ("updates",)
    several = isinstance(stream_mode, Collection) and not isinstance(stream_mode, str)
    modes: tuple[Any, ...] = tuple(stream_mode) if several else (stream_mode,)
    for mode in modes or ("updates",):
        if not isinstance(mode, str) or mode not in _MODES:
            raise ConfigError(f"There is no stream mode {mode!r}; there are {', '.join(_MODES)}.")
    return modes or ("updates",)


def checkpoint_before(before: RunnableConfig | None) -> str | None:
    """The checkpoint that a history is to end before.

    Raises:
        ConfigError: the config names none.
    """
    if before is None:
        return None
    named = _mapping(before, "`before`").get("configurable")
    checkpoint = named.get("checkpoint_id") if isinstance(named, Mapping) else None
    if not isinstance(checkpoint, str):
        raise ConfigError(
            "`before` is a config with a checkpoint_id, such as the `config` of a snapshot."
        )
    return checkpoint


def check_history(filter: Mapping[str, Any] | None, limit: int | None) -> None:
    """Refuse what cannot choose among checkpoints.

    Raises:
        ConfigError: one of them is of the wrong kind.
    """
    if filter is not None and not isinstance(filter, Mapping):
        raise ConfigError(
            f'`filter` is a dict of metadata, such as {{"source": "input"}}, not {filter!r}.'
        )
    if limit is not None and (type(limit) is not int or limit < 0):
        raise ConfigError(f"`limit` is how many checkpoints at most, from 0, not {limit!r}.")


def check_edit(as_node: str | None, checkpoint_id: str | None) -> None:
    """Refuse what cannot name a node or a checkpoint.

    Raises:
        ConfigError: one of them is of the wrong kind.
    """
    if as_node is not None and not isinstance(as_node, str):
        raise ConfigError(f"as_node= is the name of one node, not {as_node!r}.")
    if checkpoint_id is not None and not isinstance(checkpoint_id, str):
        raise ConfigError(f"A checkpoint_id is a str, not {checkpoint_id!r}.")


def supersteps_of(given: Any) -> list[list[StateUpdate]]:
    """The updates of several supersteps.

    Raises:
        ConfigError: they are something else, or there are none.
    """
    told = ConfigError(
        f"Supersteps are a list of lists of StateUpdate(values, as_node), none of them empty, not "
        f"{given!r:.200}."
    )
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise told
    found: list[list[StateUpdate]] = []
    for updates in given:
        if not isinstance(updates, Sequence) or not updates:
            raise told
        if not all(isinstance(update, tuple) and len(update) in (1, 2) for update in updates):
            raise told
        found.append([StateUpdate(*update) for update in updates])
    for update in (update for updates in found for update in updates):
        check_edit(update.as_node, None)
    return found


def _mapping(given: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise ConfigError(
            f'{what} is a dict such as {{"configurable": {{"thread_id": "..."}}}}, not {given!r}.'
        )
    return given


def merge_configs(first: RunnableConfig, second: RunnableConfig | None) -> RunnableConfig:
    """One config out of two; the second one's entries count where both have one.

    Raises:
        ConfigError: one of them is no dict, or has an entry that is to be one and is none.
    """
    if second is None:
        return first
    one, other = _mapping(first, "The config"), _mapping(second, "The config")
    merged: dict[str, Any] = {**one, **other}
    for name in ("configurable", "metadata"):
        if name in merged:
            parts = [config.get(name) or {} for config in (one, other)]
            for part in parts:
                if not isinstance(part, Mapping):
                    raise ConfigError(f"config[{name!r}] is a dict, not {part!r}.")
            merged[name] = {**parts[0], **parts[1]}
    return cast("RunnableConfig", merged)


def _metadata(config: RunnableConfig) -> dict[str, Any]:
    given = config.get("metadata") or {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"The config's metadata is a dict, not {given!r}.")
    metadata = dict(given)
    if "run_id" in config:
        metadata["run_id"] = str(config["run_id"])
    try:
        # As it is written, one level down; and a copy: the caller may go on changing its own.
        written = orjson.dumps({"meta": metadata})
    except TypeError as error:
        raise ConfigError(f"The config's metadata must be plain JSON: {error}.") from error
    if b"null" in written and _beyond_json(metadata):
        raise ConfigError("The config's metadata must be plain JSON, which has no NaN or infinity.")
    stored: dict[str, Any] = orjson.loads(written)["meta"]
    return stored


def _beyond_json(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(map(_beyond_json, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_beyond_json, value))


def _is_text(value: Any) -> bool:
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False
