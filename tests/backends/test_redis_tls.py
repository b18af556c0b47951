"""Redis over TLS: all goes over it, and a server that cannot show who it is gets nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from durable_graph.errors import StorageBusyError
from durable_graph_redis import RedisSaver, RedisStore
from tests.backends.kit import counting, result_of, thread
from tests.services import redis
from tests.services.certificate import certificate

pytestmark = pytest.mark.services


@dataclass(frozen=True, slots=True)
class Secured:
    """A server with TLS.

    Attributes:
        server: the server.
        port: where it speaks TLS.
        trusted: the file of its certificate.
    """

    server: redis.RedisServer
    port: int
    trusted: Path


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    """One that asks its clients for no certificate."""
    trusted, key = certificate(tmp_path)
    port = redis.free_port()
    settings = {
        **redis.ALWAYS,
        "tls-port": str(port),
        "tls-cert-file": str(trusted),
        "tls-key-file": str(key),
        "tls-auth-clients": "no",
    }
    with redis.private_server(**settings) as server:
        yield Secured(server, port, trusted)


async def test_threads_and_items_go_over_tls(secured: Secured) -> None:
    """With the certificate named in the URL, as redis-py has it."""
    url = f"rediss://127.0.0.1:{secured.port}?ssl_ca_certs={secured.trusted}"
    async with RedisSaver(url) as saver:
        graph = counting(saver, 5)
        assert await graph.ainvoke({"items": ["begin"]}, thread("t")) == result_of(5)
        assert await saver.averify("t") == []
    async with RedisStore(url) as store:
        await store.aput(("a",), "k", {"n": 1})
        found = await store.aget(("a",), "k")
        assert found is not None
        assert found.value == {"n": 1}


async def test_a_server_that_nobody_vouches_for_is_refused(secured: Secured) -> None:
    """At once, since no waiting helps; nothing is sent to it, and the error says what is wrong."""
    url = f"rediss://127.0.0.1:{secured.port}"
    async with RedisSaver(url, timeout=20.0) as saver, asyncio.timeout(10):
        with pytest.raises(StorageBusyError, match="certificate verify failed"):
            await counting(saver, 5).ainvoke({"items": ["begin"]}, thread("t"))
    assert secured.server.ask("DBSIZE") == 0


async def test_without_tls_it_is_told_soon(secured: Secured) -> None:
    """Where TLS is spoken and the URL says otherwise."""
    async with RedisSaver(f"redis://127.0.0.1:{secured.port}", timeout=0.5) as saver:
        with pytest.raises(StorageBusyError):
            await counting(saver, 5).ainvoke({"items": ["begin"]}, thread("t"))


async def test_tls_to_who_does_not_speak_it_is_told_soon() -> None:
    """Where the URL says TLS and the server does not, which waits for more and says nothing; of
    one that is not there, the error says nothing of TLS."""
    with redis.private_server(**redis.ALWAYS) as server:
        async with RedisSaver(f"rediss://127.0.0.1:{server.port}", timeout=0.5) as saver:
            began = asyncio.get_running_loop().time()
            with pytest.raises(StorageBusyError, match=r"does not speak TLS.*redis://"):
                await counting(saver, 5).ainvoke({"items": ["begin"]}, thread("t"))
            assert asyncio.get_running_loop().time() - began < 5
    async with RedisSaver(f"rediss://127.0.0.1:{server.port}", timeout=0.5) as saver:
        with pytest.raises(StorageBusyError, match=r"cannot be reached(?!.*TLS)"):
            await counting(saver, 5).ainvoke({"items": ["begin"]}, thread("t"))
