"""States with types of their own: what a node gets, what is stored, what comes back, typed."""

from __future__ import annotations

import enum
import operator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar

import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from durable_graph import START, Send, StateGraph
from durable_graph.errors import InvalidUpdateError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import history, key_of

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True)
class Price:
    amount: Decimal
    currency: str = "EUR"


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: set[str] = set()


Animal = Annotated[Cat | Dog, Field(discriminator="kind")]


class Box(BaseModel, Generic[T]):
    content: T
    label: str = ""


@dataclass
class Pile(Generic[T]):
    items: list[T]


@checked_dataclass
class Checked:
    number: int


class Item(BaseModel):
    name: str
    price: Price
    at: datetime
    parts: list[Item] = []


def _item(name: str, *parts: Item) -> Item:
    at = datetime(2024, 5, 6, tzinfo=UTC)
    return Item(name=name, price=Price(Decimal("1.10")), at=at, parts=list(parts))


def _longest(present: dict[str, Item], update: dict[str, Item]) -> dict[str, Item]:
    return {**present, **update}


class ModelState(BaseModel):
    items: Annotated[list[Item], operator.add] = []
    by_name: Annotated[dict[str, Item], _longest] = {}
    pet: Animal | None = None
    pets: list[Animal] = []
    either: int | Item | str = 0
    boxed: Box[Item] | None = None
    boxes: list[Box[Box[Colour]]] = []
    pile: Pile[Point] | None = None
    colour: Colour = Colour.RED
    place: Point | None = None
    checked: Checked | None = None
    pair: tuple[Price, ...] = ()
    more: dict[Colour, frozenset[int]] = {}


@dataclass
class DataState:
    items: Annotated[list[Item], operator.add] = field(default_factory=list)
    by_name: Annotated[dict[str, Item], _longest] = field(default_factory=dict)
    pet: Animal | None = None
    pets: list[Animal] = field(default_factory=list)
    either: int | Item | str = 0
    boxed: Box[Item] | None = None
    boxes: list[Box[Box[Colour]]] = field(default_factory=list)
    pile: Pile[Point] | None = None
    colour: Colour = Colour.RED
    place: Point | None = None
    checked: Checked | None = None
    pair: tuple[Price, ...] = ()
    more: dict[Colour, frozenset[int]] = field(default_factory=dict)


class DictState(TypedDict, total=False):
    items: Annotated[list[Item], operator.add]
    by_name: Annotated[dict[str, Item], _longest]
    pet: Animal | None
    pets: list[Animal]
    either: int | Item | str
    boxed: Box[Item] | None
    boxes: list[Box[Box[Colour]]]
    pile: Pile[Point] | None
    colour: Colour
    place: Point | None
    checked: Checked | None
    pair: tuple[Price, ...]
    more: dict[Colour, frozenset[int]]


WRITTEN: dict[str, Any] = {
    "items": [_item("b", _item("c"))],
    "by_name": {"b": _item("b")},
    "pet": Cat(lives=3),
    "pets": [Dog(tricks={"sit"}), Cat()],
    "either": _item("e"),
    "boxed": Box[Item](content=_item("f"), label="x"),
    "boxes": [Box[Box[Colour]](content=Box[Colour](content=Colour.RED))],
    "pile": Pile([Point(1, 2)]),
    "colour": Colour.RED,
    "place": Point(3, 4),
    "checked": Checked(7),
    "pair": (Price(Decimal("0.1")), Price(Decimal("0.2"), "USD")),
    "more": {Colour.RED: frozenset({1, 2})},
}


def _read(state: Any, key: str) -> Any:
    return state[key] if isinstance(state, dict) else getattr(state, key)


