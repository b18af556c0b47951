"""Where a log's records are: a tree over its segments, of which the manifest holds the top.

Each segment is an object of some records; an index object names `FANOUT` of them, or as many index
objects. The manifest holds what no index object names yet, at most `FANOUT` names for each level.
So what is written for a record does not depend on how many there were before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from durable_graph.log.records import Record

__all__ = ["FANOUT", "Index", "Span", "grow", "plain_spans", "read_spans", "span_of"]

FANOUT: Final = 16


class Span(NamedTuple):
    """A stretch of a log in an object of its own.

    Attributes:
        first: the first record in it.
        last: the last one.
        name: of the object.
        low: the least id of its checkpoints; ``None`` if it has none.
        high: the greatest.
    """

    first: int
    last: int
    name: str
    low: str | None
    high: str | None

    def may_have(self, checkpoint: str) -> bool:
        """Whether a checkpoint can be in it."""
        return (
            self.low is not None and self.high is not None and self.low <= checkpoint <= self.high
        )


Index: TypeAlias = tuple[tuple[Span, ...], ...]
"""By level: segments, index objects of segments, index objects of those, ... Each level is
behind the next in the log."""


def span_of(records: Sequence[Record], name: str) -> Span:
    """What an index says of a segment."""
    ids = [record.checkpoint for record in records if record.checkpoint is not None]
    low, high = (min(ids), max(ids)) if ids else (None, None)
    return Span(records[0].seq, records[-1].seq, name, low, high)


def grow(
    index: Index, spans: Sequence[Span], name: Callable[[], str]
) -> tuple[Index, Mapping[str, Sequence[Span]]]:
    """An index with more segments at its end, and the index objects that this takes.

    Args:
        index: the index.
        spans: the segments.
        name: gives a name that nothing else has.
    """
    objects: dict[str, Sequence[Span]] = {}
    levels = [list(level) for level in index] or [[]]
    levels[0] += spans
    place = 0
    while place < len(levels):
        level = levels[place]
        while len(level) > FANOUT:
            packed, level[:FANOUT] = level[:FANOUT], []
            if place + 1 == len(levels):
                levels.append([])
            own = name()
            objects[own] = packed
            levels[place + 1].append(_over(packed, own))
        place += 1
    return tuple(tuple(level) for level in levels), objects


def _over(spans: Sequence[Span], name: str) -> Span:
    lows = [span.low for span in spans if span.low is not None]
    highs = [span.high for span in spans if span.high is not None]
    low, high = (min(lows), max(highs)) if lows and highs else (None, None)
    return Span(spans[0].first, spans[-1].last, name, low, high)


def plain_spans(spans: Sequence[Span]) -> list[list[Any]]:
    """Spans as JSON."""
    return [list(span) for span in spans]


def read_spans(plain: Any) -> tuple[Span, ...]:
    """The spans that were written as JSON.

    Raises:
        TypeError, ValueError: they are none.
    """
    spans = tuple(Span(*row) for row in plain)
    for first, last, name, low, high in spans:
        numbers = type(first) is type(last) is int and 0 < first <= last
        texts = type(name) is str and all(t is None or type(t) is str for t in (low, high))
        if not numbers or not texts:
            raise ValueError("no log is like that")
    return spans
