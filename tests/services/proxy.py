"""A way to a server that goes wrong byte by byte, whatever protocol is spoken over it.

What becomes of each piece that passes is a `Fate`, which a rule decides: it may pass late, slowly,
in part or not at all, and take the connection with it. Where `wire.py` and `line.py` know requests,
this knows bytes alone: so a request, a commit or a reply can end anywhere within.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["CUT", "GO", "HOLD", "SILENT", "Fate", "Proxy", "Rule", "always", "proxy", "storm"]

Way: TypeAlias = Literal["up", "down"]
"""To the server, or from it."""

_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a piece.

    Attributes:
        wait: seconds before it passes.
        passes: how many bytes of it do; ``None`` for all.
        rate: bytes a second at which they do; ``None`` for at once.
        then: "go": the next piece may pass. "cut": the connection is reset. "silent": nothing
            passes any more, either way, and nobody is told. "hold": what is left waits for
            `Proxy.release`, also if the client has gone by then.
    """

    wait: float = 0.0
    passes: int | None = None
    rate: float | None = None
    then: Literal["go", "cut", "silent", "hold"] = "go"


GO: Final = Fate()
CUT: Final = Fate(passes=0, then="cut")
SILENT: Final = Fate(passes=0, then="silent")
HOLD: Final = Fate(passes=0, then="hold")

Rule: TypeAlias = Callable[[Way, bytes], Fate]


class Proxy:
    """A way to a server.

    Attributes:
        port: where on loopback it begins.
        rule: decides what becomes of each piece.
        faults: how many pieces did not simply pass.
        held: set while something is being held.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port = 0
        self.rule: Rule = lambda way, data: GO
        self.faults = 0
        self.held = asyncio.Event()
        self._holding = 0
        self._server = (host, port)
        self._released = asyncio.Event()
        self._links: set[asyncio.Task[None]] = set()
        self._clients: set[asyncio.StreamWriter] = set()

    def lead_to(self, port: int) -> None:
        """From now on, who connects comes to another server on loopback."""
        self._server = ("127.0.0.1", port)

    def calm(self) -> None:
        """From now on everything passes; what has fallen silent stays so."""
        self.rule = lambda way, data: GO

    def once(self, way: Way, fate: Fate, *, containing: bytes = b"") -> None:
        """Only the next piece that goes this way, and has this in it, has this fate."""

        def rule(going: Way, data: bytes) -> Fate:
            if going != way or containing not in data:
                return GO
            self.calm()
            return fate

        self.rule = rule

    def hang_up(self) -> None:
        """Reset the connections of all clients; what is held goes on being held."""
        for client in self._clients:
            client.transport.abort()

    async def release(self) -> None:
        """Let what is held pass, and wait until the server has answered or closed."""
        self._released.set()
        while self.held.is_set():
            await asyncio.sleep(0.01)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Somebody has connected."""
        self._clients.add(writer)
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._links.add(task)
        task.add_done_callback(self._links.discard)

    async def end(self) -> None:
        """End all connections."""
        self.hang_up()  # also of those that nobody has begun to serve
        for task in self._links:
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs: asyncio.StreamWriter | None = None
        pumps: list[asyncio.Future[None]] = []
        try:
            answers, theirs = await asyncio.open_connection(*self._server)
            link = _Link(self, writer, theirs)
            pumps = [
                asyncio.ensure_future(link.pump("up", reader, theirs)),
                asyncio.ensure_future(link.pump("down", answers, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            await link.until_released()
        except OSError:
            pass  # the server is not there; neither is this way to it
        finally:
            self._clients.discard(writer)
            # First of all: what is awaited here may be cancelled.
            for each in (writer, theirs):
                if each is not None:
                    each.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


class _Link:
    """One connection; it is over as soon as either side is, unless something of it is held."""

    def __init__(
        self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._sides = (client, server)
        self._silent = False
        self._holds: asyncio.Future[None] | None = None

    async def pump(
        self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass on what comes from one side until the connection is over."""
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                fate = GO if self._silent else self._proxy.rule(way, data)
                if fate is not GO:
                    self._proxy.faults += 1
                if self._silent:
                    continue
                await self._pass(data, fate, writer)
                if fate.then == "cut":
                    return
                if fate.then == "silent":
                    self._silent = True
                if fate.then == "hold":
                    await self._hold(data[fate.passes or 0 :], writer)

    async def until_released(self) -> None:
        """Return once nothing is held."""
        if self._holds is not None:
            await self._holds

    async def _pass(self, data: bytes, fate: Fate, writer: asyncio.StreamWriter) -> None:
        if fate.wait:
            await asyncio.sleep(fate.wait)
        passes = data[: fate.passes] if fate.passes is not None else data
        step = len(passes) if fate.rate is None else max(int(fate.rate / 50), 1)
        for start in range(0, len(passes), max(step, 1)):
            writer.write(passes[start : start + step])
            await writer.drain()
            if fate.rate is not None:
                await asyncio.sleep(step / fate.rate)

    async def _hold(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        self._holds = asyncio.get_running_loop().create_future()
        self._proxy._holding += 1
        self._proxy.held.set()
        try:
            await self._proxy._released.wait()
            writer.write(data)
            await writer.drain()
            # The server works on it; that it has is seen by nothing else than its closing, or by
            # the time it had.
            await asyncio.sleep(0.3)
        finally:
            self._proxy._holding -= 1
            if self._proxy._holding == 0:
                self._proxy.held.clear()
            if not self._holds.done():
                self._holds.set_result(None)


@asynccontextmanager
async def proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """A way to a server; everything passes until its `rule` says otherwise."""
    made = Proxy(host, port)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await made.end()
        await server.wait_closed()


def always(fate: Fate) -> Rule:
    """The same fate for every piece."""
    return lambda way, data: fate


def storm(chance: random.Random, *, faults: int, often: float = 0.3) -> Rule:
    """Random faults, of all kinds, and so many at most: then it is calm.

    Args:
        chance: decides; with the same seed it is the same storm, as far as the same pieces pass.
        faults: how many there are at most.
        often: how likely it is that a piece has one.
    """
    left = faults

    def rule(way: Way, data: bytes) -> Fate:
        nonlocal left
        if left == 0 or chance.random() >= often:
            return GO
        left -= 1
        some = chance.randrange(len(data)) if len(data) > 1 else 0
        return chance.choice(
            [
                Fate(passes=0, then="cut"),  # before it arrives
                Fate(passes=some, then="cut"),  # within
                Fate(then="cut"),  # after: nobody hears of it
                Fate(passes=some, then="silent"),
                Fate(wait=chance.random() * 0.2),
                Fate(rate=8000.0),  # 64 kbit/s
            ]
        )

    return rule
