"""Threads in a SQLite file: `SqliteSaver`; and results of nodes in another: `SqliteCache`."""

from durable_graph_sqlite.backend import SqliteBackend
from durable_graph_sqlite.cache import SqliteCache
from durable_graph_sqlite.saver import SqliteSaver, open_saver

__all__ = ["SqliteBackend", "SqliteCache", "SqliteSaver", "open_saver"]
