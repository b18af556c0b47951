"""Laws of values of an application's own types, and of LangChain's, with anything in them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import orjson
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, PrivateAttr

from durable_graph.log.codec import Codec
from durable_graph.state.families import FAMILIES
from durable_graph.state.messages import MESSAGE_TYPES, Message
from durable_graph.state.storable import storable_types
from tests.pure.values import form, text, values

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    PAIR = (1, 2)


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: Any
    right: Any = None


@dataclass
class Data(Generic[T]):
    content: T
    more: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fixed:
    content: Any
    colour: Colour = Colour.RED


class Model(BaseModel):
    content: Any = None
    name: str = ""


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    content: Any = None
    _hidden: Any = PrivateAttr(default=None)


class Box(BaseModel, Generic[T]):
    content: T


def _opened(content: Any, extra: dict[str, Any], hidden: Any) -> Open:
    made = Open.model_construct({"content"}, content=content, **extra)
    made._hidden = hidden
    return made


# Names that pydantic keeps for itself cannot be those of an extra field.
names = st.text("abcxyz", min_size=1, max_size=4).map("x_{}".format)
usage = st.fixed_dictionaries(
    {
        "input_tokens": st.integers(0),
        "output_tokens": st.integers(0),
        "total_tokens": st.integers(0),
    }
)
calls = st.fixed_dictionaries(
    {
        "name": st.text(max_size=5),
        "args": st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        "id": st.one_of(st.none(), st.text(max_size=5)),
        "type": st.just("tool_call"),
    }
)
enums = st.sampled_from([*Colour, *Right, Right.READ | Right.WRITE, Right(0)])


def _typed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        enums,
        st.builds(Pair, inner, inner),
        st.builds(Data[Any], inner, st.lists(inner, max_size=2)),
        st.builds(Fixed, inner, st.sampled_from(Colour)),
        st.builds(Model.model_construct, st.just({"content"}), content=inner, name=text),
        st.builds(_opened, inner, st.dictionaries(names, inner, max_size=2), inner),
        st.builds(lambda content: Box[Model].model_construct(content=content), inner),
        st.builds(Message, st.text(max_size=5), inner, id=st.text(max_size=3), more=inner),
        st.builds(
            AIMessage,
            content=st.text(max_size=9),
            id=st.one_of(st.none(), st.text(max_size=5)),
            tool_calls=st.lists(calls, max_size=2),
            usage_metadata=st.one_of(st.none(), usage),
            response_metadata=st.dictionaries(st.text(max_size=3), inner, max_size=2),
        ),
        st.builds(HumanMessage, content=st.text(max_size=9), name=st.text(max_size=4)),
        st.builds(ToolMessage, content=st.just("x"), tool_call_id=st.just("c"), artifact=inner),
        st.lists(inner, max_size=3),
        st.dictionaries(text, inner, max_size=3),
        st.tuples(inner, inner),
    )


typed: st.SearchStrategy[Any] = st.recursive(values, _typed, max_leaves=8)
annotation = Colour | Right | Pair | Data[Any] | Fixed | Model | Open | Box[Model] | AnyMessage
codec = Codec([*MESSAGE_TYPES, *storable_types(annotation)], FAMILIES)


@given(typed)
def test_a_typed_value_comes_back_exactly(value: Any) -> None:
    """Types within types within containers, at any depth, with any content."""
    assert form(codec.decode(codec.encode(value))) == form(value)


@given(typed)
def test_a_typed_value_has_one_encoding(value: Any) -> None:
    """Again, and after a round trip, the bytes are the same."""
    data = codec.encode(value)
    assert codec.encode(codec.decode(data)) == data


@given(typed)
def test_an_encoding_is_json_in_one_line(value: Any) -> None:
    """Anybody can read it, and bodies of records keep one value a line."""
    data = codec.encode(value)
    assert b"\n" not in data
    orjson.loads(data)


@given(typed, st.integers(0, 255))
def test_an_array_beside_anything_comes_back(value: Any, number: int) -> None:
    """Families of types mix."""
    array, copy = codec.decode(codec.encode([np.full(3, number, "u1"), value]))
    assert array.tolist() == [number] * 3
    assert form(copy) == form(value)
