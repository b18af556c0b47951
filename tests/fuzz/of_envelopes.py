"""Encryption: what is sealed, and wrapped keys. Nothing that was not sealed is ever opened."""

from __future__ import annotations

from typing import Final

from durable_graph.encryption.envelope import NotSealedError, Opener, binding, is_sealed
from durable_graph.encryption.items import _parts
from durable_graph.encryption.keyring import is_wrapped, pack, unpack
from durable_graph.errors import DecryptionError
from durable_graph.ports.items import Entry
from tests.fuzz.target import Target

__all__ = ["BINDINGS", "ENVELOPES"]

_OPENER: Final = Opener(b"k" * 32)
_CONTENTS: Final = [b"", b"[1,2]", b"x" * 300]
_SEALED: Final = [_OPENER.seal(content, b"here") for content in _CONTENTS]


def _read(data: bytes) -> None:
    if is_wrapped(data):
        key, wrapped = unpack(data)
        assert data.startswith(pack(key, wrapped)[:5])
    elif is_sealed(data):
        opened = _OPENER.open(data, b"here")
        assert opened in _CONTENTS, opened
        for elsewhere in (b"", b"there"):
            try:
                _OPENER.open(data, elsewhere)
            except NotSealedError:
                continue
            raise AssertionError("It was opened elsewhere.")
    else:
        _parts(Entry(("a",), "k", data, 1, 0.0, 0.0))


def _bind(data: bytes) -> None:
    """Two lists of parts that are bound alike are the same."""
    one, _, other = data.partition(b"\n")
    lists = [
        [None if part == b"-" else part for part in line.split(b",")] if line else []
        for line in (one, other)
    ]
    bound = [binding(*parts) for parts in lists]
    assert (bound[0] == bound[1]) == (lists[0] == lists[1]), lists


ENVELOPES: Final = Target(
    "envelopes",
    _read,
    (NotSealedError, DecryptionError),
    [*_SEALED, pack("key-1", b"wrapped"), b"\0dge\x02" + b"0" * 40, b"\0dgv\x01\0\x04keyssealed"],
)
BINDINGS: Final = Target(
    "bindings", _bind, (), [b"a,b\nab", b"a,,b\na,b", b"-\n", b"-,a\n-a", b"\n,"]
)
