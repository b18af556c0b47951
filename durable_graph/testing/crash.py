"""A backend that dies: every storage call is a place where a process may end.

What a crash leaves behind is decided at the calls to storage, so a program that survives a crash
before and after each of them survives every crash. Let it crash at call 1, 2, 3, ... until a run
comes through, and go on each time with a fresh saver on the same storage::

    number, crashed = 1, True
    while crashed:
        storage = InMemoryBackend()
        dying = CrashingBackend(storage, number, "after")
        with contextlib.suppress(Crash):
            await program(Saver(dying))
        await program(Saver(storage))  # compare what it did with what an undisturbed run does
        crashed, number = dying.crashed, number + 1
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias, TypeVar

from durable_graph.ports.backend import (
    Append,
    Backend,
    Capabilities,
    Card,
    Liveness,
    Message,
    Outcome,
    Position,
    Process,
    Ranges,
    Reading,
    Record,
    Removal,
    Thread,
    ThreadKey,
    ThreadPage,
    ThreadQuery,
)
from durable_graph.ports.items import Items

__all__ = ["Crash", "CrashingBackend", "When"]

T = TypeVar("T")
When: TypeAlias = Literal["before", "after"]


class Crash(BaseException):
    """The process is to be taken for dead.

    A `BaseException`, so that nothing which handles errors takes it for one. Whoever catches it all
    the same can change nothing: the storage cannot be reached any more.
    """


class CrashingBackend:
    """Hands calls on to another backend until it dies at one of them.

    From then on every call raises `Crash` and does nothing, as for a process that is no more. The
    inner backend stays as it is: what recovers works on it, through handles of its own.

    Args:
        inner: the storage.
        at: the number of the call to die at, from 1; ``None`` to count calls only.
        when: "before": that call has no effect. "after": it has, and nobody is told.
        die: called to die. By default nothing is, and `Crash` is raised; in a process of its own
            it can be the real thing: ``lambda: os.kill(os.getpid(), signal.SIGKILL)``.

    Attributes:
        calls: names of the methods called so far, in order; the last one is where it died.
        batches: what was to be appended, by the number of the call.
        crashed: whether it has died.
    """

    def __init__(
        self,
        inner: Backend,
        at: int | None = None,
        when: When = "before",
        *,
        die: Callable[[], object] | None = None,
    ) -> None:
        if at is not None and at < 1:
            raise ValueError(f"Calls are numbered from 1, so there is no call {at} to die at.")
        if when not in ("before", "after"):
            raise ValueError(f"when is 'before' or 'after', not {when!r}.")
        self.calls: Final[list[str]] = []
        self.batches: Final[dict[int, Sequence[Append]]] = {}
        self.crashed: bool = False
        self._inner = inner
        self._at = at
        self._when = when
        self._die = die

    def __repr__(self) -> str:
        state = "dead" if self.crashed else f"dies {self._when} call {self._at}"
        return f"<CrashingBackend {state}, {len(self.calls)} calls, on {self._inner!r}>"

    @property
    def capabilities(self) -> Capabilities:
        return self._inner.capabilities

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        self.batches[len(self.calls) + 1] = batch
        return await self._call("append", partial(self._inner.append, batch, beat))

    def keeps(self, items: Items) -> bool:
        """See `Remembering`, which not every backend is."""
        inner: Any = self._inner
        kept: bool = inner.keeps(items)
        return kept

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        """See `Transactional.transact`, which not every backend has."""
        inner: Any = self._inner
        make: Callable[[], Awaitable[Append | None]]
        make = partial(inner.transact, thread, expected, work)
        return await self._call("transact", make)

    async def read(
        self,
        thread: ThreadKey,
        checkpoint: str | None = None,
        *,
        unless: Position | None = None,
    ) -> Reading | None:
        return await self._call(
            "read", partial(self._inner.read, thread, checkpoint, unless=unless)
        )

    async def scan(
        self,
        thread: ThreadKey,
        ranges: Ranges,
        *,
        bodies: bool = True,
    ) -> Sequence[Record]:
        return await self._call("scan", partial(self._inner.scan, thread, ranges, bodies=bodies))

    async def blobs(self, thread: ThreadKey, digests: Sequence[str]) -> Mapping[str, bytes]:
        return await self._call("blobs", partial(self._inner.blobs, thread, digests))

    async def thread(self, thread: ThreadKey) -> Thread | None:
        return await self._call("thread", partial(self._inner.thread, thread))

    async def threads(self, query: ThreadQuery) -> ThreadPage:
        return await self._call("threads", partial(self._inner.threads, query))

    async def label(self, thread: ThreadKey, card: Card) -> bool:
        return await self._call("label", partial(self._inner.label, thread, card))

    async def post(self, thread: ThreadKey, message: Message) -> Message:
        return await self._call("post", partial(self._inner.post, thread, message))

    async def beat(self, process: Process | None) -> Sequence[Liveness]:
        return await self._call("beat", partial(self._inner.beat, process))

    async def remove(self, thread: ThreadKey, what: Removal) -> bool:
        return await self._call("remove", partial(self._inner.remove, thread, what))

    async def changed(self, thread: ThreadKey, seen: Position) -> None:
        return await self._call("changed", partial(self._inner.changed, thread, seen))

    def statistics(self) -> Mapping[str, float]:
        return self._inner.statistics()

    async def aclose(self) -> None:
        return await self._call("aclose", self._inner.aclose)

    async def _call(self, name: str, make: Callable[[], Awaitable[T]]) -> T:
        if self.crashed:
            raise Crash("The process is dead.")
        self.calls.append(name)
        if len(self.calls) != self._at:
            return await make()
        if self._when == "after":
            try:
                await make()
            except BaseException as error:  # failed or cancelled: what it has done, it has done
                raise self._death() from error
        raise self._death()

    def _death(self) -> Crash:
        self.crashed = True
        if self._die is not None:
            self._die()
        return Crash(f"At storage call {self._at}, {self._when} {self.calls[-1]}.")
