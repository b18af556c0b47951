"""What a table holds of threads, read so that it is of one moment.

A thread's item is read first. What it names does not change any more: records and large values
are written once. They can be removed, with the thread or as a part of it; so where something is
missing, the thread's item is looked at again, and only if it is as before is it missing indeed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final

from durable_graph.errors import IntegrityError, StorageBusyError
from durable_graph.ports.backend import Message, Position, Ranges, Record, ThreadKey
from durable_graph.ports.rows import chained, to_message
from durable_graph_aws import together
from durable_graph_dynamodb.changes import Changes
from durable_graph_dynamodb.keys import (
    THREAD,
    blob_key,
    checkpoint_key,
    message_key,
    partition,
    record_key,
)
from durable_graph_dynamodb.parts import Parts, join, parts_in
from durable_graph_dynamodb.segments import Segment, Stored, unpack
from durable_graph_dynamodb.table import Table
from durable_graph_dynamodb.threads import Found, found_in
from durable_graph_dynamodb.values import Item

__all__ = ["LOOKS", "Reader", "message_in"]

LOOKS: Final = 10
"""How often a thread that changes while it is looked at is looked at again."""

# Reading a few records that nobody wants is cheaper than asking twice.
_GAP: Final = 16
_PAGE: Final = 500
_FEW: Final = 10


class Reader:
    """Reads threads.

    Args:
        table: where they are.
        changes: finishes what somebody has left half done.
    """

    def __init__(self, table: Table, changes: Changes) -> None:
        self._table = table
        self._changes = changes

    async def look(self, key: ThreadKey) -> Found | None:
        """A thread's item, once nothing is pending; ``None`` if there is none.

        Raises:
            IntegrityError: it is damaged.
            StorageBusyError: it did not come to rest.
        """
        pk = partition(key)
        for _ in range(LOOKS):
            item = await self._table.get(pk, THREAD)
            if item is None:
                return None
            found = found_in(key, item)
            if found.pending is not None and found.life is not None:
                await self._changes.finish(pk, found.life, found.pending)
                continue
            whole = await self.with_head(found, item)
            if whole is not None:
                return whole
        raise StorageBusyError(
            f"Thread {key.thread!r} changes all the time; nothing was written. Try again later."
        )

    async def with_head(self, found: Found, item: Item) -> Found | None:
        """The same with its head, if that is elsewhere; ``None`` if there is a next one by now.

        Raises:
            IntegrityError: it is damaged.
        """
        if found.head is not None or found.head_at is None or found.life is None:
            return found
        pk, life = item["pk"], found.life
        keys = found.head_at.keys(life, "h")
        parts = await self._table.get_all([(pk, sk) for sk in keys])
        head = join(found.head_at, life, {sk: part for (_, sk), part in parts.items()}, "h")
        if head is not None:
            return found_in(found.key, item, head)
        if await self.is_still(found):
            raise IntegrityError(f"The head of thread {found.key.thread!r} is damaged.")
        return None

    async def is_still(self, found: Found) -> bool:
        """Whether a log is where it was found."""
        at = await self.position(found.key)
        return at is not None and at == (found.life, found.position)

    async def position(self, key: ThreadKey) -> tuple[str, Position] | None:
        """Where a log stands, and in which life; ``None`` if there is none."""
        only = ("life", "seq", "epoch", "link")
        item = await self._table.get(partition(key), THREAD, only) or {}
        if "life" not in item:
            return None
        seq, epoch, link = (item.get(name) for name in only[1:])
        return item["life"], Position(seq or 0, epoch or 0, link or b"")

    async def looks(self, key: ThreadKey) -> AsyncGenerator[Found | None, None]:
        """Looks at a thread, for as long as the caller asks for another one.

        Raises:
            StorageBusyError: that was too often.
        """
        for _ in range(LOOKS):
            yield await self.look(key)
        raise StorageBusyError(f"Thread {key.thread!r} changes all the time. Try again later.")

    # -- records -----------------------------------------------------------------------------------

    async def records(self, found: Found, ranges: Ranges, *, bodies: bool = True) -> list[Record]:
        """Records of a log, as far as it goes; one that cannot be found is a damaged one."""
        end = found.position.seq if found.position is not None else 0
        clipped = [(max(first, 1), min(last, end)) for first, last in ranges]
        wanted = [(first, last) for first, last in clipped if first <= last]

        async def fetch(span: tuple[int, int]) -> list[Segment]:
            return await self._segments(found, *span)

        spans = await together(fetch, _spans(wanted))
        return await self._chained(found, wanted, [s for some in spans for s in some], bodies)

    async def segments(self, found: Found, ranges: Ranges) -> list[Segment]:
        """The segments that hold these records."""
        end = found.position.seq if found.position is not None else 0
        segments: dict[int, Segment] = {}
        for first, last in ranges:
            if max(first, 1) <= min(last, end):
                for segment in await self._segments(found, max(first, 1), min(last, end)):
                    segments[segment.last] = segment
        return list(segments.values())

    async def _segments(self, found: Found, first: int, last: int) -> list[Segment]:
        """The segments of a range; those that are damaged are left out."""
        pk, life = partition(found.key), found.life or ""
        low, high = record_key(life, first), record_key(life, last)
        segments: list[Segment] = []
        # Each holds a record at least; the one that holds the last may go further.
        limit = min(last - first + 1, _PAGE)
        async for page in self._table.range(pk, low, f"{life}/r/~", limit=limit):
            for item in page:
                segment = unpack(item.get("data"))
                if segment is not None and segment.first <= last:
                    segments.append(segment)
            if page[-1]["sk"] >= high:
                break
        return segments

    async def _chained(
        self,
        found: Found,
        ranges: Sequence[tuple[int, int]],
        segments: Sequence[Segment],
        bodies: bool,
    ) -> list[Record]:
        stored: dict[int, Stored] = {}
        links: dict[int, bytes] = {0: b""}
        for segment in segments:
            links[segment.first - 1] = segment.before
            for record in segment.records:
                stored[record.seq] = record
                links[record.seq] = record.link
        chosen = [
            [stored[seq] for seq in range(first, last + 1) if seq in stored]
            for first, last in ranges
        ]
        places = [
            place
            for some in chosen
            for record in some
            for place in record.parts
            if bodies or place is record.header
        ]
        parts = await self._parts(found, places)
        records: list[Record] = []
        for (first, last), some in zip(ranges, chosen, strict=True):
            rows = [record.row(found.life or "", parts, bodies=bodies) for record in some]
            records += chained(first, last, rows, links.get(first - 1))
        return records

    async def _parts(self, found: Found, places: Sequence[Parts]) -> dict[str, Item]:
        if not places:
            return {}
        pk, life = partition(found.key), found.life or ""
        keys = [(pk, sk) for place in places for sk in place.keys(life)]
        return {sk: item for (_, sk), item in (await self._table.get_all(keys)).items()}

    async def commit(self, found: Found, checkpoint: str) -> Record | None:
        """The commit of a checkpoint, without its body; ``None`` if there is none."""
        pk, life = partition(found.key), found.life or ""
        item = await self._table.get(pk, checkpoint_key(life, checkpoint))
        if item is None or type(item.get("seq")) is not int:
            return None
        seq = item["seq"]
        records = await self.records(found, ((seq, seq),), bodies=False)
        return records[0] if records else None

    async def until_commit(self, found: Found, first: int) -> list[Record]:
        """Records from a number on, up to and including the next commit."""
        end = found.position.seq if found.position is not None else 0
        records: list[Record] = []
        while first <= end:
            some = await self.records(found, ((first, min(end, first + _FEW - 1)),))
            for record in some:
                records.append(record)
                if record.kind == "commit":
                    return records
            first += len(some)
        return records

    async def holds(self, found: Found, record: Record) -> bool:
        """Whether a record is stored under its link."""
        if found.position is None or record.seq > found.position.seq:
            return False
        for segment in await self._segments(found, record.seq, record.seq):
            if any(s.seq == record.seq and s.link == record.link for s in segment.records):
                return True
        return False

    # -- what lies beside them ---------------------------------------------------------------------

    async def blobs(self, found: Found, digests: Sequence[str]) -> Mapping[str, bytes]:
        """Large values by digest, those that are there."""
        pk, life = partition(found.key), found.life or ""
        keys = {digest: blob_key(life, digest) for digest in digests}
        items = await self._table.get_all([(pk, sk) for sk in keys.values()])
        at = {sk: parts_in(item) for (_, sk), item in items.items()}
        parts = await self._parts(found, [place for place in at.values() if place is not None])
        values: dict[str, bytes] = {}
        for digest, sk in keys.items():
            item = items.get((pk, sk), {})
            place = at.get(sk)
            data = join(place, life, parts) if place is not None else item.get("data")
            if type(data) is bytes:  # anything else is not what was stored
                values[digest] = data
        return values

    async def waiting(self, found: Found) -> list[Message]:
        """Messages that wait, oldest first.

        Those that were left after the log had moved on are not told beside where it was: they may
        be about what the caller does not see. One that was settled meanwhile is not told either,
        but whoever acts on that is refused.
        """
        pk, life = partition(found.key), found.life or ""
        end = found.position.seq if found.position is not None else 0
        waiting = await self._table.everything(pk, f"{life}/w/", f"{life}/w/~")
        names = [f"{life}/m/{item.get('message')}" for item in waiting]
        items = await self._table.get_all([(pk, sk) for sk in names])
        messages = [
            item
            for sk in names
            if (item := items.get((pk, sk))) is not None
            and "verdict" not in item
            and item.get("posted", 0) <= end
        ]
        return [await self._message(found, item) for item in messages]

    async def message(self, found: Found, id: str) -> Message | None:
        """A message by its id, settled or not."""
        item = await self._table.get(partition(found.key), message_key(found.life or "", id))
        return None if item is None else await self._message(found, item)

    async def messages(self, found: Found, ids: Sequence[str]) -> dict[str, Item]:
        """Messages as they are stored, by sort key."""
        if not ids:
            return {}
        pk, life = partition(found.key), found.life or ""
        items = await self._table.get_all([(pk, message_key(life, id)) for id in ids])
        return {sk: item for (_, sk), item in items.items()}

    async def _message(self, found: Found, item: Item) -> Message:
        place = parts_in(item)
        if place is None:
            return message_in(item)
        parts = await self._parts(found, [place])
        return message_in({**item, "data": join(place, found.life or "", parts)})


def message_in(item: Item) -> Message:
    """The message in an item; a damaged one says nothing, so whoever takes it up refuses it."""
    try:
        time: Any = float(item["time"])
    except (LookupError, ValueError, TypeError):
        time = None
    names = ("id", "kind", "data", "by")
    row = (*(item.get(name) for name in names), time, item.get("verdict"))
    return to_message(row)


def _spans(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that lie close together as one."""
    spans: list[tuple[int, int]] = []
    for first, last in ranges:
        if spans and spans[-1][0] <= first <= spans[-1][1] + _GAP:
            spans[-1] = (spans[-1][0], max(last, spans[-1][1]))
        else:
            spans.append((first, last))
    return spans
