"""Whether a value can be one of a type: what can be told without converting anything.

For state that an earlier version of the code has written. In doubt it fits: what is to be refused
is what surely cannot be used, as a text where there is to be a list.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import types
import typing
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

__all__ = ["fits"]

_WRAPPERS = {Annotated, Required, NotRequired, typing.Final, typing.ClassVar}
# What may stand for what: as in arithmetic, an int is a float; and a bool is no int here.
_NUMBERS: dict[type[Any], tuple[type[Any], ...]] = {
    float: (int, float),
    complex: (int, float, complex),
}


def fits(value: Any, annotation: Any) -> bool:
    """Whether a value can be one of an annotated type."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in _WRAPPERS:
        return fits(value, arguments[0])
    if origin in (Union, types.UnionType):
        return any(fits(value, part) for part in arguments)
    if origin is Literal:
        return any(value == part and type(value) is type(part) for part in arguments)
    if annotation is None:
        return value is None
    if typing.is_typeddict(annotation):
        return _fits_keys(value, annotation)
    kind = origin or annotation
    if not isinstance(kind, type) or kind is object:
        return True
    if not _is_one(value, kind):
        return False
    if dataclasses.is_dataclass(kind) or hasattr(kind, "model_fields"):
        return _fits_fields(value, kind)
    return _fits_parts(value, kind, arguments)


def _is_one(value: Any, kind: type[Any]) -> bool:
    if type(value) is bool and kind in (int, float, complex):
        return False
    try:
        return isinstance(value, _NUMBERS.get(kind, kind))
    except TypeError:  # a protocol, say: nothing can be told
        return True


def _fits_parts(value: Any, kind: type[Any], arguments: tuple[Any, ...]) -> bool:
    if not arguments:
        return True
    if issubclass(kind, tuple):
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return all(fits(item, arguments[0]) for item in value)
        return len(value) == len(arguments) and all(map(fits, value, arguments))
    if issubclass(kind, collections.abc.Mapping) and len(arguments) == 2:
        key, item = arguments
        return all(fits(k, key) and fits(v, item) for k, v in value.items())
    if isinstance(value, (list, set, frozenset, collections.deque)) and len(arguments) == 1:
        return all(fits(item, arguments[0]) for item in value)
    return True


def _fits_keys(value: Any, kind: Any) -> bool:
    if not isinstance(value, dict):
        return False
    hints = _hints(kind)
    for key, hint in hints.items():
        if key in value and not fits(value[key], hint):
            return False
        marked = get_origin(hint)
        needed = marked is not NotRequired and (marked is Required or key in kind.__required_keys__)
        if needed and key not in value:
            return False
    return True


def _fits_fields(value: Any, kind: Any) -> bool:
    hints = _hints(kind)
    if hasattr(kind, "model_fields"):
        names = tuple(kind.model_fields)
    else:
        names = tuple(field.name for field in dataclasses.fields(kind))
    return all(
        hasattr(value, name) and fits(getattr(value, name), hints.get(name, Any)) for name in names
    )


def _hints(kind: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(kind, include_extras=True)
    except NameError:  # a forward reference to something local
        return {}
