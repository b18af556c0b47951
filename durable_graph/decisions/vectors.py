"""How near vectors come to each other: exact cosines, with NumPy where it is installed.

Both ways compute in 64 bits and are rounded alike, and each item by itself. So what is equal comes
out equal, and its order is that of the items.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

from durable_graph.errors import StoreError

__all__ = ["cosines", "to_vector"]

_DIGITS: Final = 9


def to_vector(numbers: Any, dims: int) -> bytes:
    """A vector as it is kept.

    Raises:
        StoreError: it has another length, or holds something else than numbers.
    """
    try:
        vector = array("f", [float(number) for number in numbers])
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(
            f"What `embed` returned for a text is no list of numbers: {numbers!r:.200}."
        ) from error
    if len(vector) != dims:
        raise StoreError(
            f"The index has dims={dims}, and `embed` returned a vector of {len(vector)} numbers. "
            f"Set dims to what the model gives."
        )
    if not all(map(math.isfinite, vector)):
        raise StoreError("What `embed` returned for a text holds an infinite number, or NaN.")
    if sys.byteorder == "big":
        vector.byteswap()
    return vector.tobytes()


def cosines(query: bytes, items: Sequence[Sequence[bytes]]) -> list[float | None]:
    """For each item the greatest cosine of its vectors with a query's.

    ``None`` for an item that has no vector of the query's length: it was put under no index, or
    under another. A vector of zeros is at right angles to everything.
    """
    vectors = [vector for item in items for vector in item if len(vector) == len(query)]
    numpy = _numpy()
    found = iter(_plainly(query, vectors) if numpy is None else _rowwise(numpy, query, vectors))
    scores: list[float | None] = []
    for item in items:
        own = [next(found) for vector in item if len(vector) == len(query)]
        scores.append(max(own) if own else None)
    return scores


@cache
def _numpy() -> Any:
    # Optional: it is only faster. And imported with the first search, since it takes longer than
    # all of this package.
    try:
        import numpy
    except ImportError:
        return None
    return numpy


def _rowwise(numpy: Any, query: bytes, vectors: list[bytes]) -> Iterable[float]:
    if not vectors:
        return []
    wide = numpy.float64
    one = numpy.frombuffer(query, "<f4").astype(wide)
    rows = numpy.frombuffer(b"".join(vectors), "<f4").reshape(len(vectors), -1).astype(wide)
    # Row by row, not as a product of matrices: there the same vector may come out differently in
    # another place.
    dots = (rows * one).sum(axis=1)
    lengths = numpy.sqrt((rows * rows).sum(axis=1)) * math.sqrt(float((one * one).sum()))
    scores = numpy.divide(dots, lengths, out=numpy.zeros_like(dots), where=lengths > 0)
    return [_rounded(float(score)) for score in scores]


def _plainly(query: bytes, vectors: list[bytes]) -> Iterable[float]:
    one = _numbers(query)
    length = math.sqrt(math.fsum(a * a for a in one))
    for vector in vectors:
        other = _numbers(vector)
        lengths = length * math.sqrt(math.fsum(a * a for a in other))
        dot = math.fsum(a * b for a, b in zip(one, other, strict=True))
        yield _rounded(dot / lengths) if lengths > 0 else 0.0


def _numbers(vector: bytes) -> array[float]:
    numbers = array("f")
    numbers.frombytes(vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _rounded(score: float) -> float:
    return max(-1.0, min(1.0, round(score, _DIGITS)))
