"""What callers say: ids, cursors and filters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from durable_graph.decisions.filters import check_filter, matches
from durable_graph.decisions.words import check_key, check_namespace
from durable_graph.engine.history.retelling import read_cursor
from durable_graph.errors import ConfigError, StoreError
from durable_graph.graph.config import checkpoint_before, merge_configs, place_of
from durable_graph.log.codec import UnstorableValueError
from durable_graph.log.records import checked_id
from durable_graph.ports import paging
from tests.fuzz.exploits import PLAIN_EXPLOITS
from tests.fuzz.of_values import CODEC
from tests.fuzz.target import Target

__all__ = ["CONFIGS", "CURSORS", "FILTERS"]

_READERS: Final[list[Callable[[str], object]]] = [
    paging.place_of,
    read_cursor,
    lambda text: checked_id(text, "thread_id"),
    check_key,
    lambda text: check_namespace(tuple(text.split("/"))),
]


def _read_text(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    for read in _READERS:
        try:
            read(text)
        except (ConfigError, StoreError):
            continue


def _read_config(data: bytes) -> None:
    try:
        given = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    readers: list[Callable[[Any], object]] = [place_of, checkpoint_before]
    for read in readers:
        try:
            read(merge_configs({}, given))
            read(merge_configs({"configurable": {}}, {"configurable": given}))
        except ConfigError:
            continue


def _read_filter(data: bytes) -> None:
    """A filter and, on the next line, a value that it is held against."""
    one, _, other = data.partition(b"\n")
    try:
        filter, value = orjson.loads(one), orjson.loads(other or b"{}")
        CODEC.encode(value)  # nothing else is in a store
    except (orjson.JSONDecodeError, UnstorableValueError):
        return
    check_filter(filter)
    if filter is not None and isinstance(value, dict):
        matches(value, filter)


def _lines(*plain: Any) -> bytes:
    return b"\n".join(map(orjson.dumps, plain))


CURSORS: Final = Target(
    "cursors",
    _read_text,
    (),
    [
        b"1750000001.5 thread",
        b"nan x",
        b"12.1",
        b"12.1.0.3",
        b"9" * 5000 + b".1",
        b"\xd9\xa1.\xd9\xa2",
        b"01977420-dfe8-7002-8fc5-21d231e9004c",
        b"users/7",
        b"",
    ],
)
CONFIGS: Final = Target(
    "configs",
    _read_config,
    (),
    [
        _lines(
            {"configurable": {"thread_id": "1", "checkpoint_id": "x", "checkpoint_ns": "a:b|c"}}
        ),
        _lines({"configurable": {"thread_id": 7, "checkpoint_map": {"": "x"}}, "metadata": {}}),
        *(_lines({"configurable": plain}) for plain in PLAIN_EXPLOITS),
    ],
)
FILTERS: Final = Target(
    "filters",
    _read_filter,
    (StoreError,),
    [
        _lines({"age": {"$gt": 3, "$lte": 7}}, {"age": 5}),
        _lines({"a": {"b": {"$in": [1, "x", None]}}}, {"a": {"b": "x"}}),
        _lines({"a": {"$exists": False}, "b": {"$ne": [1]}, "c": {"$eq": {}}}, {"b": [2]}),
        *(_lines(plain, plain) for plain in PLAIN_EXPLOITS),
    ],
)
