"""From a run to the one who watches it.

A run and its watcher take turns: at the end of a superstep the run waits until the watcher has
taken everything and asks for more, so ``break`` after an event means that nothing after that
superstep was begun. Within a superstep, events wait in a buffer of bounded size: an async node
that has filled it goes on at its next ``await``, a sync one right in the writer's call, once
there is room.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections import deque
from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from durable_graph.types import StreamMode

__all__ = ["Event", "MessageEvent", "Stream", "Within"]

_LIMIT: Final = 256


class Event(NamedTuple):
    """Something that happened in a run.

    Attributes:
        mode: the mode it belongs to.
        data: what that mode shows.
        cursor: where the log has it; ``None`` for what the log does not keep.
        ns: the way to the graph that it happened in; empty for the one that was called.
    """

    mode: StreamMode
    data: Any
    cursor: str | None = None
    ns: tuple[str, ...] = ()


class MessageEvent(tuple[Any, Any]):
    """``(chunk, metadata)``, which also answers to the chunk's `content`."""

    __slots__ = ()

    @property
    def content(self) -> Any:
        """The chunk's content."""
        return getattr(self[0], "content", None)


class Stream:
    """The events of one run, for one watcher on the run's own event loop.

    Args:
        modes: what is watched; with none, nothing is ever emitted or waited for.
        limit: how many events may wait.
        subgraphs: whether what happens in graphs within is watched, too.
    """

    def __init__(
        self,
        modes: Collection[StreamMode] = (),
        limit: int = _LIMIT,
        *,
        subgraphs: bool = False,
    ) -> None:
        self.modes = frozenset(modes)
        self.subgraphs = subgraphs
        self._limit = limit
        self._buffer: deque[Event] = deque()
        self._closed = False
        self._watcher: asyncio.Future[None] | None = None
        self._run: list[asyncio.Future[None]] = []
        self._turns: deque[asyncio.Future[None]] = deque()
        self._room = threading.Condition()
        self._posted = 0
        self._threads_wait = False
        self.events = 0
        """How many there have been."""
        self.supersteps = 0
        """How many supersteps the run has come through."""

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Stream {state}, {len(self._buffer)} events wait>"

    @property
    def waiting(self) -> int:
        """How many events nobody has taken yet."""
        return len(self._buffer)

    @property
    def closed(self) -> bool:
        """Whether nobody wants the run's events any more, nor its result."""
        return self._closed

    @property
    def full(self) -> bool:
        """Whether whoever emits should wait."""
        return len(self._buffer) >= self._limit and not self._closed

    def emit(self, event: Event) -> None:
        """Add an event; from the event loop's thread only."""
        if self._closed:
            return
        self._buffer.append(event)
        self.events += 1
        if self._watcher is not None and not self._watcher.done():
            self._watcher.set_result(None)

    def post(self, event: Event, loop: asyncio.AbstractEventLoop) -> None:
        """Add an event from another thread, which waits here until there is room."""
        with self._room:
            while len(self._buffer) + self._posted >= self._limit and not self._closed:
                self._threads_wait = True
                self._room.wait()
            self._posted += 1
        loop.call_soon_threadsafe(self._arrive, event)

    def close(self) -> None:
        """There will be no more events. What waits can still be taken."""
        self._closed = True
        self._let_threads_on()
        if self._watcher is not None and not self._watcher.done():
            self._watcher.set_result(None)
        self._wake_run()
        while self._turns:
            self._wake_next()

    @property
    def watchers(self) -> tuple[Stream, ...]:
        """Who sees what happens here."""
        return (self,)

    async def wait_for_room(self) -> None:
        """Wait for room; from the event loop."""
        while self.full:
            await self._next_turn()

    async def turn(self) -> None:
        """The end of a superstep: wait until the watcher has taken all and asks for more."""
        again = False
        while self.modes and not self._closed and (self._buffer or self._watcher is None):
            await self._in_turn(first=again)
            again = True
        if again:
            # Whoever waits behind may go on as well, unless there is something to be told now.
            asyncio.get_running_loop().call_soon(self._let_next_on)

    async def next(self) -> Event | None:
        """The next event; ``None`` at the end."""
        while not self._buffer:
            if self._closed:
                return None
            self._watcher = asyncio.get_running_loop().create_future()
            self._wake_run()
            self._let_next_on()
            try:
                await self._watcher
            finally:
                self._watcher = None
        event = self._buffer.popleft()
        if self._threads_wait:
            self._let_threads_on()
        if self._run and len(self._buffer) < self._limit:
            self._wake_run()
        return event

    def _arrive(self, event: Event) -> None:
        with self._room:
            self._posted -= 1
        self.emit(event)

    def _let_threads_on(self) -> None:
        with self._room:
            self._threads_wait = False
            self._room.notify_all()

    async def _next_turn(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._run.append(future)
        await future

    async def _in_turn(self, *, first: bool) -> None:
        """Wait until this is the one to go on. One at a time: of many graphs side by side, each
        would only see that another was faster."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if first:
            self._turns.appendleft(future)
        else:
            self._turns.append(future)
        try:
            await future
        except asyncio.CancelledError:  # and no other end: where the loop is gone, there is no turn
            if not future.cancelled():  # it was this one's turn
                loop.call_soon(self._let_next_on)
            raise

    def _let_next_on(self) -> None:
        if not self._buffer and self._watcher is not None:
            self._wake_next()

    def _wake_next(self) -> None:
        while self._turns:
            future = self._turns.popleft()
            if not future.done():
                future.set_result(None)
                return

    def _wake_run(self) -> None:
        waiting, self._run = self._run, []
        for future in waiting:
            if not future.done():
                future.set_result(None)


class Within:
    """The events of a graph within another, for those who watch it or a graph around it.

    Args:
        ns: the way to the graph.
        own: who watches this graph.
        around: where the events of the graph around it go.
    """

    subgraphs = False

    def __init__(self, ns: tuple[str, ...], own: Stream, around: Stream | Within) -> None:
        self._ns = ns
        self._own = own
        self._around = around
        outer = tuple(watcher for watcher in around.watchers if watcher.subgraphs)
        self.watchers: tuple[Stream, ...] = (own, *outer) if own.modes else outer
        self.modes = frozenset(mode for watcher in self.watchers for mode in watcher.modes)

    @property
    def supersteps(self) -> int:
        """How many supersteps the run has come through."""
        return self._own.supersteps

    @supersteps.setter
    def supersteps(self, count: int) -> None:
        self._own.supersteps = count

    @property
    def closed(self) -> bool:
        """Whether nobody wants the run's events any more, nor its result."""
        return self._own.closed or self._around.closed

    @property
    def full(self) -> bool:
        """Whether whoever emits should wait."""
        return any(watcher.full for watcher in self.watchers)

    def emit(self, event: Event) -> None:
        """See `Stream.emit`."""
        for watcher, seen in self._seen(event):
            watcher.emit(seen)

    def post(self, event: Event, loop: asyncio.AbstractEventLoop) -> None:
        """See `Stream.post`."""
        for watcher, seen in self._seen(event):
            watcher.post(seen, loop)

    async def wait_for_room(self) -> None:
        """See `Stream.wait_for_room`."""
        for watcher in self.watchers:
            await watcher.wait_for_room()

    async def turn(self) -> None:
        """See `Stream.turn`.

        Raises:
            CancelledError: a watcher has left. The graph that was called is cancelled along with
                that, and this one not before it comes to know.
        """
        for watcher in self.watchers:
            await watcher.turn()
        if self.closed:
            raise asyncio.CancelledError

    def _seen(self, event: Event) -> Iterator[tuple[Stream, Event]]:
        data, several = event.data, False
        for watcher in self.watchers:
            if event.mode not in watcher.modes:
                continue
            if several and event.mode not in ("custom", "messages"):
                data = copy.deepcopy(event.data)  # what one watcher does to it is no other's
            several = True
            yield watcher, Event(event.mode, data, event.cursor, self._ns)
