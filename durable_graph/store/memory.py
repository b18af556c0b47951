"""The store in this process's memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from durable_graph.decisions.lifetimes import TTLConfig
from durable_graph.ports.clock import Chance, Clock
from durable_graph.ports.memory_items import InMemoryItems
from durable_graph.store.index import IndexConfig, inline
from durable_graph.store.item_store import ItemStore

__all__ = ["InMemoryStore"]

T = TypeVar("T")


class InMemoryStore(ItemStore):
    """A store in this process's memory, lost with it. Can be used from any thread and loop.

    Args:
        index: how items are searched by meaning; without one, they are not.
        ttl: how long items live where a call does not say; without it, for ever.
        clock: dates the items.
        chance: makes their versions.
        atomic: whether what a node puts is written with the node's result, or not at all; see
            `BaseStore`. With a saver in memory.
    """

    def __init__(
        self,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
        atomic: bool = False,
    ) -> None:
        self._kept = InMemoryItems()
        super().__init__(
            self._kept, index=index, ttl=ttl, clock=clock, chance=chance, atomic=atomic
        )

    def __repr__(self) -> str:
        return f"<InMemoryStore: {len(self._kept)} items>"

    def wait_for(self, function: Callable[[], Awaitable[T]]) -> T:
        """Wait for a call; none of a store in memory needs an event loop, unless its model does."""
        if self._index is not None and self._index.waits:
            return super().wait_for(function)
        # It never waits, so it needs no event loop: async nodes may use the synchronous face.
        before = inline.set(True)
        try:
            coroutine: Any = function()
            coroutine.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            inline.reset(before)
        raise AssertionError("A store in memory waits for nothing.")
