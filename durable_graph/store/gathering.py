"""A store as one execution of a node sees it: what it puts waits for the node's result."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from durable_graph.decisions.items import Layered, Pending, Place, Write
from durable_graph.decisions.lifetimes import TTLConfig
from durable_graph.errors import StoreError
from durable_graph.ports.items import ItemsCapabilities
from durable_graph.ports.store import Op
from durable_graph.store.base import BaseStore

if TYPE_CHECKING:
    from durable_graph.store.item_store import ItemStore

__all__ = ["Gathering"]

T = TypeVar("T")


class Gathering(BaseStore):
    """Reads from a store, and from what was put here and is not stored yet.

    Args:
        store: the store.
        below: what nodes before have put that is stored only when the run ends.
        settle: waits until all the rest that nodes before have put is stored.
    """

    def __init__(
        self, store: ItemStore, below: Pending, settle: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._below = below
        self._settle = settle
        self._pending = Pending()
        self._lock = threading.Lock()
        self._closed = False
        self.supports_ttl: bool = store.supports_ttl
        self.ttl_config: TTLConfig | None = store.ttl_config

    def __repr__(self) -> str:
        return f"<{self._store!r} with {len(self._pending.writes)} puts of a node>"

    @property
    def capabilities(self) -> ItemsCapabilities:
        """What the store's storage guarantees."""
        return self._store.capabilities

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        """See `Store.abatch`; what is put is stored with the node's result, or not at all.

        Raises:
            StoreError: the node's execution is over.
        """
        given = list(ops)
        await self._settle()
        while True:
            # On a copy: of a batch that fails nothing may be left, and others may be under way.
            before = dict(self._pending.writes)
            batch = Pending(dict(before))
            seen = Layered(self._below, batch) if self._below.writes else batch
            results = await self._store.through(seen, given)
            own = {at: write for at, write in batch.writes.items() if write != before.get(at)}
            # It is compared once more when it is written; but here the node can still act on it.
            await self._store.check(
                [
                    write
                    for place, write in own.items()
                    if write.expects is not None and place not in self._below.writes
                ]
            )
            # What another batch has put meanwhile into one of the same places, this one has to see.
            if self._added(own, before):
                return results

    def _added(self, own: Mapping[Place, Write], before: Mapping[Place, Write]) -> bool:
        """Take in what a batch has put, if what it was made upon is still there."""
        if not own:
            return True
        with self._lock:  # the threads of a synchronous node may have a loop each
            self._check_open()
            writes = self._pending.writes
            if any(writes.get(place) is not before.get(place) for place in own):
                return False
            writes.update(own)
            return True

    def seen(self) -> Pending:
        """What is seen here that is not stored, as of now."""
        below = Pending(dict(self._below.writes))
        below.merge(list(self._pending.writes.values()))
        return below

    @property
    def puts(self) -> bool:
        """Whether something was put."""
        return bool(self._pending.writes)

    def take(self) -> Sequence[Write]:
        """What was put, to be stored; nothing can be put any more."""
        self._closed = True
        return list(self._pending.writes.values())

    def add(self, writes: Sequence[Write]) -> None:
        """Take in what a graph that the node has called has put.

        Raises:
            StoreConflictError: a version is expected, and what the node has put is of another.
        """
        self._pending.merge(writes)

    async def aclose(self) -> None:
        """The store is not the node's to close."""

    def wait_for(self, function: Callable[[], Awaitable[T]]) -> T:
        """Wait for a call as the store does."""
        return self._store.wait_for(function)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(
                "The node's execution is over, and its result is stored: what it puts now would "
                "be lost. Await what a node puts before it returns."
            )
