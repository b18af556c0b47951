"""The store on a PostgreSQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from durable_graph.encryption import Encryption
from durable_graph.ports.clock import Chance, Clock
from durable_graph.store import IndexConfig, ItemStore, TTLConfig
from durable_graph_postgres.backend import PostgresBackend
from durable_graph_postgres.items import PostgresItems
from durable_graph_postgres.opening import Synchronous

if TYPE_CHECKING:
    import asyncpg

__all__ = ["PostgresStore", "open_store"]


class PostgresStore(ItemStore):
    """Keeps items in a PostgreSQL database, in the schema of a `PostgresSaver` or another one.

    The tables are made on first use. Any number of processes and hosts may use them at once.

    Where the database has the extension ``vector`` (pgvector), or this role may create it, the
    first search by meaning makes a table of vectors, and the server ranks: exactly as it would be
    done in process, which is what happens everywhere else, with `encryption`, and for vectors of
    more than 16,000 numbers.

    Args:
        dsn: ``postgresql://user:password@host:port/database``.
        pool: a pool of asyncpg's in the place of that; it is not closed.
        schema: where the tables are; it is made if it does not exist.
        index: how items are searched by meaning; without one, they are not.
        ttl: how long items live where a call does not say; without it, for ever.
        max_connections: for each event loop, at most.
        busy_timeout: seconds to wait for a connection, for a lock, or for a server that starts.
        call_timeout: seconds after which a call that was not answered is given up.
        synchronous: "local" (default): what is acknowledged survives a crash of the server.
            "remote": the loss of its disk as well, since a standby has it, too.
        allow_weaker: use the server even if it keeps less than that.
        prepared: ``False`` behind a pooler that gives each transaction another session.
        clock: dates the items.
        chance: makes their versions.
        encryption: how values are encrypted; ``None`` if they are not.
        atomic: whether what a node puts is written with the node's result, or not at all; see
            `BaseStore`. With a saver on the same schema.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        pool: asyncpg.Pool[Any] | None = None,
        schema: str = "durable_graph",
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        max_connections: int = 10,
        busy_timeout: float = 10.0,
        call_timeout: float = 30.0,
        synchronous: Synchronous = "local",
        allow_weaker: bool = False,
        prepared: bool = True,
        clock: Clock | None = None,
        chance: Chance | None = None,
        encryption: Encryption | None = None,
        atomic: bool = False,
    ) -> None:
        self._backend = PostgresBackend(
            dsn,
            pool=pool,
            schema=schema,
            max_connections=max_connections,
            busy_timeout=busy_timeout,
            call_timeout=call_timeout,
            synchronous=synchronous,
            allow_weaker=allow_weaker,
            prepared=prepared,
        )
        super().__init__(
            PostgresItems(self._backend),
            index=index,
            ttl=ttl,
            clock=clock,
            chance=chance,
            encryption=encryption,
            atomic=atomic,
        )

    def __repr__(self) -> str:
        return f"<PostgresStore {self._backend.where!r}, schema={self._backend.schema!r}>"

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """The store on the database that a connection string names."""
        return cls(conn_string, **options)


def open_store(url: str, **options: Any) -> PostgresStore:
    """The store for ``postgresql://...`` or ``postgres://...``.

    What follows is PostgreSQL's own, such as ``user:password@host:port/database?sslmode=require``.
    """
    return PostgresStore(url, **options)
