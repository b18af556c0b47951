"""Bodies of records: stored as lines, read back as they were."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_graph.errors import ConfigError, IntegrityError
from durable_graph.log.delta import Op
from durable_graph.log.records import (
    KIND_OF,
    Answers,
    Body,
    Commit,
    DueTask,
    Kind,
    Mark,
    Outcome,
    TaskResults,
    ThreadKey,
    decode_body,
    encode_body,
)
from tests.pure.bodies import bodies
from tests.pure.values import json_values


@given(bodies)
@example(Commit(outcomes=[], delta={}, due=[], known=[]))
@example(Commit(outcomes=[], values={}, due=[], known=[]))
@example(TaskResults([]))
@example(Answers({}))
@example(Mark("", None))
@example(Commit([], {}, due=[DueTask("n", None, 0), DueTask("n", b"1"), DueTask("n")], known=[]))
def test_a_body_comes_back(body: Body) -> None:
    """Decoding an encoded body gives an equal one, and its encoding is the same again."""
    data = encode_body(body)
    again = decode_body(KIND_OF[type(body)], data)
    assert again == body
    assert encode_body(again) == data


@pytest.mark.parametrize(
    "op",
    [
        ("=", b"[1]"),
        ("+", b"[1]"),
        ("~", 1, 2, b"[1]"),
        ("m", {"a": b"1", "b": b"1"}, ("c", "d")),
        ("m", {}, ()),
        ("w", 3),
        ("a",),
        ("a", 0, 2),
        ("",),
        ("-",),
    ],
)
def test_each_operation_comes_back(op: Op) -> None:
    """In a commit's delta as in what a task wrote, every operation is read as it was written."""
    body = Commit([Outcome(0, [{"k": op}])], {"k": op}, due=[], known=[])
    assert decode_body("commit", encode_body(body)) == body


@given(bodies)
def test_a_body_is_lines_of_json(body: Body) -> None:
    """Each line of a body is JSON by itself, so that tools can show it; no value is repeated."""
    structure, *lines = encode_body(body).split(b"\n")
    assert isinstance(orjson.loads(structure), dict)
    for line in lines:
        orjson.loads(line)
    assert len(set(lines)) == len(lines)


def test_a_value_is_taken_over_unparsed() -> None:
    """The bytes of a value are kept as they are, even where JSON allows another spelling."""
    body = Answers({"q": b'{"a" : 1.50}'})
    assert decode_body("answers", encode_body(body)) == body


_kinds: list[Kind] = ["commit", "tasks", "steps", "answers", "mark"]


@given(st.sampled_from(_kinds), st.binary(max_size=40) | json_values.map(orjson.dumps))
@example("commit", b"[]")
@example("commit", b'{"delta":[1]}')
@example("commit", b'{"delta":{"k":["=",0]}}')
@example("commit", b'{"due":[[]]}')
@example("commit", b'{"due":[["n",5]]}')
@example("commit", b'{"joins":5}')
@example("commit", b'{"known":[{}]}')
@example("commit", b'{"delta":{"k":["q",0]}}\n1')
@example("commit", b'{"delta":{"k":["w","0"]}}\n1')
@example("tasks", b"null")
@example("tasks", b'{"outcomes":[{"index":0,"writes":[{"k":3}]}]}\n1')
@example("tasks", b'{"outcomes":[{"index":0,"asks":[["q"]]}]}')
@example("steps", b'{"steps":[{"index":0}]}')
@example("steps", b'{"steps":[{"index":0,"id":"","name":"","kind":"","digest":"","state":"done"}]}')
@example("steps", b'{"steps":[{"index":0,"id":"","name":"","kind":"","digest":1,"state":""}]}')
@example("answers", b'{"answers":{"q":7}}\n1')
@example("mark", b"{}")
def test_a_body_that_nobody_encoded_is_damaged(kind: Kind, data: bytes) -> None:
    """Whatever the bytes are, decoding gives a body or an IntegrityError, nothing else."""
    try:
        decode_body(kind, data)
    except IntegrityError as error:
        assert f"a {kind} record is damaged" in str(error)  # noqa: PT017 - most do not fail


def test_an_unknown_kind_is_damage() -> None:
    """There are five kinds of records; another one is not guessed at."""
    with pytest.raises(IntegrityError, match="no kind of record called 'note'"):
        decode_body("note", b"{}")  # type: ignore[arg-type]


def test_an_errors_text_may_be_any_text() -> None:
    """An error about a file name that is no UTF-8 is written down, with what is not, escaped."""
    results = TaskResults([Outcome(0, [], error="ValueError: no file \udce4")])
    read = decode_body("tasks", encode_body(results))
    assert read == TaskResults([Outcome(0, [], error="ValueError: no file \\udce4")])
    mark = decode_body("mark", encode_body(Mark("failed", "\ud800")))
    assert mark == Mark("failed", "\\ud800")


@pytest.mark.parametrize("name", ["a", 7, "x" * 255, "user:7/Größe 😀", " "])
def test_a_thread_id_is_any_printable_text(name: str | int) -> None:
    """A thread id is 1 to 255 printable characters; an int stands for its digits."""
    assert ThreadKey.of(name, "tenant") == ("tenant", str(name))


@pytest.mark.parametrize(
    "name", ["", "x" * 256, "a\n", "\0", "\ud800", b"a", None, 1.5, True, ["a"], {"$ne": 1}]
)
def test_another_thread_id_is_refused(name: object) -> None:
    """What is no such text is refused before anything is read."""
    with pytest.raises(ConfigError, match="thread_id"):
        ThreadKey.of(name)
