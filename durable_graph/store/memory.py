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
    """

    def __init__(
        self,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._kept = InMemoryItems()
        super().__init__(self._kept, index=index, ttl=ttl, clock=clock, chance=chance)

    def __repr__(self) -> str:
        return f"<InMemoryStore: {len(self._kept)} items>"

    def _wait(self, function: Callable[[], Awaitable[T]]) -> T:
        if self._index is not None and self._index.waits:
            return super()._wait(function)
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
