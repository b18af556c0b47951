"""Schemas: the types that say what a state, an input or an output consists of.

A schema is a TypedDict, a dataclass, a pydantic model, or any class with annotations; any other
type describes a state that is one single value (`ROOT`).
"""

from __future__ import annotations

import dataclasses
import inspect
import operator
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, get_origin, get_type_hints

from durable_graph.errors import GraphDefinitionError
from durable_graph.managed import ManagedValue
from durable_graph.state.channel import ROOT, Channel, channel_of, managed_of
from durable_graph.state.storable import is_pydantic

__all__ = ["Check", "Schema", "checks_of", "updates_of"]


@dataclass(frozen=True, slots=True)
class Check:
    """How values of a key are checked.

    Attributes:
        validate: returns the value to store, or raises a `ValueError`.
        whole: whether it is for the value that the key's reducer makes, and not for each update.
    """

    validate: Callable[[Any], Any]
    whole: bool


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema, read.

    Attributes:
        type: the type it was read from.
        channels: its keys; just `ROOT` for a single value.
        plain: whether nodes get the keys as a dict, and not an instance of `type` or a value.
        spelled: how `type` wants those keys called that it does not take by their names.
        key: of a single value: the key that it has in the state.
        managed: keys whose values the engine supplies; none of the channels.
    """

    type: Any
    channels: Mapping[str, Channel]
    plain: bool
    spelled: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    managed: Mapping[str, ManagedValue] = field(default_factory=dict)

    @classmethod
    def of(cls, type_: Any) -> Schema:
        """Read a schema.

        Raises:
            GraphDefinitionError: it is no type, an annotation cannot be resolved, or a reducer is
                none.
        """
        generic = get_origin(type_)
        if isinstance(generic, type) and _annotated(generic):
            type_ = generic
        elif not _is_type(type_):
            raise GraphDefinitionError(
                f"A schema is a type, such as a TypedDict or a dataclass, not {type_!r}."
            )
        if not (isinstance(type_, type) or typing.is_typeddict(type_)) or not _annotated(type_):
            return cls(type_, {ROOT: channel_of(ROOT, type_)}, plain=False, key=ROOT)
        try:
            hints = get_type_hints(type_, include_extras=True)
        except NameError as error:
            raise GraphDefinitionError(
                f"An annotation of {type_.__qualname__} cannot be resolved: {error}. Define the "
                f"name in the module, where annotations are looked up."
            ) from error
        hints.pop("__slots__", None)
        managed = {key: one for key, hint in hints.items() if (one := managed_of(hint))}
        channels = {
            key: channel_of(key, hint)
            for key, hint in hints.items()
            if hint is not ClassVar and get_origin(hint) is not ClassVar and key not in managed
        }
        plain, spelled = typing.is_typeddict(type_), _aliases(type_)
        return cls(type_, channels, plain, spelled, managed=managed)

    @property
    def single(self) -> bool:
        """Whether the state is one single value."""
        return self.key is not None

    def make(self, values: dict[str, Any]) -> Any:
        """What a node with this schema gets for these values."""
        if self.plain:
            return values
        if self.spelled:
            values = {self.spelled.get(key, key): value for key, value in values.items()}
        return values.get(self.key) if self.key is not None else self.type(**values)


def updates_of(value: Any) -> dict[str, Any] | None:
    """An object as an update of several keys; ``None`` if it is not of a kind that can be.

    Of a pydantic model, all fields but those that were left at a default of ``None``.
    """
    if isinstance(value, type):
        return None
    if isinstance(value, dict):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    kind = type(value)
    if is_pydantic(kind):
        given = value.model_fields_set
        return {
            name: item
            for name, field in kind.model_fields.items()
            if (item := getattr(value, name)) is not None
            or name in given
            or field.get_default() is not None
        }
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if _annotated(kind):
        return {name: getattr(value, name) for name in get_type_hints(kind) if hasattr(value, name)}
    return None


def _aliases(kind: Any) -> dict[str, str]:
    """What a pydantic model is to be given its fields as, where that is not their names."""
    if not (isinstance(kind, type) and is_pydantic(kind)):
        return {}
    config: Any = kind.model_config  # type: ignore[attr-defined]
    if config.get("populate_by_name") or config.get("validate_by_name"):
        return {}
    fields: Mapping[str, Any] = kind.model_fields  # type: ignore[attr-defined]
    aliases = {name: _first(field.validation_alias) for name, field in fields.items()}
    return {name: alias for name, alias in aliases.items() if isinstance(alias, str)}


def _first(alias: Any) -> Any:
    return next(iter(getattr(alias, "choices", (alias,))))


def _is_type(annotation: Any) -> bool:
    # What stands for a type without being one, such as Any or a union, comes from these modules.
    forms = ("typing", "types", "typing_extensions")
    return isinstance(annotation, type) or type(annotation).__module__ in forms


def _annotated(kind: Any) -> bool:
    # Since Python 3.14 a class has a function that makes its annotations, until they are asked for.
    marks = {"__annotations__", "__annotate__", "__annotate_func__"}
    return any(marks & vars(base).keys() for base in getattr(kind, "__mro__", (kind,)))


def checks_of(schema: Schema) -> Mapping[str, Check]:
    """How the values of single keys are checked. Only pydantic models do so.

    Left out are validators that look at other fields: what those will hold is known only when
    all updates of the superstep are.
    """
    if not (isinstance(schema.type, type) and is_pydantic(schema.type)):
        return {}
    model: Any = schema.type
    return {
        key: Check(_validator_of(model, key), whole=whole)
        for key, channel in schema.channels.items()
        if key in model.model_fields and (whole := _is_checked_whole(model, channel)) is not None
    }


def _is_checked_whole(model: Any, channel: Channel) -> bool | None:
    """Whether to check the value of a key, or each update of it; ``None`` for neither.

    What is only ever appended to is never looked at as a whole: that would cost as much as the
    conversation is long, at every turn. Lists are valid if what is added to them is, unless the
    field asks for something of the list itself. Messages are made by their reducer.
    """
    if channel.reducer is None:
        return False
    if channel.messages is not None:
        return None
    field = model.model_fields[channel.key]
    constraints = [item for item in field.metadata if not callable(item)]
    validators = model.__pydantic_decorators__.field_validators.values()
    own = any(not {channel.key, "*"}.isdisjoint(validator.info.fields) for validator in validators)
    appends = channel.reducer in (operator.add, operator.iadd, operator.concat)
    kind = get_origin(field.annotation) or field.annotation
    return not (appends and kind is list and not constraints and not own)


def _validator_of(model: Any, key: str) -> Callable[[Any], Any]:
    """The validator of one field: a model with just this field and its validators."""
    import pydantic

    make: Any = pydantic.create_model
    marked: Any = pydantic.field_validator
    field: Any = model.model_fields[key]
    validators = {
        name: marked(key, mode=validator.info.mode)(_unbound(validator))
        for name, validator in model.__pydantic_decorators__.field_validators.items()
        if not {key, "*"}.isdisjoint(validator.info.fields) and not _looks_around(validator)
    }
    lone = make(
        model.__name__,
        __config__=model.model_config,
        __validators__=validators,
        **{key: (field.annotation, field)},
    )
    validate = lone.__pydantic_validator__.validate_assignment
    return lambda value: getattr(validate(lone.model_construct(), key, value), key)


def _unbound(validator: Any) -> Any:
    # A class method keeps its own class; the model it is given to would bind it once more.
    bound = validator.func

    def check(value: Any) -> Any:
        return bound(value)

    def check_around(value: Any, handler: Any) -> Any:
        return bound(value, handler)

    return staticmethod(check_around if validator.info.mode == "wrap" else check)


def _looks_around(validator: Any) -> bool:
    """Whether a field's validator asks for the `info` that has the other fields."""
    alone = 2 if validator.info.mode == "wrap" else 1
    return len(inspect.signature(validator.func).parameters) > alone
