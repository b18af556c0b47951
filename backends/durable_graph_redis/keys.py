"""Names of keys, and where a thread stands in its tenant's list.

A script's keys must all live on one node of a cluster, and which node that is follows from the
text in braces. So the threads are dealt out to a fixed number of buckets, and the text is the
bucket's: a thread and the part of its tenant's list that it stands in are always side by side,
and change in one script. With a tag for each thread, the list would be elsewhere, and somebody
would have to notice and mend what a crash leaves between two writes.
"""

from __future__ import annotations

import re
import struct
import zlib
from binascii import crc_hqx
from typing import Final
from urllib.parse import quote

from durable_graph.log.records import ThreadKey

__all__ = ["BUCKETS", "Keys", "checked_prefix", "member_of", "name_of", "order_of", "time_of"]

BUCKETS: Final = 64
"""How many parts a tenant's list has; as many masters can share the work. Part of the format."""

_SLOTS: Final = 16384  # of a Redis cluster
_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_ORDER: Final = 16  # hex digits of a time


def _tags() -> tuple[str, ...]:
    """For each bucket the smallest number whose slot is in that bucket's share of the slots, so
    that a cluster's nodes, which have contiguous slots, get as many buckets each."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < BUCKETS:
        tag = str(number)
        found.setdefault(crc_hqx(tag.encode(), 0) % _SLOTS * BUCKETS // _SLOTS, tag)
        number += 1
    return tuple(found[bucket] for bucket in range(BUCKETS))


_TAGS: Final = _tags()


def checked_prefix(prefix: str) -> str:
    """A prefix that names nothing but keys.

    Raises:
        ValueError: it could be taken for something else.
    """
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f"A prefix has 1 to 100 letters, digits and any of _.:-, and is not {prefix!r}."
        )
    return prefix


class Keys:
    """The keys under one prefix.

    Args:
        prefix: what they all begin with.

    Raises:
        ValueError: the prefix could be taken for something else.
    """

    def __init__(self, prefix: str) -> None:
        checked_prefix(prefix)
        self.processes = f"{prefix}:processes"
        self._buckets = [f"{prefix}:{{{tag}}}" for tag in _TAGS]

    def thread(self, key: ThreadKey) -> str:
        """The one key that holds a thread: its head, its log, its values, its inbox, its card."""
        tenant, thread = _quoted(key.tenant), _quoted(key.thread)
        return f"{self._buckets[_bucket(key)]}:thread:{tenant}/{thread}"

    def index(self, key: ThreadKey) -> str:
        """The part of its tenant's list in which a thread stands."""
        return f"{self._buckets[_bucket(key)]}:threads:{_quoted(key.tenant)}"

    def indexes(self, tenant: str) -> list[str]:
        """All parts of a tenant's list."""
        return [f"{bucket}:threads:{_quoted(tenant)}" for bucket in self._buckets]


def order_of(time: float) -> bytes:
    """A time as text that sorts as times do."""
    (bits,) = struct.unpack(">Q", struct.pack(">d", time + 0.0))  # -0.0 is 0.0
    bits = bits ^ 0xFFFFFFFFFFFFFFFF if bits >> 63 else bits ^ 1 << 63
    return b"%016x" % bits


def time_of(member: bytes) -> float:
    """The time of a place."""
    bits = int(member[:_ORDER], 16)
    bits = bits ^ 1 << 63 if bits >> 63 else bits ^ 0xFFFFFFFFFFFFFFFF
    (time,) = struct.unpack(">d", struct.pack(">Q", bits))
    return float(time)


def member_of(updated: float, thread: str) -> bytes:
    """A thread's place in its list."""
    return order_of(updated) + thread.encode()


def name_of(member: bytes) -> str:
    """The thread that stands at a place.

    Raises:
        ValueError: nobody does.
    """
    return member[_ORDER:].decode()


def _bucket(key: ThreadKey) -> int:
    return zlib.crc32(f"{key.tenant}\0{key.thread}".encode()) % BUCKETS


def _quoted(text: str) -> str:
    return quote(text, safe="")
