"""Type variables and aliases, for those who annotate code that handles graphs.

A graph is generic in its state, its context, its input and its output. All have defaults, so the
bare names `StateGraph` and `CompiledGraph` are complete annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Concatenate, Generic, TypeAlias, TypedDict

from typing_extensions import TypeVar  # `typing` has defaults of type variables from 3.13 on

from durable_graph.types import (
    All,
    CachePolicy,
    Command,
    Durability,
    OnPending,
    RetryPolicy,
    StreamMode,
    TimeoutPolicy,
)

if TYPE_CHECKING:
    from durable_graph.engine.control import RunControl

__all__ = [
    "ContextT",
    "GivenContextT",
    "GivenT",
    "InputT",
    "Node",
    "NodeInputT",
    "NodeOptions",
    "OutputT",
    "RunInput",
    "RunOptions",
    "StateT",
]

StateT = TypeVar("StateT", default=Any)
ContextT = TypeVar("ContextT", default=Any)
InputT = TypeVar("InputT", default=StateT)
OutputT = TypeVar("OutputT", default=StateT)
NodeInputT = TypeVar("NodeInputT")
GivenT = TypeVar("GivenT")
GivenContextT = TypeVar("GivenContextT")

Node: TypeAlias = Callable[Concatenate[NodeInputT, ...], Any]
"""A node's function: takes what it reads, and by name whatever else the engine supplies."""

# Of a mapping the keys and values are checked when it is given: a checker would want every key.
RunInput: TypeAlias = GivenT | Mapping[str, Any] | Command[Any] | None
"""What a call takes as its input."""


class NodeOptions(TypedDict, total=False):
    """What `add_node` takes by name, but for `input_schema`."""

    defer: bool
    metadata: Mapping[str, Any] | None
    retry_policy: RetryPolicy | Sequence[RetryPolicy] | None
    timeout: TimeoutPolicy | float | timedelta | None
    cache_policy: CachePolicy | None
    error_handler: Callable[..., Any] | None
    destinations: Mapping[str, str] | Sequence[str] | None


class RunOptions(TypedDict, Generic[ContextT], total=False):
    """What every call that runs a graph takes by name, but for what its result depends on."""

    interrupt_before: Collection[str] | All | None
    interrupt_after: Collection[str] | All | None
    durability: Durability | None
    on_pending: OnPending
    by: str | None
    context: ContextT | Mapping[str, Any] | None
    control: RunControl | None
    print_mode: StreamMode | Sequence[StreamMode]
    output_keys: str | Sequence[str] | None
