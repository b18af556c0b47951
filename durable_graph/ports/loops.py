"""One thing for each event loop: what a backend holds that belongs to the loop that made it.

Connections live on an event loop, and a backend serves several: one that runs graphs, one that
gives signs of life, others in threads of their own. Each gets its own, on first use; and since
loops end without telling anybody, what was made for one is closed as that loop shuts down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, Generic, TypeVar

from durable_graph.errors import StorageClosedError

__all__ = ["PerLoop"]

T = TypeVar("T")

# How long another loop gets to close its own, seconds: it may be blocked, or about to end.
_PATIENCE: Final = 5.0


class PerLoop(Generic[T]):
    """Makes one thing for each event loop, and closes it with the loop or with this.

    Args:
        name: what it is for, as errors name it.
        make: makes one for the running loop.
        close: closes one, on its own loop; harmless if done twice, and done again if cancelled.
        abandon: lets go of one whose loop was closed before it, which no loop can wait for.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], T],
        close: Callable[[T], Awaitable[None]],
        abandon: Callable[[T], None] | None = None,
    ) -> None:
        self._name = name
        self._make = make
        self._close = close
        self._abandon = abandon
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._held: dict[asyncio.AbstractEventLoop, tuple[T, AsyncGenerator[None, None]]] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._held)

    def every(self) -> list[T]:
        """What there is at present, of all loops."""
        with self._lock:
            return [held for held, _ in self._held.values()]

    async def get(self) -> T:
        """The running loop's own; made if it has none yet.

        Raises:
            StorageClosedError: this was closed, or belongs to another process.
        """
        if self._pid != os.getpid():  # first: in a child, no loop runs any more
            raise StorageClosedError(
                f"{self._name} was opened before this process was forked. Make a new saver in "
                f"every process."
            )
        if self._closed:
            raise StorageClosedError(f"{self._name} was closed.")
        loop = asyncio.get_running_loop()
        found = self._held.get(loop)
        return found[0] if found is not None else await self._add(loop)

    async def _add(self, loop: asyncio.AbstractEventLoop) -> T:
        self._let_go()
        made = self._make()
        # A loop that shuts down ends the asynchronous generators that were begun on it: the one
        # thing it tells to those who hold something of its.
        watch = self._until_the_loop_ends(made)
        with self._lock:
            self._held[loop] = made, watch
        await anext(watch)
        return made

    async def _until_the_loop_ends(self, made: T) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._close(made)
            with self._lock:
                self._held.pop(asyncio.get_running_loop(), None)

    def _let_go(self) -> None:
        """Drop what belongs to loops that were closed without having been shut down."""
        with self._lock:
            gone = [loop for loop in self._held if loop.is_closed()]
            left = [self._held.pop(loop)[0] for loop in gone]
        for made in left:
            if self._abandon is not None:
                self._abandon(made)

    async def aclose(self) -> None:
        """Close what all loops have. Harmless if done twice; if cancelled, do it again."""
        self._closed = True
        if self._pid != os.getpid():
            return
        self._let_go()
        here = asyncio.get_running_loop()
        with self._lock:
            held = list(self._held.items())
        for loop, (made, watch) in held:
            if loop is here:
                await self._close(made)
                await watch.aclose()
            elif loop.is_running():
                await _end_elsewhere(loop, watch)


async def _end_elsewhere(
    loop: asyncio.AbstractEventLoop, watch: AsyncGenerator[None, None]
) -> None:
    """Have another loop close its own. One that ends now, or has no time, does so by itself."""

    async def end() -> None:
        with contextlib.suppress(RuntimeError):  # it is doing so already
            await watch.aclose()

    ending = end()
    try:
        closing = asyncio.run_coroutine_threadsafe(ending, loop)
    except RuntimeError:  # it was closed in the meantime
        ending.close()
        return
    await asyncio.wait([asyncio.wrap_future(closing)], timeout=_PATIENCE)
