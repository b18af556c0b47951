"""Storage of a store's items that keeps their values encrypted in another one.

A store has no head to keep a secret in, so each value brings what opens it: the secret of a key
that this process has made, as the provider has wrapped it. The provider is asked for a new one
now and then, and to unwrap those that are met, which are kept at hand. A value and its vectors are
bound to namespace, key and version.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from durable_graph.encryption.envelope import KEY_SIZE, NotSealedError, Opener, binding, derived
from durable_graph.encryption.keyring import pack, unpack
from durable_graph.encryption.keys import KeyProvider
from durable_graph.encryption.rotation import left_as_it_was
from durable_graph.errors import DecryptionError, IntegrityError, StorageError
from durable_graph.ports.items import (
    DamagedItemError,
    Entry,
    Items,
    ItemsCapabilities,
    Namespace,
    Place,
    Write,
)

__all__ = ["EncryptedItems"]

_MARK: Final = b"\0dgv\x01"
_LENGTH: Final = struct.Struct(">H")
_CONTEXT: Final = {"for": "durable_graph store"}
_PURPOSE: Final = b"durable_graph: values of a store"

# A key seals so many values, each with a few vectors: far fewer than nonces allow, and often
# enough that the provider need not be asked.
_USES: Final = 1_000_000
_PAGE: Final = 200


@dataclass(slots=True)
class _Key:
    """A key of this process: what goes before each value, and how often it was used."""

    key_id: str
    wrapped: bytes
    opener: Opener
    uses: int = 0


class EncryptedItems:
    """Encrypts values and vectors on the way to storage, and decrypts them on the way back.

    Namespaces, keys, versions and times are readable, and what storage finds items by. So
    filtering and searching by meaning happen in this process, where everything is read for it.

    Args:
        inner: where entries are kept.
        provider: wraps keys.
        required: refuse what lies in the clear.
        cached_keys: how many keys to keep at hand.
    """

    def __init__(
        self, inner: Items, provider: KeyProvider, *, required: bool, cached_keys: int
    ) -> None:
        self.inner = inner
        self._provider = provider
        self._required = required
        self._size = cached_keys
        self._own: _Key | None = None
        self._known: OrderedDict[bytes, Opener] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def capabilities(self) -> ItemsCapabilities:
        """Those of the other one; but whoever asks it may have to wait for a key, and storage
        makes nothing of encrypted vectors."""
        return replace(self.inner.capabilities, immediate=False, ranks=False)

    async def fetch(self, places: Sequence[Place], now: float) -> Sequence[Entry | None]:
        """See `Items.fetch`.

        Raises:
            DecryptionError: one of them was altered or moved, or its key is not known here.
            StorageError: the key provider failed.
        """
        found = await self.inner.fetch(places, now)
        opened = iter(await self._opened([entry for entry in found if entry is not None]))
        return [None if entry is None else next(opened) for entry in found]

    async def scan(
        self,
        prefix: Namespace,
        now: float,
        *,
        limit: int,
        after: Entry | None = None,
        vectors: bool = False,
    ) -> Sequence[Entry]:
        """See `Items.scan`, and `fetch` for what it raises."""
        found = await self.inner.scan(prefix, now, limit=limit, after=after, vectors=vectors)
        return await self._opened(found)

    async def namespaces(
        self, prefix: Namespace, now: float, *, limit: int, after: Namespace | None = None
    ) -> Sequence[Namespace]:
        """See `Items.namespaces`."""
        return await self.inner.namespaces(prefix, now, limit=limit, after=after)

    async def apply(self, writes: Sequence[Write], now: float) -> Sequence[Place]:
        """See `Items.apply`."""
        return await self.inner.apply(await self.sealed(writes), now)

    async def prolong(self, entries: Sequence[tuple[Entry, float]], now: float) -> None:
        """See `Items.prolong`."""
        await self.inner.prolong(entries, now)

    async def sweep(self, now: float, *, limit: int) -> int:
        """See `Items.sweep`."""
        return await self.inner.sweep(now, limit=limit)

    async def aclose(self) -> None:
        """See `Items.aclose`."""
        await self.inner.aclose()

    async def rotate(self, now: float) -> int:
        """Encrypt anew what is not under the provider's current key, and is not changed meanwhile;
        returns how many entries it was. What cannot be read is in nobody's way.

        Raises:
            DecryptionError: some were altered, or a key is not known here; all others are done.
            IntegrityError: some are damaged; all others are done.
        """
        changed, after, limit = 0, None, _PAGE
        failed: list[tuple[str, IntegrityError]] = []
        while True:
            try:
                page = await self.inner.scan((), now, limit=limit, after=after, vectors=True)
            except DamagedItemError as error:
                # Up to it page by page, each half as long, and then on after it.
                if limit > 1:
                    limit //= 2
                    continue
                failed.append((_named(error.entry), error))
                after, limit = error.entry, _PAGE
                continue
            for entry in page:
                # One by one: what one of them is refused for is nothing to the others.
                try:
                    changed += await self._rotate(entry, now)
                except IntegrityError as error:
                    failed.append((_named(entry), error))
            if len(page) < limit:
                break
            after, limit = page[-1], min(limit * 2, _PAGE)
        if len(failed) == 1:
            raise failed[0][1]
        if failed:
            others = (
                f"All others are under the current key now, {changed} of them newly. Restore "
                f"those, or put or delete them anew, before the older keys go."
            )
            raise left_as_it_was(failed, "of the stored items", others)
        return changed

    async def _rotate(self, entry: Entry, now: float) -> bool:
        """Encrypt an entry anew, if need be; returns whether that is done."""
        if self._is_current(entry):
            return False
        write = Write(entry.place, await self._open(entry), entry.version)
        return not await self.apply([write], now)

    def _is_current(self, entry: Entry) -> bool:
        try:
            return unpack(_parts(entry)[0])[0] == self._provider.current
        except NotSealedError:
            return False

    async def sealed(self, writes: Sequence[Write]) -> list[Write]:
        """Writes as the other storage is to have them."""
        if all(write.entry is None for write in writes):
            return list(writes)
        key = await self._sealing()
        before = _MARK + _LENGTH.pack(len(key.wrapped)) + key.wrapped
        return [
            write if write.entry is None else replace(write, entry=_seal(key, before, write.entry))
            for write in writes
        ]

    async def _opened(self, entries: Sequence[Entry]) -> list[Entry]:
        return [await self._open(entry) for entry in entries]

    async def _open(self, entry: Entry) -> Entry:
        if entry.value[: len(_MARK) - 1] != _MARK[:-1]:
            if self._required:
                raise _undecryptable(entry)
            return entry
        try:
            wrapped, sealed = _parts(entry)
            opener = await self._opener(wrapped)
            return replace(
                entry,
                value=opener.open(sealed, _value_place(entry)),
                vectors=tuple(
                    opener.open(vector, _vector_place(entry, number))
                    for number, vector in enumerate(entry.vectors)
                ),
            )
        except (DecryptionError, NotSealedError):
            raise _undecryptable(entry) from None

    async def _sealing(self) -> _Key:
        """The key of this process, a new one if it has been used up or is not the current one."""
        key, current = self._own, self._provider.current
        if key is None or key.key_id != current or key.uses >= _USES:
            secret = os.urandom(KEY_SIZE)
            try:
                wrapped = await self._provider.wrap(current, secret, _CONTEXT)
            except Exception as error:  # whatever a service may fail with
                raise _unreachable(error) from error
            key = _Key(current, pack(current, wrapped), Opener(derived(secret, _PURPOSE)))
            self._own = key
            self._keep(key.wrapped, key.opener)
        key.uses += 1
        return key

    async def _opener(self, packed: bytes) -> Opener:
        with self._lock:
            known = self._known.get(packed)
            if known is not None:
                self._known.move_to_end(packed)
                return known
        key_id, wrapped = unpack(packed)
        try:
            secret = await self._provider.unwrap(key_id, wrapped, _CONTEXT)
        except DecryptionError:
            raise
        except Exception as error:  # whatever a service may fail with
            raise _unreachable(error) from error
        return self._keep(packed, Opener(derived(secret, _PURPOSE)))

    def _keep(self, packed: bytes, opener: Opener) -> Opener:
        with self._lock:
            self._known[packed] = opener
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return opener


def _seal(key: _Key, before: bytes, entry: Entry) -> Entry:
    return replace(
        entry,
        value=before + key.opener.seal(entry.value, _value_place(entry)),
        vectors=tuple(
            key.opener.seal(vector, _vector_place(entry, number))
            for number, vector in enumerate(entry.vectors)
        ),
    )


def _parts(entry: Entry) -> tuple[bytes, bytes]:
    """What a stored value consists of: the wrapped key, and what that has sealed."""
    start = len(_MARK) + _LENGTH.size
    if entry.value[: len(_MARK)] != _MARK or len(entry.value) < start:
        raise NotSealedError
    (length,) = _LENGTH.unpack_from(entry.value, len(_MARK))
    return entry.value[start : start + length], entry.value[start + length :]


def _value_place(entry: Entry) -> bytes:
    return binding("value", str(entry.version), entry.key, *entry.namespace)


def _vector_place(entry: Entry, number: int) -> bytes:
    return binding("vector", str(number), str(entry.version), entry.key, *entry.namespace)


def _named(entry: Entry) -> str:
    return f"{entry.key!r} in {entry.namespace!r}"


def _undecryptable(entry: Entry) -> DecryptionError:
    return DecryptionError(
        f"What is stored under {_named(entry)} cannot be decrypted: it was "
        f"altered or moved, is not encrypted, or its key is not among those that are known here."
    )


def _unreachable(error: Exception) -> StorageError:
    return StorageError(
        f"The key provider failed ({type(error).__name__}), so no value can be read or written "
        f"now; nothing was written."
    )
