"""Values of classes that have changed since they were stored."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, Field

from durable_graph.errors import UnknownTypeError
from durable_graph.log.codec import Codec
from durable_graph.state.storable import derived


def moved(old: Any, new: type[Any]) -> Any:
    """A value of one class, read as another that has its stored name."""
    writer, reader = derived(type(old), "T"), derived(new, "T")
    assert writer is not None
    assert reader is not None
    return Codec([reader]).decode(Codec([writer]).encode(old))


@dataclass
class Old:
    name: str
    gone: int = 0


@dataclass
class New:
    name: str
    tags: list[str] = field(default_factory=list)
    level: int = 3


@dataclass(slots=True)
class Slotted:
    name: str
    tags: list[str] = field(default_factory=list)


@dataclass
class Demanding:
    name: str
    more: int


class OldModel(BaseModel):
    name: str
    gone: int = 0


class NewModel(BaseModel):
    name: str
    tags: list[str] = Field(default_factory=list)
    shout: str = Field(default_factory=lambda data: data["name"].upper())


class DemandingModel(BaseModel):
    name: str
    more: int


class OldPair(NamedTuple):
    left: int


class NewPair(NamedTuple):
    left: int
    right: int = 9


class DemandingPair(NamedTuple):
    left: int
    right: int


class OldColour(enum.Enum):
    RED = 1
    BLUE = 2


class NewColour(enum.Enum):
    CRIMSON = 1
    RED = CRIMSON


def test_a_dataclass_gets_the_defaults_of_its_new_fields() -> None:
    """What the stored value does not have, it gets as a new one would."""
    first, second = moved(Old("a", 5), New), moved(Old("a", 5), New)
    assert (first.name, first.tags, first.level) == ("a", [], 3)
    assert first.tags is not second.tags


def test_a_dataclass_with_slots_leaves_out_what_it_has_no_place_for() -> None:
    """A field that is gone is not an error."""
    assert moved(Old("a", 5), Slotted) == Slotted("a")


def test_a_model_gets_the_defaults_of_its_new_fields() -> None:
    """Those made from other fields included; what is gone is in no dump."""
    value = moved(OldModel(name="a", gone=5), NewModel)
    assert value == NewModel.model_construct({"name"}, name="a", tags=[], shout="A")
    assert value.model_dump() == {"name": "a", "tags": [], "shout": "A"}


def test_a_named_tuple_gets_the_defaults_of_its_new_items() -> None:
    """They come at its end."""
    assert moved(OldPair(1), NewPair) == NewPair(1, 9)


def test_an_enum_member_may_get_another_name() -> None:
    """As long as the old one stays, as an alias."""
    assert moved(OldColour.RED, NewColour) is NewColour.CRIMSON


@pytest.mark.parametrize(
    ("old", "new", "says_what"),
    [
        (Old("a"), Demanding, "A stored Demanding has no 'more'"),
        (OldModel(name="a"), DemandingModel, "A stored DemandingModel has no 'more'"),
        (OldPair(1), DemandingPair, "A stored DemandingPair has no 'right'"),
        (OldColour.BLUE, NewColour, r"NewColour\.BLUE, which this program does not have"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_a_class_asks_for_is_not_made_up(old: Any, new: type[Any], says_what: str) -> None:
    """A new field without a default is told by name; nothing is read without it."""
    with pytest.raises(UnknownTypeError, match=says_what):
        moved(old, new)
