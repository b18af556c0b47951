"""The saver on Redis."""

from __future__ import annotations

from typing import Any, Self

from durable_graph.encryption import Encryption
from durable_graph.ports.archive import Archive
from durable_graph.ports.clock import Chance, Clock
from durable_graph.saver import Lease, Saver
from durable_graph_redis.backend import RedisBackend
from durable_graph_redis.greeting import Durability
from durable_graph_redis.sessions import Client

__all__ = ["RedisSaver", "open_saver"]


class RedisSaver(Saver):
    """Stores threads in a Redis server or cluster; any number of processes may use it at once.

    It is connected to on first use, and then asked whether it keeps what it acknowledges.

    Args:
        url: where it is: ``redis://``, ``rediss://`` with TLS, or ``unix://``. A cluster is
            recognised as one.
        client: instead of a URL, a client of your own, which is not closed; or a function that
            makes one for each event loop, which is.
        prefix: what all keys begin with.
        durability: what the server must promise. "always" (default): what was acknowledged
            survives a power loss of the server. "everysec": the last second may be lost.
        timeout: seconds that connecting may take, and one round trip.
        allow_weaker: use the server even if it promises less, or throws away keys.
        clock: where time comes from; leases go by the server's clock.
        chance: where ids come from.
        lease: how this process proves that it is alive.
        archive: where threads go that are archived.
        encryption: how what is stored is encrypted; ``None`` if it is not.
        max_value_bytes: how large one value may be; see `durable_graph.saver.Saver`.

    Raises:
        ConfigError: the arguments make no sense.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Client | None = None,
        prefix: str = "durable_graph",
        durability: Durability = "always",
        timeout: float = 10.0,
        allow_weaker: bool = False,
        clock: Clock | None = None,
        chance: Chance | None = None,
        lease: Lease | None = None,
        archive: Archive | None = None,
        encryption: Encryption | None = None,
        max_value_bytes: int | None = None,
    ) -> None:
        backend = RedisBackend(
            url,
            client=client,
            prefix=prefix,
            durability=durability,
            timeout=timeout,
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
        """The saver on the server that a connection string names: a URL."""
        return cls(conn_string, **options)


def open_saver(url: str, **options: Any) -> RedisSaver:
    """The saver for ``redis://host:port/0``, or ``rediss://`` with TLS.

    Raises:
        ConfigError: the URL makes no sense.
    """
    return RedisSaver(url, **options)
