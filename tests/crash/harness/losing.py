"""A backend whose answer to one append gets lost."""

from __future__ import annotations

from collections.abc import Sequence

from durable_graph.errors import OutcomeUnknownError
from durable_graph.ports.backend import Append, Backend, Outcome, Process
from durable_graph.testing import CrashingBackend
from durable_graph.testing.crash import When

__all__ = ["LosingBackend"]


class LosingBackend(CrashingBackend):
    """Says of its n-th append that nobody knows whether it has taken effect.

    Args:
        inner: the storage.
        at: the number of the append.
        when: "before": it has not. "after": it has.
        times: how many appends in a row that happens to.
    """

    def __init__(self, inner: Backend, at: int, when: When, times: int = 1) -> None:
        super().__init__(inner)
        self._appends = 0
        self._lost = range(at, at + times)
        self._whether = when
        self.lost = 0

    async def append(
        self, batch: Sequence[Append], beat: Process | None = None
    ) -> Sequence[Outcome]:
        self._appends += 1
        if self._appends not in self._lost:
            return await super().append(batch, beat)
        self.lost += 1
        if self._whether == "after":
            await super().append(batch, beat)
        raise OutcomeUnknownError("The connection broke.")
