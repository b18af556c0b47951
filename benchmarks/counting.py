"""Counts of what a run does, which no noise touches.

Statements are counted by SQLite itself (every connection that is opened meanwhile is traced), tasks
and trips between threads by the event loop, calls by the interpreter.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any
from unittest.mock import patch

__all__ = ["counted"]

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


def counted(work: Callable[[], Coroutine[Any, Any, object]]) -> Counter[str]:
    """Run a coroutine on an event loop of its own, and count.

    Returns:
        ``commits`` (those that wrote something), ``rows`` (statements that wrote one),
        ``hops`` (results that came back from another thread), ``tasks`` (of asyncio),
        ``callbacks`` (turns that the loop gave), ``calls`` (of Python functions, in the loop's
        thread).
    """
    counts: Counter[str] = Counter()
    with (
        _traced(counts),
        asyncio.Runner(loop_factory=lambda: _CountingLoop(counts)) as runner,
        _calls(counts),
    ):
        runner.run(work())
    return counts


class _CountingLoop(asyncio.SelectorEventLoop):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self._counts = counts
        self._home = threading.get_ident()

    def create_task(self, *arguments: Any, **named: Any) -> asyncio.Task[Any]:
        self._counts["tasks"] += 1
        return super().create_task(*arguments, **named)

    def call_soon(  # type: ignore[override]
        self, *arguments: Any, **named: Any
    ) -> asyncio.Handle:
        self._counts["callbacks"] += 1
        return super().call_soon(*arguments, **named)

    def call_soon_threadsafe(  # type: ignore[override]
        self, *arguments: Any, **named: Any
    ) -> asyncio.Handle:
        if threading.get_ident() != self._home:
            self._counts["hops"] += 1
        return super().call_soon_threadsafe(*arguments, **named)


@contextmanager
def _traced(counts: Counter[str]) -> Iterator[None]:
    connect = sqlite3.connect

    def traced(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **named)
        dirty = False

        def see(statement: str) -> None:
            nonlocal dirty
            word = statement.lstrip()[:7].rstrip().upper()
            if word.startswith(_WRITES):
                counts["rows"] += 1
                dirty = True
            elif word.startswith(("COMMIT", "END")):
                counts["commits"] += dirty
                dirty = False
            elif word.startswith("ROLLBAC"):
                dirty = False

        connection.set_trace_callback(see)
        # The log then keeps all that was ever written to it, and its size is what it cost.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    with patch.object(sqlite3, "connect", traced):
        yield


@contextmanager
def _calls(counts: Counter[str]) -> Iterator[None]:
    calls = 0

    def see(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        if event == "call" and frame.f_code.co_filename != __file__:
            calls += 1

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        yield
    finally:
        sys.setprofile(before)
        counts["calls"] = calls
