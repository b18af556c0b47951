"""The port to storage of a store's items: what a system must do to hold them.

A store on this port brings storage alone: `durable_graph.store.ItemStore` checks what is asked,
encodes values, filters, ranks and puts batches together. These docstrings are the specification;
`durable_graph.testing.check_store` is the same as code, for the store that is made of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from durable_graph.decisions.items import ABSENT, Entry, Namespace, Place, Write
from durable_graph.errors import IntegrityError

__all__ = [
    "ABSENT",
    "DamagedItemError",
    "Entry",
    "Items",
    "ItemsCapabilities",
    "Namespace",
    "Near",
    "Place",
    "Puts",
    "Ranking",
    "Write",
    "beneath",
    "checksum",
    "damaged",
    "from_bytes",
    "pack_vectors",
    "to_bytes",
    "unpack_vectors",
]

_SIZE: Final = 4  # bytes that say how long a packed vector is


@dataclass(frozen=True, slots=True)
class ItemsCapabilities:
    """What storage of items guarantees.

    Attributes:
        durable: what was acknowledged survives the end of this process.
        shared: several processes can open the same storage.
        immediate: its calls never wait for anything, so that they need no event loop.
        most_writes: how many places one atomic operation can write, 100 or more; ``None`` for any
            number.
        ranks: it finds by itself what comes near to a vector; it is a `Ranking`.
    """

    durable: bool
    shared: bool
    immediate: bool = False
    most_writes: int | None = None
    ranks: bool = False


class DamagedItemError(IntegrityError):
    """An entry is not what was written, where it is known which.

    Attributes:
        entry: its place and version, as they are stored.
    """

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        super().__init__(
            f"What is stored under {entry.key!r:.200} in {entry.namespace!r:.500} is damaged."
        )


class Items(Protocol):
    """Holds entries under namespace and key.

    An instance can be used from several event loops, and opens what it needs on first use. Every
    method may raise `StorageError` and its leaves, and those that read `IntegrityError`.
    Cancelling a call never tears a write apart.

    Each call is told the time. What has expired by then is not there: it is neither found, nor
    does a write meet it. Versions, values and vectors mean nothing to storage; words and keys are
    any text without zero bytes.
    """

    @property
    def capabilities(self) -> ItemsCapabilities:
        """What it guarantees."""
        ...

    async def fetch(self, places: Sequence[Place], now: float) -> Sequence[Entry | None]:
        """The entries at these places, in this order; they may come without their vectors."""
        ...

    async def scan(
        self,
        prefix: Namespace,
        now: float,
        *,
        limit: int,
        after: Entry | None = None,
        vectors: bool = False,
    ) -> Sequence[Entry]:
        """Entries in a namespace and beneath it, by `Entry.order`, the greatest first.

        Args:
            prefix: the namespace's first words; ``()`` for all.
            now: Unix time.
            limit: how many; fewer only if there are no more.
            after: the last entry of the page before.
            vectors: whether their vectors are needed.

        Raises:
            DamagedItemError: one of them is damaged; whoever can do without it goes on after it.
        """
        ...

    async def namespaces(
        self, prefix: Namespace, now: float, *, limit: int, after: Namespace | None = None
    ) -> Sequence[Namespace]:
        """The namespaces that hold something, each once, in order.

        Args:
            prefix: their first words.
            now: Unix time.
            limit: how many; fewer only if there are no more.
            after: the last of the page before.
        """
        ...

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        """Write all of these in one atomic operation, or none.

        Each place is in there once at most. What becomes of an entry that is there already is
        told by `Write.allows` and `Write.over`. It may also remove some of what has expired, as
        many as it writes or a bit more, so that nobody has to come for it.

        Returns:
            The places whose condition does not hold; empty if all is written.

        Raises:
            StorageFullError: nothing was written.
            OutcomeUnknownError: all of it may have been written.
        """
        ...

    async def prolong(self, entries: Sequence[tuple[Entry, float]], now: float) -> None:
        """Let entries expire later than they would, each at its time.

        Only those that are still of the version they were read in; the others have a new time
        anyway, or are gone. One that others have prolonged for longer meanwhile keeps that.
        """
        ...

    async def sweep(self, now: float, *, limit: int) -> int:
        """Remove what has expired, so many at most; returns how many it were."""
        ...

    async def aclose(self) -> None:
        """Release everything. Harmless if done twice."""
        ...


@dataclass(frozen=True, slots=True)
class Near:
    """An entry that may be near to a vector.

    Attributes:
        entry: with its vectors.
        bound: what its cosine is at most, as `decisions.vectors.cosines` has it; infinite if that
            is not known, and negative infinity if it has no vector of that length.
    """

    entry: Entry
    bound: float


class Ranking(Items, Protocol):
    """Items whose storage finds what comes near to a vector.

    It may reckon as roughly as it likes, as long as bounds are bounds: whoever asks computes the
    cosines of what it finds, and goes on until all that follows is farther away. So the order
    is the same everywhere.
    """

    async def nearest(
        self,
        prefix: Namespace,
        query: bytes,
        now: float,
        *,
        limit: int,
        after: Near | None = None,
    ) -> Sequence[Near] | None:
        """Entries in a namespace and beneath it, by bound and then `Entry.order`, the greatest
        first; ``None`` if it cannot be told here, and they have to be scanned.

        Args:
            prefix: the namespace's first words; ``()`` for all.
            query: the vector.
            now: Unix time.
            limit: how many; fewer only if there are no more.
            after: the last of the page before; then the result is never ``None``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Puts:
    """What is to be written into a store together with something else.

    Attributes:
        items: where.
        writes: what; each place is in there once at most.
        now: Unix time.
    """

    items: Items
    writes: Sequence[Write]
    now: float

    @property
    def conditional(self) -> list[Place]:
        """The places that must hold a certain version."""
        return [write.place for write in self.writes if write.expects is not None]


