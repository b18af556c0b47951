"""One SQLite connection in a thread of its own, which runs whole transactions.

aiosqlite gives a connection its thread and its queue; this wrapper is the one place that reaches
into them, because its public calls cannot give what a log needs:

- A transaction is one callable here, so it costs one hop to the thread, and cancelling the call
  that waits for it cannot leave it half done. Through public calls every statement is a hop, and a
  cancelled ``COMMIT`` has committed all the same.
- The thread is a daemon and delivers results itself: a loop that was closed in the meantime
  neither kills it nor keeps the interpreter from exiting.
- The connection is opened in the thread on first use, so no event loop owns it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final, TypeVar

import aiosqlite

from durable_graph.errors import (
    DurableGraphError,
    IntegrityError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageClosedError,
    StorageError,
    StorageFullError,
)

__all__ = ["Connection", "translate"]

T = TypeVar("T")

# While a call is under way, the waiting loop lets go of the interpreter lock now and then. A loop
# that is busy otherwise holds it so tightly that the thread gets hardly anything done: with
# callbacks of 1 ms back to back, one commit took seconds.
_NAP_EVERY: Final = 0.002
_NAP: Final = 0.0001

_LOOK_AGAIN: Final = 0.01
# For so long a file that cannot be opened may be one that others are just making or leaving.
_VANISHING: Final = 0.3


class Connection:
    """A connection that runs callables, one at a time, in the order in which they are handed in.

    Args:
        path: the database file.
        configure: prepares a connection that has just been opened, in its thread.
        busy_timeout: seconds to wait for another process's write.
    """

    def __init__(
        self, path: str, configure: Callable[[sqlite3.Connection], None], busy_timeout: float
    ) -> None:
        self._path = path
        self._pid = os.getpid()
        self._inner = aiosqlite.connect(
            path,
            isolation_level=None,  # transactions are begun and ended by those who run them
            check_same_thread=False,  # it is closed by whoever closes the saver
            timeout=busy_timeout,
            cached_statements=128,
        )
        self._inner._thread.daemon = True
        self._held = _Held(path, self._inner._connector, configure, busy_timeout)
        self._started = False
        self._lock = threading.Lock()
        self._closed = False
        # A saver that nobody closes is closed when it is collected, and at exit.
        self._finalizer = weakref.finalize(self, _stop, self._inner._tx, self._held)
        _forks.watch(self)

    @property
    def calls(self) -> int:
        """How many callables it has run."""
        return self._held.calls

    @property
    def writes(self) -> int:
        """How many of them were there to write."""
        return self._held.writes

    async def call(self, work: Callable[[sqlite3.Connection], T], *, writes: bool) -> T:
        """Run a callable in the connection's thread.

        If the caller is cancelled, the callable still runs to its end.

        Args:
            work: what to run; it begins and ends its own transaction.
            writes: whether it may have written when it fails without a clear answer.

        Raises:
            StorageError: SQLite failed; which leaf says how.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        held, path = self._held, self._path

        def step() -> None:
            held.calls += 1
            held.writes += writes
            try:
                result = held.run(work)
            except BaseException as error:
                told = translate(error, path, writes=writes) if _is_sqlite(error) else error
                if _spoils(error):
                    held.drop()
                _deliver(loop, future, None, told)
            else:
                _deliver(loop, future, result, None)

        self._hand_in(step)
        nap = _Nap(loop)
        try:
            return await future
        finally:
            nap.end()

    async def close(self) -> None:
        """Finish what was handed in, and close. Harmless if done twice."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def step() -> None:
            self._held.drop()
            _deliver(loop, future, None, None)

        if self._pid != os.getpid():
            return
        with self._lock:
            if self._closed or not self._started:
                self._closed = True
                return
            self._closed = True
            self._inner._tx.put_nowait((None, step))
            self._finalizer()  # ends the thread once it has done this, awaited or not
        await future

    def let_go(self) -> bool:
        """Close the file once what was handed in is done, and take nothing on until `go_on`.

        Blocks. ``False`` if that cannot be waited for from here.
        """
        if self._pid != os.getpid() or threading.current_thread() is self._inner._thread:
            return False
        if self._path == ":memory:":  # that would be the end of it, and no child can reach it
            return False
        self._lock.acquire()
        if self._started and not self._closed:
            dropped = threading.Event()

            def step() -> None:
                self._held.drop()
                dropped.set()

            self._inner._tx.put_nowait((None, step))
            dropped.wait()
        return True

    def go_on(self) -> None:
        """Take on again what is handed in."""
        self._lock.release()

    def _hand_in(self, step: Callable[[], None]) -> None:
        if self._pid != os.getpid():
            raise StorageClosedError(
                f"The connection to {self._path} was opened before this process was forked. Make "
                f"a new saver in every process."
            )
        with self._lock:  # so that nothing is handed in behind the end
            if self._closed:
                raise StorageClosedError(f"The connection to {self._path} was closed.")
            if not self._started:
                self._inner._thread.start()
                self._started = True
            self._inner._tx.put_nowait((None, step))


class _Forks:
    """Closes all connections for the moment in which this process forks.

    SQLite keeps what it believes to hold of a file's locks in the process's memory. A child would
    inherit that belief and not the locks, and so the last to leave the file could clear away a
    journal that a child's own, new connection is writing to. With every connection closed there
    is nothing to inherit; they are opened again when they are next used.
    """

    def __init__(self) -> None:
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._held: list[Connection] = []
        os.register_at_fork(
            before=self._before, after_in_parent=self._after, after_in_child=self._after
        )

    def watch(self, connection: Connection) -> None:
        self._connections.add(connection)

    def _before(self) -> None:
        self._held = [c for c in list(self._connections) if c.let_go()]

    def _after(self) -> None:
        held, self._held = self._held, []
        for connection in held:
            connection.go_on()


class _Held:
    """The sqlite3 connection; used in the connection's thread only."""

    def __init__(
        self,
        path: str,
        connect: Callable[[], sqlite3.Connection],
        configure: Callable[[sqlite3.Connection], None],
        busy_timeout: float,
    ) -> None:
        self._path = path
        self._connect = connect
        self._configure = configure
        self._busy_timeout = busy_timeout
        self._connection: sqlite3.Connection | None = None
        self.calls = self.writes = 0

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._opened()
        try:
            return work(self._connection)
        except BaseException:
            try:
                if self._connection.in_transaction:
                    self._connection.rollback()
            except sqlite3.Error:  # also if somebody has closed it
                self.drop()
            raise

    def _opened(self) -> sqlite3.Connection:
        """A connection that is ready; waits while others are just making or leaving the file.

        SQLite does not wait by itself for what changes the journal's mode, and for a moment
        finds no file that the last of its users is about to clear away.
        """
        began = time.monotonic()
        while True:
            connection = None
            try:
                _make_private(self._path)
                connection = self._connect()
                self._configure(connection)
            except BaseException as error:
                if connection is not None:
                    connection.close()
                waits = {"SQLITE_BUSY": self._busy_timeout, "SQLITE_CANTOPEN": _VANISHING}
                name = getattr(error, "sqlite_errorname", "")
                if time.monotonic() - began >= waits.get(name, 0.0):
                    raise
            else:
                return connection
            time.sleep(_LOOK_AGAIN)

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # What was acknowledged does not depend on how this ends; whoever waits must be told.
            with contextlib.suppress(sqlite3.Error):
                connection.close()


