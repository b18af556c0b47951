"""A TCP line to a server that breaks at a request, for whatever protocol asks and is answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from durable_graph.ports.backend import Backend
from durable_graph.testing.contract_hooks import When

__all__ = ["TcpLine", "tcp_line"]

_CHUNK = 1 << 16


class TcpLine:
    """What a `Storage` needs as its `line`.

    What a client sends after the server has spoken is a request; what it sends before that is
    part of the same one.
    """

    backend: Backend

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._left = 0
        self._when: When = "before"
        self._broke = False
        self._under_way: set[asyncio.Task[None]] = set()

    def cut(self, request: int, when: When) -> None:
        """Let the connection break once, at a request from now on."""
        self._left, self._when, self._broke = request, when, False

    def mend(self) -> bool:
        """Call a cut off that has not come yet; returns whether it has come."""
        self._left = 0
        return self._broke

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody has connected."""
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def hang_up(self) -> None:
        """End all connections."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(writer.close)
            stack.enter_context(contextlib.suppress(OSError))
            theirs, ours = await asyncio.open_connection(*self._server)
            stack.callback(ours.close)
            connection = _Connection(self, writer, ours)
            pumps = [
                asyncio.ensure_future(connection.to_server(reader)),
                asyncio.ensure_future(connection.to_client(theirs)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)

    def breaks(self) -> When | None:
        """Count a request; says how it breaks, if it does."""
        self._left -= 1
        if self._left != 0:
            return None
        self._broke = True
        return self._when


class _Connection:
    """One connection over the line; it is over as soon as either side is."""

    def __init__(
        self, line: TcpLine, client: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        self._line, self._client, self._server = line, client, server
        self._asked = False
        self._silenced = False

    async def to_server(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            if not self._asked:
                self._asked = True
                breaks = self._line.breaks()
                if breaks == "before":
                    return
                self._silenced = breaks == "after"
            self._server.write(data)
            await self._server.drain()

    async def to_client(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(_CHUNK):
            if self._silenced:
                return  # carried out, and nobody hears of it
            self._asked = False
            self._client.write(data)
            await self._client.drain()


@contextlib.asynccontextmanager
async def tcp_line(host: str, port: int, open: Callable[[int], Backend]) -> AsyncIterator[TcpLine]:
    """A line to a server.

    Args:
        host: where the server is.
        port: where it listens.
        open: makes the backend that uses the line, given the port on loopback that it begins at.
    """
    line = TcpLine(host, port)
    server = await asyncio.start_server(line.accept, "127.0.0.1", 0)
    line.backend = open(server.sockets[0].getsockname()[1])
    try:
        yield line
    finally:
        await line.backend.aclose()
        server.close()
        await line.hang_up()
        await server.wait_closed()
