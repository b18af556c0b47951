"""A backend that keeps everything encrypted in another one, which sees names and sizes.

What goes through here: the bodies of records, large values, messages, and the secrets of heads.
Headers, digests and links pass as they are. They are made of the plain text, under a secret that
storage does not have; so the hash chain holds, an append that is asked for again is known again,
and the other backend needs to know nothing of all this.
"""

from __future__ import annotations

import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from anyio import to_thread

from durable_graph.encryption.envelope import NotSealedError, binding, is_sealed
from durable_graph.encryption.keyring import Keyring, ThreadKeys
from durable_graph.encryption.keys import KeyProvider
from durable_graph.errors import ThreadNotFoundError
from durable_graph.log.pieces import BULKY
from durable_graph.log.seal import Unreadable
from durable_graph.ports.backend import (
    Append,
    Backend,
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
)
from durable_graph.ports.items import Items
from durable_graph.ports.later import then

__all__ = ["EncryptedBackend", "EncryptedTransactions"]

T = TypeVar("T")


class EncryptedBackend:
    """Encrypts on the way to another backend, and decrypts on the way back.

    What cannot be decrypted does not take along what is beside it: a record or a large value comes
    as `Unreadable`, and whoever opens it raises `DecryptionError`; a message comes empty, and is
    refused by whoever takes it up. Only where the secret of a thread itself cannot be unwrapped is
    there nothing of it to read.

    Args:
        inner: where things are kept.
        provider: wraps the secrets of threads.
        required: refuse what lies in the clear.
        cached_keys: keys of how many threads to keep at hand.
    """

    def __init__(
        self, inner: Backend, provider: KeyProvider, *, required: bool, cached_keys: int
    ) -> None:
        self.inner = inner
        self._required = required
        self._keyring = Keyring(provider, required=required, size=cached_keys)

    def __repr__(self) -> str:
        return f"<encrypted {self.inner!r}>"

    @property
    def capabilities(self) -> Capabilities:
        """Those of the other backend; but whoever asks it may have to wait for a key."""
        return replace(self.inner.capabilities, immediate=False)

    def keeps(self, items: Items) -> bool:
        """See `Remembering`, which not every backend is."""
        inner: Any = self.inner
        kept: bool = inner.keeps(items)
        return kept

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        """See `Backend.append`."""
        keys = await self._keyring.all_to_store([append.head for append in batch])
        if sum(map(_size, batch)) > BULKY:
            sealed = await to_thread.run_sync(_all_sealed, keys, batch)
        else:
            sealed = _all_sealed(keys, batch)
        return await self.inner.append(sealed, beat)

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        """See `Backend.read`.

        Raises:
            DecryptionError: the secret of the thread cannot be unwrapped.
            StorageError: the key provider failed.
        """
        reading = await self.inner.read(thread, checkpoint, unless=unless)
        if reading is None:
            return None
        head = reading.head
        keys = await self._keyring.stored(thread, head.secret)
        if head.weight > BULKY and reading.records:
            return await to_thread.run_sync(self._plain_reading, keys, reading)
        return self._plain_reading(keys, reading)

    def _plain_reading(self, keys: ThreadKeys, reading: Reading) -> Reading:
        thread = reading.head.key
        return Reading(
            _with_secret(reading.head, keys.secret),
            [self._opened(keys, thread, record) for record in reading.records],
            [self._opened(keys, thread, record) for record in reading.after],
            [self._message(keys, thread, message) for message in reading.messages],
        )

    async def scan(
        self, thread: ThreadKey, ranges: Ranges, *, bodies: bool = True
    ) -> Sequence[Record]:
        """See `Backend.scan`, and `read` for what it raises."""
        records = await self.inner.scan(thread, ranges, bodies=bodies)
        if all(record.body is None for record in records):
            return records
        return await self._with_keys(
            thread,
            lambda keys: [self._opened(keys, thread, record) for record in records],
            lambda opened: any(isinstance(record.body, Unreadable) for record in opened),
            [],
        )

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        """See `Backend.blobs`, and `read` for what it raises."""
        found = await self.inner.blobs(thread, digests)
        if not found:
            return found
        return await self._with_keys(
            thread,
            lambda keys: {
                digest: self._plain(keys, data, _blob_place(thread, digest))
                for digest, data in found.items()
            },
            lambda opened: any(isinstance(data, Unreadable) for data in opened.values()),
            {},
            sum(map(len, found.values())),
        )

    async def thread(self, thread: ThreadKey) -> Thread | None:
        """See `Backend.thread`; its head's secret is as it is stored."""
        return await self.inner.thread(thread)

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        """See `Backend.threads`; the secrets of the heads are as they are stored."""
        return await self.inner.threads(query)

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        """See `Backend.label`; cards are not encrypted."""
        return await self.inner.label(thread, card)

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        """See `Backend.post`, and `read` for what else it raises."""
        keys = await self._keys_now(thread)
        if keys is None:  # reading it may bring it back from where it was archived
            reading = await self.inner.read(thread)
            if reading is None:
                raise ThreadNotFoundError(f"There is no thread {thread.thread!r}.")
            keys = await self._keyring.stored(thread, reading.head.secret)
        sealed = keys.opener.seal(message.body, _message_place(thread, message))
        stored = await self.inner.post(thread, replace(message, body=sealed))
        return self._message(keys, thread, stored)

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        """See `Backend.beat`."""
        return await self.inner.beat(process)

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        """See `Backend.remove`. With the thread goes the only thing that could decrypt it."""
        if what.everything:
            self._keyring.forget(thread)
        return await self.inner.remove(thread, what)

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        """See `Backend.changed`."""
        await self.inner.changed(thread, seen)

    def statistics(self) -> Mapping[str, float]:
        """Those of the other backend; ``keys``: how many threads' keys are at hand; ``wraps`` and
        ``unwraps``: how often the key provider was asked."""
        ring = self._keyring
        own = {"keys": len(ring), "wraps": ring.wraps, "unwraps": ring.unwraps}
        return {**self.inner.statistics(), **own}

    async def aclose(self) -> None:
        """See `Backend.aclose`."""
        await self.inner.aclose()

    async def opened(self, head: Head) -> Head:
        """A head as `thread` and `threads` return it, with its secret.

        Raises:
            DecryptionError: that cannot be unwrapped.
            StorageError: the key provider failed.
        """
        keys = await self._keyring.stored(head.key, head.secret)
        return _with_secret(head, keys.secret)

    def is_current(self, head: Head) -> bool:
        """Whether a thread's secret is wrapped with the provider's current key.

        Args:
            head: its head as `thread` and `threads` return it.

        Raises:
            DecryptionError: it is nothing that can be unwrapped.
        """
        return self._keyring.is_current(head.secret, head.key)

    async def _keys_now(self, thread: ThreadKey) -> ThreadKeys | None:
        """The keys of a thread as it is now; ``None`` if it has no log."""
        found = await self.inner.thread(thread)
        if found is None or found.head is None:
            return None
        return await self._keyring.stored(thread, found.head.secret)

    async def _with_keys(
        self,
        thread: ThreadKey,
        open: Callable[[ThreadKeys], T],
        failed: Callable[[T], bool],
        nothing: T,
        size: int = 0,
    ) -> T:
        """Open what was read of a thread without its head.

        The keys at hand are those of a thread that may have been deleted and begun anew since. So
        nothing counts as unreadable before its head was looked at.
        """

        async def opening(keys: ThreadKeys) -> T:
            return await to_thread.run_sync(open, keys) if size > BULKY else open(keys)

        keys = self._keyring.cached(thread)
        if keys is not None and not failed(opened := await opening(keys)):
            return opened
        now = await self._keys_now(thread)
        return nothing if now is None else await opening(now)

    def _opened(self, keys: ThreadKeys, thread: ThreadKey, record: Record) -> Record:
        if record.body is None:
            return record
        body = self._plain(keys, record.body, _record_place(thread, record))
        return _with_body(record, body)

    def _message(self, keys: ThreadKeys, thread: ThreadKey, message: Message) -> Message:
        body = self._plain(keys, message.body, _message_place(thread, message))
        return replace(message, body=body)

    def _plain(self, keys: ThreadKeys, data: bytes, place: bytes) -> bytes:
        if not (self._required or is_sealed(data)):
            return data
        try:
            return keys.opener.open(data, place)
        except NotSealedError:
            return Unreadable()