def to_bytes(namespace: Namespace) -> bytes:
    """A namespace as bytes, which sort as namespaces do: each word ends with a zero byte.

    No word holds one, so no two namespaces are the same bytes, and of two of which the one's
    bytes begin with the other's, the one is beneath the other.
    """
    return b"".join(word.encode() + b"\0" for word in namespace)


def from_bytes(stored: bytes) -> Namespace:
    """A namespace of its bytes.

    Raises:
        IntegrityError: they are none.
    """
    try:
        words = stored.decode().split("\0")
    except UnicodeDecodeError:
        words = [""]
    if words.pop() or not words:
        raise IntegrityError(f"A stored namespace is damaged: {stored!r:.200}.")
    return tuple(words)


def beneath(prefix: Namespace) -> tuple[bytes, bytes]:
    """The bytes of a namespace and all beneath it: from the one on, and before the other."""
    first = to_bytes(prefix)
    return first, first + b"\xff"  # a byte that is in no text


def damaged(namespace: Namespace, key: Any, version: Any) -> IntegrityError:
    """The error for an entry that is not what was written; of key and version, what is stored."""
    if type(key) is str and type(version) is int:
        return DamagedItemError(Entry(namespace, key, b"", version, 0.0, 0.0))
    return IntegrityError(f"What is stored under {key!r:.200} in {namespace!r:.500} is damaged.")


def pack_vectors(vectors: Sequence[bytes]) -> bytes | None:
    """Vectors as one value for a row; ``None`` for none."""
    if not vectors:
        return None
    return b"".join(len(vector).to_bytes(_SIZE, "little") + vector for vector in vectors)


def unpack_vectors(packed: bytes | None) -> tuple[bytes, ...]:
    """Vectors out of a row's value.

    Raises:
        IntegrityError: it is damaged.
    """
    found: list[bytes] = []
    rest = packed or b""
    while rest:
        end = _SIZE + int.from_bytes(rest[:_SIZE], "little")
        if end > len(rest):
            raise IntegrityError("The stored vectors of an item are damaged.")
        found.append(rest[_SIZE:end])
        rest = rest[end:]
    return tuple(found)


def checksum(entry: Entry) -> int:
    """A CRC-32 of an entry, for rows that may be damaged.

    Its end is left out, which changes as it is read, and its vectors, which follow from its value.
    """
    key = entry.key.encode() + b"\0"
    numbers = repr((entry.version, entry.created, entry.updated, entry.ttl)).encode()
    crc = zlib.crc32(to_bytes(entry.namespace) + key + numbers)
    return zlib.crc32(entry.value, crc)
