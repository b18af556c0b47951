"""The backend: threads in a bucket of S3, or of what speaks like it."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from durable_graph.errors import (
    IntegrityError,
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
from durable_graph_aws import AwsOptions, first_told
from durable_graph_s3.bucket import Bucket, fresh
from durable_graph_s3.clearing import Clearing
from durable_graph_s3.index import grow, span_of
from durable_graph_s3.kept import Kept
from durable_graph_s3.keys import LogKeys, manifest_key
from durable_graph_s3.listing import Listing
from durable_graph_s3.log import Log, Moved
from durable_graph_s3.manifest import (
    Manifest,
    cut,
    extended,
    pack_index,
    pack_manifest,
    pack_segment,
    pack_verdict,
    unpack_manifest,
    unpack_verdict,
)
from durable_graph_s3.processes import Processes
from durable_graph_s3.pruning import pruned
from durable_graph_s3.together import together

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

__all__ = ["S3Backend"]

T = TypeVar("T")

_ROOM: Final = 16 * 1024 * 1024
_KNOWN: Final = 256  # threads whose manifest is at hand
# How often a thread that changes meanwhile is looked at again.
_LOOKS: Final = 24
_FIRST_WAIT: Final = 0.01
_FIRST_POLL: Final = 0.1
_LONGEST_POLL: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """A manifest as it was read; without an ETag if there is none.

    One that is damaged says nothing but which objects there are.
    """

    manifest: Manifest
    etag: str | None
    damaged: bool = False


# One request stores up to 5 GiB.
_LONGEST: Final = 5 * 2**30 - 2**20


class S3Backend:
    """Threads in a bucket, which any number of processes may use at once.

    A write is one conditional request for one object, the thread's manifest; whatever else it
    needs is stored before, under keys that nobody else uses.

    Args:
        bucket: the bucket.
        prefix: what all keys begin with.
        options: how S3 is reached.
        create: make the bucket if it is not there.
        allow_weaker: use it even if it does not honour conditional writes.
        client: a client of the user's own, which is not closed.
        session: where clients come from.
        clock: for the time between two tries.
        chance: for the jitter in it.

    Raises:
        ConfigError: there can be no such bucket or prefix.
    """

    capabilities = Capabilities(durable=True, shared=True, groups=False, max_record_bytes=_LONGEST)

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        options: AwsOptions | None = None,
        *,
        create: bool = False,
        allow_weaker: bool = False,
        client: Any = None,
        session: AioSession | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._chance = chance or SystemChance()
        self.bucket = Bucket(
            bucket,
            prefix,
            options or AwsOptions(),
            create=create,
            allow_weaker=allow_weaker,
            client=client,
            session=session,
            clock=self._clock,
            chance=self._chance,
        )
        self._kept = Kept(_ROOM)
        self._listing = Listing(self.bucket)
        self._processes = Processes(self.bucket, self._kept)
        self._clearing = Clearing(self.bucket)
        self._lock = threading.Lock()
        self._known: OrderedDict[ThreadKey, _Seen] = OrderedDict()
        self._lost = 0

    def __repr__(self) -> str:
        return f"<S3Backend {self.bucket.url}>"

    # -- appending ---------------------------------------------------------------------------------

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        return await to_its_end(self._append_all(batch, beat))

    async def _append_all(self, batch: Sequence[Append], beat: Process | None) -> Sequence[Outcome]:
        if beat is not None:
            # First: whoever sees the thread as this process's must find the process alive.
            await self._processes.beat(beat)
        if len(batch) == 1:
            return [await self._append(batch[0])]
        made = await asyncio.gather(*map(self._append, batch), return_exceptions=True)
        failed = [outcome for outcome in made if isinstance(outcome, Exception)]
        if not failed:
            return [outcome for outcome in made if isinstance(outcome, Outcome)]
        told = first_told(failed)
        if len(failed) == len(made):
            raise told
        raise OutcomeUnknownError(f"{len(failed)} of {len(made)} appends failed: {told}") from told

    async def _append(self, append: Append) -> Outcome:
        key = append.head.key
        seen = self._at_hand(key)
        if seen is None or append.expected is None:
            seen = await self._look(key)
        for turn in range(_LOOKS):
            if seen.manifest.position != append.expected:
                seen = await self._look(key)
            if seen.manifest.position != append.expected:
                return await self._refusal(append)
            if append.expected is None and not _may_begin(append, seen.manifest):
                return Outcome.REFUSED
            found = await self._told(seen.manifest, append.settled)
            after, records, told = extended(seen.manifest, append, fresh(), found)
            after = await self._store(after, append, records, told)
            if await self._replace(seen, after):
                return Outcome.APPLIED
            await self._lose(turn)
            seen = await self._look(key)
        raise _busy(key)

    async def _store(
        self,
        after: Manifest,
        append: Append,
        records: Sequence[Record],
        told: Sequence[Message],
    ) -> Manifest:
        """Store what the manifest of an append will lead to; returns it with the way there."""
        keys = LogKeys(append.head.key, after.log)
        objects = {keys.blob(digest, after.era): data for digest, data in append.blobs.items()}
        objects |= {keys.verdict(message.id): pack_verdict(message) for message in told}
        if records:
            spans = []
            for piece in cut(records):
                spans.append(span_of(piece, f"s-{fresh()}"))
                objects[keys.named(spans[-1].name)] = pack_segment(piece)
            index, nodes = grow(after.index, spans, lambda: f"i-{fresh()}")
            objects |= {keys.named(name): pack_index(below) for name, below in nodes.items()}
            after = replace(after, index=index)
        if objects:
            await together([self.bucket.put(key, data) for key, data in objects.items()])
        return after

    async def _told(self, manifest: Manifest, ids: Collection[str]) -> Sequence[Message]:
        """Messages that have verdicts in objects of their own."""
        if not manifest.verdicts or not ids:
            return ()
        here = {message.id for message in (*manifest.waiting, *manifest.settled)}
        keys = LogKeys(manifest.key, manifest.log)
        stored = await together([self.bucket.get(keys.verdict(id)) for id in ids if id not in here])
        return [unpack_verdict(one.data) for one in stored if one is not None]

    async def _refusal(self, append: Append) -> Outcome:
        """What becomes of an append that does not fit: it may be stored already."""
        last = append.records[-1]

        async def work(manifest: Manifest, log: Log) -> bool:
            found = await log.records(((last.seq, last.seq),))
            return bool(found) and found[0].link == last.link

        stored = await self._read(append.head.key, work)
        return Outcome.APPLIED if stored else Outcome.REFUSED

    # -- reading -----------------------------------------------------------------------------------

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        async def work(manifest: Manifest, log: Log) -> Reading | None:
            head, messages = manifest.head, list(manifest.waiting)
            if head is None:
                _refuse_archived(manifest)
                return None
            if checkpoint is None:
                known = unless is not None and unless == manifest.position
                return Reading(head, () if known else await log.records(head.path), (), messages)
            commit = await log.find(checkpoint)
            if commit is None:
                return Reading(head, (), (), messages)
            path = checkpoint_path(commit, thread.thread)
            records, after = await together([log.records(path), log.until_commit(commit.seq + 1)])
            return Reading(head, records, after, messages)

        return await self._read(thread, work)

    async def scan(
        self, thread: ThreadKey, ranges: Ranges, *, bodies: bool = True
    ) -> Sequence[Record]:
        async def work(manifest: Manifest, log: Log) -> Sequence[Record]:
            found = await log.records(ranges)
            return found if bodies else [replace(record, body=None) for record in found]

        return await self._read(thread, work)

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        if not digests:
            return {}
        manifest = (await self._look(thread)).manifest
        if manifest.head is None:
            return {}
        keys = LogKeys(thread, manifest.log)
        found = await together([self._blob(keys, digest, manifest.era) for digest in digests])
        return {d: data for d, data in zip(digests, found, strict=True) if data is not None}

    async def _blob(self, keys: LogKeys, digest: str, era: int) -> bytes | None:
        key = keys.blob(digest, 0)
        if era:
            # Under the latest era: of an earlier one, what was removed may not be cleared away.
            listed = await self.bucket.list(keys.blobs(digest))
            if not listed:
                return None
            key = listed[-1].key
        stored = await self.bucket.get(key)
        return stored.data if stored is not None else None

    async def thread(self, thread: ThreadKey) -> Thread | None:
        return (await self._look(thread)).manifest.thread

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        """Threads; looks at all of the tenant's, since S3 lists by key only.

        Those that have not changed since this backend has last looked cost no request of their
        own.
        """
        return await self._listing.page(query)

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        wait = _FIRST_POLL
        while (await self._look(thread)).manifest.position == seen:
            await self._clock.sleep(wait)
            wait = min(1.5 * wait, _LONGEST_POLL)

    # -- what others write -------------------------------------------------------------------------

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        def work(manifest: Manifest) -> Manifest | None:
            return replace(manifest, card=card) if next_card(card, manifest.card) else None

        after = await to_its_end(self._change(thread, work))
        return after.card == card

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        return await to_its_end(self._post(thread, message))

    async def _post(self, thread: ThreadKey, message: Message) -> Message:
        for turn in range(_LOOKS):
            seen = await self._look(thread)
            manifest = seen.manifest
            if manifest.head is None:
                _refuse_archived(manifest)
                raise ThreadNotFoundError(f"There is no thread {thread.thread!r}.")
            for known in (*manifest.waiting, *manifest.settled):
                if known.id == message.id:
                    return known
            for known in await self._told(manifest, [message.id]):
                return known
            after = replace(manifest, waiting=(*manifest.waiting, message))
            if await self._replace(seen, after):
                return message
            await self._lose(turn)
        raise _busy(thread)

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        if process is not None:
            await to_its_end(self._processes.beat(process))
        return await self._processes.known()

    # -- removing ----------------------------------------------------------------------------------

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        remove = self._remove_all if what.everything else self._remove_part
        return await to_its_end(remove(thread, what))

    async def _remove_all(self, thread: ThreadKey, what: Removal) -> bool:
        for turn in range(_LOOKS):
            seen = await self._look_at_any(thread)
            manifest = seen.manifest
            if manifest.thread is None and not seen.damaged:
                # The last to remove it may not have come to the end of it.
                await self._clearing.clear(thread, manifest)
                return False
            if what.expected is not None and what.expected != manifest.position:
                return False
            if what.without_log and manifest.head is not None:
                return False
            if not what.meets(manifest.card):
                return False
            # What is left stays for ever: taking it away could not be made conditional.
            gone = (manifest.log,) if manifest.log else manifest.gone
            after = Manifest(thread, card=what.card, gone=gone)
            if await self._replace(seen, after):
                await self._clearing.clear(thread, after)
                return True
            await self._lose(turn)
        raise _busy(thread)

    async def _remove_part(self, thread: ThreadKey, what: Removal) -> bool:
        for turn in range(_LOOKS):
            seen = await self._look(thread)
            if what.expected is None or what.expected != seen.manifest.position:
                return False
            log = Log(self.bucket, seen.manifest, self._kept, last=False)
            try:
                after, stale, objects = await pruned(seen.manifest, log, what)
            except Moved:
                continue
            if objects:
                await together([self.bucket.put(key, data) for key, data in objects.items()])
            if await self._replace(seen, after):
                await self._clearing.blobs(seen.manifest, what.blobs)
                await self.bucket.delete(stale)
                return True
            await self._lose(turn)
        raise _busy(thread)

    async def collect(self) -> int:
        """Delete what interrupted writes have left; returns how many objects that were.

        Nothing needs it but the bill. It lists the whole bucket, so call it rarely, such as once
        a day; other processes may go on meanwhile. Objects younger than an hour stay.
        """
        await self.bucket.list("format")  # opened like by any other call
        return await to_its_end(self._clearing.collect(self._kept))

    def statistics(self) -> Mapping[str, float]:
        """``requests`` and ``retries``; ``lost``: writes that found that somebody else had been
        faster, and were tried again; ``written``: bytes that were sent; ``connected``: event
        loops with connections."""
        service = self.bucket.service
        return {
            "requests": service.requests,
            "retries": service.retries,
            "lost": self._lost,
            "written": self.bucket.written,
            "connected": service.loops,
        }

    async def aclose(self) -> None:
        await self.bucket.aclose()

    # -- manifests ---------------------------------------------------------------------------------

    async def _look(self, thread: ThreadKey) -> _Seen:
        """The manifest as it is now."""
        known = self._at_hand(thread)
        etag = known.etag if known is not None else None
        stored = await self.bucket.get(manifest_key(thread), etag)
        if stored is None:
            return _Seen(Manifest(thread), None)
        if known is not None and stored.etag == etag:
            return known
        try:
            seen = _Seen(unpack_manifest(stored.data, thread), stored.etag)
        except IntegrityError as error:
            raise IntegrityError(f"Thread {thread.thread!r}: {error}") from error
        self._keep(seen)
        return seen

    async def _look_at_any(self, thread: ThreadKey) -> _Seen:
        """Likewise, if it cannot be read as well: also what is damaged can be removed."""
        try:
            return await self._look(thread)
        except IntegrityError:
            stored = await self.bucket.get(manifest_key(thread))
            if stored is None:
                return _Seen(Manifest(thread), None)
            # What is there now belongs to no log that could still be told of.
            gone = await self._clearing.logs(thread)
            return _Seen(Manifest(thread, gone=gone), stored.etag, damaged=True)

    async def _replace(self, seen: _Seen, after: Manifest) -> bool:
        """Put a manifest in the place of the one that was seen, if it is still there."""
        key, data = manifest_key(after.key), pack_manifest(after, fresh())
        etag = await self.bucket.put_if(key, data, seen.etag)
        if etag is None:
            # Whoever carries the request may have sent it twice, and tells of the second time. The
            # word in it says that it is this one.
            try:
                stored = await self.bucket.get(key)
            except StorageError as error:
                raise OutcomeUnknownError(
                    f"Writing to {self.bucket.url}: it is not known whether it was done. {error}"
                ) from error
            if stored is None or stored.data != data:
                return False
            etag = stored.etag
        self._keep(_Seen(after, etag))
        return True

    async def _change(
        self, thread: ThreadKey, work: Callable[[Manifest], Manifest | None]
    ) -> Manifest:
        for turn in range(_LOOKS):
            seen = await self._look(thread)
            after = work(seen.manifest)
            if after is None:
                return seen.manifest
            if await self._replace(seen, after):
                return after
            await self._lose(turn)
        raise _busy(thread)

    async def _read(self, thread: ThreadKey, work: Callable[[Manifest, Log], Awaitable[T]]) -> T:
        """One consistent look: what a manifest leads to, all of it or after another look."""
        before: str | None = None
        for _ in range(_LOOKS):
            seen = await self._look(thread)
            last = before is not None and seen.etag == before
            try:
                return await work(
                    seen.manifest, Log(self.bucket, seen.manifest, self._kept, last=last)
                )
            except Moved:
                before = seen.etag
        raise _busy(thread)

    async def _lose(self, turn: int) -> None:
        """Somebody else was faster; those who write to one thread do not do so in step."""
        self._lost += 1
        await self._clock.sleep(_FIRST_WAIT * min(turn, 10) * self._chance.uniform())

    def _at_hand(self, thread: ThreadKey) -> _Seen | None:
        with self._lock:
            return self._known.get(thread)

    def _keep(self, seen: _Seen) -> None:
        with self._lock:
            self._known[seen.manifest.key] = seen
            self._known.move_to_end(seen.manifest.key)
            if len(self._known) > _KNOWN:
                self._known.popitem(last=False)


def _may_begin(append: Append, manifest: Manifest) -> bool:
    if append.card is None:
        return manifest.archived is None
    return next_card(append.card, manifest.card)


def _refuse_archived(manifest: Manifest) -> None:
    if manifest.archived is not None:
        raise ThreadArchivedError(manifest.key.thread, manifest.archived)


def _busy(thread: ThreadKey) -> StorageBusyError:
    return StorageBusyError(
        f"Others keep changing thread {thread.thread!r}; nothing was written. Call again later."
    )
