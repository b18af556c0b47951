"""How an application's own types are stored: dataclasses, pydantic models, enums, named tuples.

Their stored name is the class's qualified name, without the module, so that code can move between
modules. Reading makes an instance as it was, not by calling the class, which may convert, reject
or compute. What a class has gained since gets its default; what it has lost is left out.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from durable_graph.errors import UnknownTypeError
from durable_graph.log.registered import REGISTRY, TypeCodec
from durable_graph.state.langchain import PREFIX, home_of

__all__ = ["derived", "is_pydantic", "storable_types"]


def storable_types(annotation: Any) -> Iterator[TypeCodec]:
    """How to store the types that an annotation mentions, at any depth.

    What the application has registered goes before what can be found out about a class.
    """
    yield from _storable(annotation, set())


def derived(kind: type[Any], tag: str | None = None) -> TypeCodec | None:
    """How a class is stored that says enough about itself; ``None`` if it does not.

    Args:
        kind: the class.
        tag: its stored name; by default its own.
    """
    name = tag if tag is not None else _stored_name(kind)
    if issubclass(kind, enum.Flag):  # a combination of flags has no name of its own
        return TypeCodec(name, kind, lambda v: v.value, lambda v, _: kind(v))
    if issubclass(kind, enum.Enum):
        return TypeCodec(name, kind, lambda v: v.name, lambda v, _: _member(kind, v))
    if is_pydantic(kind):
        return TypeCodec(name, kind, _model_parts, lambda v, _: _remodel(kind, v))
    if dataclasses.is_dataclass(kind):
        return TypeCodec(name, kind, _fields, lambda v, _: _remake(kind, v))
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return TypeCodec(name, kind, list, lambda v, _: _retuple(kind, v))
    return None


def is_pydantic(kind: type[Any]) -> bool:
    """Whether a class is a pydantic model. Never imports pydantic: who has a model has."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _stored_name(kind: type[Any]) -> str:
    # LangChain's classes are in the way of nobody who calls one of their own AIMessage.
    foreign = kind.__module__ == home_of(kind.__name__)
    return PREFIX + kind.__name__ if foreign else kind.__qualname__


def _storable(annotation: Any, seen: set[Any]) -> Iterator[TypeCodec]:
    if get_origin(annotation) is Literal:
        for member in get_args(annotation):
            yield from _storable(type(member), seen)
        return
    for argument in get_args(annotation):
        yield from _storable(argument, seen)
    if isinstance(annotation, typing.TypeVar):  # of a generic class that was left open
        yield from _storable(annotation.__bound__, seen)
        return
    named = getattr(annotation, "__value__", None)  # type Name = ...
    if named is not None and not isinstance(annotation, type):
        yield from _storable(named, seen)
        return
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type) or kind in seen:
        return
    seen.add(kind)
    entry = REGISTRY.by_class(kind) or derived(kind)
    if entry is not None:
        yield entry
    elif not typing.is_typeddict(kind):
        return
    if issubclass(kind, enum.Enum):
        return
    for hint in _hints(kind):
        yield from _storable(hint, seen)


def _hints(kind: type[Any]) -> Iterable[Any]:
    if is_pydantic(kind):
        # Of a generic model these are the types it was made with, and not its parameters.
        fields: Mapping[str, Any] = kind.__pydantic_fields__
        yield from (field.annotation for field in fields.values())
    try:
        yield from get_type_hints(kind).values()
    except (NameError, AttributeError, TypeError):
        return  # a forward reference to something local: its type is just not found


def _member(kind: type[enum.Enum], name: Any) -> enum.Enum:
    try:
        return kind[name]
    except KeyError:
        raise UnknownTypeError(
            f"A stored value is {kind.__qualname__}.{name}, which this program does not have. "
            f"Give the enum that member back, as an alias if it has another name now."
        ) from None


def _model_parts(value: Any) -> dict[str, Any]:
    kind = type(value)
    fields = kind.__pydantic_fields__
    parts: dict[str, Any] = {
        # Besides its fields, a model's dict has what was computed and kept; that can be again.
        "fields": {name: item for name, item in value.__dict__.items() if name in fields},
        "set": sorted(value.__pydantic_fields_set__),
    }
    if not kind.__pydantic_root_model__:  # which has neither, and would keep them as fields
        if value.__pydantic_extra__ is not None:
            parts["extra"] = value.__pydantic_extra__
        if value.__pydantic_private__ is not None:
            parts["private"] = value.__pydantic_private__
    return parts


def _remodel(kind: Any, content: Any) -> Any:
    fields, given = content["fields"], set(_listed(content["set"]))
    known = kind.__pydantic_fields__
    if fields.keys() != known.keys():
        fields = {name: item for name, item in fields.items() if name in known}
        given &= known.keys() | (content.get("extra") or {}).keys()
        for name, field in known.items():
            if name not in fields and _lacks(kind, name, required=field.is_required()):
                fields[name] = field.get_default(call_default_factory=True, validated_data=fields)
    value = kind.__new__(kind)
    object.__setattr__(value, "__dict__", fields)
    object.__setattr__(value, "__pydantic_fields_set__", given)
    if not kind.__pydantic_root_model__:
        object.__setattr__(value, "__pydantic_extra__", content.get("extra"))
        object.__setattr__(value, "__pydantic_private__", content.get("private"))
    return value


def _fields(value: Any) -> dict[str, Any]:
    fields = {
        field.name: getattr(value, field.name)
        for field in dataclasses.fields(value)
        if hasattr(value, field.name)
    }
    # What `__post_init__` and others have set beside them; but not what is computed when needed,
    # nor what `typing` notes on an object that was made as `Box[int](...)`.
    kind = type(value)
    beside = {
        name: item
        for name, item in getattr(value, "__dict__", {}).items()
        if name not in fields
        and name != "__orig_class__"
        and not isinstance(getattr(kind, name, None), functools.cached_property)
    }
    return fields | beside


def _remake(kind: type[Any], content: Any) -> Any:
    value = object.__new__(kind)
    known = kind.__dataclass_fields__
    if content.keys() != known.keys():
        content = dict(_fitting(kind, content))
    for name, item in content.items():
        object.__setattr__(value, name, item)
    return value


def _fitting(kind: type[Any], content: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A stored dataclass's parts, for the class as it is now."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    open_ended = kind.__dictoffset__ != 0  # else there is no place for anything but its fields
    for name, item in content.items():
        if name in fields or open_ended:
            yield name, item
    for name, field in fields.items():
        if name in content:
            continue
        if field.default is not dataclasses.MISSING:
            yield name, field.default
        elif field.default_factory is not dataclasses.MISSING:
            yield name, field.default_factory()
        elif field.init:  # one that is no parameter may just not have been set
            _lacks(kind, name, required=True)


def _retuple(kind: Any, items: Any) -> Any:
    missing = kind._fields[len(_listed(items)) :]
    defaults = kind._field_defaults
    for name in missing:
        _lacks(kind, name, required=name not in defaults)
    return kind._make([*items, *(defaults[name] for name in missing)])


def _listed(content: Any) -> list[Any]:
    if type(content) is not list:  # of a range, a few bytes are more numbers than there is memory
        raise ValueError("not a list")
    return content


def _lacks(kind: type[Any], name: str, *, required: bool) -> bool:
    if required:
        raise UnknownTypeError(
            f"A stored {kind.__qualname__} has no {name!r}, which the class asks for by now. Give "
            f"it a default, or register_type() the class with a decoder that knows the old form."
        )
    return True
