"""Ways to a server: one connection out of a pool, or a cluster's client.

redis-py retries by itself where it is asked to. An append that is sent twice is recognised by its
link, so that would do no harm; but whether anything was sent at all decides what a failure means,
and here that is known: connecting is tried again, sending is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from redis import exceptions as redis
from redis.asyncio import RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection

from durable_graph.errors import DurableGraphError
from durable_graph_redis.greeting import Greeting
from durable_graph_redis.replies import UnreachableError
from durable_graph_redis.scripts import Command, packed

__all__ = ["ClusterLink", "Counts", "Link", "PoolLink"]

_FIRST_WAIT: Final = 0.02
_LONGEST_WAIT: Final = 0.5


@dataclass(slots=True)
class Counts:
    """What was done, on all loops.

    Attributes:
        connections: how many were made.
        round_trips: how often commands were sent and their answers received.
        commands: how many.
        scripts: how often a script had to be sent because the server did not know it.
    """

    connections: int = 0
    round_trips: int = 0
    commands: int = 0
    scripts: int = 0


class Link(Protocol):
    """A way to a server."""

    async def exchange(self, commands: Sequence[Command]) -> Sequence[Any]:
        """Send commands, and return their answers, errors of single ones among them.

        Raises:
            UnreachableError: nothing was sent.
            Exception: it is not known whether anything was.
        """
        ...

    async def close(self) -> None:
        """Close what was opened. Harmless if done twice."""
        ...

    def abandon(self) -> None:
        """Let go of connections whose loop was closed."""
        ...


class PoolLink:
    """One server, reached by connections of a pool.

    Args:
        pool: where connections come from.
        greeting: asks a server that was just connected to whether it can be used.
        patience: seconds for which connecting is tried again.
        owned: whether the pool is closed with this.
        counts: what was done.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        greeting: Greeting,
        patience: float,
        *,
        owned: bool,
        counts: Counts,
    ) -> None:
        self._pool = pool
        self._greeting = greeting
        self._patience = patience
        self._owned = owned
        self._counts = counts
        self._greeted: weakref.WeakSet[AbstractConnection] = weakref.WeakSet()

    async def exchange(self, commands: Sequence[Command]) -> Sequence[Any]:
        connection = await self._connection()
        try:
            self._counts.round_trips += 1
            self._counts.commands += len(commands)
            await connection.send_packed_command(packed(commands), check_health=False)
            answers = [await _answer(connection) for _ in commands]
            if any(isinstance(answer, redis.ReadOnlyError) for answer in answers):
                # It is a replica now; who asks for the address again may find the primary.
                await connection.disconnect(nowait=True)
            return answers
        finally:
            await self._pool.release(connection)

    async def close(self) -> None:
        if self._owned:
            await self._pool.disconnect()

    def abandon(self) -> None:
        pool: Any = self._pool
        for connection in (*pool._available_connections, *pool._in_use_connections):
            _close_without_loop(connection)
        pool.reset()

    async def _connection(self) -> Any:
        """A connection to a server that can be used; tries again while nobody answers any more, as
        when a server is started anew or another takes its place."""
        loop = asyncio.get_running_loop()
        deadline, wait = loop.time() + self._patience, _FIRST_WAIT
        while True:
            try:
                return await self._greeted_connection()
            except (redis.AuthenticationError, redis.AuthorizationError):
                raise
            except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
                # Where nothing has ever answered, waiting would only hide a wrong address.
                hopeless = self._counts.connections == 0 or _is_distrusted(error)
                if hopeless or loop.time() + wait >= deadline:
                    raise UnreachableError(self._told(error)) from error
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _greeted_connection(self) -> Any:
        pool: Any = self._pool  # not all of it has types
        connection: Any = await pool.get_connection()
        if connection in self._greeted:
            return connection
        # A connection that was lost is made again by redis-py, perhaps to another server.
        self._counts.connections += 1

        async def ask(*command: Any) -> Any:
            await connection.send_packed_command(packed([command]), check_health=False)
            return await connection.read_response(disable_decoding=True)

        try:
            await self._greeting.server(ask)
            await self._greeting.format(ask)
        except BaseException:
            await connection.disconnect(nowait=True)
            await pool.release(connection)
            raise
        connection.register_connect_callback(self._forget)
        self._greeted.add(connection)
        return connection

    def _told(self, error: Exception) -> str:
        """What has failed. Who does not speak TLS takes the beginning of it for a command whose
        end is still to come, and says nothing."""
        silent = isinstance(error, redis.TimeoutError) or _comes_of(error, ssl.SSLError)
        secured = issubclass(self._pool.connection_class, SSLConnection)
        if not secured or not silent or _is_distrusted(error):
            return str(error)
        return f"{error}. If it does not speak TLS, its URL begins with redis:// and not rediss://"

    def _forget(self, connection: AbstractConnection) -> None:
        self._greeted.discard(connection)


class ClusterLink:
    """A cluster, reached by redis-py's client for clusters, which knows who holds which keys.

    Args:
        client: the client.
        greeting: asks each primary whether it can be used.
        owned: whether the client is closed with this.
        counts: what was done.
    """

    def __init__(
        self,
        client: RedisCluster,
        greeting: Greeting,
        *,
        owned: bool,
        counts: Counts,
    ) -> None:
        self._client = client
        self._greeting = greeting
        self._owned = owned
        self._counts = counts
        self._greeted: set[str] = set()
        self._closing: asyncio.Future[None] | None = None

    async def exchange(self, commands: Sequence[Command]) -> Sequence[Any]:
        try:
            await self._client.initialize()
            await self._greet_primaries()
        except DurableGraphError:
            raise
        except (redis.RedisError, OSError) as error:
            raise UnreachableError(str(error)) from error
        self._counts.round_trips += 1
        self._counts.commands += len(commands)
        pipeline = self._client.pipeline()
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute(raise_on_error=False))

    async def _greet_primaries(self) -> None:
        for node in self._client.get_primaries():
            if node.name in self._greeted:
                continue
            self._counts.connections += 1

            async def ask(*command: Any, node: Any = node) -> Any:
                return await node.execute_command(*command)

            await self._greeting.server(ask, cluster=True)
            self._greeted.add(node.name)
            await self._greeting.format(self._client.execute_command)

    async def close(self) -> None:
        if not self._owned:
            return
        # In a task of its own: the client takes a close that was cancelled for one that is done.
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._client.aclose())
        await asyncio.shield(self._closing)

    def abandon(self) -> None:
        for node in self._client.get_nodes():
            for connection in node._connections:
                _close_without_loop(connection)


def _is_distrusted(error: BaseException) -> bool:
    """Whether a server showed a certificate that is not trusted, which no waiting changes."""
    return _comes_of(error, ssl.SSLCertVerificationError)


def _comes_of(error: BaseException, kind: type[BaseException]) -> bool:
    found: BaseException | None = error
    while found is not None and not isinstance(found, kind):
        found = found.__cause__ or found.__context__
    return found is not None


def _close_without_loop(connection: Any) -> None:
    """Close a socket whose event loop was closed under it, which nothing public can do."""
    writer, connection._reader, connection._writer = connection._writer, None, None
    transport: Any = writer.transport if writer is not None else None
    if transport is None:
        return
    # What is to be told to the loop cannot be; the socket is closed all the same.
    with contextlib.suppress(RuntimeError):
        transport.abort()
    with contextlib.suppress(RuntimeError, AttributeError):
        transport._call_connection_lost(None)


async def _answer(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        return error
