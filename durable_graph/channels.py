"""Kinds of keys, to be named in annotations beside their types.

A key without a kind takes its last value, and one value in a superstep at most; with a reducer,
``Annotated[list, operator.add]``, it combines them. What these say is how several values of one
superstep go together, how long a value lasts, and whether it is stored::

    class State(TypedDict):
        hint: Annotated[str, EphemeralValue]
        votes: Annotated[list[str], Topic(str)]
        client: Annotated[Any, UntrackedValue]

Joins of edges are no keys: ``add_edge([a, b], c)`` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "AnyValue",
    "BaseChannel",
    "BinaryOperatorAggregate",
    "DeltaChannel",
    "EphemeralValue",
    "LastValue",
    "Topic",
    "UntrackedValue",
]


@dataclass(frozen=True, slots=True)
class BaseChannel:
    """A kind of key.

    Attributes:
        typ: the type of its values; by default the annotated one.
    """

    typ: Any = None


@dataclass(frozen=True, slots=True)
class LastValue(BaseChannel):
    """Takes its last value, and one value in a superstep at most: what a key does anyway."""


@dataclass(frozen=True, slots=True)
class AnyValue(BaseChannel):
    """Takes the last of several values, which are supposed to be equal; lasts one superstep."""


@dataclass(frozen=True, slots=True)
class EphemeralValue(BaseChannel):
    """Lasts one superstep: those that run next see it, and then it is gone.

    Attributes:
        guard: whether one value in a superstep is all that may be written; else the last counts.
    """

    guard: bool = True


@dataclass(frozen=True, slots=True)
class UntrackedValue(BaseChannel):
    """Is not stored: it lasts as long as the run, and what goes on with the thread lacks it.

    It may be anything, such as a connection, which nodes then share. What can be stored, they
    get as copies of their own all the same. For what every run has, there is better: `context=`.

    Attributes:
        guard: whether one value in a superstep is all that may be written; else the last counts.
    """

    guard: bool = True


@dataclass(frozen=True, slots=True)
class Topic(BaseChannel):
    """A list of all that is written in a superstep: single values, and the elements of lists.

    Attributes:
        accumulate: whether it grows from superstep to superstep instead of starting anew.
    """

    accumulate: bool = False


@dataclass(frozen=True, slots=True)
class BinaryOperatorAggregate(BaseChannel):
    """Combines values by a reducer: another way to write ``Annotated[typ, operator]``.

    Attributes:
        operator: takes the present value and an update.
    """

    operator: Callable[[Any, Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class DeltaChannel:
    """Combines values by a reducer that takes the present value and a list of updates.

    Every key is stored as changes here, whatever its reducer; this is for reducers that were
    written for several updates at once, and give the same for one at a time.

    Attributes:
        reducer: takes the present value and a list of updates.
        typ: the type of the value; by default the annotated one.
        snapshot_frequency: means nothing here: how often a state is stored as a whole follows
            from its size and from how much has changed.
    """

    reducer: Callable[[Any, Sequence[Any]], Any]
    typ: Any = None
    snapshot_frequency: int = 100
