"""How near vectors come to each other."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.decisions import vectors
from durable_graph.decisions.vectors import cosines, to_vector
from durable_graph.errors import StoreError

numbers = st.floats(-100, 100, width=32).filter(lambda n: n == 0 or abs(n) > 1e-3)
three = st.lists(numbers, min_size=3, max_size=3)


@pytest.fixture(params=["numpy", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to compute."""
    if request.param == "plain":
        monkeypatch.setattr(vectors, "_numpy", lambda: None)
    return str(request.param)


def test_the_cosine_is_of_the_angle(way: str) -> None:
    """From 1 for the same direction to -1 for the opposite one, whatever the lengths."""
    query = to_vector([3, 0], 2)
    others = [[1, 0], [1, 1], [0, 2], [-5, 0], [0, 0]]
    found = cosines(query, [[to_vector(other, 2)] for other in others])
    assert found == pytest.approx([1.0, math.sqrt(0.5), 0.0, -1.0, 0.0], abs=1e-9)
    assert cosines(to_vector([0, 0], 2), [[query]]) == [0.0]


def test_an_item_is_as_near_as_its_nearest_vector(way: str) -> None:
    """One with none, or with one of another model, is no item with a score."""
    query, far = to_vector([1, 0], 2), to_vector([0, 1], 2)
    other = to_vector([1, 0, 0], 3)
    assert cosines(query, [[far, query], [], [other], [other, far], [far]]) == [
        1.0,
        None,
        None,
        0.0,
        0.0,
    ]
    assert cosines(query, []) == []


@given(three, st.lists(three, max_size=8))
def test_both_ways_come_to_the_same(query: list[float], others: list[list[float]]) -> None:
    """To nine digits; and the same vector has the same cosine wherever it stands."""
    asked = to_vector(query, 3)
    items = [[to_vector(other, 3)] for other in [*others, *others]]
    quick = cosines(asked, items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "_numpy", lambda: None)
        plain = cosines(asked, items)
    assert quick[: len(others)] == quick[len(others) :]
    assert quick == pytest.approx(plain, abs=2e-9)
    assert all(score is not None and -1 <= score <= 1 for score in quick)


@pytest.mark.parametrize(
    ("given_numbers", "message"),
    [
        ([1, 2], r"dims=3, and `embed` returned a vector of 2"),
        ([1, 2, "x"], "no list of numbers"),
        (7, "no list of numbers"),
        ([1, 2, math.nan], "NaN"),
        ([1, 2, math.inf], "infinite"),
        ([1, 2, 1e300], "infinite"),
    ],
)
def test_what_is_no_vector_is_refused(given_numbers: Any, message: str) -> None:
    """With what to do about it."""
    with pytest.raises(StoreError, match=message):
        to_vector(given_numbers, 3)


def test_a_vector_is_kept_as_32_bit_floats() -> None:
    """The lowest byte first, on every machine."""
    assert to_vector([1, -2.5], 2) == b"\x00\x00\x80?\x00\x00 \xc0"
