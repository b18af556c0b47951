"""The context of a call: what its caller hands to all nodes, checked against its schema."""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Mapping
from typing import Any, get_origin

from durable_graph.errors import ConfigError

__all__ = ["coerce_context"]


def coerce_context(schema: Any, given: Any) -> Any:
    """A context as nodes get it.

    A mapping becomes an instance of a dataclass or pydantic model; a TypedDict stays a dict, with
    all of its required keys and no others. ``None`` stays ``None``: not every call brings a
    context. Of other schemas, classes are held to, and whatever else is taken as it is.

    Args:
        schema: the graph's context schema; ``None`` if it has none.
        given: what the caller gave.

    Raises:
        ConfigError: it does not fit; the message says where.
    """
    if schema is None or given is None:
        return given
    kind = get_origin(schema) or schema
    if typing.is_typeddict(kind):
        return _typed_dict(kind, given)
    if not isinstance(kind, type) or getattr(kind, "_is_protocol", False):
        return given
    if isinstance(given, kind):
        return given
    name = kind.__name__
    if isinstance(given, Mapping) and _is_pydantic(kind):
        try:
            return schema.model_validate(given)
        except ValueError as error:
            raise ConfigError(f"The context is no {name}: {error}") from error
    if isinstance(given, Mapping) and dataclasses.is_dataclass(kind):
        names = {field.name for field in dataclasses.fields(kind) if field.init}
        _refuse_unknown(name, given, names)
        try:
            return kind(**given)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"The context is no {name}: {error}") from error
    raise ConfigError(
        f"The context is to be a {name}, as the graph's context_schema says, or a dict of its "
        f"fields, not {type(given).__name__}."
    )


def _typed_dict(kind: Any, given: Any) -> Any:
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"The context is to be a dict with the keys of {kind.__name__}, not "
            f"{type(given).__name__}."
        )
    missing = _required(kind) - given.keys()
    if missing:
        raise ConfigError(
            f"The context lacks {', '.join(map(repr, sorted(missing)))}, which {kind.__name__} "
            f"requires."
        )
    _refuse_unknown(kind.__name__, given, kind.__required_keys__ | kind.__optional_keys__)
    return given


def _required(kind: Any) -> set[str]:
    required = set(kind.__required_keys__)
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except NameError:  # a name out of sight: then who knows which of them may be left out
        return required if kind.__total__ else set()
    # Where annotations are text, the class itself has not seen what they say.
    for key, hint in hints.items():
        if get_origin(hint) is typing.NotRequired:
            required.discard(key)
        elif get_origin(hint) is typing.Required:
            required.add(key)
    return required


def _refuse_unknown(name: str, given: Mapping[Any, Any], known: typing.AbstractSet[str]) -> None:
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ConfigError(
            f"The context has {', '.join(map(repr, unknown))}, which is no field of {name}; it "
            f"has {', '.join(sorted(known)) or 'none'}."
        )


def _is_pydantic(kind: type[Any]) -> bool:
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)
