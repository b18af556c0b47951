"""The synchronous face: the same calls, made on an event loop in a thread of its own.

Only async is implemented anywhere else. One loop in one daemon thread serves the whole process,
so it works in scripts, in notebooks and beside a running loop, and holds up no exit. A Ctrl-C
while a call waits cancels that call, waits until it has put its thread in order, and is raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, Self, TypeVar, Unpack, overload

import anyio
from anyio.from_thread import BlockingPortal

from durable_graph.typing import GivenContextT, GivenT, RunInput, RunOptions

if TYPE_CHECKING:
    from durable_graph.engine.streams.stream import MessageEvent
    from durable_graph.threads import (
        AuditEntry,
        Retention,
        Swept,
        ThreadInfo,
        ThreadList,
        Threads,
    )
    from durable_graph.types import (
        RunnableConfig,
        StateSnapshot,
        StateUpdate,
        StreamMode,
        StreamPart,
    )

__all__ = ["SyncGraph", "SyncSaver", "SyncStore", "SyncThreads", "call", "iterate"]

T = TypeVar("T")


class _Loop:
    """The event loop of the synchronous face, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._portal: BlockingPortal | None = None
        self._thread: threading.Thread | None = None

    def portal(self) -> BlockingPortal:
        """The way into the loop.

        Raises:
            RuntimeError: called on the loop itself, which would then wait for itself.
        """
        if self._thread is threading.current_thread():
            raise RuntimeError(
                "A synchronous call was made from async code that a synchronous call runs. "
                "Await the async method instead: ainvoke, astream, aget_state, ..."
            )
        with self._lock:
            if self._portal is None:
                ready: Future[BlockingPortal] = Future()
                self._thread = threading.Thread(
                    target=_serve, args=(ready,), name="durable_graph sync", daemon=True
                )
                self._thread.start()
                self._portal = ready.result()
            return self._portal

    def forget(self) -> None:
        """Start afresh: a forked child has none of its parent's threads."""
        self._lock = threading.Lock()
        self._portal = self._thread = None


def _serve(ready: Future[BlockingPortal]) -> None:
    async def serve() -> None:
        async with BlockingPortal() as portal:
            ready.set_result(portal)
            await portal.sleep_until_stopped()

    loop = asyncio.new_event_loop()
    serving = loop.create_task(serve())
    while not serving.done():
        # What a node raises to end the program comes out of the loop as well as of its call. It
        # is for the caller; the loop has other callers.
        with contextlib.suppress(SystemExit, KeyboardInterrupt):
            loop.run_until_complete(serving)


_loop = _Loop()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_loop.forget)


def call(function: Callable[[], Awaitable[T]], loop: asyncio.AbstractEventLoop | None = None) -> T:
    """Make an async call and wait for it.

    Args:
        function: makes it.
        loop: the event loop to make it on; by default that of the synchronous face.

    Raises:
        RuntimeError: called on the loop of the synchronous face.
    """
    ended = threading.Event()
    scope: anyio.CancelScope | None = None

    async def run() -> Callable[[], T]:
        nonlocal scope
        try:
            with anyio.CancelScope() as scope:
                result = await function()
                return lambda: result
            raise CancelledError
        except (SystemExit, KeyboardInterrupt) as error:  # raised here, it would end the portal
            return partial(_raise, error)
        finally:
            ended.set()

    start: Callable[[], Future[Callable[[], T]]]
    if loop is None:
        start = partial(_loop.portal().start_task_soon, run)
    else:
        start = partial(asyncio.run_coroutine_threadsafe, run(), loop)
    future = start()
    try:
        return future.result()()
    except BaseException:
        if not future.done():
            soon = _loop.portal().start_task_soon if loop is None else loop.call_soon_threadsafe
            soon(lambda: scope.cancel() if scope is not None else None)
            ended.wait()
        raise


def _raise(error: BaseException) -> NoReturn:
    raise error


