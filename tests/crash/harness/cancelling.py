"""A backend at whose calls something else happens, such as the cancellation of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

from durable_graph.ports.backend import Backend
from durable_graph.testing import CrashingBackend

__all__ = ["Meddling", "Moment"]

Moment: TypeAlias = Literal["before", "during", "after"]


class Meddling(CrashingBackend):
    """Calls a function before, during or right after its n-th call, which takes place all the same.

    Args:
        inner: the storage.
        at: the number of the call.
        moment: when.

    Attributes:
        meddle: what to call.
        reached: whether there has been such a call.
    """

    def __init__(self, inner: Backend, at: int, moment: Moment) -> None:
        super().__init__(inner)
        self.meddle: Callable[[], object] = lambda: None
        self.reached = False
        self._number = at
        self._moment = moment

    async def _call(self, name: str, make: Callable[[], Awaitable[Any]]) -> Any:
        self.reached = self.reached or len(self.calls) + 1 == self._number
        if len(self.calls) + 1 != self._number:
            return await super()._call(name, make)
        match self._moment:
            case "before":
                self.meddle()
            case "during":
                asyncio.get_running_loop().call_soon(self.meddle)
        try:
            return await super()._call(name, make)
        finally:
            if self._moment == "after":
                self.meddle()
