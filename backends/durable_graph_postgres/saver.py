"""The saver on a PostgreSQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from durable_graph.encryption import Encryption
from durable_graph.ports.archive import Archive
from durable_graph.ports.clock import Chance, Clock
from durable_graph.saver import Lease, Saver
from durable_graph_postgres.backend import PostgresBackend
from durable_graph_postgres.opening import Synchronous

if TYPE_CHECKING:
    import asyncpg

__all__ = ["PostgresSaver", "open_saver"]


class PostgresSaver(Saver):
    """Stores threads in a PostgreSQL database.

    The tables are made on first use. Any number of processes and hosts may use them at once.

    Args:
        dsn: ``postgresql://user:password@host:port/database``.
        pool: a pool of asyncpg's in the place of that; it is not closed.
        schema: where the tables are; it is made if it does not exist.
        max_connections: for each event loop, at most.
        busy_timeout: seconds to wait for a connection, for a lock, or for a server that starts.
        call_timeout: seconds after which a call that was not answered is given up.
        synchronous: "local" (default): what is acknowledged survives a crash of the server.
            "remote": the loss of its disk as well, since a standby has it, too.
        allow_weaker: use the server even if it keeps less than that.
        prepared: ``False`` behind a pooler that gives each transaction another session.
        row_security: have the database keep tenants apart.
        clock: where time comes from, other than that of leases, which is the server's.
        chance: where ids come from.
        lease: how this process proves that it is alive.
        archive: where threads go that are archived.
        encryption: how what is stored is encrypted; ``None`` if it is not.
        max_value_bytes: how large one value may be; see `durable_graph.saver.Saver`.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        pool: asyncpg.Pool[Any] | None = None,
        schema: str = "durable_graph",
        max_connections: int = 10,
        busy_timeout: float = 10.0,
        call_timeout: float = 30.0,
        synchronous: Synchronous = "local",
        allow_weaker: bool = False,
        prepared: bool = True,
        row_security: bool = False,
        clock: Clock | None = None,
        chance: Chance | None = None,
        lease: Lease | None = None,
        archive: Archive | None = None,
        encryption: Encryption | None = None,
        max_value_bytes: int | None = None,
    ) -> None:
        backend = PostgresBackend(
            dsn,
            pool=pool,
            schema=schema,
            max_connections=max_connections,
            busy_timeout=busy_timeout,
            call_timeout=call_timeout,
            synchronous=synchronous,
            allow_weaker=allow_weaker,
            prepared=prepared,
            row_security=row_security,
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
        """The saver on the database that a connection string names."""
        return cls(conn_string, **options)


def open_saver(url: str, **options: Any) -> PostgresSaver:
    """The saver for ``postgresql://...`` or ``postgres://...``.

    What follows is PostgreSQL's own, such as ``user:password@host:port/database?sslmode=require``.
    """
    return PostgresSaver(url, **options)
