"""A wire to Redis that is cut where a test says: before a request gets through, or its answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Wire", "wire"]

Cut: TypeAlias = Literal["request", "answer"] | None


@dataclass(slots=True)
class Wire:
    """A connection to a server that goes through this process.

    Attributes:
        port: where it is reached.
        passed: how many requests got through that hold the word.
        word: which requests are meant.
        cuts: what is lost of the next ones of these; each ends its connection.
        held: while it is not set, no answer comes back.
    """

    port: int
    word: bytes = b"EVALSHA"
    passed: int = 0
    cuts: list[Cut] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """The server's address by this way."""
        return f"redis://127.0.0.1:{self.port}"


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """A way to the server at a port."""
    made = Wire(0)
    made.held.set()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _carry(made, port, reader, writer)
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _carry(
    made: Wire, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Carry requests and answers, one turn after the other, as one client asks them."""
    there, back = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    try:
        while request := await reader.read(2**20):
            cut = None
            if made.word in request:
                made.passed += 1
                cut = made.cuts.pop(0) if made.cuts else None
            if cut == "request":
                return
            back.write(request)
            await back.drain()
            answer = await there.read(2**20)
            if cut == "answer":
                return
            await made.held.wait()
            writer.write(answer)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
    finally:
        back.close()
