"""Names of keys in Redis: each thread its own, those of one script in one slot, times in order."""

from __future__ import annotations

from binascii import crc_hqx
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given
from redis.crc import key_slot

from durable_graph.log.records import ThreadKey
from durable_graph_redis.keys import BUCKETS, Keys, member_of, name_of, order_of, time_of

KEYS = Keys("durable_graph")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.builds(ThreadKey, texts, texts.filter(bool))
times = st.floats(allow_nan=False)


@given(names)
def test_what_a_script_touches_is_in_one_slot(key: ThreadKey) -> None:
    """A thread and its part of the list are on the same node of any cluster."""
    slots = {key_slot(name.encode()) for name in (KEYS.thread(key), KEYS.index(key))}
    assert len(slots) == 1
    assert KEYS.index(key) in KEYS.indexes(key.tenant)


@given(names, names)
def test_no_two_threads_share_a_key(one: ThreadKey, other: ThreadKey) -> None:
    """However tenant and thread are spelt, their keys are their own."""
    assert (KEYS.thread(one) == KEYS.thread(other)) == (one == other)
    if one.tenant != other.tenant:
        assert not set(KEYS.indexes(one.tenant)) & set(KEYS.indexes(other.tenant))


@pytest.mark.parametrize("masters", [2, 3, 5, 8, 16, 64])
def test_masters_get_as_many_buckets_each(masters: int) -> None:
    """Slots are dealt out in contiguous shares, and the buckets' lie evenly in them."""
    slots = [key_slot(name.encode()) for name in KEYS.indexes("")]
    shares = Counter(slot * masters // 16384 for slot in slots)
    assert len(shares) == masters
    assert max(shares.values()) - min(shares.values()) <= 1
    assert len(set(slots)) == BUCKETS
    assert all(
        crc_hqx(name.split("{")[1].split("}")[0].encode(), 0) % 16384 in slots
        for name in KEYS.indexes("a{b}")
    )


@given(times, times)
def test_places_sort_as_times_do(one: float, other: float) -> None:
    """Text and time agree about what is later, infinities and both zeros included."""
    assert (order_of(one) < order_of(other)) == (one < other)
    assert (order_of(one) == order_of(other)) == (one == other)


@given(times, texts.filter(bool))
def test_a_place_tells_what_it_was_made_of(updated: float, name: str) -> None:
    """Time and name come back from a place."""
    member = member_of(updated, name)
    assert (time_of(member), name_of(member)) == (updated, name)
