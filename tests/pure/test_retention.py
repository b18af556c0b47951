"""Which checkpoints are kept, and when a thread may be deleted."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.decisions.retention import Retention, due_at, kept_checkpoints
from durable_graph.errors import ConfigError
from durable_graph.log.seal import Header
from tests.pure.bodies import info


def commit(seq: int, parent: int | None = None, ns: str = "") -> Header:
    made = info(f"c{seq}", parent=None if parent is None else f"c{parent}")
    return Header(seq, "commit", ns, float(seq), None, None, (), made)


def other(seq: int) -> Header:
    return Header(seq, "tasks", "", float(seq), None, None, (), None)


# One branch of four checkpoints; from the second another of two; from its first a third of one.
#   1 - 2 - 3 - 5        6 - 8        9
#        \_______________/ \__________/
THREAD = [
    commit(1),
    commit(2, 1),
    commit(3, 2),
    other(4),
    commit(5, 3),
    commit(6, 2),
    commit(7, 6, ns="inner:x"),
    commit(8, 6),
    commit(9, 6),
]
ENDS = {5, 8, 9}


@pytest.mark.parametrize(
    ("retention", "more"),
    [
        (Retention(keep_last=1), set[int]()),
        (Retention(keep_last=4), {6}),
        (Retention(keep_last=99), {1, 2, 3, 6}),
        (Retention(keep_for=0), set[int]()),
        (Retention(keep_for=4), {6}),
        (Retention(keep_for=99), {1, 2, 3, 6}),
        (Retention(keep_last=1, keep_for=7.5), {3, 6}),
        (Retention(keep_last=5, keep_for=0), {3, 6}),
    ],
)
def test_the_last_and_the_latest_are_kept(retention: Retention, more: set[int]) -> None:
    """With the end of every branch that nothing has gone on from; if both are said, either keeps.
    What graphs within have done is not counted."""
    assert kept_checkpoints(THREAD, retention, 9.5) == ENDS | more


def test_nothing_is_kept_of_nothing() -> None:
    """A log without checkpoints has none to keep."""
    assert kept_checkpoints([other(1)], Retention(keep_last=3), 9.0) == set()


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=30),
    st.integers(1, 30),
    st.floats(0, 30),
    st.floats(0, 40),
)
def test_every_checkpoint_leads_to_one_that_is_kept(
    parents: list[int], last: int, seconds: float, now: float
) -> None:
    """Whatever branches there are; and keeping more never keeps less."""
    headers = [commit(1)]
    headers += [commit(seq, 1 + parent % (seq - 1)) for seq, parent in enumerate(parents, 2)]
    less = kept_checkpoints(headers, Retention(keep_last=last), now)
    kept = kept_checkpoints(headers, Retention(keep_last=last, keep_for=seconds), now)
    assert less <= kept
    assert len(headers) in less
    followed: dict[int, set[int]] = {}
    for seq, parent in enumerate(parents, 2):
        followed.setdefault(1 + parent % (seq - 1), set()).add(seq)
    for header in headers:
        if header.seq not in followed:
            assert header.seq in less


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"keep_last": 0},
        {"keep_last": True},
        {"keep_last": 1.5},
        {"keep_for": -1},
        {"keep_for": "1 day"},
        {"keep_for": float("nan")},
    ],
)
def test_keeping_nothing_has_to_be_said_as_deleting(given: dict[str, Any]) -> None:
    """A retention says what is kept, in numbers."""
    with pytest.raises(ConfigError):
        Retention(**given)


@pytest.mark.parametrize(
    ("expires", "ttl", "changed", "due"),
    [(10.0, None, 99.0, 10.0), (10.0, 5.0, 5.0, 10.0), (10.0, 5.0, 8.0, 13.0)],
)
def test_a_change_puts_the_end_off(
    expires: float, ttl: float | None, changed: float, due: float
) -> None:
    """Where the limit is one of rest; one that is a point in time stays."""
    assert due_at(expires, ttl, changed) == due
