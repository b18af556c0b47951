"""Stories about what is in a state: operations, types, messages, large values, schemas."""

from __future__ import annotations

import enum
import ipaddress
import operator
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Final, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import BaseModel

from durable_graph import (
    END,
    START,
    MessagesState,
    Overwrite,
    Send,
    StateGraph,
    register_type,
)
from durable_graph.channels import (
    AnyValue,
    DeltaChannel,
    EphemeralValue,
    Topic,
    UntrackedValue,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.state.messages import Message, RemoveMessage
from tests.golden.story import Story, Telling

__all__ = ["STORIES"]


# -- operations: each kind of change of a value -------------------------------------------------


def united(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    """A reducer whose result differs from what there was in some members."""
    return {**old, **new}


def in_order(old: list[int], new: list[int]) -> list[int]:
    """A reducer whose result differs from what there was in the middle."""
    return sorted([*old, *new])


def doubled(old: list[str], new: list[str]) -> list[str]:
    """A reducer whose result is what there was and more than what was written."""
    return [*old, *new, *new]


def lately(old: dict[str, str], news: Sequence[dict[str, str]]) -> dict[str, str]:
    """A reducer of several updates."""
    for new in news:
        old = {**old, **new}
    return old


class Notebook(TypedDict, total=False):
    """Keys that change in every way there is."""

    notes: list[str]
    profile: dict[str, Any]
    same: str
    flag: bool
    log: Annotated[list[str], operator.add]
    count: Annotated[int, operator.add]
    index: Annotated[dict[str, str], united]
    ranks: Annotated[list[int], in_order]
    echoes: Annotated[list[str], doubled]


_NOTES: Final = [f"note {number} says little" for number in range(8)]
_PROFILE: Final = {name: f"{name} of somebody" for name in ("name", "place", "trade", "taste")}


async def _first(state: Notebook) -> Notebook:
    return {
        "notes": _NOTES,
        "profile": {**_PROFILE, "age": 40},
        "same": "s" * 100,
        "flag": True,
        "log": ["first"],
        "count": 1,
        "index": {f"word {number}": f"page {number}" for number in range(6)},
        "ranks": list(range(100, 160, 2)),
        "echoes": [f"echo {number}" for number in range(12)],
    }


async def _grow(state: Notebook) -> Notebook:
    profile = {**state["profile"], "place": "elsewhere", "pet": None}
    del profile["age"]
    return {
        "notes": [*state["notes"], "one more"],
        "profile": profile,
        "same": state["same"],
        "count": 2,
        "index": {"word 3": "page 33", "word 9": "page 9"},
        "ranks": [121],
        "echoes": ["hello"],
    }


async def _change(state: Notebook) -> Notebook:
    notes = list(state["notes"])
    notes[2:4] = ["two in one"]
    return {"notes": notes, "flag": False, "log": ["change"]}


async def _left(state: Notebook) -> Notebook:
    return {"log": ["left"], "count": 10}


async def _right(state: Notebook) -> Notebook:
    return {"log": ["right"], "count": 20}


async def _replace(state: Notebook) -> dict[str, Any]:
    return {"log": Overwrite(["nothing", "else"]), "notes": []}


def _operations(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Notebook)
    for node in (_first, _grow, _change, _left, _right, _replace):
        graph.add_node(node.__name__.strip("_"), node)
    graph.add_edge(START, "first").add_edge("first", "grow").add_edge("grow", "change")
    graph.add_edge("change", "left").add_edge("change", "right")
    graph.add_edge(["left", "right"], "replace")
    return graph.compile(saver)


async def _operate(story: Telling) -> None:
    await story.run({"log": ["input"], "flag": True})


# -- types: every value that is no plain JSON ----------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: Any
    right: Colour


@dataclass
class Shape:
    name: str
    corners: list[Pair] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fixed:
    inner: Shape


class Reading(BaseModel):
    """A pydantic model as a value."""

    at: datetime
    level: float = 0.0


class Money:
    """A type that says nothing about itself, and is registered."""

    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    def __hash__(self) -> int:
        return hash(self.cents)

    def __repr__(self) -> str:
        return f"Money({self.cents})"


register_type(
    "golden.Money",
    Money,
    lambda money: {"cents": money.cents},
    lambda data, version: Money(data["cents"]),
    version=2,
)


class Values(TypedDict, total=False):
    """A key for each group of types."""

    plain: Any
    tagged: Any
    times: Any
    shape: Shape
    fixed: Fixed
    reading: Reading
    colour: Colour
    right: Right
    pair: Pair
    message: Message
    collections: Any
    names: Any
    arrays: Any
    price: Any


_MOMENT: Final = datetime(2024, 10, 27, 2, 30, 15, 250_000)  # noqa: DTZ001 - without a zone on purpose


async def _write_types(state: Values) -> Values:
    shape = Shape("square", [Pair(1, Colour.RED), Pair((2, 3), Colour.RED)])
    return {
        "plain": [None, True, False, 0, -7, 2**63, 1.5, -0.0, 1e300, "text\n\x00\U0001f600 ~", {}],
        "tagged": {
            "dict": {1: "one", (2, "b"): [3], None: {"~x": 1}, "": ()},
            "float": [float("inf"), float("-inf"), float("nan")],
            "int": [2**64, -(2**63) - 1, 10**40],
            "str": "a lone \ud800 surrogate",
            "tuple": (1, (), [(2,)]),
            "set": {1, "two", (3,), None},
            "frozenset": frozenset({frozenset(), frozenset("abcdefgh")}),
            "bytes": bytes(range(0, 256, 15)),
            "bytearray": bytearray(b"changes"),
            "complex": [complex(1.5, -0.0), complex(float("inf"), 2.0)],
            "uuid": UUID(int=0x1234567890ABCDEF1234567890ABCDEF),
            "decimal": [Decimal("1.10"), Decimal("-0E+3"), Decimal("NaN")],
        },
        "times": {
            "naive": _MOMENT,
            "zone": _MOMENT.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
            "utc": _MOMENT.replace(tzinfo=timezone.utc),  # noqa: UP017 - a plain timezone is meant
            "fixed": _MOMENT.replace(tzinfo=timezone(timedelta(hours=-3, seconds=1))),
            "named": time(23, 59, 59, 999_999, timezone(timedelta(0), "Zulu"), fold=1),
            "time": time(1, 2),
            "date": date(1, 1, 1),
            "delta": timedelta(days=-1, seconds=5, microseconds=7),
        },
        "shape": shape,
        "fixed": Fixed(shape),
        "reading": Reading(at=_MOMENT),
        "colour": Colour.RED,
        "right": Right.READ | Right.WRITE,
        "pair": Pair(shape, Colour.RED),
        "message": Message("assistant", [{"type": "text", "text": "hello"}], id="m1", name="x"),
        "collections": {
            "deque": [deque([1, (2,)], 5), deque()],
            "range": range(10, 0, -3),
            "ordered": OrderedDict([("b", 1), ("a", {2})]),
            "counter": Counter("banana"),
            "default": [defaultdict(list, a=[1]), defaultdict(None, {1: 2})],
            "memoryview": [memoryview(b"fixed"), memoryview(bytearray(b"open"))],
        },
        "names": {
            "paths": [PurePosixPath("/etc/hosts"), PureWindowsPath("C:\\a")],
            "addresses": [
                ipaddress.ip_address("192.0.2.1"),
                ipaddress.ip_address("fe80::1%eth0"),
                ipaddress.ip_network("2001:db8::/32"),
                ipaddress.ip_interface("192.0.2.5/24"),
            ],
            "zones": [ZoneInfo("Europe/Berlin"), timezone(timedelta(hours=2), "CEST")],
            "fraction": Fraction(-1, 3),
        },
        "arrays": [
            np.arange(6, dtype="<i4").reshape(2, 3),
            np.asfortranarray(np.array([[1.5, -0.0], [float("inf"), 2.0]], ">f8")),
            np.array([(1, b"ab")], dtype=[("n", "<u2"), ("s", "S2")]),
            np.float32(0.1),
            np.datetime64("2024-02-29T12:00", "ms"),
            np.str_("text"),
        ],
        "price": [Money(125)],
    }


def _types(saver: Saver, trouble: bool) -> CompiledGraph:
    return (
        StateGraph(Values)
        .add_sequence([("write", _write_types)])
        .add_edge(START, "write")
        .compile(saver)
    )


async def _tell_types(story: Telling) -> None:
    await story.run({"plain": ("the", "input")})


# -- messages --------------------------------------------------------------------------------


class Talk(MessagesState, total=False):
    """A conversation and what it is about."""

    summary: str


async def _reply(state: Talk) -> dict[str, Any]:
    said = state["messages"][-1].content
    if said == "forget":
        first = state["messages"][0]
        return {"messages": [RemoveMessage(first.id), Message("assistant", "Forgotten.")]}
    if said == "correct":
        wrong = state["messages"][1]
        return {"messages": [Message("assistant", "Better.", id=wrong.id), ("ai", "Corrected.")]}
    if said == "everything":  # as those do who return the conversation and one more
        return {"messages": [*state["messages"], {"role": "tool", "content": "All of it."}]}
    return {"messages": [Message("assistant", f"You said {said!r}.", model="small")]}


async def _sum_up(state: Talk) -> dict[str, Any]:
    return {"summary": f"{len(state['messages'])} messages"}


def _talk(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Talk).add_sequence([("reply", _reply), ("sum up", _sum_up)])
    return graph.add_edge(START, "reply").compile(saver)


async def _tell_talk(story: Telling) -> None:
    await story.run({"messages": "hello"}, by="ann")
    more = {"metadata": {"user": "ann", "tags": ["a", 1]}, "run_id": "run-of-my-own"}
    await story.run({"messages": [{"role": "user", "content": "correct"}]}, config=more)
    await story.run({"messages": ("user", "forget")})
    await story.run({"messages": [Message("user", "everything", id="mine")]})


# -- large values ------------------------------------------------------------------------------

_BOOK: Final = "The same words again. " * 187
_PAGE: Final = "p" * 4100


class Library(TypedDict, total=False):
    """Values that are large, or have large parts."""

    book: str
    pages: Annotated[list[str], operator.add]
    parts: dict[str, Any]


async def _collect(state: Library) -> Library:
    return {
        "book": _BOOK,
        "pages": ["a small one", _PAGE],
        "parts": {"large": _BOOK, "small": 1},
    }


async def _read(packet: dict[str, Any]) -> Library:
    return {"pages": [f"{packet['number']}: {len(packet['text'])} letters"]}


def _send(state: Library) -> list[Send]:
    return [Send("read", {"text": state["book"], "number": number}) for number in (1, 2)]


async def _shrink(state: Library) -> Library:
    return {"book": "short", "parts": {**state["parts"], "small": 2}}


def _library(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Library)
    graph.add_node("collect", _collect).add_node("read", _read).add_node("shrink", _shrink)
    graph.add_edge(START, "collect").add_conditional_edges("collect", _send, ["read"])
    return graph.add_edge("read", "shrink").add_edge("shrink", END).compile(saver)


async def _tell_library(story: Telling) -> None:
    await story.run({"pages": ["cover"]})


# -- states that are no dicts ------------------------------------------------------------------


class Order(BaseModel):
    """A state that is a pydantic model."""

    number: int
    items: Annotated[list[str], operator.add] = []
    note: str = ""


async def _pack(state: Order) -> dict[str, Any]:
    return {"items": [f"item {state.number}"], "note": "packed"}


def _order(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Order).add_node("pack", _pack)
    return graph.add_edge(START, "pack").compile(saver)


async def _tell_order(story: Telling) -> None:
    await story.run(Order(number=7, items=["first"]))


@dataclass
class Account:
    """A state that is a dataclass."""

    owner: str
    balance: Annotated[int, operator.add] = 0


async def _pay(state: Account) -> Account:
    return Account(owner=state.owner.upper(), balance=5)


def _account(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Account).add_node("pay", _pay)
    return graph.add_edge(START, "pay").compile(saver)


async def _tell_account(story: Telling) -> None:
    await story.run({"owner": "ann", "balance": 1})


async def _add(state: list[int]) -> list[int]:
    return [sum(state)]


def _single(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Annotated[list[int], operator.add]).add_node("add", _add)
    return graph.add_edge(START, "add").compile(saver)


async def _tell_single(story: Telling) -> None:
    await story.run([1, 2])


class Passing(TypedDict, total=False):
    """Keys of each kind there is."""

    any: Annotated[int, AnyValue]
    brief: Annotated[str, EphemeralValue]
    topic: Annotated[list[str], Topic(str)]
    log: Annotated[list[str], Topic(str, accumulate=True)]
    index: Annotated[dict[str, str], DeltaChannel(lately)]
    scratch: Annotated[Any, UntrackedValue]
    note: str


async def _pass_first(state: Passing) -> dict[str, Any]:
    return {
        "any": 1,
        "brief": "soon gone",
        "topic": ["a", "b"],
        "log": "first",
        "index": {"a": "1"},
        "scratch": object(),
    }


async def _pass_second(state: Passing) -> dict[str, Any]:
    return {"topic": "c", "log": ["second"], "note": state["brief"], "scratch": {"a": (1,)}}


async def _pass_third(state: Passing) -> dict[str, Any]:
    return {"log": f"{state.get('brief')} {state['topic']} {state['scratch']}"}


def _passing(saver: Saver, trouble: bool) -> CompiledGraph:
    graph = StateGraph(Passing).add_sequence(
        [("first", _pass_first), ("second", _pass_second), ("third", _pass_third)]
    )
    return graph.add_edge(START, "first").compile(saver)


async def _tell_passing(story: Telling) -> None:
    await story.run({"brief": "in", "log": ["input"]})


STORIES: Final = (
    Story("operations", _operations, _operate),
    Story("types", _types, _tell_types),
    Story("messages", _talk, _tell_talk),
    Story("large", _library, _tell_library),
    Story("model", _order, _tell_order),
    Story("dataclass", _account, _tell_account),
    Story("single", _single, _tell_single),
    Story("kinds", _passing, _tell_passing),
)
