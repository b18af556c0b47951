"""Types that the application registers, for all graphs of its process."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from durable_graph import register_type
from durable_graph.errors import GraphDefinitionError, IntegrityError, UnknownTypeError
from durable_graph.log import registered
from durable_graph.log.codec import Codec, UnstorableValueError
from durable_graph.log.registered import REGISTRY
from durable_graph.state.storable import storable_types


class Money:
    """Says nothing about itself."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Item:
    name: str
    price: Any = None


class Pair(NamedTuple):
    left: int
    right: int


class Mood(enum.Enum):
    GOOD = 1


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(REGISTRY, "_by_class", dict(REGISTRY._by_class))
    monkeypatch.setattr(REGISTRY, "_by_tag", dict(REGISTRY._by_tag))


def _cents(money: Money) -> Any:
    return money.cents


def _money(cents: Any, version: int) -> Money:
    return Money(cents)


def test_a_registered_type_comes_back_wherever_it_occurs() -> None:
    """Also where no annotation mentions it, and in graphs that were made before."""
    codec = Codec()
    register_type("bank.Money", Money, _cents, _money)
    value = {"k": [Money(3), (Money(4),)], "more": Item}
    del value["more"]
    data = codec.encode(value)
    assert b'"bank.Money"' in data
    assert codec.decode(data) == Codec().decode(data) == value


def test_a_registered_form_goes_before_a_derived_one() -> None:
    """Who registers a class that an annotation mentions has said how it is stored."""
    register_type("shop.Item", Item, lambda item: item.name, lambda name, _: Item(name, "found"))
    data = Codec(storable_types(list[Item])).encode([Item("a", 5)])
    assert data == b'[{"~type":["shop.Item",1,"a"]}]'
    assert Codec().decode(data) == [Item("a", "found")]


@pytest.mark.parametrize("value", [Item("a"), Pair(1, 2), Mood.GOOD])
def test_a_type_that_says_what_it_is_needs_no_functions(value: Any) -> None:
    """A dataclass, enum or named tuple is registered by its name alone."""
    register_type("mine", type(value))
    assert Codec().decode(Codec().encode([value])) == [value]


def test_a_name_can_be_given_to_one_of_two_classes_of_the_same_name() -> None:
    """Two classes called Item in one state: one of them gets another stored name."""
    other = type("Item", (Item,), {"__module__": "elsewhere"})
    with pytest.raises(ValueError, match=r'register_type\("another.name", Item\)'):
        Codec([*storable_types(Item), *storable_types(other)])
    register_type("elsewhere.Item", other)
    codec = Codec([*storable_types(Item), *storable_types(other)])
    assert [type(item) for item in codec.decode(codec.encode([Item("a"), other("b")]))] == [
        Item,
        other,
    ]


def test_old_versions_are_read() -> None:
    """The decoder is told the version that the data was written with."""
    register_type("bank.Money", Money, _cents, _money)
    old = Codec().encode(Money(7))
    register_type(
        "bank.Money",
        Money,
        lambda money: {"cents": money.cents},
        lambda data, version: Money(data if version == 1 else data["cents"]),
        version=2,
    )
    new = Codec().encode(Money(7))
    assert old != new
    assert Codec().decode(old) == Codec().decode(new) == Money(7)


def test_a_newer_version_is_refused() -> None:
    """What a newer program wrote is not given to a decoder that does not know it."""
    register_type("bank.Money", Money, _cents, _money, version=3)
    data = Codec().encode(Money(7))
    register_type("bank.Money", Money, _cents, _money, version=2)
    with pytest.raises(UnknownTypeError, match=r"version 3 of the type 'bank.Money'.*version 2"):
        Codec().decode(data)


@pytest.mark.parametrize("version", [b"0", b"-1", b'"1"', b"true", b"null", b"1.0", b"[]"])
def test_a_version_that_is_none_is_damage(version: bytes) -> None:
    """A decoder never gets a version that nobody wrote."""
    register_type("bank.Money", Money, _cents, lambda data, version: pytest.fail("called"))
    with pytest.raises(IntegrityError, match="damaged"):
        Codec().decode(b'{"~type":["bank.Money",%b,1]}' % version)


def test_a_module_may_be_run_twice() -> None:
    """The same class, defined again, takes the place of the first."""
    register_type("bank.Money", Money, _cents, _money)
    again = type("Money", (), {"__module__": Money.__module__, "__init__": Money.__init__})
    register_type("bank.Money", again, _cents, lambda cents, _: again(cents))
    assert type(Codec().decode(Codec().encode(again(1)))) is again


@pytest.mark.parametrize(
    ("tag", "cls", "more", "says_what"),
    [
        ("bank.Money", Item, {}, "stands for .*Money.* already"),
        ("another", Money, {"encode": _cents, "decode": _money}, "registered as 'bank.Money'"),
        ("", Item, {}, "a text such as"),
        ("~mine", Item, {}, "does not begin with"),
        ("a\nb", Item, {}, "a text such as"),
        ("\ud800", Item, {}, "a text such as"),
        (5, Item, {}, "a text such as"),
        ("mine", Item("a"), {}, "takes a class"),
        ("mine", dict, {}, "has a stored form already"),
        ("mine", list[int], {}, "takes a class"),
        ("mine", Item, {"encode": _cents}, "two functions"),
        ("mine", Item, {"encode": 1, "decode": 2}, "two functions"),
        ("mine", Item, {"version": 2}, "can give it a version"),
        ("mine", Item, {"encode": _cents, "decode": _money, "version": 0}, "whole number from 1"),
        ("mine", Item, {"encode": _cents, "decode": _money, "version": "2"}, "whole number from 1"),
        ("mine", complex, {"encode": _cents, "decode": _money}, "has a stored form already"),
        ("mine", type("Odd", (), {}), {}, "does not say what it consists of"),
    ],
)
def test_what_cannot_be_registered_is_refused(
    tag: Any, cls: Any, more: dict[str, Any], says_what: str
) -> None:
    """At once, and with nothing changed."""
    register_type("bank.Money", Money, _cents, _money)
    before = dict(REGISTRY._by_tag)
    with pytest.raises(GraphDefinitionError, match=says_what):
        register_type(tag, cls, **more)
    assert before == registered.REGISTRY._by_tag


def test_a_registered_name_is_not_taken_by_an_annotation() -> None:
    """A class whose own name is registered for another is told to take another one."""
    register_type("Item", Money, _cents, _money)
    with pytest.raises(ValueError, match="Two types want the stored name 'Item'"):
        Codec(storable_types(Item))


def test_a_type_registered_too_late_does_not_take_anothers_name() -> None:
    """A graph that knows a name for another type refuses to write under it."""
    codec = Codec(storable_types(Item))
    register_type("Item", Money, _cents, _money)
    with pytest.raises(UnstorableValueError, match="Two types want the stored name 'Item'"):
        codec.encode([Money(1)])
    assert codec.decode(codec.encode([Item("a")])) == [Item("a")]


def test_an_instance_of_a_subclass_is_refused() -> None:
    """A registered class does not stand for its subclasses, which would come back as it."""
    register_type("bank.Money", Money, _cents, _money)
    with pytest.raises(UnstorableValueError, match="Gold"):
        Codec().encode(type("Gold", (Money,), {})(1))
