"""Atomic stores beside the threads of each saver."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from durable_graph import InMemoryStore
from durable_graph.saver import Saver
from durable_graph.store import ItemStore
from durable_graph_postgres import PostgresSaver, PostgresStore
from durable_graph_sqlite import SqliteSaver, SqliteStore


@pytest_asyncio.fixture
async def store(saver: Saver) -> AsyncIterator[ItemStore]:
    """An atomic store beside each saver's threads, where there is one."""
    backend: Any = saver.backend
    if not backend.capabilities.stores:
        pytest.skip("appends of this backend put nothing into stores")
    match saver:
        case SqliteSaver():
            made: ItemStore = SqliteStore(backend.path, atomic=True)
        case PostgresSaver():
            made = PostgresStore(backend._dsn, schema=backend.schema, atomic=True)
        case _:
            made = InMemoryStore(atomic=True)
    yield made
    await made.aclose()


@pytest.fixture
def others(saver: Saver, store: ItemStore) -> ItemStore:
    """The same items, as others see them."""
    return ItemStore(store.items)
