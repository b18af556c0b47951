"""A wire that goes wrong: an HTTP proxy that loses, refuses and holds back what a test says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import urlsplit

__all__ = ["Call", "Cut", "Fault", "Hold", "Say", "Wire", "refusal", "wire"]


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it passes.

    Attributes:
        name: DynamoDB's operation, such as "PutItem"; of others the method, such as "PUT".
        path: what it is about, with the query.
        body: what it sends.
    """

    name: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Say:
    """Give this answer instead; the request has taken effect if `after`."""

    status: int
    body: bytes = b""
    type: str = "application/x-amz-json-1.0"
    after: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection without an answer; the request has taken effect if `after`."""

    after: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Let the request through only when the event is set, or its answer if `after`."""

    until: asyncio.Event
    after: bool = False


Fault: TypeAlias = Say | Cut | Hold


@dataclass(slots=True)
class Wire:
    """What passes, and what goes wrong.

    Attributes:
        endpoint: the address to use instead of the service's own.
        fault: what happens to a call; ``None`` if nothing does.
        calls: what has passed, or was to.
    """

    endpoint: str = ""
    fault: Callable[[Call], Fault | None] = lambda call: None
    calls: list[Call] = field(default_factory=list)

    def once(self, name: str, fault: Fault) -> None:
        """Only the next call of this name goes wrong."""
        self.times(1, name, fault)

    def times(self, count: int, name: str, fault: Fault) -> None:
        """Only the next so many calls of this name go wrong."""
        left = count

        def rule(call: Call) -> Fault | None:
            nonlocal left
            if call.name != name or left == 0:
                return None
            left -= 1
            return fault

        self.fault = rule


def refusal(code: str, status: int = 400, *, after: bool = False) -> Say:
    """DynamoDB's answer that says why it did not do something."""
    body = json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": code})
    return Say(status, body.encode(), after=after)


@asynccontextmanager
async def wire(target: str) -> AsyncIterator[Wire]:
    """A wire to a server, such as ``http://127.0.0.1:5000``."""
    to = urlsplit(target)
    made = Wire()
    under_way: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await _pass(made, reader, writer, to.hostname or "", to.port or 80)
            if answer is not None:
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the caller has gone; so has its request
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await server.wait_closed()


async def _pass(
    wire: Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int
) -> bytes | None:
    head = await reader.readuntil(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (h.partition(":") for h in lines)}
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = line.split(" ")
    call = Call(headers.get("x-amz-target", method).rpartition(".")[2], path, body)
    wire.calls.append(call)
    fault = wire.fault(call)
    if fault is not None and not fault.after:
        if not isinstance(fault, Hold):
            return _answer(fault)
        await fault.until.wait()
    kept = [h for h in lines if h.partition(":")[0].lower() not in ("connection", "expect")]
    request = "\r\n".join([line, *kept, "Connection: close", "", ""]).encode("latin-1") + body
    answer = await _ask(host, port, request)
    if fault is not None and fault.after:
        if not isinstance(fault, Hold):
            return _answer(fault)
        await fault.until.wait()
    return answer


async def _ask(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()


def _answer(fault: Say | Cut) -> bytes | None:
    if isinstance(fault, Cut):
        return None
    return (
        f"HTTP/1.1 {fault.status} Said\r\nContent-Type: {fault.type}\r\n"
        f"Content-Length: {len(fault.body)}\r\nConnection: close\r\n\r\n"
    ).encode() + fault.body
