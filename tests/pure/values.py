"""Values of every kind that has a stored form, and a comparison that lets nothing pass."""

from __future__ import annotations

import dataclasses
import enum
import ipaddress
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

__all__ = ["TAGS", "form", "hashables", "hostile_dicts", "json_values", "leaves", "values"]

TAGS: Final = [
    "~dict",
    "~float",
    "~int",
    "~str",
    "~tuple",
    "~set",
    "~frozenset",
    "~bytes",
    "~bytearray",
    "~complex",
    "~datetime",
    "~date",
    "~time",
    "~timedelta",
    "~uuid",
    "~deque",
    "~range",
    "~ordereddict",
    "~counter",
    "~defaultdict",
    "~memoryview",
    "~fraction",
    "~zone",
    "~path",
    "~ip",
    "~decimal",
    "~type",
    "~blob",
    "~held",
    "~",
    "~~tuple",
]
"""Keys that mean something in stored bytes, or look as if they did."""


def form(value: Any) -> Any:
    """Everything about a value: two values have equal forms only if nothing tells them apart.

    Unlike ``==`` it sees types at any depth, the order of dicts, the sign of zero, the fold of
    a time, and that one NaN is as good as another.
    """
    kind = type(value)
    match value:
        case float() | complex():
            return kind, repr(value)
        case bytearray():
            return kind, bytes(value)
        case memoryview():
            return kind, bytes(value), value.readonly
        case deque():
            return kind, tuple(map(form, value)), value.maxlen
        case defaultdict():
            return kind, value.default_factory, form(dict(value))
        case tzinfo():
            return kind, _zone(value)
        case list() | tuple():
            return kind, tuple(map(form, value))
        case set() | frozenset():
            return kind, sorted(map(form, value), key=repr)
        case dict():
            return kind, tuple((form(key), form(item)) for key, item in value.items())
        case datetime() | time():
            return kind, value.replace(tzinfo=None).isoformat(), value.fold, _zone(value.tzinfo)
        case Decimal():
            return kind, value.as_tuple()
        case _ if dataclasses.is_dataclass(value):
            return kind, form({f.name: getattr(value, f.name) for f in dataclasses.fields(value)})
        case _ if hasattr(value, "__pydantic_fields_set__"):
            hidden = value.__pydantic_private__, value.__pydantic_extra__
            return kind, form(vars(value)), sorted(value.model_fields_set), form(hidden)
        case enum.Enum():
            return kind, form(value.value)
        case _:
            return kind, value


def _zone(zone: tzinfo | None) -> Any:
    if isinstance(zone, ZoneInfo):
        return type(zone), zone.key
    return None if zone is None else (type(zone), zone.utcoffset(None), zone.tzname(None))


text: st.SearchStrategy[str] = st.text(st.characters(exclude_categories=()), max_size=20)
"""Any text, lone surrogates included."""

ints = st.one_of(
    st.integers(),
    st.sampled_from([-(2**63) - 1, -(2**63), 2**63, 2**64 - 1, 2**64, 2**4096 - 1, 1 - 2**4096]),
)
zones = st.one_of(
    st.none(),
    st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns"]).map(ZoneInfo),
    st.builds(
        timezone, st.timedeltas(timedelta(hours=-23, minutes=-59), timedelta(hours=23, minutes=59))
    ),
    st.builds(timezone, st.just(timedelta(hours=1)), st.text(max_size=9)),
)
folds = st.sampled_from([0, 1])


def _at(moment: Any, fold: int, zone: tzinfo | None) -> Any:
    return moment.replace(fold=fold, tzinfo=zone)


hashable_leaves: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    ints,
    st.floats(),
    text,
    st.binary(max_size=20),
    st.complex_numbers(),
    st.builds(_at, st.datetimes(), folds, zones),
    st.builds(_at, st.times(), folds, zones),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(allow_nan=True).filter(lambda d: not d.is_snan()),
    st.fractions(),
    st.builds(range, *[st.integers()] * 2, st.integers().filter(bool)),
    zones,
    st.builds(
        lambda kind, name: kind(name),
        st.sampled_from([PurePath, PosixPath, PurePosixPath, PureWindowsPath]),
        text.filter(lambda name: "\0" not in name),
    ),
    st.ip_addresses(),
    st.sampled_from(
        [
            ipaddress.ip_address("fe80::1%eth0"),
            ipaddress.ip_network("10.0.0.0/8"),
            ipaddress.ip_network("2001:db8::/32"),
            ipaddress.ip_interface("192.0.2.5/24"),
            ipaddress.ip_interface("2001:db8::7/64"),
        ]
    ),
)
leaves = st.one_of(
    hashable_leaves,
    st.binary(max_size=20).map(bytearray),
    st.builds(
        lambda data, fixed: memoryview(data if fixed else bytearray(data)),
        st.binary(max_size=20),
        st.booleans(),
    ),
    st.sampled_from([Decimal("sNaN12"), Decimal("-0E+7"), Decimal("NaN5")]),
)
hashables: st.SearchStrategy[Any] = st.recursive(
    hashable_leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple), st.frozensets(inner, max_size=4)
    ),
    max_leaves=6,
)
"""Values that can be in a set, or a dict's key."""

tag_like = st.one_of(st.sampled_from(TAGS), text.map("~{}".format))


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(text, inner, max_size=5),
        st.dictionaries(hashables, inner, max_size=4),
        st.dictionaries(tag_like, inner, min_size=1, max_size=2),
        st.sets(hashables, max_size=4),
        st.frozensets(hashables, max_size=4),
        st.builds(deque, st.lists(inner, max_size=5), st.sampled_from([None, 3, 9])),
        st.dictionaries(hashables, inner, max_size=4).map(OrderedDict),
        st.dictionaries(hashables, inner, max_size=4).map(_counted),
        st.builds(
            defaultdict,
            st.sampled_from([None, list, dict, set, int, float, str, tuple, bool]),
            st.dictionaries(hashables, inner, max_size=4),
        ),
    )


def _counted(counts: dict[Any, Any]) -> Counter[Any]:
    counter: Counter[Any] = Counter()
    for key, count in counts.items():
        counter[key] = count
    return counter


values: st.SearchStrategy[Any] = st.recursive(leaves, _containers, max_leaves=20)
"""Any value that has a stored form of itself, with no type registered."""

hostile_dicts: st.SearchStrategy[dict[str, Any]] = st.dictionaries(tag_like, values, min_size=1)
"""A user's dicts that look like the codec's own."""

json_values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=30),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=25,
)
"""Anything that JSON can say."""
