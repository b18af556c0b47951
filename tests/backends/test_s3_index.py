"""The tree over a log's segments: nothing is lost in it, and it costs the same at any length."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from durable_graph_s3.index import FANOUT, Index, Span, grow, plain_spans, read_spans


def _grown(batches: Sequence[int]) -> tuple[Index, dict[str, Sequence[Span]], list[Span]]:
    """An index that grew by so many segments at a time; its objects; and all segments."""
    names = (f"i{number}" for number in itertools.count())
    index: Index = ()
    objects: dict[str, Sequence[Span]] = {}
    every: list[Span] = []
    for count in batches:
        spans = [
            Span(10 * n + 1, 10 * n + 10, f"s{n}", f"{n:06}", f"{n:06}")
            for n in range(len(every), len(every) + count)
        ]
        every += spans
        index, made = grow(index, spans, lambda: next(names))
        objects.update(made)
    return index, objects, every


def _segments(index: Index, objects: Mapping[str, Sequence[Span]]) -> list[Span]:
    """All segments that an index leads to, in its order."""

    def beneath(span: Span, height: int) -> list[Span]:
        if height == 0:
            return [span]
        inner = objects[span.name]
        assert (span.first, span.last) == (inner[0].first, inner[-1].last)
        assert all(each.low is None or span.may_have(each.low) for each in inner)
        return [found for each in inner for found in beneath(each, height - 1)]

    heights = range(len(index) - 1, -1, -1)
    return [found for h in heights for span in index[h] for found in beneath(span, h)]


@given(st.lists(st.integers(1, 3 * FANOUT), max_size=40))
def test_every_segment_is_found_in_its_order(batches: list[int]) -> None:
    """However a log grew, its index leads to each segment once, in the order of the log, and names
    a few on each level only."""
    index, objects, every = _grown(batches)
    assert _segments(index, objects) == every
    assert all(len(level) <= FANOUT for level in index)


def test_a_long_log_costs_as_little_as_a_short_one() -> None:
    """Of 10,000 segments that came one by one, the manifest names a few dozen, and all index
    objects together are a small part of them."""
    index, objects, every = _grown([1] * 10_000)
    assert _segments(index, objects) == every
    assert sum(map(len, index)) <= FANOUT * len(index) <= FANOUT * 4
    assert len(objects) <= 10_000 / (FANOUT - 1)


def test_spans_are_read_as_they_were_written() -> None:
    """Also those of segments without checkpoints."""
    spans = (Span(1, 3, "a", None, None), Span(4, 4, "b", "c1", "c2"))
    assert read_spans(plain_spans(spans)) == spans
