"""Threads in a SQLite file: `SqliteSaver`."""

from durable_graph_sqlite.backend import SqliteBackend
from durable_graph_sqlite.saver import SqliteSaver, open_saver

__all__ = ["SqliteBackend", "SqliteSaver", "open_saver"]
