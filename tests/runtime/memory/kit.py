"""What tests of atomic stores look at."""

from __future__ import annotations

from typing import Final

from durable_graph.store import BaseStore

__all__ = ["HOME", "keys"]

HOME: Final = ("notes",)


async def keys(store: BaseStore) -> list[str]:
    """The keys of everything that is there, in order."""
    return sorted(item.key for item in await store.asearch((), limit=100))