class EncryptedTransactions(EncryptedBackend):
    """The same for a backend that lets others write in the transaction of an append."""

    async def transact(
        self,
        thread: ThreadKey,
        expected: Position,
        work: Callable[[Any], Append | Awaitable[Append]],
    ) -> Append | None:
        """See `Transactional.transact`."""
        inner: Any = self.inner
        keys = await self._keys_now(thread)
        if keys is None:
            return None
        # Wrapped now: within the transaction nobody is waited for.
        keys = await self._keyring.to_store(thread, keys.secret)
        made: list[Append] = []

        def sealing(append: Append) -> Append:
            if append.head.secret != keys.secret:
                raise ValueError("What is to be appended is of another thread than what is there.")
            made.append(append)
            return _sealed(keys, append)

        transact: Callable[..., Awaitable[Append | None]] = inner.transact
        stored = await transact(thread, expected, lambda guest: then(work(guest), sealing))
        return None if stored is None else made[-1]


def _size(append: Append) -> int:
    bodies = (record.body for record in append.records)
    return sum(len(body) for body in (*bodies, *append.blobs.values()) if body is not None)


def _all_sealed(keys: Sequence[ThreadKeys], batch: Sequence[Append]) -> list[Append]:
    return [_sealed(one, append) for one, append in zip(keys, batch, strict=True)]


