"""Asking a service: again where that is safe, and with errors that say what has become of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from durable_graph.errors import OutcomeUnknownError
from durable_graph.ports.clock import Chance, Clock, SystemChance, SystemClock
from durable_graph_aws.clients import Clients, Name
from durable_graph_aws.errors import Fate, fate_of, told, unknown
from durable_graph_aws.options import AwsOptions

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

__all__ = ["Service", "first_told", "together"]

T = TypeVar("T")
ThingT = TypeVar("ThingT")
ClientT = TypeVar("ClientT")

_FIRST_WAIT = 0.05
_LONGEST_WAIT = 1.0
# How many times as long as nothing may come a request may take as a whole, and how many bytes a
# second it moves at least where there are many of them.
_LONGEST = 6
_SLOWEST = 2**18
# How often a service that is not there, or has not answered a read, is asked.
_TRIES = 3


class Service(Generic[ClientT]):
    """A service of AWS's, for any number of event loops.

    Args:
        name: which one.
        options: how it is reached.
        client: a client of the user's own; it is used on one loop, and not closed.
        session: where clients come from; the user's own, or a new one.
        clock: for the time between two tries.
        chance: for the jitter in it.
    """

    def __init__(
        self,
        name: Name,
        options: AwsOptions,
        *,
        client: ClientT | None = None,
        session: AioSession | None = None,
        clock: Clock | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._clients: Clients[ClientT] = Clients(name, options, client=client, session=session)
        self._patience = options.busy_timeout
        self._longest = options.connect_timeout + _LONGEST * options.read_timeout
        self._clock = clock or SystemClock()
        self._chance = chance or SystemChance()
        self.requests = self.retries = 0
        """How often something was asked, and how often again."""

    @property
    def loops(self) -> int:
        """How many event loops have connections of their own."""
        return self._clients.count

    async def again(
        self, work: Callable[[ClientT], Awaitable[T]], what: str, *, size: int = 0
    ) -> T:
        """Ask something that may be asked any number of times: what reads, or writes what is the
        same each time and in nobody's way.

        Args:
            work: makes a request.
            what: what it does, for messages.
            size: how many bytes are sent.

        Raises:
            StorageBusyError: the service was busy for `busy_timeout` seconds, was not to be
                reached, or did not answer.
            StorageError: it failed otherwise.
            StorageClosedError: this was closed.
        """
        return await self._ask(lambda client, _: work(client), what, size, writes=False)

    async def fetch(
        self, work: Callable[[ClientT, Callable[[int], None]], Awaitable[T]], what: str
    ) -> T:
        """As `again`, for an answer of any size: `work` says how many bytes are still to come, as
        soon as it knows."""

        async def given(client: ClientT, limit: asyncio.Timeout) -> T:
            def expect(size: int) -> None:
                until = limit.when()
                assert until is not None  # noqa: S101 - for type checkers
                limit.reschedule(until + size / _SLOWEST)

            return await work(client, expect)

        return await self._ask(given, what, 0, writes=False)

    async def once(self, work: Callable[[ClientT], Awaitable[T]], what: str, *, size: int = 0) -> T:
        """Ask something that changes what is stored: again only where it surely was not done.

        Args:
            work: makes one request; if it raises `NothingDoneError`, it is called again.
            what: what it does, for messages.
            size: how many bytes are sent.

        Raises:
            OutcomeUnknownError: it was sent, and it is not known what became of it.
            StorageBusyError: the service was busy for `busy_timeout` seconds, or was not to be
                reached; nothing was written.
            StorageError: it failed otherwise; nothing was written.
            StorageClosedError: this was closed.
        """
        return await self._ask(lambda client, _: work(client), what, size, writes=True)

    async def aclose(self) -> None:
        """Wait for what is under way, and close the connections; those of the user's stay."""
        await self._clients.aclose()

    async def _ask(
        self,
        work: Callable[[ClientT, asyncio.Timeout], Awaitable[T]],
        what: str,
        size: int,
        *,
        writes: bool,
    ) -> T:
        begin = self._clock.monotonic()
        longest = self._longest + size / _SLOWEST
        wait, tries = _FIRST_WAIT, 0
        while True:
            tries += 1
            self.requests += 1
            try:
                # The client limits how long nothing comes, but not how long nothing goes.
                async with self._clients.use() as client, asyncio.timeout(longest) as limit:
                    return await work(client, limit)
            except Exception as error:
                fate = fate_of(error)
                if fate is None:
                    raise
                spent = self._clock.monotonic() - begin
                if not self._is_tried_again(fate, tries, spent + wait, writes=writes):
                    if fate is Fate.UNKNOWN:
                        raise unknown(error, what, writes=writes) from error
                    raise told(error, fate, what, spent) from error
            self.retries += 1
            # Those who were refused together do not come back together.
            await self._clock.sleep(wait * (0.5 + self._chance.uniform() / 2))
            wait = min(2 * wait, _LONGEST_WAIT)

    def _is_tried_again(self, fate: Fate, tries: int, spent: float, *, writes: bool) -> bool:
        if fate is Fate.BUSY:
            return spent < self._patience
        if fate is Fate.UNREACHED or (fate is Fate.UNKNOWN and not writes):
            return tries < _TRIES
        return False


async def together(
    work: Callable[[ThingT], Awaitable[T]], things: Iterable[ThingT], *, at_once: int = 8
) -> list[T]:
    """Do something with each of several things, some at once; the results in their order.

    All are done before this returns, also if some fail. Then it raises the first error; but if of
    any it is not known what became of it, the first of those: nothing else is true of all.
    """
    gate = asyncio.Semaphore(at_once)
    results: dict[int, T] = {}
    errors: list[Exception] = []

    async def one(place: int, thing: ThingT) -> None:
        async with gate:
            try:
                results[place] = await work(thing)
            except Exception as error:
                errors.append(error)

    everything = list(things)
    if len(everything) == 1:
        return [await work(everything[0])]
    async with asyncio.TaskGroup() as group:
        for place, thing in enumerate(everything):
            group.create_task(one(place, thing))
    if errors:
        raise first_told(errors)
    return [results[place] for place in range(len(everything))]


def first_told(errors: Sequence[Exception]) -> Exception:
    """What is to be told of several requests that have failed, each for itself: that nothing was
    written is true only where it is of each."""
    return next((error for error in errors if isinstance(error, OutcomeUnknownError)), errors[0])
