"""Records: their bodies, and threads of them in a chain that was made to fit by hand.

Whoever can write the storage, and knows or replaces a thread's secret, can forge the chain. So it
protects a reader from nothing but accidents.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import Any, Final, get_args

import orjson

from durable_graph.engine.history.reading import fold_records
from durable_graph.errors import IntegrityError
from durable_graph.log.fold import Scope
from durable_graph.log.records import Kind, Record, decode_body
from tests.fuzz.stored import stored_records
from tests.fuzz.target import Target

__all__ = ["BODIES", "SECRET", "THREADS", "forged"]

SECRET: Final = b"0123456789abcdef"
_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
_BETWEEN: Final = b"\n\n"
_MOST: Final = 6  # records of a seed


def _read_body(data: bytes) -> None:
    kind = _KINDS[data[0] % len(_KINDS)] if data else _KINDS[0]
    decode_body(kind, data[1:])


def _body_seeds() -> list[bytes]:
    return sorted(
        {
            bytes([_KINDS.index(record.kind)]) + record.body
            for records in stored_records()
            for record in records
            if record.body is not None and len(record.body) < 4000
        }
    )


def forged(header: bytes, body: bytes | None, previous: bytes = b"") -> Record:
    """A record with this header and body that fits the chain and what storage knows beside it."""
    plain: Any = None
    with contextlib.suppress(orjson.JSONDecodeError):
        plain = orjson.loads(header)
    known: dict[str, Any] = plain if isinstance(plain, dict) else {}
    digest = hashlib.blake2b(body or b"", digest_size=16, key=SECRET).digest()
    link = hashlib.blake2b(previous + digest + header, digest_size=32).digest()
    kind = known.get("kind", "commit")
    name = known.get("id") if kind == "commit" else None
    return Record(known.get("seq", 1), kind, name, header, body, digest, link, previous)


def _read_thread(data: bytes) -> None:
    lines = data.split(_BETWEEN)
    records: list[Record] = []
    for header, body in zip(lines[::2], lines[1::2], strict=False):
        records.append(forged(header, body, records[-1].link if records else b""))
    fold_records(Scope(), records, SECRET, "the thread")


def _thread_seeds() -> list[bytes]:
    return [
        _BETWEEN.join(
            part for record in records[:_MOST] for part in (record.header, record.body or b"")
        )
        for records in stored_records()
    ]


BODIES: Final = Target("bodies", _read_body, (IntegrityError,), _body_seeds())
THREADS: Final = Target("threads", _read_thread, (IntegrityError,), _thread_seeds())
