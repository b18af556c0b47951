"""Drafts become records: places without gaps, a chain of hashes, paths that are short enough."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.log.records import (
    FORMAT,
    Answers,
    Body,
    Commit,
    Mark,
    Outcome,
    Ranges,
    TaskResults,
)
from durable_graph.log.seal import (
    RECORD_COST,
    Draft,
    blob_digest,
    extend,
    open_header,
    open_record,
    snapshot_due,
)
from tests.pure.bodies import KEY, SECRET, bodies, draft, info, sealed

body_lists = st.lists(bodies, min_size=1, max_size=5)


def drafts_of(bodies: Sequence[Body]) -> list[Draft]:
    return [draft(body, f"c{place}") for place, body in enumerate(bodies)]


@given(body_lists)
def test_records_follow_one_another_without_gaps(bodies: list[Body]) -> None:
    """Sequence numbers begin at 1 and leave nothing out; the head names the last."""
    head, records = sealed(drafts_of(bodies))
    assert [record.seq for record in records] == list(range(1, len(bodies) + 1))
    assert (head.seq, head.link) == (records[-1].seq, records[-1].link)


@given(body_lists)
def test_each_link_is_a_hash_of_all_before_it(bodies: list[Body]) -> None:
    """A link is the hash of the previous link, the body's keyed digest and the header."""
    _, records = sealed(drafts_of(bodies))
    link = b""
    for record in records:
        assert record.body is not None
        digest = hashlib.blake2b(record.body, digest_size=16, key=SECRET).digest()
        assert (record.previous, record.digest) == (link, digest)
        link = hashlib.blake2b(link + digest + record.header, digest_size=32).digest()
        assert record.link == link


@given(body_lists, st.integers(0, 5))
def test_sealing_in_two_goes_is_sealing_in_one(bodies: list[Body], cut: int) -> None:
    """Records do not depend on how many of them were written together."""
    drafts = drafts_of(bodies)
    at = max(1, cut % (len(drafts) + 1))
    middle, first = sealed(drafts[:at])
    last, second = sealed(drafts[at:], middle) if drafts[at:] else (middle, ())
    assert (last, first + second) == sealed(drafts)


@given(body_lists)
def test_a_record_is_opened_as_it_was_sealed(bodies: list[Body]) -> None:
    """Header and body of a sealed record come back."""
    drafts = drafts_of(bodies)
    for place, record in enumerate(sealed(drafts)[1]):
        header, body = open_record(record, SECRET, "thread")
        assert body == bodies[place]
        assert (header.seq, header.kind) == (place + 1, record.kind)
        assert (header.time, header.run, header.by, header.ns) == (12.5, "run", None, "")


def test_a_header_says_all_that_was_said() -> None:
    """Everything in a draft but its body is in the header, and can be read without the body."""
    commit = info("c9", parent="c8", branch="c1", step=-1, source="fork", nodes=("a", "b"))
    made = Draft(Commit(delta={}), 1.25, None, "ann", "outer|inner", commit, (((1, 3),), 50))
    _, (*_, record) = sealed([*(draft(Mark("resumed")) for _ in range(3)), made])
    header = open_header(replace(record, body=None), "thread")
    assert (header.by, header.ns, header.run, header.time) == ("ann", "outer|inner", None, 1.25)
    assert header.commit is not None
    assert record.checkpoint == header.commit.id == "c9"
    assert header.commit.path == ((1, 3),)
    assert replace(header.commit, path=(), weight=0) == commit


def test_a_header_names_the_large_values_of_its_body() -> None:
    """The references in a body stand in its header, each once, so pruning reads no bodies."""
    one, two = (blob_digest(data, SECRET) for data in (b"1", b"2"))
    reference = f'[{{"~blob":"{two}"}},{{"~blob":"{one}"}},{{"~blob":"{two}"}}]'.encode()
    _, (record,) = sealed([draft(TaskResults([Outcome(0, [{"k": reference}])]))])
    assert open_header(record, "thread").blobs == tuple(sorted({one, two}))


