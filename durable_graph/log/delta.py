"""How one state became the next, as data.

A value of the state is kept encoded: as JSON bytes, or, while it grows, as a `Rope`. A change to
it is an operation (`Op`), a tuple that starts with its code:

=====================================  ==========================================================
``("=", value)``                       the key has this value
``("+", array)``                       the elements of this JSON array come after the present ones
``("~", start, count, array)``         `count` elements from `start` on give way to these
``("m", {name: value}, (name, ...))``  these members are set, those removed
``("",)``                              nothing changed (only as what a task wrote)
``("-",)``                             the key has no value any more
``("w", i)``                           what the due task `i` wrote
``("a", i, j, ...)``                   the elements of the arrays that these tasks wrote, in order
=====================================  ==========================================================

The last two refer to task results in the log instead of storing their values again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

import orjson

from durable_graph.errors import IntegrityError

__all__ = [
    "SAME",
    "WORTHWHILE",
    "Encoded",
    "Op",
    "Rope",
    "Written",
    "append",
    "apply_op",
    "diff",
    "flat",
    "growth",
    "size",
]

Op: TypeAlias = tuple[Any, ...]
Written: TypeAlias = "bytes | Op"
"""What a task wrote to a key: the value itself, or a change of the value it started from."""

SAME: Final[Op] = ("",)

WORTHWHILE: Final = 96
"""Below this many bytes, finding and storing a change costs more than storing the value."""


class Rope:
    """A JSON array that grows at its end without being copied.

    Ropes made from one another share their chunks; each knows how many of them are its own, so
    an older rope stays what it was while a newer one grows.
    """

    __slots__ = ("_chunks", "_count", "size")

    def __init__(self, chunks: list[bytes], count: int, size: int) -> None:
        self._chunks = chunks
        self._count = count
        self.size = size
        """Length in bytes of the array's JSON."""

    @classmethod
    def of(cls, array: bytes) -> Rope:
        """The rope of an encoded array."""
        return cls([array[1:-1]], 1, len(array)) if len(array) > 2 else cls([], 0, 2)

    def append(self, array: bytes) -> Rope:
        """A rope with the elements of `array` after this one's."""
        if len(array) == 2:
            return self
        chunks = self._chunks
        if len(chunks) != self._count:  # someone has grown it already: this is another branch
            chunks = chunks[: self._count]
        chunks.append(array[1:-1])
        # An array of n chunks has n - 1 commas between them and two brackets around.
        grown = self.size + len(array) - 2 + (1 if self._count else 0)
        return Rope(chunks, self._count + 1, grown)

    def flat(self) -> bytes:
        """The array's JSON."""
        # A slice, since a newer rope may grow the chunks meanwhile, in another thread.
        return b"[%b]" % b",".join(self._chunks[: self._count])


Encoded: TypeAlias = "bytes | Rope"
"""A value of the state as it is kept: encoded, and never changed in place."""


def flat(value: Encoded) -> bytes:
    """The JSON of an encoded value."""
    return value if isinstance(value, bytes) else value.flat()


def size(value: Encoded) -> int:
    """The length of an encoded value's JSON in bytes."""
    return len(value) if isinstance(value, bytes) else value.size


def append(base: Encoded, array: bytes) -> Rope:
    """An encoded array with the elements of another after its own."""
    rope = base if type(base) is Rope else Rope.of(flat(base))
    return rope.append(array)


def diff(base: Encoded | None, new: bytes) -> Op:
    """The smallest operation known that turns `base` into exactly `new`."""
    if base is None:
        return ("=", new)
    if size(base) == len(new) and flat(base) == new:
        return SAME
    # A value that shrank to a fraction is cheaper to store than to compare.
    if len(new) >= WORTHWHILE and WORTHWHILE <= size(base) <= 4 * len(new):
        op = _change(flat(base), new)
        if op is not None:
            return op
    return ("=", new)


def growth(base: Encoded | None, new: bytes) -> Op:
    """Like `diff`, but notices only equality and growth: never slower than a comparison."""
    if base is None or not WORTHWHILE <= size(base) <= len(new):
        return ("=", new)
    old = flat(base)
    if old == new:
        return SAME
    return _grown(old, new) or ("=", new)