class _Nap:
    """Lets go of the interpreter lock now and then while something is waited for."""

    __slots__ = ("_handle", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle = loop.call_later(_NAP_EVERY, self._nap)

    def _nap(self) -> None:
        time.sleep(_NAP)
        self._handle = self._loop.call_later(_NAP_EVERY, self._nap)

    def end(self) -> None:
        self._handle.cancel()


def _make_private(path: str) -> None:
    """Make the file, if there is none, as one that only its owner may read.

    What agents remember is nobody else's business, whatever the umask says. SQLite gives the files
    beside it the same permissions. Whatever stands in the way here, SQLite will find and name.
    """
    if path == ":memory:":
        return
    with contextlib.suppress(OSError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def translate(error: BaseException, path: str, *, writes: bool) -> DurableGraphError:
    """What a SQLite error means, in this library's words."""
    name = str(getattr(error, "sqlite_errorname", ""))
    text = f"{path}: {error}"
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
        told: DurableGraphError = StorageBusyError(
            f"{text}. Another process kept it locked; nothing was written. Raise busy_timeout, or "
            f"find who holds a transaction open."
        )
    elif name == "SQLITE_FULL":
        told = StorageFullError(
            f"{text}; nothing was written. Free some space and call again: the run goes on."
        )
    elif name.startswith("SQLITE_CONSTRAINT"):
        told = IntegrityError(
            f"{text}. There is something already where only this could stand: a head that is older "
            f"than its records was put back. Restore the file from a copy."
        )
    elif name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or isinstance(error, ValueError):
        told = IntegrityError(f"{text}. The file is damaged; restore it from a copy.")
    elif name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        told = StorageError(
            f"{text}; nothing was written. Check that the file and its folder exist and can be "
            f"written by this user."
        )
    elif name.startswith("SQLITE_IOERR") and writes:
        told = OutcomeUnknownError(
            f"{text} ({name}), so it is not known whether it was written. Calling again finds out."
        )
    else:
        told = StorageError(f"{text} ({name or type(error).__name__})")
    told.__cause__ = error
    return told


def _is_sqlite(error: BaseException) -> bool:
    # A message of SQLite's that quotes damaged text cannot be decoded itself.
    return isinstance(error, (sqlite3.Error, sqlite3.Warning, UnicodeDecodeError))


def _spoils(error: BaseException) -> bool:
    # After a failed fsync the kernel may have dropped the pages while SQLite thinks they are
    # there: that handle must not be trusted with another try.
    return str(getattr(error, "sqlite_errorname", "")).startswith(
        ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB")
    )


def _deliver(
    loop: asyncio.AbstractEventLoop,
    future: asyncio.Future[Any],
    result: Any,
    error: BaseException | None,
) -> None:
    try:
        loop.call_soon_threadsafe(_resolve, future, result, error)
    except RuntimeError:  # the loop was closed: nobody waits any more
        return


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


_forks: Final = _Forks()


def _stop(tx: Any, held: _Held) -> None:
    sentinel = aiosqlite.core._STOP_RUNNING_SENTINEL

    def step() -> object:
        held.drop()
        return sentinel

    tx.put_nowait((None, step))
