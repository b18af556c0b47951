"""An application's own types: found in the annotations, stored under their names."""

from __future__ import annotations

import dataclasses
import enum
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, NamedTuple, Self, TypedDict, TypeVar, cast

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, field_validator

from durable_graph.errors import IntegrityError, UnknownTypeError
from durable_graph.log.codec import Codec, UnstorableValueError
from durable_graph.log.registered import TypeCodec
from durable_graph.state.storable import storable_types
from tests.pure.values import form

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    CRIMSON = RED
    ODD = (1, None)


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: Any
    right: Colour = Colour.RED


@dataclass
class Plain:
    number: int
    more: list[Pair] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    inner: Plain
    name: str = "x"


@dataclass
class Computed:
    """Its constructor is no inverse of its fields."""

    text: str
    length: int = field(init=False)

    def __post_init__(self) -> None:
        if len(self.text) > 3:
            raise ValueError("too long")
        self.length = len(self.text)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Tree:
    children: list[Tree]


class Table(TypedDict):
    rows: dict[str, Frozen]


class Item(BaseModel):
    name: str
    level: Level = Level.LOW
    next: Item | None = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Aliased(BaseModel):
    number: int = Field(alias="theNumber")


class Rooted(RootModel[list[int]]):
    pass


class Doubling(BaseModel):
    number: int

    @field_validator("number")
    @classmethod
    def double(cls, number: int) -> int:
        return 2 * number


class Optional(BaseModel):
    name: str | None = None


class Private(BaseModel):
    name: str
    _seen: int = PrivateAttr(default=0)


def round_trip(annotation: Any, value: Any) -> Any:
    codec = Codec(storable_types(annotation))
    return codec.decode(codec.encode(value))


def _changed_later(text: str) -> Computed:
    value = Computed("abc")
    value.text = text
    return value


def _item(name: str, next: Item | None) -> Item:
    return Item(name=name, level=Level.LOW, next=next)


def _private() -> Private:
    value = Private(name="a")
    value._seen = 3
    return value


def _invalid() -> Item:
    value = Item(name="a")
    value.name = 5  # type: ignore[assignment]
    return value


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Colour, [Colour.RED, Colour.CRIMSON, Colour.ODD]),
        (Level | None, {Level.LOW: Level.LOW}),
        (set[Word], {Word.YES}),
        (Right, Right.WRITE),
        (Pair, Pair([1], Colour.ODD)),
        (Plain, Plain(1, [Pair(2)])),
        (list[Frozen], [Frozen(Plain(2), "n")]),
        (Annotated[Frozen | int, "note"], Frozen(Plain(3))),
        (Computed, Computed("abc")),
        (Computed, _changed_later("much longer")),
        (Box[Plain], Box(Plain(1))),
        (dict[str, Tree], {"a": Tree([Tree([])])}),
        (Table, {"rows": {"a": Frozen(Plain(1))}}),
        (Item, _item("a", _item("b", None))),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_type_in_an_annotation_comes_back(annotation: Any, value: Any) -> None:
    """Instances of the types that an annotation mentions, at any depth, come back exactly."""
    assert form(round_trip(annotation, value)) == form(value)


def test_extra_fields_of_a_model_come_back() -> None:
    """What a pydantic model took in besides its fields comes back with it."""
    copy = round_trip(Open, Open(name="a", more=[1, 2]))  # type: ignore[call-arg]
    assert copy == Open(name="a", more=[1, 2])  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Right.READ | Right.WRITE, id="combined flags"),
        pytest.param(Right(0), id="no flag"),
        pytest.param(Aliased(theNumber=1), id="alias"),
        pytest.param(
            Rooted([1, 2]),
            id="root model",
        ),
        pytest.param(Doubling(number=1), id="validator that changes"),
        pytest.param(Optional(), id="fields left at their defaults"),
        pytest.param(_private(), id="private attributes"),
        pytest.param(_invalid(), id="changed past its validators"),
    ],
)
def test_what_has_a_stored_form_can_be_read_back(value: Any) -> None:
    """Nothing is stored that cannot be read, or comes back as something else."""
    try:
        copy = round_trip(type(value), value)
    except UnstorableValueError:
        return
    assert form(copy) == form(value)


def test_a_literal_of_enum_members_registers_the_enum() -> None:
    """``Literal[Colour.RED]`` mentions the type `Colour`."""
    assert round_trip(Literal[Colour.RED], Colour.RED) is Colour.RED


@pytest.mark.parametrize("value", [Plain(1), Pair(1), Colour.RED, Item(name="a"), Level.LOW])
def test_a_type_that_no_annotation_mentions_is_refused(value: Any) -> None:
    """An unregistered type is refused on writing, by name, never stored as something like it."""
    with pytest.raises(UnstorableValueError, match=type(value).__qualname__):
        Codec(storable_types(Box[int])).encode([value])