def apply_op(
    base: Encoded | None, op: Op, written: Callable[[int], Iterable[Written]]
) -> Encoded | None:
    """The value after an operation.

    Args:
        base: the value before it; ``None`` for a key without a value.
        op: the operation.
        written: what a due task wrote to this key, in order.
    """
    try:
        return _apply(base, op, written)
    except (AttributeError, LookupError, TypeError, ValueError, StopIteration) as error:
        raise IntegrityError(f"The operation {op[:2]!r} does not fit the value.") from error


def _apply(
    base: Encoded | None, op: Op, written: Callable[[int], Iterable[Written]]
) -> Encoded | None:
    value: Any
    match op:
        case ("=", value):
            return _value(value)
        case ("+", array):
            return append(_array(base), flat(_array(array)))
        case ("w", int(task)):
            for entry in written(task):
                base = _apply(base, entry, _no_task) if isinstance(entry, tuple) else entry
            return base
        case ("a", *tasks):
            rope: Encoded = b"[]" if base is None else base
            for task in tasks:
                for entry in written(task):
                    rope = append(_array(rope), flat(_array(entry)))
            return rope
        case ("~", int(start), int(count), array):
            elements = orjson.loads(flat(_array(base)))
            if not 0 <= start <= start + count <= len(elements):
                raise ValueError(op)
            elements[start : start + count] = orjson.loads(flat(_array(array)))
            return orjson.dumps(elements)
        case ("m", dict(members), removed):
            content = orjson.loads(flat(_value(base)))
            for name in removed:
                del content[name]
            content.update({name: orjson.loads(value) for name, value in members.items()})
            return orjson.dumps(content)
        case ("",):
            return base
        case ("-",):
            return None
    raise ValueError(op)


def _no_task(task: int) -> Iterable[Written]:
    raise ValueError("What a task wrote cannot refer to what tasks wrote.")


def _value(value: Any) -> Encoded:
    if isinstance(value, (bytes, Rope)):
        return value
    raise TypeError(value)


def _array(value: Any) -> Encoded:
    if isinstance(value, Rope) or (isinstance(value, bytes) and value[:1] == b"["):
        return value
    raise TypeError(value)


def _grown(base: bytes, new: bytes) -> Op | None:
    # `base` without its bracket is a list of whole elements, so a comma at that place in `new`
    # separates elements of `new` itself: a prefix in bytes is a prefix in elements.
    if new[len(base) - 1 : len(base)] == b"," and base[:1] == b"[" and new.startswith(base[:-1]):
        return ("+", b"[" + new[len(base) :])
    return None


def _change(base: bytes, new: bytes) -> Op | None:
    if base[:1] == b"[" == new[:1]:
        if grown := _grown(base, new):
            return grown
        return _splice(_pieces(base), _pieces(new), len(new))
    if base[:2] == b'{"' == new[:2] and base[2:3] != b"~" != new[2:3]:
        return _merge(orjson.loads(base), orjson.loads(new), new)
    return None


def _pieces(array: bytes) -> list[bytes]:
    return [orjson.dumps(element) for element in orjson.loads(array)]


def _splice(base: list[bytes], new: list[bytes], limit: int) -> Op | None:
    shorter = min(len(base), len(new))
    start = 0
    while start < shorter and base[start] == new[start]:
        start += 1
    end = 0
    while end < shorter - start and base[-1 - end] == new[-1 - end]:
        end += 1
    array = b"[%b]" % b",".join(new[start : len(new) - end])
    return ("~", start, len(base) - start - end, array) if 2 * len(array) < limit else None


def _merge(base: dict[str, Any], new: dict[str, Any], encoded: bytes) -> Op | None:
    members = {}
    cost = 0
    for name, content in new.items():
        piece = orjson.dumps(content)
        if name not in base or orjson.dumps(base[name]) != piece:
            members[name] = piece
            cost += len(piece) + len(name)
    removed = tuple(name for name in base if name not in new)
    cost += sum(map(len, removed))
    if 2 * cost >= len(encoded):
        return None
    # Members may have changed places; then only the value itself gives the same bytes again.
    merged = {name: item for name, item in base.items() if name in new}
    merged.update({name: new[name] for name in members})
    return ("m", members, removed) if orjson.dumps(merged) == encoded else None
