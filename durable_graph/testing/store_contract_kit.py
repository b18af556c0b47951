"""What the checks of a store's contract are made of."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypeAlias

from durable_graph.errors import StoreConflictError
from durable_graph.store import BaseStore
from durable_graph.testing.checking import answered_within
from durable_graph.testing.clock import FakeClock
from durable_graph.testing.contract_kit import expect

__all__ = [
    "HOME",
    "OTHER",
    "SINK",
    "StoreChapter",
    "StoreCheck",
    "StoreFactory",
    "StoreStorage",
    "embed",
    "expect_conflict",
    "keys",
    "second_store",
    "value_of",
    "version_of",
]

HOME: Final = ("users", "7")
OTHER: Final = ("users", "8")
SINK: Final = ("sink",)


@dataclass(slots=True)
class StoreStorage:
    """A store to check, and the way to further instances on what it keeps.

    Attributes:
        store: a fresh one, which holds nothing yet.
        reopen: opens one more instance on the same storage and with the same settings, while the
            others are open or after they were closed. Needed for stores that declare themselves
            durable or shared.
        clock: the clock that all of them were given.
    """

    store: BaseStore
    reopen: Callable[[], Awaitable[BaseStore]] | None = None
    clock: FakeClock = field(default_factory=FakeClock)


class StoreFactory(Protocol):
    """Makes fresh storage for one check, and clears it away afterwards."""

    def __call__(self, **settings: Any) -> AbstractAsyncContextManager[BaseStore | StoreStorage]:
        """Fresh storage, whose stores were made with these settings: `clock`, `index`, `ttl`."""
        ...


_Needs: TypeAlias = Literal["durable", "shared", "ttl"]
_Function: TypeAlias = Callable[[StoreStorage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """One rule of the contract.

    Attributes:
        name: chapter and rule, such as ``versions.a_stale_version_is_refused``.
        rule: the rule in a sentence.
        needs: what a store must be able to do for the rule to apply.
        settings: what the store is made with, beside its clock.
        function: what fails if the rule is broken.
    """

    name: str
    rule: str
    needs: _Needs | None
    settings: dict[str, Any]
    function: _Function

    async def run(self, factory: StoreFactory, *, timeout: float = 60.0) -> bool:
        """Check the rule on fresh storage; returns whether it applies to this store.

        Args:
            factory: makes the storage.
            timeout: seconds after which a store that does not answer has failed.

        Raises:
            AssertionError: the rule is broken; the message says how.
            Exception: whatever the store raised where it should not have.
        """
        clock = FakeClock()
        async with factory(clock=clock, **self.settings) as made:
            storage = made if isinstance(made, StoreStorage) else StoreStorage(made)
            storage.clock = clock
            if self.needs == "ttl":
                if not storage.store.supports_ttl:
                    return False
            elif self.needs is not None:
                if not getattr(storage.store.capabilities, self.needs):
                    return False
                expect(
                    storage.reopen is not None,
                    f"The store declares that it is {self.needs}. To check that, the factory has "
                    f"to yield a StoreStorage with `reopen`.",
                )
            async with answered_within(timeout):
                await self.function(storage)
        return True


class StoreChapter:
    """Checks about one thing.

    Args:
        name: what about.
        needs: what all of them need.
        settings: what the stores of all of them are made with.
    """

    def __init__(self, name: str, needs: _Needs | None = None, **settings: Any) -> None:
        self.name = name
        self.checks: list[StoreCheck] = []
        self._needs = needs
        self._settings = settings

    def check(self, function: _Function) -> _Function:
        """Add a check."""
        return self.given()(function)

    def given(
        self, needs: _Needs | None = None, **settings: Any
    ) -> Callable[[_Function], _Function]:
        """Add a check that needs more, or other settings."""

        def add(function: _Function) -> _Function:
            name = getattr(function, "__name__", "")
            rule = " ".join((function.__doc__ or "").split())
            self.checks.append(
                StoreCheck(
                    f"{self.name}.{name}",
                    rule,
                    needs or self._needs,
                    {**self._settings, **settings},
                    function,
                )
            )
            return function

        return add


@asynccontextmanager
async def second_store(storage: StoreStorage) -> AsyncIterator[BaseStore]:
    """One more instance on the same storage, closed at the end."""
    if storage.reopen is None:
        raise ValueError("The factory gives no way to reopen the storage.")
    store = await storage.reopen()
    try:
        yield store
    finally:
        await store.aclose()


def embed(texts: Sequence[str]) -> list[list[float]]:
    """What stands for a model in the checks: how often each of four letters is in a text."""
    return [[float(text.count(letter)) for letter in "abcd"] for text in texts]


async def keys(store: BaseStore, *prefix: str, **options: Any) -> list[str]:
    """The keys that a search finds, in its order."""
    return [item.key for item in await store.asearch(prefix, **options)]


async def value_of(store: BaseStore, key: str, namespace: tuple[str, ...] = HOME) -> Any:
    """The value under a key; ``None`` if there is none."""
    item = await store.aget(namespace, key)
    return None if item is None else item.value


async def version_of(store: BaseStore, key: str, namespace: tuple[str, ...] = HOME) -> int:
    """The version of an item that is there."""
    item = await store.aget(namespace, key)
    if item is None:
        raise AssertionError(f"Nothing is under {key!r}, though it was put there.")
    return item.version


async def expect_conflict(call: Awaitable[Any], what: str) -> None:
    """Expect that a call is refused because of a version."""
    try:
        await call
    except StoreConflictError:
        return
    raise AssertionError(f"{what} is not refused with StoreConflictError.")
