"""Fresh stores for checks, over every storage system of this repository."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from durable_graph import InMemoryStore
from durable_graph.testing.store_contract import StoreFactory, StoreStorage

__all__ = ["STORES"]


@asynccontextmanager
async def memory(**settings: Any) -> AsyncIterator[StoreStorage]:
    """In this process's memory."""
    store = InMemoryStore(**settings)
    yield StoreStorage(store)
    await store.aclose()


STORES: dict[str, StoreFactory] = {
    "memory": memory,
}
"""Factories for `check_store`, by name."""
