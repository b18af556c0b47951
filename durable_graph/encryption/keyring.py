"""The keys of threads, as this process holds them.

A thread's secret keys the digests of its records; the key that encrypts it is derived from that.
The head holds the secret wrapped, so unwrapping it is all that reading a thread needs, and every
write can wrap it anew without having read anything. What was unwrapped is kept for the threads
that were used last.
"""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from durable_graph.encryption.envelope import NotSealedError, Opener, binding, derived
from durable_graph.encryption.keys import KeyProvider
from durable_graph.errors import DecryptionError, StorageError
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Head

__all__ = ["Keyring", "ThreadKeys", "answer_of", "is_wrapped", "pack", "unpack"]

T = TypeVar("T")

_MARK: Final = b"\0dgk\x01"


@dataclass(frozen=True, slots=True)
class ThreadKeys:
    """What opens a thread.

    Attributes:
        secret: the thread's secret, as the engine knows it.
        stored: the same, as its head holds it.
        key_id: the provider's key that it is wrapped with; ``None`` if it lies in the clear.
        opener: seals and opens what the thread holds.
    """

    secret: bytes
    stored: bytes
    key_id: str | None
    opener: Opener


class Keyring:
    """The keys of the threads that were used last; can be used from any event loop.

    Args:
        provider: wraps their secrets.
        required: refuse threads whose secret lies in the clear.
        size: how many threads to know at most.
    """

    def __init__(self, provider: KeyProvider, *, required: bool, size: int) -> None:
        self._provider = provider
        self._required = required
        self._size = size
        self._known: OrderedDict[ThreadKey, ThreadKeys] = OrderedDict()
        self._lock = threading.Lock()
        self.wraps = self.unwraps = 0
        """How often the provider was asked."""

    def __len__(self) -> int:
        return len(self._known)

    def cached(self, thread: ThreadKey) -> ThreadKeys | None:
        """The keys of a thread, if they are at hand; it may have others by now."""
        with self._lock:
            known = self._known.get(thread)
            if known is not None:
                self._known.move_to_end(thread)
            return known

    def forget(self, thread: ThreadKey) -> None:
        """A thread is gone."""
        with self._lock:
            self._known.pop(thread, None)

    async def stored(self, thread: ThreadKey, stored: bytes) -> ThreadKeys:
        """The keys of a thread whose head holds this.

        Raises:
            DecryptionError: it is nothing that can be unwrapped, or lies in the clear.
            StorageError: the provider failed.
        """
        known = self.cached(thread)
        if known is not None and known.stored == stored:
            return known
        if is_wrapped(stored):
            key_id, wrapped = _unpacked(stored, thread)
            self.unwraps += 1
            secret = await answer_of(
                self._provider.unwrap(key_id, wrapped, _context(thread)), "unwrap", thread
            )
            return self._keep(thread, _keys(thread, secret, stored, key_id))
        if self._required:
            raise undecryptable(thread)
        return self._keep(thread, _keys(thread, stored, stored, None))

    async def to_store(self, thread: ThreadKey, secret: bytes) -> ThreadKeys:
        """The keys of a thread that is about to be written, wrapped with the current key.

        Raises:
            StorageError: the provider failed.
        """
        current = self._provider.current
        known = self.cached(thread)
        if known is not None and known.secret == secret and known.key_id == current:
            return known
        self.wraps += 1
        wrapped = await answer_of(
            self._provider.wrap(current, secret, _context(thread)), "wrap", thread
        )
        return self._keep(thread, _keys(thread, secret, pack(current, wrapped), current))

    async def all_to_store(self, heads: Sequence[Head]) -> list[ThreadKeys]:
        """The same for several threads; the provider is asked for all of them at once."""
        current = self._provider.current
        found = [self.cached(head.key) for head in heads]
        if all(
            keys is not None and keys.secret == head.secret and keys.key_id == current
            for keys, head in zip(found, heads, strict=True)
        ):
            return [keys for keys in found if keys is not None]
        made = await asyncio.gather(
            *(self.to_store(head.key, head.secret) for head in heads), return_exceptions=True
        )
        for keys in made:
            if isinstance(keys, BaseException):
                raise keys
        return [keys for keys in made if isinstance(keys, ThreadKeys)]

    def is_current(self, stored: bytes, thread: ThreadKey) -> bool:
        """Whether a head's secret is wrapped with the key that is current now."""
        return is_wrapped(stored) and _unpacked(stored, thread)[0] == self._provider.current

    def _keep(self, thread: ThreadKey, keys: ThreadKeys) -> ThreadKeys:
        with self._lock:
            self._known[thread] = keys
            self._known.move_to_end(thread)
            while len(self._known) > self._size:
                self._known.popitem(last=False)
        return keys


def undecryptable(thread: ThreadKey) -> DecryptionError:
    """One text, whatever it is that does not fit: what an attacker has to change is not told."""
    return DecryptionError(
        f"Thread {thread.thread!r} cannot be decrypted: it was altered or moved, is not encrypted, "
        f"or its key is not among those that are known here."
    )


def is_wrapped(stored: bytes) -> bool:
    """Whether a head's secret says that it is wrapped; a plain one has 16 random bytes."""
    return stored[: len(_MARK) - 1] == _MARK[:-1]


def pack(key_id: str, wrapped: bytes) -> bytes:
    """A wrapped secret with the id of its key."""
    name = key_id.encode()
    return _MARK + struct.pack(">B", len(name)) + name + wrapped


def unpack(packed: bytes) -> tuple[str, bytes]:
    """The id of the key, and the wrapped secret.

    Raises:
        NotSealedError: it is none.
    """
    try:
        if packed[: len(_MARK)] != _MARK:
            raise ValueError("a later format")
        end = len(_MARK) + 1 + packed[len(_MARK)]
        return packed[len(_MARK) + 1 : end].decode(), packed[end:]
    except (ValueError, IndexError):
        raise NotSealedError from None


def _unpacked(stored: bytes, thread: ThreadKey) -> tuple[str, bytes]:
    try:
        return unpack(stored)
    except NotSealedError:
        raise undecryptable(thread) from None


async def answer_of(asked: Awaitable[T], what: str, thread: ThreadKey) -> T:
    """What a provider says.

    Raises:
        DecryptionError: no.
        StorageError: nothing.
    """
    try:
        return await asked
    except DecryptionError:
        raise undecryptable(thread) from None
    except Exception as error:  # whatever a service may fail with
        raise StorageError(
            f"The key provider could not {what} the key of thread {thread.thread!r} "
            f"({type(error).__name__}); nothing was written."
        ) from error


def _keys(thread: ThreadKey, secret: bytes, stored: bytes, key_id: str | None) -> ThreadKeys:
    purpose = binding("durable_graph: what a thread holds", *thread)
    return ThreadKeys(secret, stored, key_id, Opener(derived(secret, purpose)))


def _context(thread: ThreadKey) -> dict[str, str]:
    return {"for": "durable_graph thread", "tenant": thread.tenant, "thread": thread.thread}
