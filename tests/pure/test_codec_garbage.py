"""Bytes that nobody encoded: refused with one kind of error, and nothing happens meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_graph.errors import IntegrityError
from durable_graph.log.codec import Codec
from durable_graph.state.families import FAMILIES
from durable_graph.state.messages import MESSAGE_TYPES
from tests.pure.values import TAGS, json_values, values

codec = Codec(MESSAGE_TYPES, FAMILIES)


def _changed(data: bytes, place: int, how: str, byte: int) -> bytes:
    at = place % (len(data) + 1)
    match how:
        case "set":
            return data[:at] + bytes([byte]) + data[at + 1 :]
        case "insert":
            return data[:at] + bytes([byte]) + data[at:]
        case "cut":
            return data[:at]
        case _:
            return data[:at] + data[at + 1 :]


def no_zones(data: bytes) -> bool:
    return b'time":' not in data and b'"~zone"' not in data


# Named zones are looked up in the system's database, which the tests at the end are about.
damaged = st.builds(
    _changed,
    values.map(codec.encode).filter(no_zones),
    st.integers(0, 10_000),
    st.sampled_from(["set", "insert", "cut", "drop"]),
    st.integers(0, 255),
)
forged = st.recursive(
    json_values,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.builds(lambda tag, content: {tag: content}, st.sampled_from(TAGS), inner),
        st.builds(
            lambda name, content: {"~type": [name, 1, content]},
            st.sampled_from(
                [
                    "Message",
                    "~Message",
                    "~RemoveMessage",
                    "Known",
                    "os.system",
                    "builtins.eval",
                    "~numpy.ndarray",
                    "~numpy.float64",
                    "~numpy.load",
                    "~langchain.AIMessage",
                    "~langchain.Document",
                    "AIMessage",
                ]
            ),
            inner,
        ),
    ),
    max_leaves=15,
).map(orjson.dumps)
garbage = st.one_of(st.binary(max_size=60), damaged, forged)


@given(garbage)
@example(b"")
@example(b"\xff\xfe")
@example(b"nul")
@example(b"[1,2")
@example(b'{"~tuple":[1],"~tuple":[2]}')
@example(b'{"~dict":[[[],1]]}')
@example(b'{"~dict":{"a":1}}')
@example(b'{"~set":[{"~set":[]}]}')
@example(b'{"~type":["Message",1]}')
@example(b'{"~type":[["Message"],1,{}]}')
@example(b'{"~type":["Message",1,7]}')
@example(b'{"~blob":"' + b"0" * 64 + b'"}')
@example(b'{"~blob":["a"]}')
@example(b'{"~bytes":"not base64"}')
@example(b'{"~str":"7aCAgA=="}')
@example(b'{"~int":"1e5"}')
@example(b'{"~int":1e308}')
@example(b'{"~int":"' + b"9" * 5000 + b'"}')
@example(b'{"~float":"many"}')
@example(b'{"~decimal":"1E99999999999999999999"}')
@example(b'{"~uuid":"12"}')
@example(b'{"~datetime":["2020-02-30T00:00:00",0,null]}')
@example(b'{"~datetime":["2020-02-01T00:00:00",7,null]}')
@example(b'{"~datetime":["2020-02-01T00:00:00",0,[9,0,0]]}')
@example(b'{"~timedelta":[1e300]}')
@example(b'{"~date":20200101}')
@example(b'{"~complex":[]}')
@example(b'{"~deque":[[1,2],-1]}')
@example(b'{"~deque":[{"a":1},null]}')
@example(b'{"~range":[1,2,0]}')
@example(b'{"~range":[1,2]}')
@example(b'{"~range":["1",2,3]}')
@example(b'{"~counter":[[[],1]]}')
@example(b'{"~ordereddict":{"a":1}}')
@example(b'{"~defaultdict":["open",[]]}')
@example(b'{"~defaultdict":[["list"],[]]}')
@example(b'{"~fraction":[1,0]}')
@example(b'{"~fraction":["1e9999999","1"]}')
@example(b'{"~fraction":["1e999999999",null]}')
@example(b'{"~fraction":[{"~decimal":"1E+999999999"},null]}')
@example(b'{"~zone":{"~ip":["IPv6Network","::/64"]}}')
@example(b'{"~type":["~langchain.AIMessage",1,{"fields":{},"set":{"~range":[0,1000000000000,1]}}]}')
@example(b'{"~memoryview":["A",true]}')
@example(b'{"~zone":7}')
@example(b'{"~path":["Path","a"]}')
@example(b'{"~path":["WindowsPath","a"]}')
@example(b'{"~path":["PosixPath",["a"]]}')
@example(b'{"~ip":["IPv4Address",7]}')
@example(b'{"~ip":["IPv4Address","::1"]}')
@example(b'{"~ip":["int","7"]}')
@example(b'{"~type":["~numpy.ndarray",1,["<f8",[-1],"C",{"~bytes":""}]]}')
@example(b'{"~type":["~langchain.AIMessage",1,{"fields":[],"set":[]}]}')
@example(b'{"~type":["~langchain.AIMessage",1,{"fields":{},"set":[[]]}]}')
def test_garbage_is_refused_as_damaged(data: bytes) -> None:
    """Whatever the bytes are, decoding gives a value or an IntegrityError, nothing else."""
    try:
        codec.decode(data)
    except IntegrityError:
        return


@pytest.mark.parametrize("opening", [b"[", b'{"k":', b'{"~tuple":[', b'{"~frozenset":['])
@pytest.mark.parametrize("depth", [500, 1020, 100_000])
def test_deep_garbage_is_refused_as_damaged(opening: bytes, depth: int) -> None:
    """Nesting that no encoding has is refused, not recursed into until the stack ends."""
    closing = b"]" * opening.count(b"[") + b"}" * opening.count(b"{")
    for data in (opening * depth, opening * depth + b'{"~set":[]}' + closing * depth):
        try:
            codec.decode(data)
        except IntegrityError:
            continue
        assert depth == 500


def test_a_large_value_that_refers_to_itself_is_refused() -> None:
    """A forged reference to itself ends in an IntegrityError."""
    digest = "ab" * 32
    with pytest.raises(IntegrityError):
        codec.decode(
            b'{"~blob":"%b"}' % digest.encode(), {digest: b'[{"~blob":"%b"}]' % digest.encode()}
        )


Audit = Callable[[bytes], dict[str, Any]]


@pytest.fixture(scope="module")
def audited() -> Iterator[Audit]:
    """Decodes in a process of its own, which tells what happened there."""
    script = Path(__file__).with_name("audited_decode.py")
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def decode(data: bytes) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(data.hex() + "\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            return answer

        yield decode
        process.stdin.close()
        process.wait(10)


@given(garbage)
@example(b'{"~type":["os.system",1,"true"]}')
@example(b'{"~type":["builtins.eval",1,"1"]}')
@example(b'{"~type":["Known",1,{"__class__":1,"__reduce__":[]}]}')
@example(b'{"lc":1,"type":"constructor","id":["os","system"],"kwargs":{}}')
@example(b'{"py/object":"os.system"}')
@example(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.")
def test_decoding_does_nothing_but_decode(audited: Audit, data: bytes) -> None:
    """No import, no file, no code, no process: decoding raises not one audit event."""
    answer = audited(data)
    assert not answer["seen"]
    assert not answer["raised"] or "IntegrityError" in answer["raised"]


@given(values.map(codec.encode).filter(no_zones))
def test_decoding_what_was_stored_does_nothing_else(audited: Audit, data: bytes) -> None:
    """Decoding valid bytes raises not one audit event either."""
    assert audited(data) == {"raised": [], "seen": []}


def _moment(zone: str) -> bytes:
    return orjson.dumps({"~datetime": ["2020-01-01T00:00:00", 0, zone]})


def test_the_watch_sees_what_happens(audited: Audit) -> None:
    """The two tests above can fail: a zone's file, opened on first use, is reported."""
    assert any("open" in seen for seen in audited(_moment("Pacific/Chatham"))["seen"])
    assert not audited(_moment("Pacific/Chatham"))["seen"]


@pytest.mark.parametrize(
    "zone",
    ["", "/etc/passwd", "../../etc/passwd", "Europe/../../x", "a\0b", ".", "Europe", "x" * 5000],
)
def test_a_zones_name_leads_to_no_other_file(audited: Audit, zone: str) -> None:
    """A forged name of a zone opens nothing outside the database of zones."""
    answer = audited(_moment(zone))
    assert "IntegrityError" in answer["raised"]
    assert not [seen for seen in answer["seen"] if "open" in seen and "zoneinfo" not in seen]


def test_an_unknown_zone_makes_nobody_look_for_a_module(audited: Audit) -> None:
    """A name in the data never becomes the name of a module that is looked for."""
    audited(_moment("UTC"))  # the first time, it is found out which zones there are
    answer = audited(_moment("Nowhere/Atall"))
    assert "UnknownTypeError" in answer["raised"]
    assert not answer["seen"]
