"""The types that say what a state, an input or an output consists of."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Generic, NotRequired, TypedDict, TypeVar

import pytest
from pydantic import BaseModel, Field, ValidationError

from durable_graph.errors import GraphDefinitionError
from durable_graph.state.channel import ROOT
from durable_graph.state.messages import add_messages
from durable_graph.state.schema import Schema, checks_of, updates_of


class Typed(TypedDict):
    a: int
    b: NotRequired[Annotated[list[str], operator.add]]


class Inherited(Typed, total=False):
    c: str


@dataclass
class Data:
    a: int
    b: Annotated[list[str], operator.add] = field(default_factory=list)


class Model(BaseModel):
    a: int
    b: Annotated[list[str], operator.add] = []


def longer(old: list[int], new: list[int]) -> list[int]:
    return max(old, new, key=len)


class Reduced(BaseModel):
    plain: list[Any] = []
    grows: Annotated[list[int], operator.add] = []
    short: Annotated[list[int], operator.add, Field(max_length=3)] = []
    own: Annotated[list[int], longer] = []
    messages: Annotated[list[Any], add_messages] = []


T = TypeVar("T")


class GenericTyped(TypedDict, Generic[T]):
    items: Annotated[list[T], operator.add]


@dataclass
class GenericData(Generic[T]):
    items: Annotated[list[T], operator.add]


class GenericModel(BaseModel, Generic[T]):
    items: Annotated[list[T], operator.add]


class Annotations:
    a: int
    b: Annotated[list[str], operator.add]

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


@pytest.mark.parametrize("type_", [Typed, Data, Model, Annotations])
def test_every_kind_of_schema_says_the_same(type_: Any) -> None:
    """A TypedDict, a dataclass, a pydantic model and a plain class declare keys alike."""
    schema = Schema.of(type_)
    assert not schema.single
    assert list(schema.channels) == ["a", "b"]
    assert schema.channels["a"].reducer is None
    assert schema.channels["b"].reducer is operator.add
    assert schema.channels["b"].initial == []


@pytest.mark.parametrize("generic", [GenericTyped[int], GenericData[int], GenericModel[int]])
def test_a_generic_schema_with_its_arguments_has_its_keys(generic: Any) -> None:
    """``State[int]`` is not taken for the type of a single value."""
    schema = Schema.of(generic)
    assert not schema.single
    assert schema.channels["items"].reducer is operator.add


@pytest.mark.parametrize("kind", [int, list[int], int | None, Any, Annotated[list[int], max]])
def test_what_stands_for_a_type_describes_a_single_value(kind: Any) -> None:
    """Builtins with arguments, unions and `Any` are types, too."""
    assert Schema.of(kind).single


@pytest.mark.parametrize("wrong", [None, "Typed", {"a": int}, Data(1), Model(a=1), len])
def test_what_is_no_type_is_no_schema(wrong: Any) -> None:
    """An instance is the usual slip."""
    with pytest.raises(GraphDefinitionError, match="A schema is a type"):
        Schema.of(wrong)


def test_a_schema_inherits_keys() -> None:
    """Keys of base classes come first."""
    assert list(Schema.of(Inherited).channels) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "type_", [int, list[int], dict, Any, str | None, Annotated[list, operator.add]]
)
def test_any_other_type_is_one_single_value(type_: Any) -> None:
    """What declares no keys describes a state of one value."""
    schema = Schema.of(type_)
    assert schema.single
    assert list(schema.channels) == [ROOT]
    assert schema.make({ROOT: [1]}) == [1]
    assert schema.make({}) is None


def test_a_single_value_can_be_reduced() -> None:
    """``Annotated`` works for a whole state as for a key."""
    assert Schema.of(Annotated[list, operator.add]).channels[ROOT].reducer is operator.add


def test_a_node_gets_what_its_schema_is() -> None:
    """A dict for a TypedDict, an instance for anything that can be made."""
    values = {"a": 1, "b": ["x"]}
    assert Schema.of(Typed).make(values) is values
    assert Schema.of(Data).make(values) == Data(1, ["x"])
    assert Schema.of(Model).make(values) == Model(a=1, b=["x"])
    assert vars(Schema.of(Annotations).make(values)) == values


def test_a_model_checks_what_a_node_gets() -> None:
    """Values that do not fit a model are not passed off as it."""
    with pytest.raises(ValidationError):
        Schema.of(Model).make({"a": "x"})


def test_class_variables_are_no_keys() -> None:
    """``ClassVar`` annotates the class, not its instances."""

    @dataclass
    class Counted:
        a: int
        limit: ClassVar[int] = 3

    assert list(Schema.of(Counted).channels) == ["a"]


def test_a_name_that_cannot_be_resolved_is_named() -> None:
    """An annotation that nobody can look up is refused with the class and the name."""

    class Lost(TypedDict):
        a: Missing  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(GraphDefinitionError, match=r"Lost cannot be resolved: name 'Missing'"):
        Schema.of(Lost)


def test_a_wrong_reducer_is_named_with_its_key() -> None:
    """A mistake in one annotation names the key it is in."""

    class Wrong(TypedDict):
        a: int
        b: Annotated[list[int], lambda one: one]

    with pytest.raises(GraphDefinitionError, match="The reducer of 'b' must take"):
        Schema.of(Wrong)


class Fields(BaseModel):
    needed: int
    text: str = "default"
    none: str | None = None
    other: str | None = None


@pytest.mark.parametrize(
    ("value", "update"),
    [
        ({"a": 1}, {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Data(1), {"a": 1, "b": []}),
        (Fields(needed=1), {"needed": 1, "text": "default"}),
        (Fields(needed=1, none=None), {"needed": 1, "text": "default", "none": None}),
        (Fields(needed=1, none="x"), {"needed": 1, "text": "default", "none": "x"}),
        (Annotations(a=1), {"a": 1}),
        (Annotations(a=1, b=[], c=2), {"a": 1, "b": []}),
        (7, None),
        ("text", None),
        ([1], None),
        (Data, None),
        (Annotations, None),
        (object(), None),
    ],
)
def test_what_an_object_updates(value: Any, update: Any) -> None:
    """An object updates the keys it has; of a model, not those left at a default of None."""
    assert updates_of(value) == update


def test_only_models_check() -> None:
    """A TypedDict or dataclass promises nothing about its values."""
    assert checks_of(Schema.of(Typed)) == checks_of(Schema.of(Data)) == {}
    checks = checks_of(Schema.of(Model))
    assert list(checks) == ["a", "b"]
    assert checks["a"].validate("7") == 7
    with pytest.raises(ValueError, match="valid string"):
        checks["b"].validate([7])
    with pytest.raises(ValueError, match="valid integer"):
        checks["a"].validate("seven")


def test_what_is_appended_to_is_never_looked_at_as_a_whole() -> None:
    """Of a list that grows, what comes is checked; of messages, nothing: their reducer makes them.
    Of another reducer, what it makes."""
    checks = checks_of(Schema.of(Reduced))
    assert {key: check.whole for key, check in checks.items()} == {
        "plain": False,
        "grows": False,
        "short": True,
        "own": True,
    }