@pytest.mark.parametrize("schema", [ModelState, DataState, DictState])
async def test_values_are_typed_for_nodes_and_for_readers(
    schema: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Models, dataclasses, enums, named tuples; nested, in unions, generic, discriminated."""
    seen: list[Any] = []

    async def write(state: Any) -> dict[str, Any]:
        return WRITTEN

    async def look(state: Any) -> None:
        seen.append(state)

    builder = StateGraph(schema).add_sequence([("write", write), ("look", look)])
    graph = builder.add_edge(START, "write").compile(saver)
    expected = {**WRITTEN, "items": [_item("a"), *WRITTEN["items"]]}
    result = await graph.ainvoke({"items": [_item("a")]}, config)
    assert result == expected
    saver.hot.take(key_of(config))
    values = (await graph.aget_state(config)).values
    assert values == expected
    for key, value in expected.items():
        assert type(_read(seen[0], key)) is type(values[key]) is type(value), key
        assert _read(seen[0], key) == value
    assert type(values["boxes"][0]) is Box[Box[Colour]]
    assert type(values["pets"][0]) is Dog
    assert type(seen[0]) is (dict if schema is DictState else schema)
    shown = [one.values for one in await history(graph, config)]
    assert [len(one.get("items", [])) for one in shown] == [2, 2, 1, 0]


async def test_a_model_makes_values_of_plain_data(saver: Saver, config: RunnableConfig) -> None:
    """Its fields say what they are: an input that came as JSON is stored as models."""
    seen: list[ModelState] = []

    async def look(state: ModelState) -> None:
        seen.append(state)

    graph = StateGraph(ModelState).add_node("look", look).add_edge(START, "look").compile(saver)
    given = {"pet": {"kind": "dog", "tricks": ["sit"]}, "colour": "red", "place": [1, 2]}
    result = await graph.ainvoke(given, config)
    expected = {"pet": Dog(tricks={"sit"}), "colour": Colour.RED, "place": Point(1, 2)}
    assert {key: result[key] for key in expected} == expected
    assert (seen[0].pet, seen[0].colour) == (expected["pet"], expected["colour"])
    with pytest.raises(InvalidUpdateError, match="wrote an invalid value to 'pet'"):
        await graph.ainvoke({"pet": {"kind": "fish"}}, config)
    assert (await graph.aget_state(config)).values == result


async def test_a_type_that_the_schema_does_not_mention_is_refused_when_written(
    saver: Saver, config: RunnableConfig
) -> None:
    """Not when it is read, and not as something like it."""

    class Kitten(Cat):
        pass

    async def write(state: DictState) -> dict[str, Any]:
        return {"pets": [Kitten()]}

    graph = StateGraph(DictState).add_node("write", write).add_edge(START, "write").compile(saver)
    with pytest.raises(InvalidUpdateError, match=r"'write' cannot write this to 'pets': .*Kitten"):
        await graph.ainvoke({}, config)


class Aliased(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(default=0, alias="theCount")
    name: str = Field(default="", validation_alias=AliasChoices("the_name", "nom"))
    total: Annotated[int, operator.add] = 0


async def test_a_field_is_a_key_by_its_own_name(saver: Saver, config: RunnableConfig) -> None:
    """Its alias is how others spell it, and no key of the state."""
    seen: list[Aliased] = []

    async def look(state: Aliased) -> dict[str, Any]:
        seen.append(state)
        return {"count": state.count + 1, "name": "b", "total": 1}

    graph = StateGraph(Aliased).add_sequence([("one", look), ("two", look)])
    runs = graph.add_edge(START, "one").compile(saver)
    assert await runs.ainvoke({"count": 1, "name": "a"}, config) == {
        "count": 3,
        "name": "b",
        "total": 2,
    }
    assert [(one.count, one.name, one.total) for one in seen] == [(1, "a", 0), (2, "b", 1)]
    again = await runs.ainvoke(Aliased(theCount=5), config)
    assert again["count"] == 7


class Range(BaseModel):
    low: int = 0
    high: int = 10

    @field_validator("low")
    @classmethod
    def natural(cls, low: int) -> int:
        if low < 0:
            raise ValueError("below nothing")
        return low

    @model_validator(mode="after")
    def ordered(self) -> Range:
        if self.low > self.high:
            raise ValueError("the wrong way round")
        return self


async def test_what_only_the_whole_model_can_say_is_said_to_the_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """A field's own validators refuse an update; those of the model, what it makes of the state."""
    graph: CompiledGraph = (
        StateGraph(Range).add_node("n", _idle).add_edge(START, "n").compile(saver)
    )
    with pytest.raises(InvalidUpdateError, match="below nothing"):
        await graph.ainvoke({"low": -1}, config)
    with pytest.raises(ValidationError, match="the wrong way round"):
        await graph.ainvoke({"low": 11}, config)
    await graph.aupdate_state(config, {"high": 12}, as_node=START)
    assert await graph.ainvoke(None, config) == {"low": 11, "high": 12}


async def _idle(state: Range) -> None: ...


class Task(BaseModel):
    number: int


class Working(BaseModel):
    total: int = 0
    secret: Task | None = None


async def test_private_keys_and_packets_are_typed_too(saver: Saver, config: RunnableConfig) -> None:
    """A key that only a node's own schema has; a model as the argument of a `Send`."""
    seen: list[Any] = []

    class Numbers(TypedDict, total=False):
        done: Annotated[list[int], operator.add]

    async def plan(state: Numbers) -> dict[str, Any]:
        return {"secret": Task(number=5)}

    async def work(state: Working) -> dict[str, Any]:
        seen.append(state.secret)
        return {"done": [0]}

    async def one(task: Task) -> dict[str, Any]:
        seen.append(task)
        return {"done": [task.number]}

    graph = StateGraph(Numbers).add_sequence([("plan", plan), ("work", work)])
    graph.add_node("one", one, input_schema=Task).add_edge(START, "plan")
    graph.add_conditional_edges("work", lambda state: [Send("one", Task(number=7))], ["one"])
    runs = graph.compile(saver)
    assert await runs.ainvoke({}, config) == {"done": [0, 7]}
    assert seen == [Task(number=5), Task(number=7)]
