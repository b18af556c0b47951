"""Several pieces of bytes and what is known of them, as one object that shows any damage.

The first line says what it is, in which version, and the checksum of all that follows. The second
is JSON: what is known, and how long the pieces are. Then come the pieces themselves, so `less`
shows a human what is in them::

    durable_graph thread 1 5f0c...
    {"parts":[312,4711],"head":{...}}
    ...

The checksum is no protection against those who mean harm: they can make one that fits. Whoever
reads the JSON has to expect anything in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from durable_graph.errors import IntegrityError, UnknownTypeError

__all__ = ["pack", "unpack"]

_MAGIC: Final = b"durable_graph"
_MOST: Final = 200  # characters of the first line


def pack(kind: str, version: int, known: Mapping[str, Any], parts: Sequence[bytes]) -> bytes:
    """One object of pieces and what is known of them.

    Args:
        kind: what it is, a word.
        version: of that kind's form, from 1.
        known: what `orjson` can write; "parts" is taken.
        parts: the pieces.
    """
    line = orjson.dumps({"parts": [len(part) for part in parts], **known})
    rest = b"".join((line, b"\n", *parts))
    return b"%b %b %d %b\n%b" % (_MAGIC, kind.encode(), version, _checksum(rest), rest)


def unpack(kind: str, version: int, data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """What is known, and the pieces.

    Args:
        kind: what it has to be.
        version: the newest that is understood.
        data: the object.

    Raises:
        IntegrityError: it is damaged, cut off, or something else.
        UnknownTypeError: it has a newer version.
    """
    end = data.find(b"\n", 0, _MOST)
    words = data[: max(end, 0)].split(b" ")
    if len(words) != 4 or words[:2] != [_MAGIC, kind.encode()] or not words[2].isdigit():
        raise IntegrityError(f"This is no {kind} of durable_graph, or its first line is damaged.")
    rest = data[end + 1 :]
    if _checksum(rest) != words[3]:
        raise IntegrityError(f"This {kind} is damaged or cut off: its checksum does not fit.")
    if not 1 <= int(words[2]) <= version:
        raise UnknownTypeError(
            f"This {kind} has format {int(words[2])}; this version reads up to {version}. It was "
            f"written by a newer one: upgrade."
        )
    try:
        line, _, pieces = rest.partition(b"\n")
        known = orjson.loads(line)
        parts = _cut(pieces, known.pop("parts"))
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise IntegrityError(f"This {kind} is damaged: it cannot be read.") from error
    return known, parts


def _cut(pieces: bytes, sizes: Any) -> list[bytes]:
    parts = []
    start = 0
    for size in sizes:
        if type(size) is not int or not 0 <= size <= len(pieces) - start:
            raise ValueError("not as long as it should be")
        parts.append(pieces[start : start + size])
        start += size
    if start != len(pieces):
        raise ValueError("longer than it should be")
    return parts


def _checksum(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).hexdigest().encode()
