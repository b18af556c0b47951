"""How to store the types in a function's annotations, looked at once per function."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from durable_graph.definition.node import hints_of
from durable_graph.log.registered import TypeCodec
from durable_graph.state.storable import storable_types

__all__ = ["types_of"]

_known: Final[WeakKeyDictionary[Any, tuple[TypeCodec, ...]]] = WeakKeyDictionary()


def types_of(function: Callable[..., Any]) -> tuple[TypeCodec, ...]:
    """How to store the application's own types that a function takes and returns."""
    bare: Any = function
    while isinstance(bare, functools.partial):
        bare = bare.func
    bare = getattr(bare, "__func__", bare)  # of a method, which is made anew for each call
    try:
        return _known[bare]
    except (KeyError, TypeError):  # seen for the first time; or nothing that can be a key
        types = tuple(t for hint in hints_of(bare).values() for t in storable_types(hint))
    try:
        _known[bare] = types
    except TypeError:
        return types
    return types
