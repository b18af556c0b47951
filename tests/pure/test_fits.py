"""Whether a stored value can be one of a type: what surely cannot is told, and nothing else."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Protocol,
    Required,
    TypedDict,
    TypeVar,
)

import pytest
from pydantic import BaseModel

from durable_graph.state.fits import fits

T = TypeVar("T")


@dataclass
class Point:
    x: int
    y: list[int] | None = None


class Model(BaseModel):
    n: int
    inner: Point | None = None


class Keys(TypedDict, total=False):
    must: Required[int]
    may: str


class More(TypedDict):
    must: int
    may: NotRequired[list[Keys]]


class Shape(Protocol):
    def area(self) -> float: ...


FITS: list[tuple[Any, Any]] = [
    (1, int),
    (1, float),
    (1.5, float),
    (1, complex),
    (True, bool),
    (None, None),
    (None, int | None),
    ("a", Literal["a", 1]),
    ([1, "a"], list),
    ([1], list[int]),
    ([1], Sequence[int]),
    ({"a": 1}, Mapping[str, int]),
    ((1, "a"), tuple[int, str]),
    ((1, 2, 3), tuple[int, ...]),
    ((), tuple[()]),
    (deque([1]), deque[int]),
    ({1}, set[int]),
    ("anything", Any),
    ("anything", object),
    ("anything", T),
    ("anything", "unresolved"),
    ("anything", Shape),
    (1, Annotated[int, "note"]),
    (Point(1), Point),
    (Point(1, [2]), Point),
    (Model(n=1), Model),
    ({"must": 1}, Keys),
    ({"must": 1, "may": "x", "other": 2}, Keys),
    ({"must": 1, "may": [{"must": 2}]}, More),
]

FITS_NOT: list[tuple[Any, Any]] = [
    ("1", int),
    (True, int),
    (True, float),
    (1.5, int),
    (None, int),
    (0, None),
    (1, Literal[True]),
    ("b", Literal["a", 1]),
    ("text", list[str]),
    ([1], list[str]),
    ([1], Sequence[str]),
    ({"a": 1}, dict[str, str]),
    ({1: 1}, dict[str, int]),
    ((1,), tuple[int, int]),
    ((1, "a"), tuple[int, ...]),
    ([1], tuple[int, ...]),
    (deque(["a"]), deque[int]),
    ({"a"}, set[int]),
    ("a", int | None),
    (Point("x"), Point),  # type: ignore[arg-type]
    (Point(1, ["y"]), Point),  # type: ignore[list-item]
    ({"x": 1}, Point),
    (Model.model_construct(n="x"), Model),
    (Model(n=1, inner=Point("x")), Model),  # type: ignore[arg-type]
    ({"may": "x"}, Keys),
    ({"must": 1, "may": 2}, Keys),
    ([], Keys),
    ({"must": 1, "may": [{"may": "x"}]}, More),
]


@pytest.mark.parametrize(("value", "annotation"), FITS, ids=str)
def test_what_may_be_one_fits(value: Any, annotation: Any) -> None:
    """And what nobody can tell is taken for one."""
    assert fits(value, annotation)


@pytest.mark.parametrize(("value", "annotation"), FITS_NOT, ids=str)
def test_what_surely_is_none_does_not(value: Any, annotation: Any) -> None:
    """At any depth."""
    assert not fits(value, annotation)


def test_a_field_that_a_stored_object_lacks_is_missed() -> None:
    """It was stored by a version of the class without it."""
    old = object.__new__(Point)
    assert not fits(old, Point)
    old.x = 1
    assert fits(old, Point)  # the default of the other is the class's own
