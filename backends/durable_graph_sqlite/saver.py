"""The saver on a SQLite file."""

from __future__ import annotations

import os
from typing import Any, Self

from durable_graph.encryption import Encryption
from durable_graph.ports.archive import Archive
from durable_graph.ports.clock import Chance, Clock
from durable_graph.saver import Lease, Saver
from durable_graph_sqlite.backend import SqliteBackend
from durable_graph_sqlite.file import Synchronous, path_of

__all__ = ["SqliteSaver", "open_saver"]


class SqliteSaver(Saver):
    """Stores threads in a SQLite file.

    The file is opened, and made if need be, on first use. Several processes of one host may use
    it at once; on a network share it must not be used.

    Args:
        path: the file.
        synchronous: "full" (default): what was acknowledged survives a power loss. "normal":
            only the death of processes.
        busy_timeout: seconds to wait while another process writes.
        allow_weaker: use the file even if it cannot give what `synchronous` promises.
        clock: where time comes from.
        chance: where ids come from.
        lease: how this process proves that it is alive.
        archive: where threads go that are archived.
        encryption: how what is stored is encrypted; ``None`` if it is not.
        max_value_bytes: how large one value may be; see `durable_graph.saver.Saver`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Synchronous = "full",
        busy_timeout: float = 10.0,
        allow_weaker: bool = False,
        clock: Clock | None = None,
        chance: Chance | None = None,
        lease: Lease | None = None,
        archive: Archive | None = None,
        encryption: Encryption | None = None,
        max_value_bytes: int | None = None,
    ) -> None:
        backend = SqliteBackend(
            path,
            synchronous=synchronous,
            busy_timeout=busy_timeout,
            allow_weaker=allow_weaker,
            clock=clock,
        )
        super().__init__(
            backend,
            clock=clock,
            chance=chance,
            lease=lease,
            archive=archive,
            encryption=encryption,
            max_value_bytes=max_value_bytes,
        )

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """The saver on the file that a connection string names: a path."""
        return cls(conn_string, **options)


def open_saver(url: str, **options: Any) -> SqliteSaver:
    """The saver for ``sqlite:///relative/path`` or ``sqlite:////absolute/path``.

    Raises:
        ConfigError: the URL names no file.
    """
    return SqliteSaver(path_of(url), **options)
