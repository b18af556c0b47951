"""The context of a call, against its schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NotRequired, Protocol, TypedDict

import pydantic
import pytest

from durable_graph.definition.context import coerce_context
from durable_graph.errors import ConfigError


@dataclass
class Data:
    user: str
    limit: int = 3
    made: str = field(default="here", init=False)

    def __post_init__(self) -> None:
        if self.limit < 0:
            raise ValueError("limit is below zero")


class Model(pydantic.BaseModel):
    user: str
    limit: int = 3


class Dict(TypedDict):
    user: str
    limit: NotRequired[int]


class Plain:
    user: str


class Shape(Protocol):
    user: str


@pytest.mark.parametrize(
    ("schema", "given", "made"),
    [
        (Data, {"user": "u"}, Data("u")),
        (Data, Data("u", 4), Data("u", 4)),
        (Model, {"user": "u", "limit": "4"}, Model(user="u", limit=4)),
        (Model, Model(user="u"), Model(user="u")),
        (Dict, {"user": "u"}, {"user": "u"}),
        (Dict, {"user": "u", "limit": 4}, {"user": "u", "limit": 4}),
        (Data, None, None),
        (Model, None, None),
        (None, {"anything": 1}, {"anything": 1}),
        (None, 7, 7),
        (dict[str, int], {"a": 1}, {"a": 1}),
    ],
)
def test_a_context_becomes_what_its_schema_says(schema: Any, given: Any, made: Any) -> None:
    """A dict becomes a dataclass or model; what is one already, or ``None``, stays."""
    assert coerce_context(schema, given) == made
    assert type(coerce_context(schema, given)) is type(made)


def test_what_only_has_the_right_shape_is_taken() -> None:
    """A protocol cannot be held to; an instance of a class can."""
    plain = Plain()
    assert coerce_context(Shape, plain) is plain
    assert coerce_context(Plain, plain) is plain


@pytest.mark.parametrize(
    ("schema", "given", "message"),
    [
        (Data, {}, "The context is no Data: .*missing.*'user'"),
        (Data, {"user": "u", "limits": 1}, "has 'limits', which is no field of Data; it has limit"),
        (Data, {"user": "u", "made": "x"}, "has 'made', which is no field"),
        (Data, {"user": "u", "limit": -1}, "The context is no Data: limit is below zero"),
        (Data, Model(user="u"), "is to be a Data, .* or a dict of its fields, not Model"),
        (Model, {"limit": 1}, "(?s)The context is no Model: .*user"),
        (Model, {"user": "u", "limit": "x"}, "(?s)The context is no Model: .*limit"),
        (Dict, {}, "The context lacks 'user', which Dict requires"),
        (Dict, {"user": "u", "other": 1}, "has 'other', which is no field of Dict"),
        (Dict, 7, "is to be a dict with the keys of Dict, not int"),
        (Plain, {"user": "u"}, "is to be a Plain"),
    ],
)
def test_what_does_not_fit_is_refused(schema: Any, given: Any, message: str) -> None:
    """With a message that names the field."""
    with pytest.raises(ConfigError, match=message):
        coerce_context(schema, given)
