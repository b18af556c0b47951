"""A channel: one key of the state, and how updates to it are combined."""

from __future__ import annotations

import collections.abc
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, NotRequired, Required, get_args, get_origin

from durable_graph.errors import GraphDefinitionError
from durable_graph.state.messages import MessageRules, messages_of
from durable_graph.types import UNSET

__all__ = ["ROOT", "Channel", "Reducer", "channel_of"]

Reducer = Callable[[Any, Any], Any]

ROOT: Final = "__root__"
"""Key of the only channel of a state that is not a mapping of keys."""

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
        messages: which messages it holds, if its reducer is `add_messages`.
    """

    key: str
    annotation: Any
    reducer: Reducer | None = None
    initial: Any = UNSET
    messages: MessageRules | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "messages", messages_of(self.reducer, self.annotation))


def channel_of(key: str, annotation: Any) -> Channel:
    """The channel that an annotation describes.

    The last callable with two positional parameters in ``Annotated[...]`` is the reducer.

    Raises:
        GraphDefinitionError: there is a function in the annotation that cannot be a reducer.
    """
    kind, metadata = _unwrap(annotation)
    for item in reversed(metadata):
        if callable(item) and not isinstance(item, type):
            _check_reducer(key, item)
            return Channel(key, kind, item, _initial(kind))
    return Channel(key, kind)


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