def test_the_head_says_how_the_thread_stands() -> None:
    """Status, owner, epoch and input are those of the append; the first one dates the thread."""
    first, _ = sealed([draft(Commit(delta={}), "c0")], now=1.0)
    head, _ = sealed(
        [draft(Mark("stopped"))], first, status="stopped", owner=None, epoch=7, input="d", now=2.0
    )
    assert (head.status, head.owner, head.epoch, head.input) == ("stopped", None, 7, "d")
    assert (head.created, head.updated, head.run) == (1.0, 2.0, "run")
    assert (head.checkpoint, head.step, head.key, head.secret) == ("c0", 0, KEY, SECRET)


def test_a_large_values_name_differs_by_thread() -> None:
    """Equal values have equal names in one thread, and different ones in another."""
    assert blob_digest(b"x", SECRET) == blob_digest(b"x", SECRET) != blob_digest(b"x", b"another")
    assert len(bytes.fromhex(blob_digest(b"x", SECRET))) == 32


def test_a_header_is_json_with_its_version_first() -> None:
    """Whoever looks at a header sees by which format to read it."""
    _, (record,) = sealed([draft(Mark("resumed"))])
    assert next(iter(orjson.loads(record.header).items())) == ("v", FORMAT)


# -- paths, weights and snapshots -------------------------------------------------------------


def test_the_path_of_a_commit_leads_to_what_is_before_it() -> None:
    """A commit's header names the records to fold before it: all since the last snapshot."""
    commits = [draft(Commit(delta={}), "c0"), draft(Mark("resumed")), draft(Commit(delta={}), "c1")]
    snapshot = draft(Commit(values={}), "c2")
    head, records = sealed([*commits, snapshot, draft(Answers({})), draft(Commit(delta={}), "c3")])
    paths = [h.commit.path for r in records if (h := open_header(r, "thread")).commit]
    assert paths == [(), ((1, 2),), (), ((4, 5),)]
    assert head.path == ((4, 6),)


def test_a_branch_follows_the_path_of_the_position_it_leaves() -> None:
    """A commit onto an earlier position skips what came after that position."""
    head, _ = sealed([draft(Commit(delta={}), f"c{n}") for n in range(4)])
    onto = (((1, 2),), 1000)
    head, (branch, _) = sealed(
        [draft(Commit(delta={}), "b0", onto=onto), draft(Mark("resumed"))], head
    )
    commit = open_header(branch, "thread").commit
    assert commit is not None
    assert commit.path == ((1, 2),)
    assert commit.weight > 1000
    assert head.path == ((1, 2), (5, 6))


@given(st.lists(st.integers(0, 3), max_size=12))
def test_a_path_is_its_numbers_as_ranges(gaps: list[int]) -> None:
    """`extend` keeps ranges ascending and joins those that touch."""
    numbers, at = [], 0
    path: Ranges = ()
    for gap in gaps:
        at += gap + 1
        numbers.append(at)
        path = extend(path, at)
    assert [n for first, last in path for n in range(first, last + 1)] == numbers
    assert len(path) == sum(gap > 0 for gap in gaps[1:]) + bool(gaps)


@given(body_lists)
def test_sizes_are_what_was_written(bodies: list[Body]) -> None:
    """The head's size counts all records; what is fresh, those since the last snapshot."""
    head, records = sealed(drafts_of(bodies))
    costs = [len(r.header) + len(r.body or b"") + RECORD_COST for r in records]
    assert head.size == sum(costs)
    snapshots = [n for n, b in enumerate(bodies) if isinstance(b, Commit) and b.values is not None]
    assert head.fresh == sum(costs[snapshots[-1] + 1 :] if snapshots else costs)


@pytest.mark.parametrize(
    ("weight", "fresh", "state", "due"),
    [
        (8_000, 10**9, 0, False),
        (10_000, 10_000, 1_000, True),
        (10_000, 10_000, 5_000, False),
        (10**6, 10**6, 10**6 - 8_192, False),
        (10**6, 10**6, 10**6 - 8_193, True),
        (10**6, 400_000, 500_000, False),
        (10**6, 500_001, 500_000, True),
        (10**9, 0, 4, False),
    ],
)
def test_when_a_snapshot_is_due(weight: int, fresh: int, state: int, due: bool) -> None:
    """A snapshot is due once folding costs more than the state, and enough was written since."""
    assert snapshot_due(weight, fresh, lambda: state) is due


def test_a_small_thread_is_never_measured() -> None:
    """While there is little to fold, nobody asks how large the state is."""

    def measured() -> int:
        raise AssertionError

    assert not snapshot_due(8_192, 10**9, measured)
