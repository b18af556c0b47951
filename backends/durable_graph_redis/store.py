"""The store in Redis."""

from __future__ import annotations

from typing import Any, Self

from durable_graph.encryption import Encryption
from durable_graph.ports.clock import Chance, Clock
from durable_graph.store import IndexConfig, ItemStore, TTLConfig
from durable_graph_redis.greeting import Durability
from durable_graph_redis.items import RedisItems
from durable_graph_redis.sessions import Client, Sessions

__all__ = ["RedisStore", "open_store"]


class RedisStore(ItemStore):
    """Keeps items in a Redis server or cluster, which may be that of a `RedisSaver`.

    It is connected to on first use, and then asked whether it keeps what it acknowledges. Of a
    cluster, one node holds all items of a store.

    Args:
        url: where it is: ``redis://``, ``rediss://`` with TLS, or ``unix://``. A cluster is
            recognised as one.
        client: instead of a URL, a client of your own, which is not closed; or a function that
            makes one for each event loop, which is.
        prefix: what all keys begin with.
        index: how items are searched by meaning; without one, they are not.
        ttl: how long items live where a call does not say; without it, for ever.
        durability: what the server must promise. "always" (default): what was acknowledged
            survives a power loss of the server. "everysec": the last second may be lost.
        timeout: seconds that connecting may take, and one round trip.
        allow_weaker: use the server even if it promises less, or throws away keys.
        clock: dates the items.
        chance: makes their versions.
        encryption: how values are encrypted; ``None`` if they are not.

    Raises:
        ConfigError: the arguments make no sense.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client: Client | None = None,
        prefix: str = "durable_graph",
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        durability: Durability = "always",
        timeout: float = 10.0,
        allow_weaker: bool = False,
        clock: Clock | None = None,
        chance: Chance | None = None,
        encryption: Encryption | None = None,
    ) -> None:
        self._sessions = Sessions(
            url,
            client,
            prefix=prefix,
            durability=durability,
            timeout=timeout,
            allow_weaker=allow_weaker,
        )
        items = RedisItems(self._sessions, prefix)
        super().__init__(
            items, index=index, ttl=ttl, clock=clock, chance=chance, encryption=encryption
        )

    def __repr__(self) -> str:
        return f"<RedisStore {self._sessions}>"

    @classmethod
    def from_conn_string(cls, conn_string: str, **options: Any) -> Self:
        """The store on the server that a connection string names: a URL."""
        return cls(conn_string, **options)


def open_store(url: str, **options: Any) -> RedisStore:
    """The store for ``redis://host:port/0``, or ``rediss://`` with TLS.

    Raises:
        ConfigError: the URL makes no sense.
    """
    return RedisStore(url, **options)
