"""A thread as a whole: all that is stored of it, read at one position and written anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from durable_graph.engine.keeper import Keeper
from durable_graph.engine.scanning import pages
from durable_graph.errors import IntegrityError, ThreadBusyError, ThreadNotFoundError
from durable_graph.log.records import Head, Record, ThreadKey
from durable_graph.log.seal import open_record
from durable_graph.ports.backend import Append, Outcome

__all__ = ["Whole", "read_whole", "write_copy"]

# How often a thread that changes while it is read is looked at again.
_LOOKS = 8


@dataclass(frozen=True, slots=True)
class Whole:
    """A thread's log, from its first record to its head, with its large values by digest."""

    head: Head
    records: Sequence[Record]
    blobs: Mapping[str, bytes]


async def read_whole(keeper: Keeper, key: ThreadKey) -> Whole:
    """All that is stored of a thread at rest.

    Raises:
        ThreadNotFoundError: there is no such thread.
        ThreadBusyError: it is being run.
        IntegrityError: it is damaged.
    """
    for _ in range(_LOOKS):
        head = await keeper.head_at_rest(key)
        if head is None:
            raise ThreadNotFoundError(f"There is no thread {key.thread!r}.")
        records: list[Record] = []
        digests: set[str] = set()
        async for page in pages(keeper, key, ((1, head.seq),)):
            for record in page:
                if record.body is not None:
                    header, _ = open_record(record, head.secret, key.thread)
                    digests.update(header.blobs)
                    if header.commit is not None and header.commit.graph is not None:
                        digests.add(header.commit.graph)
            records.extend(page)
        blobs = await keeper.backend.blobs(key, sorted(digests))
        if len(records) == head.seq and digests <= blobs.keys():
            return Whole(head, records, blobs)
        # It was pruned or deleted while it was read; or else it is damaged.
    raise IntegrityError(f"Records or large values of thread {key.thread!r} are missing.")


async def write_copy(keeper: Keeper, key: ThreadKey, whole: Whole) -> None:
    """Store a thread under another name.

    Raises:
        ThreadBusyError: there is a thread of that name.
    """
    copy = replace(whole.head, key=key, epoch=1, owner=None, updated=keeper.clock.time())
    if copy.status == "running":  # its owner is dead, and nobody owns the copy
        copy = replace(copy, status="stopped", reason="copied")
    # An earlier copy would be taken for this very one, whose answer was lost.
    outcome = Outcome.REFUSED
    if await keeper.backend.read(key) is None:
        append = Append(None, copy, whole.records, whole.blobs, {})
        (outcome,) = await keeper.backend.append([append])
    if outcome is not Outcome.APPLIED:
        raise ThreadBusyError(
            f"Thread {key.thread!r} exists already; delete it first, or choose another."
        )
