"""A call to the simulated storage system, on its way there and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol, TypeVar

__all__ = ["Service", "StorageCall", "at_once"]

T = TypeVar("T")


class Service(Protocol):
    """Where calls go."""

    def done(self, call: StorageCall[Any]) -> None:
        """Nothing more is to become of a call."""


class StorageCall(asyncio.Future[T]):
    """A call on its way to the storage system and back.

    Args:
        storage: where it goes.
        caller: the process that makes it.
        what: spells it.
        effect: what it does there; is told whether the connection breaks meanwhile.
        writes: whether it changes anything.
        repeats: whether it may arrive more than once.

    Attributes:
        number: its place among all calls.
        wanted: whether the caller is still there.
    """

    def __init__(
        self,
        storage: Service,
        caller: str,
        what: str,
        effect: Callable[[bool], T],
        *,
        writes: bool,
        repeats: bool,
    ) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.number = 0
        self.storage = storage
        self.caller = caller
        self.what = what
        self.effect: Callable[[bool], T] | None = effect
        self.writes = writes
        self.repeats = repeats
        self.wanted = True

    def later(self, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        """Have something happen where the call is, which is in no process."""
        loop = self.get_loop()
        if seconds > 0:
            loop.call_later(seconds, action, *arguments, context=Context())
        else:
            loop.call_soon(action, *arguments, context=Context())

    def take_effect(self, back: float | None, *, broken: bool = False) -> None:
        """The call arrives; its answer leaves, if one is to arrive."""
        if self.effect is None:
            return
        try:
            value = self.effect(broken)
        except Exception as error:  # the storage's own refusal, told to the caller
            if back is not None:
                self.later(back, self.fail, error)
            return
        if back is not None:
            self.later(back, self.answer, value)

    def answer(self, value: T) -> None:
        """The answer arrives."""
        self.storage.done(self)
        if self.wanted and not self.done():
            self.set_result(value)

    def fail(self, error: Exception) -> None:
        """The caller learns that something went wrong."""
        self.storage.done(self)
        if self.wanted and not self.done():
            self.set_exception(error)
            self.exception()  # a caller that was cancelled meanwhile does not want it


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing.

    Raises:
        RuntimeError: it waits for something.
    """
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise RuntimeError("What a simulated storage system does takes no time of its own.")
