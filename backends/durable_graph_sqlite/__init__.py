"""In a SQLite file: threads (`SqliteSaver`), memory (`SqliteStore`), results (`SqliteCache`)."""

from durable_graph_sqlite.backend import SqliteBackend
from durable_graph_sqlite.cache import SqliteCache
from durable_graph_sqlite.saver import SqliteSaver, open_saver
from durable_graph_sqlite.store import SqliteStore, open_store

__all__ = [
    "SqliteBackend",
    "SqliteCache",
    "SqliteSaver",
    "SqliteStore",
    "open_saver",
    "open_store",
]
