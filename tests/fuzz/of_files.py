"""Archives: one file with a whole thread, under checksums that were made to fit by hand."""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any, Final

import orjson

from durable_graph.errors import IntegrityError
from durable_graph.log.records import ThreadKey
from durable_graph.log.seal import blob_digest
from durable_graph.ports.backend import Card, Message
from durable_graph.ports.threadfile import WholeThread, check_content, read_thread, write_thread
from durable_graph.testing.contract_kit import Log, commit, mark, results
from tests.fuzz.of_records import SECRET, forged
from tests.fuzz.of_rows import fitting_card, fitting_head
from tests.fuzz.target import Target

__all__ = ["FILES"]


def _read(data: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        _open(data)
    for content in (data, _fitting(data)):
        checksum = hashlib.blake2b(content, digest_size=16).hexdigest().encode()
        with contextlib.suppress(IntegrityError):
            _open(b"durable_graph thread 1 " + checksum + b"\n" + content)


def _open(data: bytes) -> None:
    check_content(read_thread(data))


def _fitting(content: bytes) -> bytes:
    """The same with links and checksums that fit, as far as there is something to fit."""
    try:
        line, _, pieces = content.partition(b"\n")
        known = orjson.loads(line)
        _fit(known, pieces)
        return orjson.dumps(known) + b"\n" + pieces
    except (AttributeError, LookupError, StopIteration, TypeError, ValueError):
        return content


def _fit(known: dict[str, Any], pieces: bytes) -> None:
    sizes = iter(known["parts"])
    link, at = b"", 0
    for row in known["records"]["rows"]:
        header, at = pieces[at : at + (size := next(sizes))], at + size
        body = None
        if row[4]:
            body, at = pieces[at : at + (size := next(sizes))], at + size
        record = forged(header, body, link)
        link = record.link
        row[1:4] = [record.checkpoint, record.digest.hex(), link.hex()]
    key = ThreadKey(known["tenant"], known["thread"])
    known["head"][2:4] = [link.hex(), SECRET.hex()]
    known["head"] = orjson.loads(fitting_head(orjson.dumps(known["head"]), key))
    if known["card"] is not None:
        known["card"] = orjson.loads(fitting_card(orjson.dumps(known["card"]), key))


def _seed() -> bytes:
    log = Log("thread 'ä'", tenant="tenant")
    large = b"\x00large\xff\n" * 10
    digest = blob_digest(large, log.secret)
    value = b'{"~blob":"%b"}' % digest.encode()
    for drafts in ([commit("c1"), results()], [commit("c2", {"key": value}), mark("resumed")]):
        log.accept(log.next(*drafts, blobs={digest: large}))
    log.prune(((2, 2),))
    card = Card(3, "owner", ("a",), {"a": 1}, 1e9, None, 2.0, b'{"x":1}')
    message = Message("id", "answer", b"\xff\n", None, 1.5)
    whole = write_thread(WholeThread(log.now, log.records, {digest: large}, [message], card))
    return whole.partition(b"\n")[2]


FILES: Final = Target("files", _read, (), [_seed()])
