"""What a cache keeps of a node or a task, and under which key.

Kept is what the node returned, not what became of it: its updates are combined with the state in
which they are used, and its messages get ids of their own each time. Its conditional edges are
not part of it: they look at that state, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from durable_graph.decisions.results import Result
from durable_graph.definition.graph import GraphDefinition
from durable_graph.definition.node import Node
from durable_graph.errors import IntegrityError, InvalidUpdateError
from durable_graph.log.codec import Codec, UnstorableValueError
from durable_graph.types import (
    CacheKey,
    CacheNamespace,
    CachePolicy,
    Overwrite,
    Send,
    TimeoutPolicy,
)

__all__ = [
    "key_of",
    "namespace_of",
    "pack",
    "task_key",
    "task_namespace",
    "unpack",
]

_FORM: Final = 1


def namespace_of(definition: GraphDefinition, node: Node) -> CacheNamespace:
    """Whose results they are: of this node, with this function, in a graph of this name."""
    version = node.cache.version if node.cache is not None else ""
    return ("durable_graph", definition.name, node.name, _code(node.function.call), version)


def task_namespace(name: str, function: Callable[..., Any]) -> CacheNamespace:
    """Whose results they are: of this function under this name, in whatever graph; of all versions
    of it, which are beneath."""
    return ("durable_graph", "task", name, _code(function))


def key_of(definition: GraphDefinition, node: Node, policy: CachePolicy, value: Any) -> CacheKey:
    """Where a cache has what a node returns for an input.

    Raises:
        InvalidUpdateError: it, or what the policy's `key_func` makes of it, cannot be stored.
    """
    own = policy.key_func
    given = value if own is None else own(value)
    digest = _digest(definition.codec, given, own, f"The input of node {node.name!r}")
    return namespace_of(definition, node), digest


def task_key(
    codec: Codec,
    name: str,
    function: Callable[..., Any],
    policy: CachePolicy,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> CacheKey:
    """Where a cache has what a task returns for these arguments.

    Raises:
        InvalidUpdateError: they, or what the policy's `key_func` makes of them, cannot be stored.
    """
    own = policy.key_func
    given = [list(args), sorted(kwargs.items())] if own is None else own(*args, **kwargs)
    digest = _digest(codec, given, own, f"The arguments of task {name!r}")
    return (*task_namespace(name, function), policy.version), digest


def pack(definition: GraphDefinition, result: Result) -> bytes:
    """What a node returned, as bytes.

    Raises:
        UnstorableValueError: there is no form that would come back exactly.
    """
    updates = [
        [_packed(key, value) for key, value in update.items() if key in definition.channels]
        for update in result.updates
    ]
    return definition.codec.encode([_FORM, updates, [_packed_goal(goal) for goal in result.goto]])


def unpack(definition: GraphDefinition, data: bytes) -> Result | None:
    """What a node returned; ``None`` if the bytes are not, or no longer, anything of this graph."""
    try:
        form, updates, goals = definition.codec.decode(data)
        if form != _FORM:
            return None
        result = Result([_unpacked(update) for update in updates], [_goal(goal) for goal in goals])
    except (IntegrityError, LookupError, TypeError, ValueError):
        return None
    nodes = [goal.node if isinstance(goal, Send) else goal for goal in result.goto]
    keys = {key for update in result.updates for key in update}
    known = keys <= definition.channels.keys() and all(n in definition.nodes for n in nodes)
    return result if known else None


def _code(call: Any) -> str:
    kind = call if hasattr(call, "__qualname__") else type(call)
    return f"{kind.__module__}.{kind.__qualname__}"


def _digest(codec: Codec, given: Any, own: Callable[..., Any] | None, what: str) -> str:
    try:
        encoded = codec.encode(given)
    except UnstorableValueError as error:
        what = what if own is None else f"{what}, as key_func gives it,"
        raise InvalidUpdateError(
            f"{what} cannot be a key of the cache: {error}. Give its CachePolicy a key_func that "
            f"returns what the result depends on, as plain data."
        ) from error
    return hashlib.blake2b(encoded, digest_size=32).hexdigest()


def _packed(key: str, value: Any) -> list[Any]:
    return [key, value.value, True] if isinstance(value, Overwrite) else [key, value]


def _unpacked(update: list[list[Any]]) -> Mapping[str, Any]:
    return {key: Overwrite(value) if replaces else value for key, value, *replaces in update}


def _packed_goal(goal: str | Send) -> Any:
    if isinstance(goal, str):
        return goal
    limits = goal.timeout
    if limits is None:
        return [goal.node, goal.arg]
    return [goal.node, goal.arg, [limits.run_timeout, limits.idle_timeout, limits.refresh_on]]


def _goal(plain: Any) -> str | Send:
    if isinstance(plain, str):
        return plain
    node, arg, *limits = plain
    return Send(node, arg, timeout=TimeoutPolicy(*limits[0]) if limits else None)
