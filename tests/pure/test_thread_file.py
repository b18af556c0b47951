"""One file for a whole thread: what was written is read, and nothing else ever is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph.errors import IntegrityError, UnknownTypeError
from durable_graph.log.container import pack, unpack
from durable_graph.log.seal import blob_digest
from durable_graph.ports.backend import Card, Message
from durable_graph.ports.threadfile import (
    WholeThread,
    check_content,
    read_thread,
    write_thread,
)
from durable_graph.testing.contract_kit import Log, commit, mark, results


def _thread() -> WholeThread:
    """A thread with everything: branches, a pruned record, a large value, a message and a card."""
    log = Log("thread 'ä'", tenant="tenant")
    large = b"\x00large\xff\n" * 10
    digest = blob_digest(large, log.secret)
    value = b'{"~blob":"%b"}' % digest.encode()
    for drafts in ([commit("c1"), results()], [commit("c2", {"key": value}), mark("resumed")]):
        log.accept(log.next(*drafts, blobs={digest: large}, reason="a\0b"))
    log.prune(((2, 2),))
    card = Card(3, "owner", ("a", "ä"), {"a": 1, "b": None, "c": 1.5}, 1e9, None, 2.0, b'{"x":1}')
    message = Message("id", "answer", b"\xff\n", None, 1.5)
    return WholeThread(log.now, log.records, {digest: large}, [message], card)


def test_what_is_written_is_read() -> None:
    """A file gives back the thread, to the byte, and is the same whenever it is written."""
    whole = _thread()
    data = write_thread(whole)
    assert read_thread(data) == whole
    assert write_thread(whole) == data


def test_a_thread_may_have_nothing_beside_its_log() -> None:
    """No large values, no messages and no card are read as that."""
    whole = replace(_thread(), messages=(), card=None)
    read = read_thread(write_thread(whole))
    assert (read.card, list(read.messages)) == (None, [])


def test_a_human_can_see_what_it_is() -> None:
    """The first line names the kind and the version, the second is JSON with the thread's name."""
    first, second, _ = write_thread(_thread()).split(b"\n", 2)
    assert first.startswith(b"durable_graph thread 1 ")
    assert orjson.loads(second)["thread"] == "thread 'ä'"


def test_every_changed_byte_is_found() -> None:
    """A file of which any one byte has changed is refused."""
    data = write_thread(_thread())
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :]
        with pytest.raises((IntegrityError, UnknownTypeError)):
            read_thread(changed)


def test_every_file_that_was_cut_off_is_found() -> None:
    """A file that ends too early, or goes on behind its end, is refused."""
    data = write_thread(_thread())
    for size in range(len(data)):
        with pytest.raises(IntegrityError):
            read_thread(data[:size])
    with pytest.raises(IntegrityError):
        read_thread(data + b"\n")


@given(st.binary(max_size=300))
def test_anything_else_is_refused(data: bytes) -> None:
    """Bytes that are no such file raise `IntegrityError` and nothing else."""
    with pytest.raises(IntegrityError):
        read_thread(data)


def test_a_file_of_another_kind_is_refused() -> None:
    """An object that is whole, but holds something else, is no thread."""
    with pytest.raises(IntegrityError, match="no thread"):
        read_thread(pack("segment", 1, {}, [b"x"]))


def test_a_newer_version_is_refused() -> None:
    """A file of a version that is not known yet is not guessed at."""
    with pytest.raises(UnknownTypeError, match="upgrade"):
        read_thread(pack("thread", 2, {}, []))


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)


@given(st.sampled_from(["head", "card", "records", "blobs", "messages", "thread"]), _PLAIN)
def test_a_forged_file_is_refused(name: str, value: Any) -> None:
    """Whoever can make the checksum fit can still not make a thread that is none: whatever they
    put in the place of a part, `IntegrityError` is raised, or it was none of the file's matter."""
    data = write_thread(_thread())
    known, parts = unpack("thread", 1, data)
    forged = pack("thread", 1, {**known, name: value}, parts)
    try:
        read = read_thread(forged)
    except IntegrityError:
        return
    assert name in ("card", "messages", "blobs")
    assert write_thread(read)


def _without_a_record(whole: WholeThread) -> WholeThread:
    return replace(whole, records=[*whole.records[:1], *whole.records[2:]])


def _without_the_last(whole: WholeThread) -> WholeThread:
    return replace(whole, records=whole.records[:-1])


def _without_a_blob(whole: WholeThread) -> WholeThread:
    return replace(whole, blobs={})


def _with_another_header(whole: WholeThread) -> WholeThread:
    first = whole.records[0]
    header = first.header.replace(b'"loop"', b'"fork"')
    assert header != first.header
    return replace(whole, records=[replace(first, header=header), *whole.records[1:]])


@pytest.mark.parametrize(
    "spoil", [_without_a_record, _without_the_last, _without_a_blob, _with_another_header]
)
def test_a_log_that_is_not_whole_is_refused(
    spoil: Callable[[WholeThread], WholeThread],
) -> None:
    """A file whose checksum fits, but whose log has a gap or another history, is refused."""
    with pytest.raises(IntegrityError):
        read_thread(write_thread(spoil(_thread())))


def test_content_is_checked_on_request() -> None:
    """Bodies and large values are looked into by `check_content`: what storage keeps may be
    encrypted, and then only the chain can be checked."""
    whole = _thread()
    check_content(read_thread(write_thread(whole)))
    first = replace(whole.records[0], body=b"[]\nciphertext")
    for spoilt in (
        replace(whole, records=[first, *whole.records[1:]]),
        replace(whole, blobs=dict.fromkeys(whole.blobs, b"ciphertext")),
    ):
        read = read_thread(write_thread(spoilt))
        with pytest.raises(IntegrityError):
            check_content(read)
