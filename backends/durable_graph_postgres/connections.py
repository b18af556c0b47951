"""Connections of one event loop: made when they are needed, kept, and given to one user at a time.

asyncpg's own pool would cost a round trip for each use, to set back what a session was set to,
and a task. Nothing here sets anything in a session, so there is nothing to set back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast
from weakref import WeakSet

import asyncpg

from durable_graph.errors import StorageBusyError, StorageClosedError
from durable_graph.ports.deadlines import Deadlines
from durable_graph_postgres.failures import FAILURES

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

__all__ = ["Connection", "Connections", "Lent", "Source", "terminate"]

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[Any] | PoolConnectionProxy[Any]
else:
    Connection = Any


class Source(Protocol):
    """Where connections come from.

    Attributes:
        deadlines: the limits of time for what is done on them.
    """

    deadlines: Deadlines

    async def take(self) -> Connection:
        """A connection for the caller alone.

        Raises:
            StorageError: there is none; nothing was sent.
        """
        ...

    async def give_back(self, connection: Connection) -> None:
        """Let others have it; one that was closed is gone."""
        ...

    def forget(self) -> None:
        """Close those that nobody uses: what has happened to one has probably happened to all."""
        ...

    def outdate(self) -> None:
        """Those that there are lead to a server whose time is over: nobody gets them any more.

        From any thread.
        """
        ...

    async def aclose(self) -> None:
        """Wait until all of them were given back, and close them."""
        ...

    @property
    def counts(self) -> tuple[int, int]:
        """How many there are, and how many of them nobody uses."""
        ...


class Connections:
    """Connections of our own.

    Args:
        connect: makes one.
        most: how many there are at most.
        patience: seconds to wait for one while all are in use.
    """

    def __init__(
        self, connect: Callable[[], Awaitable[Connection]], most: int, patience: float
    ) -> None:
        self.deadlines = Deadlines()
        self._connect = connect
        self._most = most
        self._patience = patience
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._outdated: set[Connection] = set()
        self._count = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """How many there are, and how many of them nobody uses."""
        return self._count, len(self._idle)

    async def take(self) -> Connection:
        """A connection for the caller alone; the one that was used last, if it can be."""
        while True:
            if self._closed:
                raise StorageClosedError("The connections to PostgreSQL were closed.")
            while self._idle:
                connection = self._idle.pop()
                if connection in self._outdated:
                    connection.terminate()
                if not connection.is_closed():
                    return connection
                self._drop(connection)  # the server has closed it, or so have we
            if self._count < self._most:
                return await self._add()
            handed = await self._wait()
            if handed is not None:
                return handed

    async def _add(self) -> Connection:
        self._count += 1
        try:
            connection = await self._connect()
        except BaseException:
            self._lost_one()
            raise
        self._all.add(connection)
        return connection

    async def _wait(self) -> Connection | None:
        """One that is given back; ``None`` if it is worth looking again."""
        future: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(self._patience):
                return await future
        except BaseException as error:
            if future in self._waiting:
                self._waiting.remove(future)
            elif future.done() and not future.cancelled():
                self._pass_on(future.result())  # it was handed over in this very moment
            if isinstance(error, TimeoutError):
                raise StorageBusyError(
                    f"All {self._most} connections to PostgreSQL were in use for "
                    f"{self._patience:g} s; nothing was written. Raise max_connections, or look "
                    f"for what keeps them."
                ) from error
            raise

    async def give_back(self, connection: Connection) -> None:
        """Let others have it; one that was closed is gone."""
        if self._closed or connection in self._outdated:
            connection.terminate()  # harmless if it is closed already
        if connection.is_closed():
            self._forget(connection)
            self._lost_one()
        else:
            self._pass_on(connection)

    async def aclose(self) -> None:
        """Wait until all of them were given back, and close them. Harmless if done again."""
        self._closed = True
        while self._waiting:
            self._wake(None)
        self.forget()
        await asyncio.sleep(0)  # in which the loop lets go of them
        while self._count:
            if self._empty is None:
                self._empty = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._empty)

    def forget(self) -> None:
        """Close those that nobody uses, and wait for nothing."""
        while self._idle:
            connection = self._idle.pop()
            self._drop(connection)
            connection.terminate()

    def abandon(self) -> None:
        """Let go of connections whose event loop is gone."""
        self._closed = True
        for connection in self._all:
            _close_without_loop(connection)
        self._all.clear()
        self._idle.clear()
        self._count = 0

    def outdate(self) -> None:
        """Give out none of those that there are now; each is closed when it is come across."""
        self._outdated = set(self._all)

    def _drop(self, connection: Connection) -> None:
        self._forget(connection)
        self._count -= 1

    def _forget(self, connection: Connection) -> None:
        self._all.discard(connection)
        self._outdated.discard(connection)

    def _lost_one(self) -> None:
        self._count -= 1
        self._wake(None)  # there is room for another one
        self._see_whether_empty()

    def _pass_on(self, connection: Connection | None) -> None:
        if connection is None:
            self._wake(None)
        elif not self._wake(connection):
            self._idle.append(connection)

    def _wake(self, connection: Connection | None) -> bool:
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(connection)
                return True
        return False

    def _see_whether_empty(self) -> None:
        if self._count == 0 and self._empty is not None and not self._empty.done():
            self._empty.set_result(None)


def terminate(connection: Connection) -> None:
    """Close a connection at once. One that a pool has seen end is its own again already."""
    with contextlib.suppress(asyncpg.InterfaceError):
        connection.terminate()


def _close_without_loop(connection: Any) -> None:
    """Close a socket whose event loop was closed under it, which nothing public can do."""
    transport = getattr(connection, "_transport", None)
    if transport is None:
        return
    # What is to be told to the loop cannot be; the socket is closed all the same.
    with contextlib.suppress(RuntimeError):
        transport.abort()
    with contextlib.suppress(RuntimeError, AttributeError):
        transport._call_connection_lost(None)


class Lent:
    """Connections of a pool of the user's, which he closes himself.

    Args:
        pool: his pool.
        reach: asks for a connection until the server answers, or has had its time.
        examine: sees whether the database behind it can be used; asked once for each connection.
        patience: seconds to wait for a connection.
    """

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        reach: Callable[[Callable[[], Awaitable[Connection]]], Awaitable[Connection]],
        examine: Callable[[Connection], Awaitable[None]],
        patience: float,
    ) -> None:
        self.deadlines = Deadlines()
        self._pool = pool
        self._reach = reach
        self._examine = examine
        self._examined: WeakSet[Any] = WeakSet()
        self._patience = patience
        self._used = 0
        self._closed = False
        self._empty: asyncio.Future[None] | None = None

    @property
    def counts(self) -> tuple[int, int]:
        """How many there are, and how many of them nobody uses."""
        return self._pool.get_size(), self._pool.get_idle_size()

    async def take(self) -> Connection:
        """A connection for the caller alone."""
        if self._closed:
            raise StorageClosedError("The saver on this pool was closed.")
        connection = await self._reach(self._acquire)
        self._used += 1
        # The pool gives out connections in a new wrapping each time.
        within = getattr(connection, "_con", connection)
        if within in self._examined:
            return connection
        try:
            await self._examine(connection)
        except BaseException:
            terminate(connection)  # the next one may lead elsewhere
            await self.give_back(connection)
            raise
        self._examined.add(within)
        return connection

    async def _acquire(self) -> Connection:
        try:
            async with asyncio.timeout(self._patience):
                return await self._pool.acquire()
        except TimeoutError as error:
            raise StorageBusyError(
                f"The pool had no connection to spare for {self._patience:g} s; nothing was "
                f"written. Give it more, or look for what keeps them."
            ) from error

    async def give_back(self, connection: Connection) -> None:
        """Give it back to the pool."""
        given = cast("PoolConnectionProxy[Any]", connection)
        try:
            # The pool sets the session back, and closes it if that fails. Whoever has used it has
            # his answer by then, and must not be told of that instead.
            with contextlib.suppress(*FAILURES):
                await self._pool.release(given, timeout=self._patience)
        finally:
            self._used -= 1
            if self._used == 0 and self._empty is not None and not self._empty.done():
                self._empty.set_result(None)

    def forget(self) -> None:
        """Nothing: the pool sees to it."""

    def outdate(self) -> None:
        """Examine all of them again."""
        self._examined = WeakSet()

    async def aclose(self) -> None:
        """Wait until all that were taken are given back; the pool stays open."""
        self._closed = True
        while self._used:
            if self._empty is None:
                self._empty = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._empty)
