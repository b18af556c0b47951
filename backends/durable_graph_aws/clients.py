"""Clients, one for each event loop: its connections belong to the loop that made them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Generic, Literal, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

from durable_graph.errors import ConfigError
from durable_graph.ports.loops import PerLoop
from durable_graph_aws.options import AwsOptions

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
        self._own = client
        self._session = session
        self._home: asyncio.AbstractEventLoop | None = None
        self._loops: PerLoop[_OfLoop[ClientT]] = PerLoop(
            f"The connection to {name}", self._make, _OfLoop.close, _OfLoop.abandon
        )

    @property
    def count(self) -> int:
        """How many loops have one."""
        return len(self._loops)

    @asynccontextmanager
    async def use(self) -> AsyncIterator[ClientT]:
        """The client of the running loop; closing waits until it is not used any more.

        Raises:
            StorageClosedError: all of them were closed, or belong to another process.
            ConfigError: the user's own client belongs to another loop.
        """
        held = await self._loops.get()
        held.users += 1
        try:
            yield await held.client()
        finally:
            held.users -= 1
            if held.users == 0:
                held.idle.set()

    async def aclose(self) -> None:
        """Wait for what is under way, and close the clients; the user's own stays open."""
        await self._loops.aclose()

    def _make(self) -> _OfLoop[ClientT]:
        if self._own is not None:
            loop = asyncio.get_running_loop()
            if self._home not in (None, loop):
                raise ConfigError(
                    "A client that is passed in belongs to one event loop, and this is another. "
                    "Pass a session instead, or say how to reach the service."
                )
            self._home = loop
        return _OfLoop(self._name, self._options, self._own, self._session)


class _OfLoop(Generic[ClientT]):
    """The client of one loop, which is opened by whoever uses it first."""

    def __init__(
        self, name: Name, options: AwsOptions, own: ClientT | None, session: AioSession | None
    ) -> None:
        self.users = 0
        self.idle = asyncio.Event()
        self._name = name
        self._options = options
        self._session = session
        self._opened = own
        self._lock = asyncio.Lock()
        self._stack = AsyncExitStack()

    async def client(self) -> ClientT:
        if self._opened is None:
            async with self._lock:
                if self._opened is None:
                    self._opened = await self._open()
        return self._opened

    async def _open(self) -> ClientT:
        session: Any = self._session or get_session()
        options = self._options
        config = AioConfig(
            connect_timeout=options.connect_timeout,
            read_timeout=options.read_timeout,
            max_pool_connections=options.connections,
            # Whether a request may be made again is decided where it is known what it was.
            retries={"total_max_attempts": 1, "mode": "standard"},
        )
        making = session.create_client(
            self._name,
            region_name=options.region,
            endpoint_url=options.endpoint_url,
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            aws_session_token=options.session_token,
            config=config,
        )
        client: Any = await self._stack.enter_async_context(making)
        client.meta.events.register("before-send", _at_once)
        made: ClientT = client
        return made

    def abandon(self) -> None:
        """Let go of connections whose loop is no more: there is nobody to close them properly."""
        opened: Any = self._opened
        endpoint = getattr(opened, "_endpoint", None)
        sessions = getattr(getattr(endpoint, "http_session", None), "_sessions", None)
        for session in (sessions or {}).values():
            session.detach()  # else it complains, to the loop that is closed

    async def close(self) -> None:
        while self.users:
            self.idle.clear()
            await self.idle.wait()
        async with self._lock:
            await self._stack.aclose()


def _at_once(request: Any, **_: Any) -> None:
    """Send a body without asking first whether it is welcome.

    The answer to that question would be waited for without any limit.
    """
    request.headers.pop("Expect", None)