def _sealed(keys: ThreadKeys, append: Append) -> Append:
    thread = append.head.key
    seal = keys.opener.seal
    return Append(
        append.expected,
        _with_secret(append.head, keys.stored),
        _sealed_records(keys, thread, append.records),
        {digest: seal(data, _blob_place(thread, digest)) for digest, data in append.blobs.items()},
        append.settled,
        append.card,
        append.puts,  # as the store has encoded them
    )


def _sealed_records(keys: ThreadKeys, thread: ThreadKey, records: Iterable[Record]) -> list[Record]:
    return [
        record
        if record.body is None
        else _with_body(record, keys.opener.seal(record.body, _record_place(thread, record)))
        for record in records
    ]


# What a ciphertext is bound to. A record's link depends on all records before it, on its digest
# and on its header, which names its number, its namespace and what else there is to it: so with
# the link, all of these are authenticated.


def _record_place(thread: ThreadKey, record: Record) -> bytes:
    place = struct.pack(">Q", record.seq)
    return binding("record", *thread, place, record.kind, record.digest, record.link)


def _blob_place(thread: ThreadKey, digest: str) -> bytes:
    return binding("blob", *thread, digest)


def _message_place(thread: ThreadKey, message: Message) -> bytes:
    time = struct.pack(">d", message.time + 0.0)  # storage may not tell -0.0 from 0.0
    return binding("message", *thread, message.id, message.kind, message.by, time)


# By hand and by position: `replace` takes several times as long, and every superstep pays for it.


def _with_secret(head: Head, secret: bytes) -> Head:
    return Head(
        head.key,
        head.seq,
        head.epoch,
        head.link,
        secret,
        head.status,
        head.owner,
        head.run,
        head.checkpoint,
        head.step,
        head.path,
        head.weight,
        head.fresh,
        head.size,
        head.input,
        head.reason,
        head.created,
        head.updated,
    )


def _with_body(record: Record, body: bytes) -> Record:
    return Record(
        record.seq,
        record.kind,
        record.checkpoint,
        record.header,
        body,
        record.digest,
        record.link,
        record.previous,
    )
