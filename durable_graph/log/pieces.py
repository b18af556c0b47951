"""Large values to bytes and back, by many short calls instead of one long one.

What takes long belongs into a thread beside the event loop; but in CPython a thread that is in one
call of orjson's keeps all others from running until it is done. So what is done there is done in
pieces, between which the loop gets its turn. The bytes and the values are those of the one call.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from itertools import islice
from typing import Any, Final

import orjson

__all__ = [
    "BULKY",
    "PIECE",
    "array_pieces",
    "bytes_of",
    "is_bulky",
    "joined",
    "text_of",
    "write_in_pieces",
]

BULKY: Final = 2**20
"""From about so many bytes on, encoding a value is not for the event loop."""

PIECE: Final = 3 * 2**16
"""About how many bytes are done in one call; a multiple of three, as base64 has it."""

_LOOKS: Final = (8, 4, 2, 1, 1, 1, 1)  # at how many of what it holds, level by level
_LEAF: Final = frozenset({int, bool, float, type(None)})
_SMALL: Final = 16
_OBJECT: Final = 64
_TRIES: Final = 8
_BYTES: Final = b'{"~bytes":"'
_SEPARATORS: Final = (b"},{", b'","', b"],[", b',"', b",")
_LONGEST: Final = 12  # bytes of one character: a pair of escaped surrogates


def is_bulky(value: Any, limit: int = BULKY) -> bool:
    """Whether a value has, as it seems, more than so many bytes when it is encoded.

    A few looks, however large it is: of what it holds, only some is looked at.
    """
    return _weight(value) > limit


def _weight(value: Any, level: int = 0) -> int:
    kind = type(value)
    if kind is str or kind is bytes or kind is bytearray:
        return len(value)
    if kind in _LEAF:
        return _SMALL
    if kind is not dict and kind is not list and kind is not tuple:
        says = kind is memoryview or kind.__module__ == "numpy"
        return int(value.nbytes) if says and hasattr(kind, "nbytes") else _OBJECT
    count = len(value)
    if count == 0 or level == len(_LOOKS):
        return _SMALL * count
    looks, some = _LOOKS[level], value.values() if kind is dict else value
    if count > looks:
        some = islice(some, looks) if kind is dict else some[:: count // looks][:looks]
    within = 0
    for item in some:
        kind = type(item)
        if kind is str:
            within += len(item)
        elif kind in _LEAF:
            within += _SMALL
        else:
            within += _weight(item, level + 1)
    return within * count // min(looks, count) + _SMALL * count


# -- writing ---------------------------------------------------------------------------------------


def write_in_pieces(
    value: Any, walk: Callable[[Any], Any], write: Callable[[bytes], object], piece: int = PIECE
) -> None:
    """Write the JSON of a value.

    Args:
        value: the value.
        walk: makes plain data of values.
        write: takes the bytes.
        piece: about how many bytes to write at once, a multiple of three.

    Raises:
        orjson.JSONEncodeError: it holds what orjson cannot write.
    """
    kind = type(value)
    if kind is str and len(value) > piece:
        write(b'"')
        for start in range(0, len(value), piece):
            write(orjson.dumps(value[start : start + piece])[1:-1])
        write(b'"')
    elif kind is bytes and len(value) > piece:
        write(_BYTES)
        for start in range(0, len(value), piece):
            write(base64.b64encode(value[start : start + piece]))
        write(b'"}')
    elif kind is list and (weight := _weight(value)) > piece:
        _write_list(value, max(1, len(value) * piece // weight), walk, write, piece)
    elif kind is tuple and _weight(value) > piece:
        write(b'{"~tuple":')
        write_in_pieces(list(value), walk, write, piece)
        write(b"}")
    elif kind is dict and _is_plain(value) and _weight(value) > piece:
        before = b"{"
        for name, item in value.items():
            write(b"%b%b:" % (before, orjson.dumps(name)))
            write_in_pieces(item, walk, write, piece)
            before = b","
        write(b"}")
    else:
        write(orjson.dumps(walk(value)))


def _write_list(
    items: list[Any],
    at_once: int,
    walk: Callable[[Any], Any],
    write: Callable[[bytes], object],
    piece: int,
) -> None:
    before = b"["
    for start in range(0, len(items), at_once):
        write(before)
        if at_once == 1:
            write_in_pieces(items[start], walk, write, piece)
        else:
            write(orjson.dumps(walk(items[start : start + at_once]))[1:-1])
        before = b","
    write(b"]")


def _is_plain(value: dict[Any, Any]) -> bool:
    return all(type(name) is str and name[:1] != "~" for name in value)


def joined(parts: Iterable[bytes], brackets: bytes) -> bytes:
    """These parts of JSON, which are not all at hand at once, with commas between them."""
    out = BytesIO()  # grows in place, and gives away what it holds without copying it
    before = brackets[:1]
    for part in parts:
        out.write(before)
        out.write(part)
        before = b","
    out.write(brackets[1:] if before == b"," else brackets)
    return out.getvalue()


# -- reading ---------------------------------------------------------------------------------------


def array_pieces(array: bytes, piece: int = PIECE) -> Iterator[tuple[bytes, list[Any]]]:
    """The elements of an encoded array, some at a time: encoded, with commas between, and plain.

    Where one element ends and the next begins cannot be seen from a few bytes. But if what stands
    between two commas is by itself the inside of an array, and so is what comes before and after,
    then these are commas of the array itself: JSON can be read in one way only.

    Raises:
        orjson.JSONDecodeError: it is no array.
    """
    start, end = 1, len(array) - 1
    while start < end:
        cut = start
        for _ in range(_TRIES):
            cut = _comma(array, max(cut + 1, start + piece), piece, end)
            inside = array[start:cut]
            try:
                elements = orjson.loads(b"[%b]" % inside)
            except orjson.JSONDecodeError:
                if cut == end:
                    raise
            else:
                break
        else:
            cut, inside = end, array[start:end]
            elements = orjson.loads(b"[%b]" % inside)
        yield inside, elements
        start = cut + 1


def _comma(array: bytes, start: int, window: int, end: int) -> int:
    """Where a comma is that may stand between two elements; the end if there is none near."""
    for separator in _SEPARATORS:
        found = array.find(separator, start, min(start + window, end))
        if found >= 0:
            return found + separator.index(b",")
    return end


def text_of(encoded: bytes, piece: int = PIECE) -> str:
    """The text that is encoded. A piece that ends within a character cannot be read, and is made
    a little longer.

    Raises:
        orjson.JSONDecodeError: it is no text.
    """
    start, end = 1, len(encoded) - 1
    parts: list[str] = []
    while start < end:
        for cut in range(start + piece, start + piece + _LONGEST):
            try:
                part: str = orjson.loads(b'"%b"' % encoded[start : min(cut, end)])
            except orjson.JSONDecodeError:
                continue
            break
        else:
            cut, part = end, orjson.loads(b'"%b"' % encoded[start:end])
        parts.append(part)
        start = cut
    return "".join(parts)


def bytes_of(encoded: bytes, piece: int = PIECE) -> bytes | None:
    """The bytes that are encoded; ``None`` if it is something else.

    Raises:
        ValueError: they are damaged.
    """
    if not (encoded.startswith(_BYTES) and encoded.endswith(b'"}')):
        return None
    out = BytesIO()
    for start in range(len(_BYTES), len(encoded) - 2, 4 * piece):
        end = min(start + 4 * piece, len(encoded) - 2)
        out.write(base64.b64decode(encoded[start:end], validate=True))
    return out.getvalue()
