"""What a batch of puts comes to, and how items are named in storage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.decisions.items import Entry, Pending, Write, next_version
from durable_graph.errors import IntegrityError, StoreConflictError
from durable_graph.ports.items import beneath, from_bytes, to_bytes

PLACE = (("a",), "k")

words = st.text(st.characters(exclude_characters="\0.", exclude_categories=["Cs"]), min_size=1)
names = st.lists(words, min_size=1, max_size=4).map(tuple)


def entry(version: int, created: float = 0.0) -> Entry:
    return Entry(("a",), "k", b"{}", version, created, created)


def test_a_write_asks_for_the_version_that_is_there() -> None:
    """Or for nothing to be there, or does not ask."""
    for expects, nothing, first, second in (
        (None, True, True, True),
        (0, True, False, False),
        (1, False, True, False),
    ):
        write = Write(PLACE, entry(9), expects)
        assert [write.allows(found) for found in (None, entry(1), entry(2))] == [
            nothing,
            first,
            second,
        ]


def test_what_is_written_over_keeps_its_past() -> None:
    """Unless it was removed in between."""
    assert Write(PLACE, entry(2, 5.0)).over(entry(1, 1.0)) == Entry(
        ("a",), "k", b"{}", 2, created=1.0, updated=5.0
    )
    assert Write(PLACE, entry(2, 5.0), fresh=True).over(entry(1, 1.0)) == entry(2, 5.0)
    assert Write(PLACE, entry(2, 5.0)).over(None) == entry(2, 5.0)
    assert Write(PLACE, None).over(entry(1)) is None


def test_writes_to_one_place_become_one() -> None:
    """With the first one's condition and the last one's value."""
    pending = Pending()
    pending.add(PLACE, entry(5), 3)
    pending.add(PLACE, entry(6), None)
    assert pending.writes == {PLACE: Write(PLACE, entry(6), 3)}
    pending.add(PLACE, None, 6)
    pending.add(PLACE, entry(7), 0)
    assert pending.writes == {PLACE: Write(PLACE, entry(7), 3, fresh=True)}
    with pytest.raises(StoreConflictError) as caught:
        pending.add(PLACE, entry(8), 6)
    assert caught.value.places == [PLACE]
    assert pending.writes == {PLACE: Write(PLACE, entry(7), 3, fresh=True)}


@given(st.lists(st.tuples(st.floats(0, 2e9), st.floats(0, 1, exclude_max=True)), max_size=20))
def test_versions_grow_whatever_the_clock_does(draws: list[tuple[float, float]]) -> None:
    """Within a process; and fit into 63 bits."""
    last = 0
    for now, chance in draws:
        version = next_version(last, now, chance)
        assert last < version < 2**63
        last = version


def test_versions_grow_with_time_between_processes() -> None:
    """Whatever chance says, a millisecond later is later."""
    assert next_version(0, 1e9, 0.999999) < next_version(0, 1e9 + 0.002, 0.0)


@given(names, names)
def test_names_in_storage_sort_as_names_do(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """And are beneath each other as names are, word by word."""
    assert from_bytes(to_bytes(one)) == one
    assert (to_bytes(one) < to_bytes(other)) == (one < other)
    first, after = beneath(one)
    assert (first <= to_bytes(other) < after) == (other[: len(one)] == one)


@pytest.mark.parametrize("stored", [b"", b"a", b"\xff\0", b"a\0b"])
def test_a_damaged_name_is_an_error(stored: bytes) -> None:
    """Not another namespace."""
    with pytest.raises(IntegrityError, match="namespace"):
        from_bytes(stored)


def test_what_is_put_again_while_it_waits_was_created_then() -> None:
    """And what expires while it waits is as good as removed."""
    pending = Pending()
    pending.add(PLACE, entry(1, 10.0), None)
    pending.add(PLACE, Entry(("a",), "k", b"{}", 2, 20.0, 20.0, ttl=5.0, expires=25.0), None)
    waiting = pending.writes[PLACE].entry
    assert waiting is not None
    assert (waiting.created, waiting.updated) == (10.0, 20.0)
    pending.prolong(PLACE, 30.0)
    pending.expire(29.0)
    assert pending.writes[PLACE].entry is not None
    pending.expire(30.0)
    assert pending.writes == {PLACE: Write(PLACE, None)}
    pending.add(PLACE, entry(3, 40.0), 0)
    assert pending.writes == {PLACE: Write(PLACE, entry(3, 40.0), fresh=True)}


def test_what_waits_elsewhere_is_merged_as_a_whole() -> None:
    """Later than what is here; if a condition does not hold, nothing of it is taken in."""
    other = (("a",), "l")
    pending = Pending()
    pending.merge([Write(PLACE, entry(1), 0), Write(other, None, 5, fresh=True)])
    assert pending.writes[other] == Write(other, None, 5, fresh=True)
    pending.merge([Write(PLACE, entry(2, 7.0), fresh=True)])
    assert pending.writes[PLACE] == Write(PLACE, entry(2, 7.0), 0, fresh=True)
    before = dict(pending.writes)
    with pytest.raises(StoreConflictError):
        pending.merge([Write(other, entry(4), None), Write(PLACE, entry(3), 1)])
    assert pending.writes == before
