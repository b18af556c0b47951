"""Backends with one fault each, which the contract has to find."""

from __future__ import annotations

from typing import ClassVar

from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import (
    Position,
)
from durable_graph.ports.memory import InMemoryBackend

__all__ = ["Faulty", "all_faults"]


class Faulty(InMemoryBackend):
    """A good backend, to be spoilt.

    Attributes:
        found_by: the chapter of the contract that is to notice.
    """

    found_by: ClassVar[str]

    def at(self, key: ThreadKey) -> Position | None:
        """Where a thread stands."""
        stored = self._threads.get(key)
        return None if stored is None else Position.of(stored.head)


def all_faults(kind: type[Faulty]) -> list[type[Faulty]]:
    """Every kind of backend with a fault, of those that were imported."""
    found = []
    for sub in kind.__subclasses__():
        if not sub.__name__.startswith("_"):
            found.append(sub)
        found += all_faults(sub)
    return found
