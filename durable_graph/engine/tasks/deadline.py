"""Until when one attempt of a node must have ended, and what happens if it has not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Literal

from durable_graph.errors import NodeTimeoutError
from durable_graph.ports.clock import Clock
from durable_graph.ports.shielded import until_done
from durable_graph.types import TimeoutPolicy

__all__ = ["Deadline", "within"]

# For so many seconds a node that was cancelled may clean up; then it is thrown away.
_GRACE: Final = 5.0

# How often it is looked, at most, whether a node is held up no more.
_LOOK_AGAIN: Final = 0.05


class Deadline:
    """The limits of one attempt; signs of progress move the one for being idle.

    Args:
        node: the node, for the error.
        policy: the limits.
        clock: where time comes from.

    Attributes:
        dead: whether the attempt has swallowed its cancellation and must not run on.
    """

    __slots__ = ("_began", "_clock", "_held", "_node", "_policy", "_sign", "dead")

    def __init__(self, node: str, policy: TimeoutPolicy, clock: Clock) -> None:
        self._node = node
        self._policy = policy
        self._clock = clock
        self._began = self._sign = clock.monotonic()
        self._held: float | None = None
        self.dead = False

    def heartbeat(self) -> None:
        """The node says that it goes on. From any thread."""
        self._sign = self._clock.monotonic()

    def progress(self) -> None:
        """The node has emitted something. From any thread."""
        if self._policy.refresh_on == "auto":
            self._sign = self._clock.monotonic()

    def hold(self) -> None:
        """Time stands still: the node has ended, or is held up by its watcher."""
        self._held = self._clock.monotonic()

    def go_on(self) -> None:
        """It is held up no more."""
        if self._held is not None:
            held_up = self._clock.monotonic() - self._held
            self._began += held_up
            self._sign += held_up
            self._held = None

    async def passing(self) -> None:
        """Wait until one of the limits is reached."""
        while (left := min(limit for limit, _ in self._left())) > 0:
            await self._clock.sleep(left if self._held is None else max(left, _LOOK_AGAIN))

    def over(self) -> bool:
        """Whether the attempt has taken longer than it may as a whole."""
        return any(left <= 0 for left, kind in self._left() if kind == "run")

    def error(self) -> NodeTimeoutError:
        """What to raise, once it has passed."""
        _, kind = min(self._left())
        return NodeTimeoutError(
            self._node,
            self._clock.monotonic() - self._began,
            kind=kind,
            run_timeout=_float(self._policy.run_timeout),
            idle_timeout=_float(self._policy.idle_timeout),
        )

    async def grace(self) -> None:
        """Wait for as long as a cancelled node may clean up."""
        await self._clock.sleep(_GRACE)

    def _left(self) -> list[tuple[float, Literal["run", "idle"]]]:
        now = self._clock.monotonic() if self._held is None else self._held
        limits: list[tuple[float, Literal["run", "idle"]]] = []
        if (run := _float(self._policy.run_timeout)) is not None:
            limits.append((self._began + run - now, "run"))
        if (idle := _float(self._policy.idle_timeout)) is not None:
            limits.append((self._sign + idle - now, "idle"))
        return limits


async def within(
    deadline: Deadline, attempt: Coroutine[Any, Any, Any], give_up: Callable[[], None]
) -> Any:
    """What an attempt returns, if it does so in time.

    It runs in a task of its own, so that cancelling it is nobody else's cancellation. When this
    returns or raises, that task has ended, whatever the node does about being cancelled.

    Args:
        deadline: until when.
        attempt: the attempt.
        give_up: called before a late attempt is cancelled: from then on nothing that it does
            counts.

    Raises:
        NodeTimeoutError: it did not end in time; also if it did end, but had kept the event loop
            for so long that nobody could interrupt it.
    """
    task = asyncio.create_task(_timed(attempt, deadline))
    timer = asyncio.create_task(deadline.passing())
    try:
        await asyncio.wait((task, timer), return_when=asyncio.FIRST_COMPLETED)
        if task.done() and not deadline.over():
            return task.result()
        late = deadline.error()
    finally:
        if not task.done():
            give_up()
        await _ended(task, timer, deadline)
    if not task.cancelled() and (failure := task.exception()) is not None:
        late.__cause__ = failure
    raise late


async def _timed(attempt: Coroutine[Any, Any, Any], deadline: Deadline) -> Any:
    """An attempt, by whose own end it is judged: not by when somebody comes to look at it."""
    try:
        return await attempt
    finally:
        deadline.hold()


async def _ended(task: asyncio.Task[Any], timer: asyncio.Task[None], deadline: Deadline) -> None:
    """See to it that an attempt ends: cancelled, and thrown away if it swallows that.

    Whoever cancels the run meanwhile waits for that, too, and is heard afterwards.
    """
    timer.cancel()
    cancelled = await until_done(timer)
    while not task.done():
        task.cancel()
        grace = asyncio.create_task(deadline.grace())
        cancelled |= await until_done(task, grace, first=True)
        deadline.dead = True
        grace.cancel()
        cancelled |= await until_done(grace)
    if not task.cancelled():
        task.exception()  # looked at, so that nobody complains that nobody did
    if cancelled:
        raise asyncio.CancelledError


def _float(seconds: Any) -> float | None:
    return None if seconds is None else float(seconds)