def iterate(
    make: Callable[[], AsyncIterator[T]], loop: asyncio.AbstractEventLoop | None = None
) -> Iterator[T]:
    """Iterate over something asynchronous; leaving the loop early ends it properly."""

    async def begin() -> AsyncIterator[T]:
        return make()

    iterator = call(begin, loop)
    try:
        while True:
            try:
                item = call(partial(_next, iterator), loop)
            except StopAsyncIteration:
                return
            yield item
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            call(close, loop)


async def _next(iterator: AsyncIterator[T]) -> T:
    return await iterator.__anext__()


class SyncSaver:
    """The synchronous methods of a saver; each does what its async namesake does."""

    @property
    def sync_threads(self: Any) -> SyncThreads:
        """See `threads`: the same calls, each waiting for its end."""
        return SyncThreads(self.threads)

    def setup(self: Any) -> None:
        """See `asetup`."""
        call(self.asetup)

    def close(self: Any) -> None:
        """See `aclose`."""
        call(self.aclose)

    def list_threads(self: Any, **options: Any) -> Iterator[Any]:
        """See `alist_threads`."""
        return iterate(partial(self.alist_threads, **options))

    def delete_thread(self: Any, thread_id: str) -> None:
        """See `adelete_thread`."""
        call(partial(self.adelete_thread, thread_id))

    def archive_thread(self: Any, thread_id: str) -> None:
        """See `aarchive_thread`."""
        call(partial(self.aarchive_thread, thread_id))

    def copy_thread(self: Any, source_thread_id: str, target_thread_id: str) -> None:
        """See `acopy_thread`."""
        call(partial(self.acopy_thread, source_thread_id, target_thread_id))

    def prune(self: Any, thread_ids: Any, **options: Any) -> None:
        """See `aprune`."""
        call(partial(self.aprune, thread_ids, **options))

    def verify(self: Any, thread_id: str) -> list[Any]:
        """See `averify`."""
        wrong: list[Any] = call(partial(self.averify, thread_id))
        return wrong

    def rotate_keys(self: Any, thread_ids: Any = None) -> list[str]:
        """See `arotate_keys`."""
        left: list[str] = call(partial(self.arotate_keys, thread_ids))
        return left

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SyncThreads:
    """The threads of a saver; each method does what that of `Threads` does."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads

    def __repr__(self) -> str:
        return f"<{self._threads!r}, without async>"

    def create(self, thread_id: str | None = None, **options: Any) -> ThreadInfo:
        """See `Threads.create`."""
        return call(partial(self._threads.create, thread_id, **options))

    def get(self, thread_id: str) -> ThreadInfo:
        """See `Threads.get`."""
        return call(partial(self._threads.get, thread_id))

    def search(self, **options: Any) -> ThreadList:
        """See `Threads.search`."""
        return call(partial(self._threads.search, **options))

    def list(self, **options: Any) -> Iterator[ThreadInfo]:
        """See `Threads.list`."""
        return iterate(partial(self._threads.list, **options))

    def update(self, thread_id: str, **options: Any) -> ThreadInfo:
        """See `Threads.update`."""
        return call(partial(self._threads.update, thread_id, **options))

    def tag(self, thread_id: str, *tags: str, by: str | None = None) -> ThreadInfo:
        """See `Threads.tag`."""
        return call(partial(self._threads.tag, thread_id, *tags, by=by))

    def untag(self, thread_id: str, *tags: str, by: str | None = None) -> ThreadInfo:
        """See `Threads.untag`."""
        return call(partial(self._threads.untag, thread_id, *tags, by=by))

    def delete(self, thread_id: str, *, by: str | None = None) -> None:
        """See `Threads.delete`."""
        call(partial(self._threads.delete, thread_id, by=by))

    def archive(self, thread_id: str, *, by: str | None = None) -> None:
        """See `Threads.archive`."""
        call(partial(self._threads.archive, thread_id, by=by))

    def copy(
        self, thread_id: str, target: str | None = None, *, by: str | None = None
    ) -> ThreadInfo:
        """See `Threads.copy`."""
        return call(partial(self._threads.copy, thread_id, target, by=by))

    def export(self, thread_id: str) -> bytes:
        """See `Threads.export`."""
        return call(partial(self._threads.export, thread_id))

    def import_(
        self, data: bytes, thread_id: str | None = None, *, by: str | None = None
    ) -> ThreadInfo:
        """See `Threads.import_`."""
        return call(partial(self._threads.import_, data, thread_id, by=by))

    def prune(self, thread_id: str, retention: Retention, *, by: str | None = None) -> bool:
        """See `Threads.prune`."""
        return call(partial(self._threads.prune, thread_id, retention, by=by))

    def sweep(self, retention: Retention | None = None, **options: Any) -> Swept:
        """See `Threads.sweep`."""
        return call(partial(self._threads.sweep, retention, **options))

    def verify(self, thread_id: str) -> Sequence[Exception]:
        """See `Threads.verify`."""
        return call(partial(self._threads.verify, thread_id))

    def audit(self, thread_id: str) -> Iterator[AuditEntry]:
        """See `Threads.audit`."""
        return iterate(partial(self._threads.audit, thread_id))


class SyncCache:
    """The synchronous methods of a cache; each does what its async namesake does."""

    def get(self: Any, keys: Any) -> Any:
        """See `aget`."""
        return call(partial(self.aget, keys))

    def set(self: Any, entries: Any) -> None:
        """See `aset`."""
        call(partial(self.aset, entries))

    def clear(self: Any, namespaces: Any = None) -> None:
        """See `aclear`."""
        call(partial(self.aclear, namespaces))


class SyncStore:
    """The synchronous methods of a store; each does what its async namesake does."""

    def wait_for(self, function: Callable[[], Awaitable[T]]) -> T:
        """Make one of its async calls and wait for it."""
        return call(function)

    def setup(self: Any) -> None:
        """See `asetup`."""
        self.wait_for(self.asetup)

    def batch(self: Any, ops: Any) -> list[Any]:
        """See `abatch`."""
        done: list[Any] = self.wait_for(partial(self.abatch, ops))
        return done

    def rotate_keys(self: Any) -> int:
        """See `arotate_keys`, of stores that encrypt."""
        changed: int = self.wait_for(self.arotate_keys)
        return changed

    def get(self: Any, namespace: Any, key: str, **options: Any) -> Any:
        """See `aget`."""
        return self.wait_for(partial(self.aget, namespace, key, **options))

    def put(
        self: Any, namespace: Any, key: str, value: Any, index: Any = None, **options: Any
    ) -> None:
        """See `aput`."""
        self.wait_for(partial(self.aput, namespace, key, value, index, **options))

    def delete(self: Any, namespace: Any, key: str, **options: Any) -> None:
        """See `adelete`."""
        self.wait_for(partial(self.adelete, namespace, key, **options))

    def sweep_ttl(self: Any) -> int:
        """See `asweep_ttl`."""
        removed: int = self.wait_for(self.asweep_ttl)
        return removed

    def close(self: Any) -> None:
        """See `aclose`."""
        self.wait_for(self.aclose)

    def search(self: Any, namespace_prefix: Any, /, **options: Any) -> list[Any]:
        """See `asearch`."""
        found: list[Any] = self.wait_for(partial(self.asearch, namespace_prefix, **options))
        return found

    def list_namespaces(self: Any, **options: Any) -> list[Any]:
        """See `alist_namespaces`."""
        found: list[Any] = self.wait_for(partial(self.alist_namespaces, **options))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SyncGraph(Generic[GivenT, GivenContextT]):
    """The synchronous methods of a compiled graph; each does what its async namesake does."""

    def _beside(self) -> asyncio.AbstractEventLoop | None:
        """The event loop of the run whose node's code makes a call: that is where it belongs."""
        raise NotImplementedError

    def invoke(
        self: Any,
        input: RunInput[GivenT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] = "values",
        version: Literal["v1", "v2"] = "v1",
        **options: Unpack[RunOptions[GivenContextT]],
    ) -> Any:
        """See `ainvoke`."""
        modes = {"stream_mode": stream_mode, "version": version}
        begin = partial(self.ainvoke, input, config, **modes, **options)
        return call(begin, self._beside())

    def batch(
        self: Any,
        inputs: Sequence[RunInput[GivenT]],
        config: RunnableConfig | Sequence[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **options: Any,
    ) -> list[Any]:
        """See `abatch`."""
        options |= {"return_exceptions": return_exceptions}
        done: list[Any] = call(partial(self.abatch, inputs, config, **options), self._beside())
        return done

    # What comes depends on how it is asked for; one overload for each shape of events.
    @overload
    def stream(
        self,
        input: RunInput[GivenT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        subgraphs: bool = False,
        version: Literal["v2"],
        **options: Unpack[RunOptions[GivenContextT]],
    ) -> Iterator[StreamPart]: ...
    @overload
    def stream(
        self,
        input: RunInput[GivenT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        subgraphs: Literal[True],
        version: Literal["v1"] = "v1",
        **options: Unpack[RunOptions[GivenContextT]],
    ) -> Iterator[tuple[Any, ...]]: ...
    @overload
    def stream(
        self,
        input: RunInput[GivenT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: Literal["updates", "tasks", "checkpoints", "debug"] | None = None,
        subgraphs: Literal[False] = False,
        version: Literal["v1"] = "v1",
        **options: Unpack[RunOptions[GivenContextT]],
    ) -> Iterator[dict[str, Any]]: ...
    @overload
    def stream(
        self,
        input: RunInput[GivenT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: Literal["messages"],
        subgraphs: Literal[False] = False,
        version: Literal["v1"] = "v1",
        **options: Unpack[RunOptions[GivenContextT]],
    ) -> Iterator[MessageEvent]: ...
    @overload
    def stream(
        self,
        input: RunInput[GivenT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: list[StreamMode] | tuple[StreamMode, ...],
        subgraphs: Literal[False] = False,
        version: Literal["v1"] = "v1",
        **options: Unpack[RunOptions[GivenContextT]],
    ) -> Iterator[tuple[StreamMode, Any]]: ...
    @overload
    def stream(
        self,
        input: RunInput[GivenT],
        config: RunnableConfig | None = None,
        *,
        stream_mode: StreamMode | Sequence[StreamMode] | None = None,
        subgraphs: bool = False,
        version: Literal["v1", "v2"] = "v1",
        **options: Unpack[RunOptions[GivenContextT]],
    ) -> Iterator[Any]: ...
    def stream(
        self: Any, input: RunInput[GivenT], config: RunnableConfig | None = None, **options: Any
    ) -> Iterator[Any]:
        """See `astream`."""
        return iterate(partial(self.astream, input, config, **options), self._beside())

    def clear_cache(self: Any, nodes: Sequence[str] | None = None) -> None:
        """See `aclear_cache`."""
        call(partial(self.aclear_cache, nodes))

    def get_state(self: Any, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """See `aget_state`."""
        snapshot: StateSnapshot = call(partial(self.aget_state, config, subgraphs=subgraphs))
        return snapshot

    def get_state_history(
        self: Any, config: RunnableConfig, **options: Any
    ) -> Iterator[StateSnapshot]:
        """See `aget_state_history`."""
        return iterate(partial(self.aget_state_history, config, **options))

    def stream_history(
        self: Any, config: RunnableConfig | str, **options: Any
    ) -> Iterator[StreamPart]:
        """See `astream_history`."""
        return iterate(partial(self.astream_history, config, **options))

    def update_state(
        self: Any,
        config: RunnableConfig,
        values: Any,
        as_node: str | None = None,
        **options: Any,
    ) -> RunnableConfig:
        """See `aupdate_state`."""
        written: RunnableConfig = call(
            partial(self.aupdate_state, config, values, as_node, **options)
        )
        return written

    def bulk_update_state(
        self: Any,
        config: RunnableConfig,
        supersteps: Sequence[Sequence[StateUpdate]],
        **options: Any,
    ) -> RunnableConfig:
        """See `abulk_update_state`."""
        written: RunnableConfig = call(
            partial(self.abulk_update_state, config, supersteps, **options)
        )
        return written
