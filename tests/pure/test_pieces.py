"""What is encoded and decoded in pieces is what is encoded and decoded in one go."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.errors import IntegrityError
from durable_graph.log import codec as codec_module
from durable_graph.log.codec import Codec
from durable_graph.log.pieces import (
    BULKY,
    array_pieces,
    bytes_of,
    is_bulky,
    joined,
    text_of,
    write_in_pieces,
)
from tests.pure.values import form, values

CODEC = Codec()
# What looks like the end of an element, or of a character, and is not.
AWKWARD = ["},{", '","', "],[", ',"', "\\", '"', "\\\\", "\n", "é", "\U0001f600", "\x00", "~", ""]
TEXTS = st.lists(st.sampled_from([*AWKWARD, "plain text"]), max_size=12).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | TEXTS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=30,
)


def in_pieces(value: Any, piece: int) -> bytes:
    out = BytesIO()
    write_in_pieces(value, CODEC.walk, out.write, piece)
    return out.getvalue()


@given(values | JSON, st.sampled_from([3, 6, 30]))
def test_the_bytes_are_the_same(value: Any, piece: int) -> None:
    """Wherever a value is cut, except where it cannot be encoded in the quick way at all."""
    whole = CODEC.encode(value)
    try:
        assert in_pieces(value, piece) == whole
    except orjson.JSONEncodeError:
        with pytest.raises(orjson.JSONEncodeError):
            orjson.dumps(CODEC.walk(value))


@given(st.lists(JSON, max_size=20), st.integers(1, 40))
def test_the_elements_are_the_same(value: list[Any], piece: int) -> None:
    """However their insides look like what is between them."""
    array = orjson.dumps(value)
    pieces = list(array_pieces(array, piece))
    assert [element for _, elements in pieces for element in elements] == value
    assert b"[%b]" % b",".join(inside for inside, _ in pieces) == array


@given(TEXTS | st.text(), st.integers(1, 20))
def test_the_text_is_the_same(text: str, piece: int) -> None:
    """No character is cut in two, escaped or not."""
    try:
        encoded = orjson.dumps(text)
    except orjson.JSONEncodeError:
        return
    assert text_of(encoded, piece) == text
    escaped = '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 2**16 else c for c in text) + '"'
    assert text_of(escaped.encode(), piece) == text


@given(st.binary(max_size=200), st.sampled_from([3, 30]))
def test_the_content_is_the_same(data: bytes, piece: int) -> None:
    """Bytes come back; what is something else is not taken for bytes."""
    assert bytes_of(CODEC.encode(data), piece) == data
    assert bytes_of(CODEC.encode(bytearray(data)), piece) is None


@given(st.lists(st.binary(max_size=5).map(lambda data: orjson.dumps(list(data)))))
def test_an_array_is_joined(parts: list[bytes]) -> None:
    """Of any number of parts."""
    assert joined(iter(parts), b"[]") == b"[%b]" % b",".join(parts)


@given(values)
def test_a_value_is_decoded_in_pieces_as_in_one(value: Any) -> None:
    """Where there is a tag in a list, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec_module, "BULKY", 4)
        for each in (value, [value, value, 1]):
            assert form(CODEC.decode(CODEC.encode(each))) == form(each)


@pytest.mark.parametrize(
    "encoded", [b'["x', b'["x"', b'"abc', b'{"~bytes":"*"}', b'{"~bytes":"AAA"}', b"[1,,2]", b"{"]
)
def test_what_is_damaged_is_refused(encoded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in one go."""
    monkeypatch.setattr(codec_module, "BULKY", 1)
    with pytest.raises(IntegrityError):
        CODEC.decode(encoded)


@pytest.mark.parametrize(
    "value",
    [
        "x" * (BULKY + 1),
        b"x" * (BULKY + 1),
        memoryview(bytes(BULKY + 1)),
        [{"n": n, "text": "y" * 1000} for n in range(1100)],
        {"doc": {"pages": [["y" * 100] * 10 for _ in range(1100)]}},
        {"a": 1, "b": None, "c": [1, 2], "d": "x" * BULKY},
        list(range(100_000)),
        tuple([object()] * 20_000),
    ],
)
def test_what_is_large_is_seen_at_a_few_looks(value: Any) -> None:
    """Whatever it consists of, and however deep within it stands."""
    assert is_bulky(value)
    assert is_bulky({"key": value})


@pytest.mark.parametrize(
    "value", [None, 1, "", [], {}, "x" * 1000, [["x"] * 10] * 10, {"a": {}}, [{}] * 500, object()]
)
def test_what_is_small_is_not_taken_for_large(value: Any) -> None:
    """It stays on the event loop, where it costs least."""
    assert not is_bulky(value)
