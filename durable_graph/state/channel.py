"""A channel: one key of the state, and how updates to it are combined."""

from __future__ import annotations

import collections.abc
import inspect
import operator
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NotRequired, Required, get_args, get_origin

from durable_graph.channels import (
    AnyValue,
    BaseChannel,
    BinaryOperatorAggregate,
    DeltaChannel,
    EphemeralValue,
    LastValue,
    Topic,
    UntrackedValue,
)
from durable_graph.errors import GraphDefinitionError
from durable_graph.managed import ManagedValue
from durable_graph.state.messages import MessageRules, messages_of
from durable_graph.types import UNSET

__all__ = ["PREVIOUS", "ROOT", "VALUE", "Channel", "Reducer", "channel_of", "managed_of"]

Reducer = Callable[[Any, Any], Any]

ROOT: Final = "__root__"
"""Key of the only channel of a state that is not a mapping of keys."""

VALUE: Final = "__end__"
"""Key under which a function that is a graph keeps its result."""

PREVIOUS: Final = "__previous__"
"""Key under which it keeps what its next run gets; not shown."""

_MODIFIERS: Final = {Required, NotRequired, getattr(typing, "ReadOnly", None)}

# What an abstract annotation starts as; the concrete ones start as `typ()`.
_CONCRETE: Final[dict[Any, type[Any]]] = {
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
    collections.abc.Set: set,
    collections.abc.MutableSet: set,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}


@dataclass(frozen=True, slots=True)
class Channel:
    """One key of the state.

    Attributes:
        key: its name.
        annotation: its type, without the reducer.
        reducer: combines the present value with an update; ``None`` for a key that takes its
            last value, and one value in a superstep at most.
        initial: the value before the first update; `UNSET` for none.
        latest: whether, without a reducer, the last of several values in a superstep counts.
        fades: whether a value lasts one superstep only, which begins with none.
        gathers: whether a value that is no list stands for a list of itself.
        tracked: whether it is stored.
        messages: which messages it holds, if its reducer is `add_messages`.
    """

    key: str
    annotation: Any
    reducer: Reducer | None = None
    initial: Any = UNSET
    latest: bool = False
    fades: bool = False
    gathers: bool = False
    tracked: bool = True
    messages: MessageRules | None = field(init=False, compare=False)

    @property
    def kind(self) -> tuple[str, ...]:
        """In words, what it is besides its type and reducer; empty for what keys are anyway."""
        marks = {
            "latest": self.latest,
            "fades": self.fades,
            "gathers": self.gathers,
            "untracked": not self.tracked,
        }
        return tuple(name for name, holds in marks.items() if holds)

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", messages_of(self.reducer, self.annotation))


def channel_of(key: str, annotation: Any) -> Channel:
    """The channel that an annotation describes.

    A kind of key in ``Annotated[...]`` says what it is; else the last callable is its reducer.

    Raises:
        GraphDefinitionError: there is a function in the annotation that cannot be a reducer.
    """
    kind, metadata = _unwrap(annotation)
    for item in metadata:
        if isinstance(item, type) and issubclass(item, (BaseChannel, DeltaChannel)):
            return _of_kind(key, kind, _bare(item))
        if isinstance(item, (BaseChannel, DeltaChannel)):
            return _of_kind(key, kind, item)
    for item in reversed(metadata):
        if callable(item) and not isinstance(item, type):
            _check_reducer(key, item)
            return Channel(key, kind, item, _initial(kind))
    return Channel(key, kind)


def managed_of(annotation: Any) -> ManagedValue | None:
    """What the engine supplies at a key, if its annotation says that it does."""
    found = [item for item in _unwrap(annotation)[1] if isinstance(item, ManagedValue)]
    return found[0] if found else None


def _bare(kind: Any) -> Any:
    return DeltaChannel(None) if kind is DeltaChannel else kind()  # type: ignore[arg-type]


def _of_kind(key: str, annotation: Any, kind: BaseChannel | DeltaChannel) -> Channel:
    typ = annotation if kind.typ is None else kind.typ
    match kind:
        case LastValue():
            return Channel(key, typ)
        case AnyValue():
            return Channel(key, typ, latest=True, fades=True)
        case EphemeralValue(guard=guard):
            return Channel(key, typ, latest=not guard, fades=True)
        case UntrackedValue(guard=guard):
            return Channel(key, typ, latest=not guard, tracked=False)
        case Topic(accumulate=accumulate):
            listed = annotation if kind.typ is None else list[kind.typ]  # type: ignore[name-defined]
            return Channel(key, listed, operator.add, gathers=True, fades=not accumulate)
        case BinaryOperatorAggregate(operator=None) | DeltaChannel(reducer=None):
            name = type(kind).__name__
            raise GraphDefinitionError(
                f"{name} at {key!r} needs a reducer: Annotated[..., {name}(...)]."
            )
        case BinaryOperatorAggregate(operator=reducer):
            _check_reducer(key, reducer)
            return Channel(key, typ, reducer, _initial(typ))
        case DeltaChannel(reducer=several):
            _check_reducer(key, several)
            return Channel(key, typ, _OneByOne(several), _initial(typ))
        case _:
            raise GraphDefinitionError(f"{kind!r} at {key!r} is no kind of key that is known here.")


@dataclass(frozen=True, slots=True)
class _OneByOne:
    """A reducer of several updates, as one of a single update."""

    several: Callable[[Any, Sequence[Any]], Any]

    def __call__(self, present: Any, update: Any) -> Any:
        return self.several(present, [update])


def _unwrap(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    metadata: tuple[Any, ...] = ()
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            metadata = (*more, *metadata)
        elif origin is not None and origin in _MODIFIERS:
            (annotation,) = get_args(annotation)
        else:
            return annotation, metadata


def _check_reducer(key: str, reducer: Any) -> None:
    try:
        signature = inspect.signature(reducer)
    except (TypeError, ValueError):  # some built-in functions have no signature
        return
    try:
        signature.bind(None, None)
    except TypeError:
        raise GraphDefinitionError(
            f"The reducer of {key!r} must take (current, update); {reducer!r} takes {signature}."
        ) from None


def _initial(annotation: Any) -> Any:
    kind = get_origin(annotation) or annotation
    kind = _CONCRETE.get(kind, kind)
    try:
        return kind()
    except Exception:  # a type that cannot be made from nothing: the first update is the value
        return UNSET
