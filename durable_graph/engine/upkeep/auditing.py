"""Reading what was done with a thread, by whom and when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import reduce

from durable_graph.decisions.audit import AuditEntry, Story, telling
from durable_graph.engine.history.scanning import pages
from durable_graph.engine.ownership.keeper import Keeper
from durable_graph.engine.upkeep.cards import notes_of
from durable_graph.errors import ThreadNotFoundError
from durable_graph.log.records import Body, Head, Ranges, ThreadKey
from durable_graph.log.seal import extend, open_header, open_record

__all__ = ["audit"]


async def audit(keeper: Keeper, key: ThreadKey) -> AsyncIterator[AuditEntry]:
    """What was done with a thread, oldest first; what happens meanwhile is left out.

    Reads a page at a time, and of almost all records only their headers.

    Raises:
        ThreadNotFoundError: there is no such thread, and no trace of one.
        ThreadArchivedError: it was archived, and no archive is at hand.
        IntegrityError: what is stored is damaged.
    """
    keeper.check_usable()
    reading = await keeper.backend.read(key)  # which brings it back, if it was archived
    thread = await keeper.backend.thread(key)
    if thread is None:
        raise ThreadNotFoundError(f"There is no thread {key.thread!r}.")
    head = None if reading is None else reading.head
    story = Story(notes_of(thread).acts)
    if head is not None:
        async for entry in _log(keeper, head, story):
            yield entry
    for entry in story.close(head):
        yield entry


async def _log(keeper: Keeper, head: Head, story: Story) -> AsyncIterator[AuditEntry]:
    key = head.key
    async for page in pages(keeper, key, ((1, head.seq),), bodies=False):
        headers = [open_header(record, key.thread) for record in page]
        told: dict[int, Body] = {}
        wanted: Ranges = reduce(extend, telling(headers), ())
        for record in await keeper.backend.scan(key, wanted):
            if record.body is not None:
                told[record.seq] = open_record(record, head.secret, key.thread)[1]
        for header in headers:
            for entry in story.tell(header, told.get(header.seq)):
                yield entry
