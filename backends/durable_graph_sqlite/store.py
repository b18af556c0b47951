"""The store in a SQLite file."""

from __future__ import annotations

import os
from typing import Any, Self

from durable_graph.encryption import Encryption
from durable_graph.ports.clock import Chance, Clock
from durable_graph.store import IndexConfig, ItemStore, TTLConfig
from durable_graph_sqlite.file import DatabaseFile, Synchronous, path_of
from durable_graph_sqlite.items import SqliteItems

__all__ = ["SqliteStore", "open_store"]


class SqliteStore(ItemStore):
    """Keeps items in a SQLite file, which may be that of a `SqliteSaver`.

    The file is opened, and made if need be, on first use. Several processes of one host may use
    it at once; on a network share it must not be used.

    Args:
        path: the file.
        index: how items are searched by meaning; without one, they are not.
        ttl: how long items live where a call does not say; without it, for ever.
        synchronous: "full" (default): what was acknowledged survives a power loss. "normal":
            only the death of processes.
        busy_timeout: seconds to wait while another process writes.
        allow_weaker: use the file even if it cannot give what `synchronous` promises.
        clock: dates the items.
        chance: makes their versions.
        encryption: how values are encrypted; ``None`` if they are not.
        atomic: whether what a node puts is written with the node's result, or not at all; see
            `BaseStore`. With a saver on the same file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        synchronous: Synchronous = "full",
        busy_timeout: float = 10.0,
        allow_weaker: bool = False,
        clock: Clock | None = None,
        chance: Chance | None = None,
        encryption: Encryption | None = None,
        atomic: bool = False,
    ) -> None:
        self._file = DatabaseFile(path, synchronous, busy_timeout, allow_weaker)
        super().__init__(
            SqliteItems(self._file),
            index=index,
            ttl=ttl,
            clock=clock,
            chance=chance,
            encryption=encryption,
            atomic=atomic,
        )

    def __repr__(self) -> str:
        return f"<SqliteStore {self._file.path!r}, synchronous={self._file.synchronous}>"

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """The store in the file that a connection string names: a path."""
        return cls(conn_string, **options)


def open_store(url: str, **options: Any) -> SqliteStore:
    """The store for ``sqlite:///relative/path`` or ``sqlite:////absolute/path``.

    Raises:
        ConfigError: the URL names no file.
    """
    return SqliteStore(path_of(url), **options)
