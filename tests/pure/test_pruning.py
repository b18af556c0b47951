"""Which records and large values are of no use any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.decisions.pruning import last_checkpoints, unneeded
from durable_graph.log.records import Ranges
from durable_graph.log.seal import CommitInfo, Header, extend
from tests.pure.bodies import info


def header(seq: int, path: Ranges | None = None, *blobs: str) -> Header:
    commit: CommitInfo | None = None
    if path is not None:
        commit = info(f"c{seq}", path=path)
    return Header(seq, "mark" if commit is None else "commit", "", 0.0, None, None, blobs, commit)


def numbers(ranges: Ranges) -> list[int]:
    return [seq for first, last in ranges for seq in range(first, last + 1)]


def gone(headers: Sequence[Header], path: Ranges, keep: int) -> list[int]:
    """The records that go when the last so many checkpoints are kept."""
    return numbers(unneeded(headers, path, last_checkpoints(headers, keep))[0])


# Input, two supersteps with a result between them, a snapshot, and one step more.
THREAD = [
    header(1, ()),
    header(2, ((1, 1),), "a"),
    header(3, None, "b"),
    header(4, ((1, 3),), "a"),
    header(5, (), "c", "b"),
    header(6, None),
    header(7, ((5, 6),), "d"),
]


@pytest.mark.parametrize(
    ("keep", "gone", "blobs"),
    [
        (1, [1, 2, 3, 4], ["a"]),
        (2, [1, 2, 3, 4], ["a"]),
        (3, [], []),
        (99, [], []),
    ],
)
def test_what_the_last_checkpoints_need_stays(
    keep: int, gone: Sequence[int], blobs: Sequence[str]
) -> None:
    """What the present state and the last checkpoints are folded from stays, and no more."""
    bodies, freed = unneeded(THREAD, ((5, 7),), last_checkpoints(THREAD, keep))
    assert (numbers(bodies), freed) == (list(gone), list(blobs))


def test_what_became_of_a_kept_checkpoints_tasks_stays() -> None:
    """The records after it, up to the next commit, say how its tasks ended."""
    thread = [header(1, ()), header(2), header(3), header(4, ()), header(5, ())]
    assert gone(thread, ((5, 5),), 2) == [1, 2, 3]
    assert gone(thread, ((5, 5),), 3) == []


def test_the_present_branch_stays_although_it_is_old() -> None:
    """The head's own path is needed, wherever the last checkpoints are."""
    thread = [header(1, ()), header(2, ((1, 1),)), header(3, ()), header(4, ())]
    assert gone(thread, ((1, 2),), 1) == [3]


def test_an_empty_thread_has_nothing_to_prune() -> None:
    """Nothing comes of nothing."""
    assert unneeded([], (), last_checkpoints([], 1)) == ((), [])


@st.composite
def threads(draw: st.DrawFn) -> tuple[list[Header], Ranges]:
    """A thread that branches at will, and the path of its head."""
    names = st.lists(st.sampled_from("abcdef"), max_size=2, unique=True)
    headers = [header(1, (), *draw(names))]
    path: Ranges = ((1, 1),)
    known = [path]
    for seq in range(2, draw(st.integers(2, 14))):
        kind = draw(st.sampled_from(["commit", "commit", "snapshot", "fork", "other"]))
        if kind == "snapshot":
            path = ()
        elif kind == "fork":
            path = draw(st.sampled_from(known))
        headers.append(header(seq, None if kind == "other" else path, *draw(names)))
        path = extend(path, seq)
        known.append(path)
    return headers, path


@given(threads(), st.integers(1, 4))
def test_pruning_frees_all_it_can_and_nothing_else(
    thread: tuple[list[Header], Ranges], keep: int
) -> None:
    """Every kept checkpoint keeps its path; a value goes when, and only when, nobody names it."""
    headers, path = thread
    ranges, freed = unneeded(headers, path, last_checkpoints(headers, keep))
    gone = set(numbers(ranges))
    commits = [h for h in headers if h.commit is not None][-keep:]
    needed = set(numbers(path))
    for commit in commits:
        assert commit.commit is not None
        needed |= {*numbers(commit.commit.path), commit.seq}
    assert not gone & needed
    left = {name for h in headers if h.seq not in gone for name in h.blobs}
    assert set(freed) == {name for h in headers if h.seq in gone for name in h.blobs} - left
    assert unneeded(headers, path, range(1, len(headers) + 1))[0] == ()


def test_checkpoints_of_graphs_within_are_part_of_the_root_graphs() -> None:
    """They are not counted, and stay with the checkpoint whose task called them."""
    thread = [
        header(1, ()),
        header(2, ()),
        replace(header(3, ((2, 2),)), ns="sub:id"),
        replace(header(4, ((2, 3),)), ns="sub:id"),
        header(5, ()),
    ]
    assert gone(thread, ((5, 5),), 2) == [1]