def test_an_instance_of_a_subclass_is_refused() -> None:
    """A registered class does not stand for its subclasses, which would come back as it."""

    class Special(Plain):
        pass

    with pytest.raises(UnstorableValueError, match="Special"):
        Codec(storable_types(Plain)).encode(Special(1))


def test_a_stored_type_that_is_not_registered_is_named() -> None:
    """Reading a type that the program does not know says which, and builds nothing."""
    data = Codec(storable_types(Plain)).encode({"k": [Plain(1)]})
    with pytest.raises(UnknownTypeError, match="'Plain', which this program does not know"):
        Codec().decode(data)


@pytest.mark.parametrize("data", [b'{"~new":1}', b'[{"a":{"~":[]}}]', b'{"~held":1}'])
def test_an_unknown_tag_is_an_unknown_type(data: bytes) -> None:
    """A tag that this version does not write was written by another one, and is refused."""
    with pytest.raises(UnknownTypeError, match="has the tag '~"):
        Codec().decode(data)


def test_two_types_of_one_name_are_refused() -> None:
    """A stored name stands for one type only."""
    other = dataclasses.make_dataclass("Plain", ["a"])
    with pytest.raises(ValueError, match="Two types want the stored name 'Plain'"):
        Codec([*storable_types(Plain), *storable_types(other)])


def test_a_type_may_be_mentioned_twice() -> None:
    """The same type from two annotations is one type."""
    codec = Codec([*storable_types(Plain), *storable_types(list[Plain])])
    assert codec.decode(codec.encode(Plain(1))) == Plain(1)


def test_a_decoder_is_told_the_version_it_was_written_with() -> None:
    """The version stands beside the data and is handed to the decoder."""
    old = TypeCodec("Pair", Pair, list, lambda content, version: Pair(*content))
    new = TypeCodec("Pair", Pair, list, lambda content, version: (version, content), version=2)
    assert Codec([new]).decode(Codec([old]).encode(Pair(1, None))) == (1, [1, None])  # type: ignore[arg-type]
    assert Codec([new]).decode(Codec([new]).encode(Pair(1, None))) == (2, [1, None])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "error", [ValueError, KeyError, AttributeError, RuntimeError, StopIteration]
)
def test_a_failing_decoder_is_a_damaged_value(error: type[Exception]) -> None:
    """Whatever an application's decoder raises, the reader gets an IntegrityError with a cause."""

    def fail(content: Any, version: int) -> Any:
        raise error("no")

    codec = Codec([TypeCodec("Pair", Pair, list, fail)])
    with pytest.raises(IntegrityError) as caught:
        codec.decode(codec.encode(Pair(1, None)))  # type: ignore[arg-type]
    assert isinstance(caught.value.__cause__, error)


def test_a_failing_encoder_is_not_taken_for_nesting() -> None:
    """A TypeError of the application's own encoder reaches the writer as what it is."""

    def fail(value: Any) -> Any:
        raise TypeError("no such unit")

    with pytest.raises(TypeError, match="no such unit"):
        Codec([TypeCodec("Pair", Pair, fail, lambda content, version: content)]).encode(Pair(1))


def test_the_stored_name_knows_no_module() -> None:
    """Code can move between modules: a stored name is the qualified name within one."""
    for entry in storable_types(Frozen):
        assert entry.tag == entry.cls.__qualname__
        assert __name__ not in entry.tag


def test_what_is_not_stored_may_hold_anything() -> None:
    """A run without a checkpointer keeps objects that have no stored form as they are."""
    codec, thing = Codec().holding(), object()
    copy = codec.decode(codec.encode({"k": [thing, (1, thing)]}))
    assert copy["k"][0] is thing
    assert copy["k"][1] == (1, thing)


@dataclass
class Derived:
    """Has more than its fields: what is made from them, and what is computed when needed."""

    side: int

    def __post_init__(self) -> None:
        self.area = self.side**2

    @cached_property
    def lock(self) -> object:
        return object()


class Measure(NamedTuple):
    width: int
    height: int


class Parsed(Measure):
    """Is not made from its items."""

    def __new__(cls, text: str) -> Self:
        return cls._make(map(int, text.split("x")))


def test_what_stands_beside_the_fields_of_a_dataclass_comes_back() -> None:
    """All that has been set; what is computed when needed is computed again."""
    codec = Codec(storable_types(Derived))
    value = Derived(3)
    assert isinstance(value.lock, object)
    assert vars(codec.decode(codec.encode(value))) == {"side": 3, "area": 9}
    value.area = cast("Any", object())
    with pytest.raises(UnstorableValueError, match="object has no stored form"):
        codec.encode(value)


def test_a_named_tuple_is_made_of_its_items() -> None:
    """Whatever its class takes to be made."""
    codec = Codec(storable_types(Parsed))
    read = codec.decode(codec.encode(Parsed("3x4")))
    assert (type(read), tuple(read)) == (Parsed, (3, 4))
