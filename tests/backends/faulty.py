"""Backends with one fault each, which the contract has to find."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import ModuleType
from typing import ClassVar

from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import (
    Position,
)
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.testing import Storage

__all__ = ["Faulty", "Planted", "faults_in"]


class Planted:
    """A backend that is to be found faulty.

    Attributes:
        found_by: the chapter of the contract that is to notice.
    """

    found_by: ClassVar[str]

    @classmethod
    def fresh(cls) -> AbstractAsyncContextManager[Storage]:
        """Fresh storage for one check."""
        raise NotImplementedError


class Faulty(Planted, InMemoryBackend):
    """A good backend, to be spoilt; what it "reopens" is as empty as the first."""

    @classmethod
    @asynccontextmanager
    async def fresh(cls) -> AsyncIterator[Storage]:
        async def reopen() -> Faulty:
            return cls()

        yield Storage(cls(), reopen)

    def at(self, key: ThreadKey) -> Position | None:
        """Where a thread stands."""
        stored = self._threads.get(key)
        return None if stored is None else Position.of(stored.head)


def faults_in(module: ModuleType) -> list[type[Planted]]:
    """Every kind of backend with a fault that a module defines."""
    return [
        made
        for name, made in vars(module).items()
        if isinstance(made, type)
        and issubclass(made, Planted)
        and made.__module__ == module.__name__
        and not name.startswith("_")
    ]
