"""What a storage system is to the benchmarks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

__all__ = ["Group", "Open", "Row", "System", "UnavailableError", "Write"]


class UnavailableError(Exception):
    """A storage system cannot be had here; says why."""


class Row(NamedTuple):
    """What the bare loop stores for one step of a run.

    Attributes:
        thread: of which run.
        number: of which step.
        data: what is added.
        head: what is written over what the step before has left there, where the system's writes
            have such a part.
    """

    thread: str
    number: int
    data: bytes
    head: bytes = b""


Write: TypeAlias = Callable[[Row], Awaitable[object]]
"""Stores one row; it is durable when this returns."""

Open: TypeAlias = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens a saver in a place of its own, which is empty and is removed afterwards."""


@dataclass(frozen=True, slots=True)
class System:
    """A storage system whose server runs.

    Attributes:
        name: what people call it.
        about: its version and settings, on one line.
        ours: our saver.
        theirs: LangGraph's saver, or why it is not measured.
        bare: a function that stores rows through the driver, with nothing around it.
        steps: of a single run, and of each of many; fewer where a step is slow.
    """

    name: str
    about: str
    ours: Open
    theirs: Open | str
    bare: Callable[[], AbstractAsyncContextManager[Write]]
    steps: tuple[int, int] = (500, 20)


class Group:
    """The shortest group commit: what comes while a write is under way goes out with the next.

    Args:
        store: stores rows in one durable write; one call at a time.
    """

    def __init__(self, store: Callable[[list[Row]], Awaitable[object]]) -> None:
        self._store = store
        self._waiting: list[tuple[Row, asyncio.Future[bool]]] = []
        self._busy = False

    async def write(self, row: Row) -> None:
        """Store a row; returns when it is durable."""
        others: list[tuple[Row, asyncio.Future[bool]]] = []
        if self._busy:
            stored = asyncio.get_running_loop().create_future()
            self._waiting.append((row, stored))
            if await stored:
                return
            others, self._waiting = self._waiting, others
        self._busy = True
        await self._store([row, *(row for row, _ in others)])
        # The next write begins before those that are through make their next rows: the server
        # then has work while they do.
        if self._waiting:
            self._waiting.pop(0)[1].set_result(False)
        else:
            self._busy = False
        for _, stored in others:
            stored.set_result(True)
