"""Checking every record of a thread against the hash chain."""

from __future__ import annotations

from collections.abc import Sequence

from durable_graph.engine.history.scanning import pages
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.errors import IntegrityError, ThreadNotFoundError
from durable_graph.log.records import Head, ThreadKey
from durable_graph.log.seal import blob_digest, open_header, open_record

__all__ = ["verify"]

# How often a thread that changes while it is read is looked at again.
_LOOKS = 8


async def verify(keeper: Keeper, key: ThreadKey) -> list[IntegrityError]:
    """What is wrong with a thread.

    Raises:
        ThreadNotFoundError: there is no such thread.
    """
    wrong: list[IntegrityError] = []
    for _ in range(_LOOKS):
        before, wrong = wrong, await _wrong(keeper, key)
        # What is pruned or deleted while it is looked at is not damaged.
        if list(map(str, wrong)) == list(map(str, before)):
            break
    return wrong


async def _wrong(keeper: Keeper, key: ThreadKey) -> list[IntegrityError]:
    reading = await keeper.backend.read(key)
    if reading is None:
        raise ThreadNotFoundError(f"There is no thread {key.thread!r}.")
    head = reading.head
    wrong: list[IntegrityError] = []
    expected, link = 1, b""
    async for page in pages(keeper, key, ((1, head.seq),)):
        for record in page:
            if record.seq != expected:
                wrong.append(_missing(key, expected, record.seq - 1))
            try:
                if record.body is None:
                    open_header(record, key.thread)
                else:
                    header, _ = open_record(record, head.secret, key.thread)
                    wrong += await _missing_blobs(keeper, head, record.seq, header.blobs)
            except IntegrityError as error:
                wrong.append(error)
            expected, link = record.seq + 1, record.link
    if expected <= head.seq:
        wrong.append(_missing(key, expected, head.seq))
    elif link != head.link:
        wrong.append(IntegrityError(f"The head of thread {key.thread!r} is not its last record."))
    return wrong


async def _missing_blobs(
    keeper: Keeper, head: Head, seq: int, digests: Sequence[str]
) -> list[IntegrityError]:
    if not digests:
        return []
    key = head.key
    found = await keeper.backend.blobs(key, digests)
    return [
        IntegrityError(
            f"A large value of record {seq} of thread {key.thread!r} is missing or damaged."
        )
        for digest in digests
        if digest not in found or blob_digest(found[digest], head.secret) != digest
    ]


def _missing(key: ThreadKey, first: int, last: int) -> IntegrityError:
    what = f"Record {first}" if first == last else f"Records {first} to {last}"
    return IntegrityError(
        f"{what} of thread {key.thread!r} {'is' if first == last else 'are'} missing."
    )
