"""Clients, one for each event loop: its connections belong to the loop that made them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from durable_graph.errors import ConfigError, StorageClosedError
from durable_graph_aws.options import AwsOptions

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

__all__ = ["Clients", "Name"]

ClientT = TypeVar("ClientT")
Name = Literal["dynamodb", "s3"]


class Clients(Generic[ClientT]):
    """Clients of one service.

    Args:
        name: the service.
        options: how it is reached.
        client: one of the user's own; it is used on the loop that uses it first, on no other, and
            never closed.
        session: where clients come from; the user's own, or a new one.
    """

    def __init__(
        self,
        name: Name,
        options: AwsOptions,
        *,
        client: ClientT | None = None,
        session: AioSession | None = None,
    ) -> None:
        self._name = name
        self._options = options
        self._client = client
        self._session = session
        self._lock = threading.Lock()  # loops are in threads of their own
        self._of_loops: dict[asyncio.AbstractEventLoop, _OfLoop[ClientT]] = {}
        self._home: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._closed = False

    @property
    def count(self) -> int:
        """How many loops have one."""
        return len(self._of_loops)

    @property
    def closed(self) -> bool:
        """Whether no request is taken any more."""
        return self._closed

    @asynccontextmanager
    async def use(self) -> AsyncIterator[ClientT]:
        """The client of the running loop; closing waits until it is not used any more.

        Raises:
            StorageClosedError: all of them were closed.
            ConfigError: the user's own client belongs to another loop.
        """
        held = self._of_this_loop()
        held.users += 1
        try:
            yield await held.client()
        finally:
            held.users -= 1
            if held.users == 0:
                held.idle.set()

    async def aclose(self) -> None:
        """Wait for what is under way, and close the clients; the user's own stays open."""
        with self._lock:
            self._closed = True
            all_of_them = list(self._of_loops.items())
        here = asyncio.get_running_loop()
        for loop, held in all_of_them:
            if held.pid != os.getpid():
                continue  # its connections are the parent's
            if loop is here:
                await held.close()
            elif loop.is_running():
                closing = asyncio.run_coroutine_threadsafe(held.close(), loop)
                await asyncio.wrap_future(closing)
            self._of_loops.pop(loop, None)

    def _of_this_loop(self) -> _OfLoop[ClientT]:
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._closed:
                raise StorageClosedError("It was closed. Make a new saver.")
            held = self._of_loops.get(loop)
            if held is not None and held.pid == os.getpid():
                return held
            # What belongs to a loop that has ended was closed with it.
            self._of_loops = {
                known: of for known, of in self._of_loops.items() if not known.is_closed()
            }
            if self._client is not None and self._home not in (None, loop):
                raise ConfigError(
                    "A client that is passed in belongs to one event loop, and this is another. "
                    "Pass a session instead, or say how to reach the service."
                )
            self._home = loop
            held = self._of_loops[loop] = _OfLoop(self._open)
            return held

    async def _open(self) -> AsyncGenerator[ClientT]:
        if self._client is not None:
            yield self._client
            return
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        session: Any = self._session or get_session()
        options = self._options
        config = AioConfig(
            connect_timeout=options.connect_timeout,
            read_timeout=options.read_timeout,
            max_pool_connections=options.connections,
            # Whether a request may be made again is decided where it is known what it was.
            retries={"total_max_attempts": 1, "mode": "standard"},
        )
        async with session.create_client(
            self._name,
            region_name=options.region,
            endpoint_url=options.endpoint_url,
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            aws_session_token=options.session_token,
            config=config,
        ) as client:
            yield client


class _OfLoop(Generic[ClientT]):
    """The client of one loop.

    It lives in an asynchronous generator, which its loop closes when it ends: so nobody has to
    close a saver before the end of `asyncio.run`.
    """

    def __init__(self, opener: Callable[[], AsyncGenerator[ClientT]]) -> None:
        self.pid = os.getpid()
        self.users = 0
        self.idle = asyncio.Event()
        self._opener = opener
        self._opening: AsyncGenerator[ClientT] | None = None
        self._opened: ClientT | None = None
        self._lock = asyncio.Lock()

    async def client(self) -> ClientT:
        if self._opened is None:
            async with self._lock:
                if self._opened is None:
                    self._opening = self._opener()
                    self._opened = await anext(self._opening)
        return self._opened

    async def close(self) -> None:
        while self.users:
            self.idle.clear()
            await self.idle.wait()
        async with self._lock:
            if self._opening is not None:
                await self._opening.aclose()
