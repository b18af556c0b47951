"""What is encoded comes back as it was, types included, or is refused."""

from __future__ import annotations

import collections
import re
import types
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import TZPATH, ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from durable_graph import Command, Interrupt, Send
from durable_graph.log.codec import Codec, UnstorableValueError, blob_reference, blobs_in
from tests.pure.values import TAGS, form, hostile_dicts, values

codec = Codec()


@given(values)
@example({"~tuple": [1, 2]})
@example({"~dict": [["a", 1]]})
@example({"a": 1, "~b": 2})
@example([float("nan"), -0.0, float("inf"), float("-inf"), 1e16, 5e-324])
@example({1: "int", "1": "str", None: 0, (1,): ()})
@example({True: 1, 2.5: 2, b"k": 3})
@example({"\ud800": "\udfff", "a": "\ud83d"})
@example([True, 1, 1.0, Decimal(1)])
@example({"nan": {float("nan"), float("nan")}})
def test_a_value_comes_back_exactly(value: Any) -> None:
    """Decoding what was encoded gives the same value with the same types at every depth."""
    assert form(codec.decode(codec.encode(value))) == form(value)


@given(hostile_dicts)
def test_a_users_dict_cannot_pass_for_a_tag(value: dict[str, Any]) -> None:
    """A dict whose keys look like the codec's own tags comes back as that dict."""
    assert form(codec.decode(codec.encode(value))) == form(value)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize(
    "content", [None, 1, "nan", [], [1, 2], ["Message", 1, {}], {}, [["a", 1]], "0" * 64]
)
def test_no_tag_can_be_forged(tag: str, content: Any) -> None:
    """Each known tag with each kind of content is, coming from a user, just a dict."""
    value = {tag: content, "nested": {tag: [content]}}
    for dict_ in (value, {tag: content}, [{tag: {tag: content}}]):
        assert form(codec.decode(codec.encode(dict_))) == form(dict_)


@given(values)
def test_one_value_has_one_encoding(value: Any) -> None:
    """Encoding is a function: again, and after a round trip, the bytes are the same."""
    data = codec.encode(value)
    assert codec.encode(value) == data
    assert codec.encode(codec.decode(data)) == data


@given(st.sets(st.one_of(st.integers(), st.text(max_size=5), st.binary(max_size=5))))
def test_a_set_is_encoded_in_one_order(value: set[Any]) -> None:
    """Equal sets have equal bytes, however they came about."""
    rebuilt: set[Any] = set()
    for item in sorted(value, key=repr, reverse=True):
        rebuilt.add(item)
    assert codec.encode(rebuilt) == codec.encode(value)


@given(values)
def test_an_encoding_is_one_line(value: Any) -> None:
    """Encoded values hold no line break: bodies of records keep one value a line."""
    assert b"\n" not in codec.encode(value)


@given(values)
def test_decoding_builds_a_new_value_each_time(value: Any) -> None:
    """Two decoded copies share nothing that can be changed."""
    data = codec.encode([value])
    first, second = codec.decode(data), codec.decode(data)
    shared = _containers(first, set()) & _containers(second, set())
    assert not shared


def _containers(value: Any, found: set[int]) -> set[int]:
    if isinstance(value, (list, dict, set, bytearray)):
        found.add(id(value))
    if isinstance(value, (list, tuple)):
        for item in value:
            _containers(item, found)
    elif isinstance(value, dict):
        for item in value.values():
            _containers(item, found)
    return found


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Pair(NamedTuple):
    a: int
    b: int


class Colour(Enum):
    RED = "red"


class Moment(datetime):
    pass


class Zone(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        return timedelta(hours=1)

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "one hour east"


class NamedZone(ZoneInfo):
    pass


def own_zone() -> ZoneInfo:
    """A zone that no other machine knows."""
    berlin = next(Path(folder) / "Europe/Berlin" for folder in TZPATH if Path(folder).is_dir())
    with berlin.open("rb") as file:
        return ZoneInfo.from_file(file, key="Our/Factory")


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Text("a"),
        Number(1),
        Pair(1, 2),
        Colour.RED,
        Moment(2020, 1, 1, tzinfo=UTC),
        datetime(2020, 1, 1, tzinfo=Zone()),
        time(1, tzinfo=Zone()),
        collections.defaultdict(lambda: 1),
        collections.defaultdict(collections.deque),
        collections.UserDict(a=1),
        Send("node", 1),
        Command(goto="node"),
        Interrupt("?"),
        collections.ChainMap({"a": 1}),
        re.compile("a"),
        memoryview(b"abcd").cast("i"),
        memoryview(b"abcd")[::2],
        types.MappingProxyType({"a": 1}),
        slice(3),
        iter([1]),
        len,
        int,
        Ellipsis,
        NotImplemented,
        ValueError("x"),
        datetime(2020, 1, 1, tzinfo=NamedZone("Europe/Berlin")),
        pytest.param(
            datetime(2020, 1, 1, tzinfo=own_zone()),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: [v], lambda v: {"k": (v,)}])
