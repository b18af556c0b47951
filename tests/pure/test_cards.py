"""What a card says in its body."""

from __future__ import annotations

from typing import get_args

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.decisions.cards import ACTS, Act, ActKind, Notes, read_notes
from durable_graph.errors import IntegrityError

texts = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
times = st.floats(0, 1e10)
acts = st.builds(Act, st.sampled_from(get_args(ActKind)), times, texts, texts)
notes = st.builds(
    Notes,
    id=texts,
    created=st.none() | times,
    ttl=st.none() | times,
    deleted=st.booleans(),
    acts=st.lists(acts, max_size=4).map(tuple),
    rest=st.dictionaries(st.sampled_from(["more", "x"]), st.integers(0, 9)),
)


@given(notes)
def test_notes_come_back_as_they_were(one: Notes) -> None:
    """With what others have put there."""
    assert read_notes(one.encode(), "t") == one


def test_an_empty_body_says_nothing() -> None:
    """And nothing is written of what is as usual."""
    assert read_notes(b"{}", "t") == Notes()
    assert Notes().encode() == b"{}"


def test_the_last_acts_stay() -> None:
    """However often a thread is touched, its card stays small."""
    one = Notes()
    for number in range(ACTS + 5):
        one = one.after(Act("changed", float(number)))
    assert [act.time for act in one.acts] == [float(number) for number in range(5, ACTS + 5)]


def test_a_trace_has_acts_and_nothing_else() -> None:
    """What a thread was known by goes with it, also where an act says it."""
    one = Notes("id", 1.0, 2.0, acts=(Act("changed", 3.0, "ann", "tagged x"),), rest={"more": 1})
    trace = one.trace(Act("deleted", 4.0, "root"))
    assert trace == Notes(
        deleted=True, acts=(Act("changed", 3.0, "ann"), Act("deleted", 4.0, "root"))
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b'{"acts": 5}',
        b'{"acts": [{}]}',
        b'{"acts": [5]}',
        b'{"created": "now"}',
        b'{"ttl": true}',
        b'{"id": 5}',
        orjson.dumps({"acts": [{"what": "changed", "time": None}]}),
        orjson.dumps({"acts": [{"what": "changed", "time": 1, "by": 5}]}),
        orjson.dumps({"acts": [{"what": "burnt", "time": 1}]}),
        orjson.dumps({"acts": [{"what": ["changed"], "time": 1}]}),
    ],
)
def test_a_damaged_body_is_told(body: bytes) -> None:
    """With the thread whose card it is."""
    with pytest.raises(IntegrityError, match="'the thread'"):
        read_notes(body, "the thread")
