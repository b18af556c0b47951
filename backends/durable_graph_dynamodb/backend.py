"""The backend: threads in a table of DynamoDB's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from durable_graph.errors import (
    OutcomeUnknownError,
    StorageBusyError,
    StorageError,
    ThreadArchivedError,
    ThreadNotFoundError,
)
from durable_graph.ports.backend import (
    Append,
    Capabilities,
    Card,
    Head,
    Liveness,
    Message,
    Outcome,
    Position,
    Process,
    Ranges,
    Reading,
    Record,
    Removal,
    Thread,
    ThreadKey,
    ThreadPage,
    ThreadQuery,
    checkpoint_path,
    next_card,
)
from durable_graph.ports.clock import Chance, Clock, SystemChance, SystemClock
from durable_graph.ports.shielded import to_its_end
from durable_graph_aws import AwsOptions, Service, together
from durable_graph_dynamodb.appending import (
    NOTHING,
    Seen,
    change_of,
    is_decided,
    is_large,
    seen_in,
)
from durable_graph_dynamodb.changes import Changes
from durable_graph_dynamodb.collecting import Collector
from durable_graph_dynamodb.editing import ending_of, labelled, posting_of, pruning_of
from durable_graph_dynamodb.keys import THREAD, blob_key, minute_of, partition
from durable_graph_dynamodb.listing import Listing
from durable_graph_dynamodb.liveness import Beats
from durable_graph_dynamodb.reading import LOOKS, Reader
from durable_graph_dynamodb.requests import Where
from durable_graph_dynamodb.table import Table
from durable_graph_dynamodb.threads import Found

if TYPE_CHECKING:
    from aiobotocore.session import AioSession
    from types_aiobotocore_dynamodb import DynamoDBClient

__all__ = ["DynamoDBBackend"]

_FIRST_POLL: Final = 0.05
_SLOWEST_POLL: Final = 1.0
# How many threads are remembered as they were seen last; one more costs a few hundred bytes.
_REMEMBERED: Final = 20_000


class DynamoDBBackend:
    """Threads in a table, which any number of processes on any number of hosts may use at once.

    Args:
        table: its name.
        options: how DynamoDB is reached.
        create: make the table on first use if it does not exist, billed by request.
        client: a client of the user's own; it is used on one event loop, and not closed.
        session: where clients come from; the user's own, or a new one.
        clock: where time comes from.
        chance: where names of changes come from.
    """

    capabilities = Capabilities(durable=True, shared=True, groups=False)

    def __init__(
        self,
        table: str,
        options: AwsOptions | None = None,
        *,
        create: bool = False,
        client: DynamoDBClient | None = None,
        session: AioSession | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._chance = chance or SystemChance()
        self._service: Service[DynamoDBClient] = Service(
            "dynamodb",
            options or AwsOptions(),
            client=client,
            session=session,
            clock=self._clock,
            chance=self._chance,
        )
        self._table = Table(table, self._service, create=create, clock=self._clock)
        self._changes = Changes(self._table, self._clock)
        self._reader = Reader(self._table, self._changes)
        self._listing = Listing(self._table, self._reader)
        self._beats = Beats(self._table, self._clock)
        self._collector = Collector(self._table, self._changes, self._clock)
        self._seen: dict[ThreadKey, Seen] = {}

    def __repr__(self) -> str:
        return f"<DynamoDBBackend {self._table.name!r}>"

    # -- appending ---------------------------------------------------------------------------------

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        return await to_its_end(self._append_all(batch, beat))

    async def _append_all(self, batch: Sequence[Append], beat: Process | None) -> list[Outcome]:
        await self._table.open()
        if beat is not None:
            # First: whoever sees the thread as this process's must find the process alive.
            await self._beats.give(beat)
        outcomes: dict[int, Outcome] = {}

        async def do(place: int) -> None:
            outcomes[place] = await self._append(batch[place])

        try:
            await together(do, range(len(batch)))
        except OutcomeUnknownError:
            raise
        except StorageError as error:
            # Each append was made by itself, so of several some may have been.
            if not outcomes:
                raise
            raise OutcomeUnknownError(f"Of some appends, not all were made. {error}") from error
        return [outcomes[place] for place in range(len(batch))]

    async def _append(self, append: Append) -> Outcome:
        key = append.head.key
        # A thread that is new or was just written to is taken to be as it should be: if it is
        # not, the transaction says so.
        seen = self._seen.get(key) if append.expected is not None else NOTHING
        if append.card is not None or is_large(append):
            seen = None
        for _ in range(LOOKS):
            found: Found | None = None
            if seen is None or append.settled:
                found = await self._reader.look(key)
                refused = is_decided(append, found)
                if refused is not None:
                    return await self._is_made(append, found) if found is not None else refused
                seen = seen_in(found)
            messages = await self._reader.messages(found, list(append.settled)) if found else {}
            change = change_of(append, seen, self._chance.id(), messages)
            if await self._changes.make(change, f"Appending to thread {key.thread!r}"):
                if seen.head_at is not None:
                    await self._changes.drop_head(change.pk, change.life, seen.head_at)
                self._remember(key, change.life, append, at=change.id if change.head else None)
                return Outcome.APPLIED
            seen = None
        raise StorageBusyError(
            f"Thread {key.thread!r} changes all the time; nothing was written. Try again later."
        )

    async def _is_made(self, append: Append, found: Found) -> Outcome:
        made = await self._reader.holds(found, append.records[-1])
        return Outcome.APPLIED if made else Outcome.REFUSED

    def _remember(self, key: ThreadKey, life: str, append: Append, *, at: str | None) -> None:
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[key] = Seen(life, minute_of(append.head.updated), None, at)

    # -- reading -----------------------------------------------------------------------------------

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        await self._table.open()
        async with aclosing(self._reader.looks(thread)) as looks:
            async for found in looks:
                if found is None or found.head is None:
                    _refuse_archived(found)
                    return None
                self._note(found)
                reading = await self._reading(found, found.head, checkpoint, unless)
                if _is_whole(reading.records) and _is_whole(reading.after):
                    return reading
                if await self._reader.is_still(found):
                    return reading
        return None

    async def _reading(
        self, found: Found, head: Head, checkpoint: str | None, unless: Position | None
    ) -> Reading:
        reader = self._reader
        if checkpoint is None:
            path = () if unless is not None and unless == found.position else head.path
            after = None
        else:
            commit = await reader.commit(found, checkpoint)
            path = checkpoint_path(commit, found.key.thread) if commit is not None else ()
            after = commit.seq + 1 if commit is not None else None
        return Reading(
            head,
            await reader.records(found, path),
            await reader.until_commit(found, after) if after is not None else (),
            await reader.waiting(found),
        )

    async def scan(
        self, thread: ThreadKey, ranges: Ranges, *, bodies: bool = True
    ) -> Sequence[Record]:
        await self._table.open()
        async with aclosing(self._reader.looks(thread)) as looks:
            async for found in looks:
                if found is None or found.head is None:
                    return []
                records = await self._reader.records(found, ranges, bodies=bodies)
                if _is_whole(records, bodies=bodies) or await self._reader.is_still(found):
                    return records
        return []

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        await self._table.open()
        async with aclosing(self._reader.looks(thread)) as looks:
            async for found in looks:
                if found is None or found.head is None:
                    return {}
                values = await self._reader.blobs(found, digests)
                if len(values) == len(set(digests)) or await self._reader.is_still(found):
                    return values
        return {}

    async def thread(self, thread: ThreadKey) -> Thread | None:
        await self._table.open()
        found = await self._reader.look(thread)
        return None if found is None else found.thread

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        await self._table.open()
        return await self._listing.page(query)

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        await self._table.open()
        wait = _FIRST_POLL
        while True:
            at = await self._reader.position(thread)
            if at is None or at[1] != seen:
                return
            await self._clock.sleep(wait)
            wait = min(1.5 * wait, _SLOWEST_POLL)

    def _note(self, found: Found) -> None:
        """A thread that is read is often written to next."""
        if len(self._seen) >= _REMEMBERED:
            self._seen.clear()
        self._seen[found.key] = seen_in(found)

    # -- cards, messages, removals -----------------------------------------------------------------

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        return await to_its_end(self._label(thread, card))

    async def _label(self, thread: ThreadKey, card: Card) -> bool:
        await self._table.open()
        async with aclosing(self._reader.looks(thread)) as looks:
            async for found in looks:
                stored = found.card if found is not None else None
                if not next_card(card, stored):
                    return card == stored
                what = f"Storing the card of thread {thread.thread!r}"
                if await self._table.transact(labelled(thread, card, found), what):
                    self._seen.pop(thread, None)
                    return True
        return False

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        return await to_its_end(self._post(thread, message))

    async def _post(self, thread: ThreadKey, message: Message) -> Message:
        await self._table.open()
        async with aclosing(self._reader.looks(thread)) as looks:
            async for found in looks:
                if found is None or found.life is None:
                    _refuse_archived(found)
                    break
                stored = await self._reader.message(found, message.id)
                if stored is not None:
                    return stored
                alive = Where({"life": found.life})
                place = await self._table.add(partition(thread), THREAD, "posts", alive)
                if place is None:
                    continue
                change = posting_of(found, message, self._chance.id(), place)
                if await self._changes.make(change, f"Posting to thread {thread.thread!r}"):
                    return message
        raise ThreadNotFoundError(f"There is no thread {thread.thread!r}.")

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        await self._table.open()
        if process is not None:
            await self._beats.give(process)
            await self._collector.some()
        return await self._beats.known()

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        return await to_its_end(self._remove(thread, what))

    async def _remove(self, thread: ThreadKey, what: Removal) -> bool:
        await self._table.open()
        async with aclosing(self._reader.looks(thread)) as looks:
            async for found in looks:
                if found is None or what.expected not in (None, found.position):
                    return False
                if what.without_log and found.life is not None:
                    return False
                self._seen.pop(thread, None)
                done = await (self._end if what.everything else self._prune)(found, what)
                if done is not None:
                    return done
        return False

    async def _end(self, found: Found, what: Removal) -> bool | None:
        """Remove all; ``None`` if the thread is not as it was found."""
        if not what.meets(found.card):
            return False
        pk, life, id = partition(found.key), found.life, self._chance.id()
        announced = self._changes.removal(id, pk, life) if life is not None else None
        name = f"Removing thread {found.key.thread!r}"
        if not await self._table.transact(ending_of(found, what, announced), name):
            return None
        if life is not None:
            try:
                await self._changes.clear(id, pk, life)
            except StorageError as error:
                # It is gone for everybody, and what is left is collected; but not deleted yet.
                raise OutcomeUnknownError(f"{name}: not all is deleted yet. {error}") from error
        return True

    async def _prune(self, found: Found, what: Removal) -> bool | None:
        """Remove a part; ``None`` if the thread is not as it was found."""
        if found.life is None or what.expected is None:
            return False
        segments = await self._reader.segments(found, what.bodies)
        keys = [(partition(found.key), blob_key(found.life, digest)) for digest in what.blobs]
        blobs = {sk: item for (_, sk), item in (await self._table.get_all(keys)).items()}
        change = pruning_of(found, what, self._chance.id(), segments, blobs)
        if change is None:
            return False
        made = await self._changes.make(change, f"Pruning thread {found.key.thread!r}")
        if made and found.head_at is not None:
            await self._changes.drop_head(change.pk, change.life, found.head_at.change)
        return True if made else None

    # -- the rest ----------------------------------------------------------------------------------

    def statistics(self) -> Mapping[str, float]:
        """``requests`` made, ``retries`` among them, ``loops`` that have connections, and
        ``collected`` items that changes had left behind."""
        return {
            "requests": self._service.requests,
            "retries": self._service.retries,
            "loops": self._service.loops,
            "collected": self._changes.collected,
        }

    async def aclose(self) -> None:
        await self._service.aclose()


def _refuse_archived(found: Found | None) -> None:
    card = found.card if found is not None else None
    if found is not None and card is not None and card.archived is not None:
        raise ThreadArchivedError(found.key.thread, card.archived)


def _is_whole(records: Sequence[Record], *, bodies: bool = True) -> bool:
    """Whether nothing is missing that may have been removed while it was read."""
    return all(record.link and (record.body is not None or not bodies) for record in records)
