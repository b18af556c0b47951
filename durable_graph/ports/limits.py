"""How much a storage system takes at once: what is more is refused before any of it is sent.

Sent, it would break connections, fill buffers, or come back as an error from which nobody can tell
whether something was written.
"""

from __future__ import annotations

import sys

from durable_graph.errors import StateTooLargeError
from durable_graph.ports.backend import Append, Capabilities, Message

__all__ = ["check_append", "check_message", "unquestioned"]

_ADVICE = "Nothing was written. Keep what is large elsewhere, and its address in the state"


def unquestioned(capabilities: Capabilities) -> int:
    """Up to so many bytes in all, an append needs no `check_append`."""
    limits = (capabilities.max_record_bytes, capabilities.max_append_bytes)
    return min((limit for limit in limits if limit is not None), default=sys.maxsize)


def check_append(append: Append, capabilities: Capabilities) -> None:
    """See that storage takes an append.

    Raises:
        StateTooLargeError: it is too large, or something in it is.
    """
    thread = append.head.key.thread
    records = {
        f"Record {record.seq}": len(record.header) + len(record.body or b"")
        for record in append.records
    }
    pieces = records | {f"The large value {name}": len(it) for name, it in append.blobs.items()}
    one, all_of_it = capabilities.max_record_bytes, capabilities.max_append_bytes
    what, largest = max(pieces.items(), key=lambda piece: piece[1])
    if one is not None and largest > one:
        raise StateTooLargeError(
            f"{what} of thread {thread!r} would have {largest:,} bytes, and this storage takes up "
            f"to {one:,} in one piece. {_ADVICE}; what tasks of one superstep write at once may "
            f"need to be spread over several."
        )
    if all_of_it is not None and (together := sum(pieces.values())) > all_of_it:
        raise StateTooLargeError(
            f"Thread {thread!r} was to be written {together:,} bytes at once, and this storage "
            f"takes up to {all_of_it:,}. {_ADVICE}, or spread it over several supersteps."
        )


def check_message(message: Message, capabilities: Capabilities, thread: str) -> None:
    """See that storage takes a message for an inbox.

    Raises:
        StateTooLargeError: it is too large.
    """
    limit, size = capabilities.max_record_bytes, len(message.body)
    if limit is not None and size > limit:
        raise StateTooLargeError(
            f"The answer for thread {thread!r} has {size:,} bytes, and this storage takes up to "
            f"{limit:,} in one piece. {_ADVICE}."
        )
