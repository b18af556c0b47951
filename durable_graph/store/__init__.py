"""Memory that outlives threads: what users call of a store, and the one that is in memory."""

from durable_graph.ports.store import (
    NOT_GIVEN,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Namespace,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
    TTLConfig,
)
from durable_graph.store.base import BaseStore
from durable_graph.store.index import IndexConfig
from durable_graph.store.item_store import ItemStore
from durable_graph.store.memory import InMemoryStore

__all__ = [
    "NOT_GIVEN",
    "BaseStore",
    "GetOp",
    "InMemoryStore",
    "IndexConfig",
    "Item",
    "ItemStore",
    "ListNamespacesOp",
    "MatchCondition",
    "Namespace",
    "Op",
    "PutOp",
    "SearchItem",
    "SearchOp",
    "TTLConfig",
]
