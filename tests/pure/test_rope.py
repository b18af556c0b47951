"""Arrays that grow without being copied, and share what they have in common."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from durable_graph.log.delta import Rope, append, diff, flat, size

items: st.SearchStrategy[Any] = st.one_of(st.integers(0, 9), st.text(max_size=3), st.just([]))
arrays = st.lists(items, max_size=4)
growths = st.lists(st.tuples(st.integers(0, 30), arrays), max_size=20)


@given(arrays, growths)
@example([], [(0, []), (0, [1]), (0, [2]), (1, [3])])
def test_ropes_made_from_one_another_are_independent(
    first: list[Any], growths: list[tuple[int, list[Any]]]
) -> None:
    """However ropes branch off one another, each has its own elements, and knows its size."""
    models = [first]
    ropes = [Rope.of(orjson.dumps(first))]
    for place, more in growths:
        at = place % len(ropes)
        models.append(models[at] + more)
        ropes.append(ropes[at].append(orjson.dumps(more)))
    for model, rope in zip(models, ropes, strict=True):
        assert rope.flat() == orjson.dumps(model)
        assert rope.size == len(rope.flat()) == size(rope)
        assert rope.flat() == flat(rope)


@given(arrays, arrays)
def test_a_flat_array_is_appended_to_like_a_rope(first: list[Any], more: list[Any]) -> None:
    """`append` takes an array in either form."""
    base, added = orjson.dumps(first), orjson.dumps(more)
    assert append(base, added).flat() == append(Rope.of(base), added).flat()
    assert append(base, added).flat() == orjson.dumps(first + more)


def test_growing_copies_nothing() -> None:
    """A rope that grows at its end keeps the chunks of the one that it was made from."""
    rope = Rope.of(orjson.dumps(["x" * 1000]))
    grown = rope.append(b"[1]").append(b"[2]")
    assert grown._chunks is rope._chunks
    branch = rope.append(b"[3]")
    assert branch._chunks is not rope._chunks
    assert branch._chunks[0] is rope._chunks[0]


def test_appending_nothing_is_the_same_rope() -> None:
    """An empty array adds nothing, not even a comma."""
    rope = Rope.of(b"[1]")
    assert rope.append(b"[]") is rope
    assert Rope.of(b"[]").append(b"[]").flat() == b"[]"


def test_a_rope_that_has_grown_is_compared_like_any_value() -> None:
    """The change from a grown rope to a longer array is its tail."""
    rope = Rope.of(orjson.dumps(["x" * 100])).append(b"[1]").append(b"[2,3]")
    longer = orjson.dumps(["x" * 100, 1, 2, 3, 4])
    assert diff(rope, longer) == ("+", b"[4]")
    assert diff(rope, rope.flat()) == ("",)
