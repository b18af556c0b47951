"""What goes into a graph and comes out of it, as pydantic models and as JSON schemas."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from durable_graph.errors import ConfigError
from durable_graph.state.responses import extended
from durable_graph.state.schema import Schema
from durable_graph.state.storable import is_pydantic

__all__ = ["json_schema_of", "model_of"]


def model_of(schema: Schema, name: str) -> Any:
    """The pydantic model of a schema: itself, if it is one.

    Raises:
        ConfigError: pydantic is not installed.
    """
    pydantic = _pydantic()
    if schema.single:
        return pydantic.create_model(name, __base__=pydantic.RootModel[extended(schema.type)])
    if isinstance(schema.type, type) and is_pydantic(schema.type):
        return schema.type
    required = _required(schema.type)
    fields = {
        key: (extended(channel.annotation), ... if key in required else None)
        for key, channel in schema.channels.items()
    }
    config = pydantic.ConfigDict(arbitrary_types_allowed=True, protected_namespaces=())
    return pydantic.create_model(name, __config__=config, **fields)


def json_schema_of(type_: Any) -> dict[str, Any]:
    """The JSON schema of a type.

    Raises:
        ConfigError: JSON has nothing for something in it, or pydantic is not installed.
    """
    pydantic = _pydantic()
    try:
        schema: dict[str, Any] = pydantic.TypeAdapter(extended(type_)).json_schema()
    except pydantic.errors.PydanticUserError as error:
        raise ConfigError(f"{type_!r} has no JSON schema: {error}") from error
    return schema


def _required(type_: Any) -> set[str]:
    """The keys of a TypedDict that must be there, and the fields of a class without a default."""
    found = set()
    for key, hint in typing.get_type_hints(type_, include_extras=True).items():
        # Of annotations that are text, only these hints know what they say of the key.
        mark = typing.get_origin(hint)
        if typing.is_typeddict(type_):
            needed = mark is typing.Required or (
                mark is not typing.NotRequired and key in type_.__required_keys__
            )
        else:
            needed = not _has_default(type_, key)
        if needed:
            found.add(key)
    return found


def _has_default(type_: Any, key: str) -> bool:
    if hasattr(type_, key):
        return True
    field = getattr(type_, "__dataclass_fields__", {}).get(key)
    return field is not None and field.default_factory is not dataclasses.MISSING


def _pydantic() -> Any:
    try:
        import pydantic
    except ImportError as error:
        raise ConfigError(
            "Schemas of a graph need the package pydantic, which is not installed here: "
            "pip install pydantic."
        ) from error
    return pydantic