def test_what_would_not_come_back_exactly_is_refused(value: Any, wrap: Any) -> None:
    """A value of a kind that is not listed, subclasses included, has no stored form."""
    with pytest.raises(UnstorableValueError):
        codec.encode(wrap(value))


def test_a_refusal_names_the_type() -> None:
    """Who gets a refusal is told which class it was."""
    with pytest.raises(UnstorableValueError, match=r"collections\.UserDict has no stored form"):
        codec.encode({"deep": [collections.UserDict()]})


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (re.compile("a"), "keep its text, and compile it where it is used"),
        (ValueError("x"), r"as text, such as repr\(error\)"),
        (SecretStr("x"), "written down in clear"),
        (Pair(1, 2), r'annotate a state key with it.* register_type\("Pair", Pair'),
        (collections.defaultdict(lambda: 1), r"return dict\(...\) of it"),
        (memoryview(b"abcd").cast("i"), r"return bytes\(view\)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_refusal_says_what_to_do(value: Any, advice: str) -> None:
    """What is not data has a way out; a secret is told from what was only forgotten."""
    with pytest.raises(UnstorableValueError, match=advice):
        codec.encode([value])


@pytest.mark.parametrize(
    "number", [2**4096, -(2**4096), 2**100_000], ids=["4096 bits", "negative", "100,000 bits"]
)
def test_a_huge_int_is_refused(number: int) -> None:
    """Beyond 4096 bits an int is refused."""
    with pytest.raises(UnstorableValueError):
        codec.encode([number])


def test_the_refusal_of_a_huge_int_says_how_large_it_is() -> None:
    """Who gets a refusal is told what was wrong."""
    with pytest.raises(UnstorableValueError, match="an int of 5001 bits is too large"):
        codec.encode([2**5000])


@pytest.mark.parametrize(
    "kind", [datetime(2020, 1, 1, tzinfo=UTC), time(1)], ids=["datetime", "time"]
)
def test_a_zones_name_may_be_any_text(kind: Any) -> None:
    """A fixed offset whose name has a lone surrogate comes back, like any other."""
    value = kind.replace(tzinfo=timezone(timedelta(hours=1), "\ud800"))
    assert form(codec.decode(codec.encode(value))) == form(value)


def _list(inner: Any) -> Any:
    return [inner]


def _dict(inner: Any) -> Any:
    return {"k": inner}


def _tagged(inner: Any) -> Any:
    return {"~k": inner}


def _tuple(inner: Any) -> Any:
    return (inner,)


def _frozenset(inner: Any) -> Any:
    return frozenset((inner,))


@pytest.mark.parametrize("wrap", [_list, _dict, _tagged, _tuple, _frozenset])
@pytest.mark.parametrize("core", [1, 2**70, "\ud800"], ids=["plain", "big", "surrogate"])
def test_nesting_comes_back_or_is_refused(wrap: Any, core: Any) -> None:
    """At no depth does a nested value come back as another, or fail with another error."""
    outcomes = set()
    for depth in (*range(1, 130, 8), *range(130, 530, 40), 1000, 5000, 100_000):
        value = core
        for _ in range(depth):
            value = wrap(value)
        try:
            data = codec.encode(value)
        except UnstorableValueError:
            outcomes.add("refused")
            continue
        outcomes.add("stored")
        copy = codec.decode(data)
        for _ in range(depth):
            assert type(copy) is type(value)
            copy, value = _inner(copy), _inner(value)
        assert form(copy) == form(core)
    assert outcomes == {"stored", "refused"}


def _inner(value: Any) -> Any:
    return next(iter(value.values() if isinstance(value, dict) else value))


def test_a_value_that_contains_itself_is_refused() -> None:
    """A cycle has no stored form."""
    ring: list[Any] = [1]
    ring.append({"again": ring})
    table: dict[Any, Any] = {"~tag": ()}
    table["self"] = [table]
    for value in (ring, table, (ring,)):
        with pytest.raises(UnstorableValueError, match="contains itself"):
            codec.encode(value)


@given(values, st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=3))
def test_references_to_large_values_are_found_in_the_bytes(value: Any, digests: list[str]) -> None:
    """The digests in an encoding are those that were put there, and none of the user's text."""
    parts = [codec.encode([value, blob_reference("0" * 64).decode(), {"~blob": "1" * 64}])]
    parts += [blob_reference(digest) for digest in digests]
    assert blobs_in(b"[%b]" % b",".join(parts)) == digests


@given(values)
def test_a_large_value_comes_back_through_its_reference(value: Any) -> None:
    """A reference gives the value that stands under its digest."""
    digest = "5e" * 32
    data = b'{"k":[%b]}' % blob_reference(digest)
    assert form(codec.decode(data, {digest: codec.encode(value)})) == form({"k": [value]})
