"""What one event loop has of a server: a way to it, a lane for writes and one for reads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from redis import exceptions as redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import BlockingConnectionPool, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from durable_graph.errors import ConfigError
from durable_graph.ports.addresses import ESCAPES, cut_password
from durable_graph.ports.loops import PerLoop
from durable_graph_redis.greeting import Durability, Greeting, IsClusterError
from durable_graph_redis.keys import checked_prefix
from durable_graph_redis.lanes import Lane
from durable_graph_redis.links import ClusterLink, Counts, Link, PoolLink
from durable_graph_redis.replies import checked
from durable_graph_redis.scripts import Call, Command

__all__ = ["Client", "Sessions"]

Client: TypeAlias = "Redis | Callable[[], Redis | RedisCluster]"
"""A client, or what makes one for each event loop."""

# Others can use it, too: signs of life, stores.
_CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class _Server:
    """A server, and how it is to be used.

    Attributes:
        where: its name for errors, without passwords.
        url: its address; or else
        client: the user's own.
        greeting: what it is asked first.
        timeout: seconds that connecting may take, and an exchange.
        counts: what was done.
    """

    where: str
    url: str | None
    client: Client | None
    greeting: Greeting
    timeout: float
    counts: Counts


class _Session:
    """A server, for one event loop.

    Args:
        server: the server.
        home: whether a client of the user's belongs to this loop.
    """

    def __init__(self, server: _Server, *, home: bool) -> None:
        self._server = server
        self._link = _link(server, home)
        # Who reads does not wait for the disk that writes wait for.
        # An exchange gets as long as connecting may take, and then its own time.
        bound = 2 * server.timeout
        self.writes = Lane(self._exchange, server.where, bound)
        self.reads = Lane(self._exchange_twice, server.where, bound)

    async def write(self, calls: Sequence[Call]) -> Sequence[Any]:
        """Call scripts that may write; returns their answers, errors among them."""
        return await self._call(self.writes, calls, writes=True)

    async def look(self, calls: Sequence[Call]) -> Sequence[Any]:
        """Call scripts that only read; returns their answers, errors among them."""
        return await self._call(self.reads, calls, writes=False)

    async def get(self, commands: Sequence[Command]) -> Sequence[Any]:
        """Give commands that only read; returns their answers, errors among them."""
        return await self.reads.call(commands, writes=False)

    async def close(self) -> None:
        """Finish what is under way, and close. Harmless if done twice."""
        await self.writes.drain()
        await self.reads.drain()
        await self._link.close()

    def abandon(self) -> None:
        """Let go of connections whose loop was closed."""
        self._link.abandon()

    async def _call(self, lane: Lane, calls: Sequence[Call], *, writes: bool) -> Sequence[Any]:
        answers = list(await lane.call([call.by_digest() for call in calls], writes=writes))
        # A server forgets scripts when it is started anew, and says so instead of doing anything.
        unknown = [n for n, answer in enumerate(answers) if isinstance(answer, redis.NoScriptError)]
        if unknown:
            self._server.counts.scripts += len(unknown)
            again = await lane.call([calls[n].by_text() for n in unknown], writes=writes)
            for number, answer in zip(unknown, again, strict=True):
                answers[number] = answer
        return answers

    async def _exchange_twice(self, commands: Sequence[Command]) -> Sequence[Any]:
        """What only reads is asked again if the answer was lost: it does no harm."""
        try:
            return await self._exchange(commands)
        except (redis.ConnectionError, redis.TimeoutError):
            return await self._exchange(commands)

    async def _exchange(self, commands: Sequence[Command]) -> Sequence[Any]:
        link = self._link
        try:
            return await link.exchange(commands)
        except IsClusterError:
            if self._link is link:  # the other lane has not been faster
                self._link = _clustered(self._server)
            await link.close()
            return await self._link.exchange(commands)


class Sessions:
    """A server as a backend or a store uses it, from any event loop.

    Args:
        url: its address; or else
        client: a client of the user's, or what makes one for each event loop.
        prefix: what all keys begin with.
        durability: what it must promise.
        timeout: seconds that connecting may take, and one round trip.
        allow_weaker: use it even if it promises less.

    Raises:
        ConfigError: the arguments make no sense.
    """

    def __init__(
        self,
        url: str | None,
        client: Client | None,
        *,
        prefix: str,
        durability: Durability,
        timeout: float,
        allow_weaker: bool,
    ) -> None:
        if durability not in ("always", "everysec"):
            raise ConfigError(f"durability is 'always' or 'everysec', not {durability!r}.")
        if timeout <= 0:
            raise ConfigError(f"timeout is a number of seconds above 0, not {timeout}.")
        if (url is None) == (client is None):
            raise ConfigError("Say where the server is by a URL, or else by client=.")
        if client is not None:
            _check_client(client)
        try:
            format_key = f"{checked_prefix(prefix)}:format"
        except ValueError as error:
            raise ConfigError(str(error)) from error
        self.where = _where(url) if url is not None else "Redis"
        self._text = f"{self.where}, prefix {prefix!r}, durability={durability}"
        self._counts = Counts()
        greeting = Greeting(self.where, durability, allow_weaker, format_key)
        self._server = _Server(self.where, url, client, greeting, timeout, self._counts)
        self._home = threading.Semaphore()  # the user's client belongs to the first loop
        self._loops: PerLoop[_Session] = PerLoop(
            f"The connection to {self.where}", self._make, _Session.close, _Session.abandon
        )

    def __str__(self) -> str:
        return self._text

    async def write_all(self, calls: Sequence[Call]) -> Sequence[Any]:
        """Call scripts that may write; returns their answers, errors of single ones among them."""
        session = await self._loops.get()
        return await session.write(calls)

    async def write(self, call: Call) -> Any:
        """Call a script that may write; returns its answer."""
        (answer,) = await self.write_all([call])
        return checked(answer, self.where, writes=True)

    async def look(self, call: Call) -> Any:
        """Call a script that only reads; returns its answer."""
        session = await self._loops.get()
        (answer,) = await session.look([call])
        return checked(answer, self.where, writes=False)

    async def get(self, commands: Sequence[Command]) -> list[Any]:
        """Give commands that only read; returns their answers."""
        session = await self._loops.get()
        answers = await session.get(commands)
        return [checked(answer, self.where, writes=False) for answer in answers]

    def statistics(self) -> Mapping[str, float]:
        """What was done, by name."""
        counts = self._counts
        return {
            "loops": len(self._loops),
            "connections": counts.connections,
            "round_trips": counts.round_trips,
            "commands": counts.commands,
            "scripts": counts.scripts,
        }

    async def aclose(self) -> None:
        """Finish what is under way, and close. Harmless if done twice."""
        await self._loops.aclose()

    def _make(self) -> _Session:
        return _Session(self._server, home=self._home.acquire(blocking=False))


def _link(server: _Server, home: bool) -> Link:
    if server.url is not None:
        pool = ConnectionPool.from_url(
            server.url,
            protocol=2,
            max_connections=_CONNECTIONS,
            socket_timeout=None,  # exchanges have a limit of their own
            socket_connect_timeout=server.timeout,
            retry=Retry(NoBackoff(), 0),
        )
        return _pooled(server, pool, owned=True)
    client = server.client
    if isinstance(client, Redis):
        own = client.connection_pool
        return _pooled(server, own if home else _copied(own), owned=not home)
    assert callable(client)  # noqa: S101 - for type checkers
    made = client()
    if isinstance(made, RedisCluster):
        if made.connection_kwargs.get("decode_responses"):
            raise ConfigError("A RedisCluster must be made with decode_responses=False.")
        return ClusterLink(made, server.greeting, owned=True, counts=server.counts)
    return _pooled(server, made.connection_pool, owned=True)


def _pooled(server: _Server, pool: ConnectionPool, *, owned: bool) -> Link:
    return PoolLink(pool, server.greeting, server.timeout, owned=owned, counts=server.counts)


def _copied(pool: ConnectionPool) -> ConnectionPool:
    """A pool that connects as the user's does, for an event loop that is not the user's."""
    return ConnectionPool(
        connection_class=pool.connection_class,
        max_connections=_CONNECTIONS,
        **pool.connection_kwargs,
    )


def _clustered(server: _Server) -> Link:
    if server.url is None:
        raise ConfigError(
            f"{server.where} is one of a cluster. Pass a URL, or client=lambda: RedisCluster(...), "
            f"which makes a client for each event loop."
        )
    client = RedisCluster.from_url(
        server.url,
        protocol=2,
        socket_timeout=server.timeout,
        socket_connect_timeout=server.timeout,
        retry=Retry(NoBackoff(), 1),
    )
    return ClusterLink(client, server.greeting, owned=True, counts=server.counts)


def _check_client(client: object) -> None:
    """See that a client can be used from several event loops.

    Raises:
        ConfigError: it cannot.
    """
    if isinstance(client, Redis):
        if type(client.connection_pool) in (ConnectionPool, BlockingConnectionPool):
            return
    elif callable(client) and not isinstance(client, RedisCluster):
        return
    raise ConfigError(
        "A saver is used from several event loops, and a client belongs to one. Pass a URL, a "
        "redis.asyncio.Redis, or a function that makes a client for each event loop, as in "
        "client=lambda: RedisCluster(...)."
    )


def _where(url: str) -> str:
    """A URL without names and passwords.

    Raises:
        ConfigError: it is none of Redis's.
    """
    if not isinstance(url, str):
        raise ConfigError(
            f"Redis is named by a URL, not by a {type(url).__name__}. A client of your own is "
            f"taken as client=."
        )
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ConfigError(
            f"Redis is at redis://host:port/0, rediss:// with TLS, or unix:///path, and not at "
            f"{parts.scheme}://."
        )
    try:
        address = f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
        if cut_password(parts):
            raise ValueError
    except ValueError:  # which might show the password
        raise ConfigError(
            f"Redis is at redis://user:password@host:port/0, with a port from 1 to 65535. {ESCAPES}"
        ) from None
    try:
        pool: Any = ConnectionPool.from_url(url)  # not all of it has types
        pool.make_connection()  # which is not opened
    except (ValueError, TypeError, redis.RedisError) as error:
        raise ConfigError(f"The URL of Redis makes no sense: {error}") from error
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        # The driver would take the first one instead.
        raise ConfigError(
            f"A database of Redis is a number, as in redis://host:6379/0, and not "
            f"{database!r}. To keep things apart within one there is prefix=."
        )
    return f"Redis at {parts.path if parts.scheme == 'unix' else address + parts.path}"
