"""How items are named.

A table has a partition key `pk` and a sort key `sk`, both text. A thread is one partition::

    thread                     the thread's own item: position, head, card
    <life>/r/<last seq>        records, those of an append in one item if they are not too large
    <life>/k/<checkpoint>      the number of a checkpoint's record
    <life>/d/<digest>          a large value
    <life>/m/<id>              a message; <life>/w/<place> as long as it waits
    <life>/c/<change>/<n>      a part of what does not fit into one item
    <life>/s/<change>/<n>      what a change that does not fit into one transaction has to do
    <life>/h/<change>/<n>      a part of a head

A thread that was deleted and made anew under the same name has another life: whoever comes late
with something of the old one puts it where nobody looks.

Names that users choose are hashed where they are part of a sort key, which may have 1024 bytes.
"""

from __future__ import annotations

import hashlib
import math
from typing import Final

from durable_graph.errors import ConfigError
from durable_graph.log.records import ThreadKey

__all__ = [
    "FORMAT",
    "INTENTS",
    "PROCESSES",
    "THREAD",
    "blob_key",
    "checkpoint_key",
    "hashed",
    "list_partition",
    "listed",
    "message_key",
    "minute_of",
    "part_key",
    "partition",
    "record_key",
    "start_of",
    "waiting_key",
]

THREAD: Final = "thread"
"""The sort key of a thread's own item."""

INTENTS: Final = "intents"
"""The partition of changes that are under way, so that what they leave can be found."""

PROCESSES: Final = "processes"
"""The partition of signs of life."""

FORMAT: Final = "format"
"""Partition and sort key of the item that says what the table holds."""

# Text of 255 characters, which a thread's id may have, too; together they fit into 2048 bytes.
_LONGEST: Final = 1020
_FAR: Final = 10**15


def partition(key: ThreadKey) -> str:
    """The partition of a thread.

    Raises:
        ConfigError: a tenant's name is too long.
    """
    _check(key.tenant)
    return f"t{len(key.tenant)} {key.tenant} {key.thread}"


def list_partition(tenant: str) -> str:
    """The partition of the list of a tenant's threads.

    Raises:
        ConfigError: a tenant's name is too long.
    """
    _check(tenant)
    return f"list {tenant}"


def _check(tenant: str) -> None:
    if len(tenant.encode(errors="surrogatepass")) > _LONGEST:
        raise ConfigError(f"In DynamoDB, a tenant's name has {_LONGEST} bytes at most.")


def hashed(name: str) -> str:
    """A name of any length and any characters, as 32 harmless ones."""
    return hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def record_key(life: str, last: int) -> str:
    """Records up to this number; keys are in the order of numbers."""
    return f"{life}/r/{last:020}"


def checkpoint_key(life: str, checkpoint: str) -> str:
    """Where a checkpoint's record is."""
    return f"{life}/k/{hashed(checkpoint)}"


def blob_key(life: str, digest: str) -> str:
    """A large value."""
    return f"{life}/d/{hashed(digest)}"


def message_key(life: str, id: str) -> str:
    """A message."""
    return f"{life}/m/{hashed(id)}"


def waiting_key(life: str, place: int) -> str:
    """A message that waits; keys are in the order of posting."""
    return f"{life}/w/{place:020}"


def part_key(life: str, of: str, change: str, number: int) -> str:
    """A part of what a change has written beside a transaction: "c", "s" or "h"."""
    return f"{life}/{of}/{change}/{number:06}"


def minute_of(updated: float) -> str:
    """A time's minute, as text that is in the order of time.

    A thread is listed under its minute, so that most appends do not touch the list.
    """
    if math.isnan(updated):
        updated = 0.0
    minute = int(max(min(updated, 60.0 * _FAR), -60.0 * _FAR) // 60)
    return f"{minute + _FAR + 1:020}"


def start_of(minute: str) -> float:
    """When a minute begins, Unix time."""
    return (int(minute) - _FAR - 1) * 60.0


def listed(minute: str, thread: str) -> str:
    """A thread's sort key in its tenant's list."""
    return f"{minute}/{hashed(thread)}"
