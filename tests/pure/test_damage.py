"""Records that are not what was written: each kind of damage is found and named."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.errors import IntegrityError, UnknownTypeError
from durable_graph.log import seal as seal_module
from durable_graph.log.records import FORMAT, Body, Commit, Mark, Outcome, Record
from durable_graph.log.seal import open_header, open_record
from tests.pure.bodies import SECRET, bodies, draft, sealed


@pytest.fixture(scope="module")
def record() -> Record:
    """A commit in the middle of a thread."""
    body = Commit([Outcome(0, [{"k": b"[1,2]"}], ("a",))], {"k": ("w", 0)}, joins={"j": ("a",)})
    head, _ = sealed([draft(Mark("resumed"))])
    return sealed([draft(body, "c1")], head)[1][0]


def _with(record: Record, part: str, data: bytes) -> Record:
    change: dict[str, Any] = {part: data}
    return replace(record, **change)


@pytest.mark.parametrize("part", ["header", "body", "digest", "link", "previous"])
def test_every_flipped_bit_is_refused(record: Record, part: str) -> None:
    """A change of any single bit of a record is found, wherever it is."""
    data: bytes = getattr(record, part)
    for place in range(len(data)):
        for bit in range(8):
            flipped = bytes([data[place] ^ 1 << bit])
            changed = _with(record, part, data[:place] + flipped + data[place + 1 :])
            with pytest.raises(IntegrityError, match="'thread'"):
                open_record(changed, SECRET, "thread")


@pytest.mark.parametrize("part", ["header", "body", "digest", "link", "previous"])
@given(st.integers(0, 10_000), st.binary(max_size=5))
def test_a_record_that_was_cut_or_patched_is_refused(
    record: Record, part: str, place: int, patch: bytes
) -> None:
    """No part of a record can be cut short, lengthened or written over."""
    data: bytes = getattr(record, part)
    at = place % (len(data) + 1)
    for changed in (data[:at], data[:at] + patch, data[:at] + patch + data[at:], data + patch):
        if changed == data:
            continue
        with pytest.raises(IntegrityError):
            open_record(_with(record, part, changed), SECRET, "thread")


@pytest.mark.parametrize(
    "change",
    [
        {"seq": 3},
        {"kind": "mark"},
        {"checkpoint": "c2"},
        {"checkpoint": None},
    ],
    ids=["seq", "kind", "checkpoint", "no checkpoint"],
)
def test_what_stands_beside_a_record_must_agree_with_it(
    record: Record, change: dict[str, Any]
) -> None:
    """The columns that a backend finds a record by say what its header says."""
    with pytest.raises(IntegrityError):
        open_record(replace(record, **change), SECRET, "thread")


@given(bodies)
def test_a_body_of_another_thread_is_refused(body: Body) -> None:
    """Digests are keyed by the thread's secret: what was moved between threads is found."""
    _, (record,) = sealed([draft(body)])
    with pytest.raises(IntegrityError, match="body of record 1 of thread 'thread' is damaged"):
        open_record(record, b"another thread's", "thread")


def test_records_that_changed_places_are_refused() -> None:
    """Two records of one thread cannot be exchanged, even with their numbers."""
    _, (one, two) = sealed([draft(Mark("resumed")), draft(Mark("stopped"))])
    for moved in (replace(two, seq=1, previous=b""), replace(one, seq=2, previous=one.link)):
        with pytest.raises(IntegrityError, match="does not fit the hash chain"):
            open_record(moved, SECRET, "thread")


def test_a_pruned_record_keeps_its_header() -> None:
    """Without its body a record still fits the chain; asked for the body, it says it is gone."""
    _, (record,) = sealed([draft(Mark("resumed"))])
    pruned = replace(record, body=None)
    assert open_header(pruned, "thread") == open_header(record, "thread")
    with pytest.raises(IntegrityError, match="Record 1 of thread 'thread' was pruned"):
        open_record(pruned, SECRET, "thread")


def test_a_newer_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a later version wrote is refused by name, not read as if it were known."""
    monkeypatch.setattr(seal_module, "FORMAT", FORMAT + 1)
    _, (record,) = sealed([draft(Mark("resumed"))])
    monkeypatch.undo()
    with pytest.raises(UnknownTypeError, match=f"has format {FORMAT + 1}; this version reads"):
        open_record(record, SECRET, "thread")


@pytest.mark.parametrize("header", [b"", b"[]", b"7", b"{}", b'{"v":1}', b'{"v":1,"seq":1}'])
def test_a_forged_header_is_refused(header: bytes) -> None:
    """A header that fits the chain and says nothing sensible is damage, not a crash."""
    link = hashlib.blake2b(b"\0" * 16 + header, digest_size=32).digest()
    record = Record(1, "mark", None, header, b"{}", b"\0" * 16, link)
    with pytest.raises(IntegrityError, match="header of record 1 of thread 'thread' is damaged"):
        open_header(record, "thread")


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": [[1, 10**12]]},
        {"path": [[5, 1]]},
        {"path": [["1", "1"]]},
        {"step": "1"},
        {"time": None},
        {"meta": []},
        {"nodes": [7]},
        {"blobs": [7]},
        {"branch": None},
        {"by": 7},
    ],
    ids=str,
)
def test_a_forged_commit_is_refused(record: Record, wrong: dict[str, Any]) -> None:
    """Neither its kinds nor where it is folded from are taken from a header as they come."""
    header = orjson.dumps({**orjson.loads(record.header), **wrong})
    link = hashlib.blake2b(record.previous + record.digest + header, digest_size=32).digest()
    with pytest.raises(IntegrityError, match="header of record 2 of thread 'thread' is damaged"):
        open_header(replace(record, header=header, link=link), "thread")
