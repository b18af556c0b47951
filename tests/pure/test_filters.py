"""Which values a filter of a store finds."""

from __future__ import annotations

import math
from typing import Any

import orjson
import pytest

from durable_graph.decisions.filters import check_filter, matches
from durable_graph.errors import StoreError

VALUE: dict[str, Any] = {
    "n": 10,
    "t": "b",
    "none": None,
    "d": {"x": 1},
    "list": [1],
    "nan": math.nan,
}


@pytest.mark.parametrize(
    "filter",
    [
        {},
        {"n": 10},
        {"n": 10, "t": "b"},
        {"none": None},
        {"d": {"x": 1}},
        {"list": [1]},
        {"n": {"$eq": 10}},
        {"n": {"$ne": 11}},
        {"n": {"$gt": 9, "$lt": 10.5}},
        {"n": {"$gte": 10, "$lte": 10}},
        {"t": {"$gt": "a"}},
        {"missing": {"$ne": 1}},
        {"t": {"$ne": 1}},
        {"d": {}},
        {"d": {"x": {"$gt": 0}}},
        {"n": {"$in": [1, 10]}},
        {"t": {"$in": {"a", "b"}}},
        {"n": {"$exists": True}, "missing": {"$exists": False}},
        {"none": {"$exists": True}},
    ],
)
def test_found(filter: Any) -> None:
    """All keys and operators must hold; a dict without operators is a part of a dict."""
    check_filter(filter)
    assert matches(VALUE, filter)


@pytest.mark.parametrize(
    "filter",
    [
        {"n": 11},
        {"n": 10, "t": "c"},
        {"missing": None},
        {"missing": {"$eq": None}},
        {"missing": {"$gt": 1}},
        {"missing": {"$lt": 1}},
        {"n": {"$gt": 10}},
        {"n": {"$gt": "9"}},
        {"t": {"$lt": 5}},
        {"none": {"$gte": 0}},
        {"nan": {"$gte": 0}},
        {"n": {"$gte": 1, "$lt": 10}},
        {"d": {"x": 2}},
        {"d": {"x": 1, "y": 2}},
        {"d": {"x": {"$gt": 1}}},
        {"n": {"x": 1}},
        {"missing": {}},
        {"n": {"$in": []}},
        {"missing": {"$in": [None]}},
        {"n": {"$exists": False}},
        {"missing": {"$exists": True}},
        {"n": orjson.loads(b'{"a":' * 63 + b"1" + b"}" * 63)},  # as deep as may be
    ],
)
def test_not_found(filter: Any) -> None:
    """What is missing or cannot be compared is found by no comparison."""
    check_filter(filter)
    assert not matches(VALUE, filter)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ({"n": {"$where": [1]}}, r"The filter of 'n' has '\$where'; there are \$eq"),
        ({"d": {"x": {"$where": 1}}}, r"The filter of 'd.x' has '\$where'"),
        ({"n": {"$gt": 1, "x": 1}}, r"The filter of 'n' has 'x'"),
        ({"n": {"$in": "abc"}}, "which is no list"),
        ({"n": {"$in": 5}}, "which is no list"),
        ({"n": {"$exists": 1}}, "it is a bool"),
        ({1: 2}, "names keys by texts"),
        ({"n": {"$gt": 1, "$or": []}}, r"has '\$or'"),
        ({"$or": [{"n": 1}]}, r"not with '\$or'.*\$eq, \$ne"),
        ({"n": 10, "$gt": 1}, r"not with '\$gt'"),
        ("n", "A filter is a dict"),
        ({"n": orjson.loads(b'{"a":' * 64 + b"1" + b"}" * 64)}, "at most 64 dicts deep"),
    ],
)
def test_an_operator_that_there_is_not_is_refused(filter: Any, message: str) -> None:
    """It would otherwise find nothing, and nobody would know why."""
    with pytest.raises(StoreError, match=message):
        check_filter(filter)
