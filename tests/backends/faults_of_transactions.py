"""Faults of transactions in which others write, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from durable_graph.ports.backend import Append, Capabilities, Outcome, Position, ThreadKey
from tests.backends.faulty import Faulty

__all__: list[str] = []


class _Transactional(Faulty):
    """Good, but for what is made of it."""

    found_by = "transact"
    capabilities = Capabilities(
        durable=False, shared=False, groups=False, immediate=True, transactions="sync"
    )

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        if self.at(thread) != expected:
            return None
        append = work(self)
        (outcome,) = await self.append([append])
        return append if outcome is Outcome.APPLIED else None


class WorksFirst(_Transactional):
    """Has the work done before it compares."""

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        append = work(self)
        return await super().transact(thread, expected, lambda _: append)


class GivesNothing(_Transactional):
    """Hands the work no connection."""

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        return await super().transact(thread, expected, lambda _: work(None))


class TranslatesErrors(_Transactional):
    """Takes errors of the work for its own."""

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        try:
            return await super().transact(thread, expected, work)
        except Exception as error:
            raise RuntimeError("The storage failed.") from error


class TriesAgain(_Transactional):
    """Calls the work a second time."""

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        work(self)
        return await super().transact(thread, expected, work)


class ForgetsTheAppend(_Transactional):
    """Has the work done, and stores nothing of the log."""

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        return work(self) if self.at(thread) == expected else None


class Forces(_Transactional):
    """Stores the append wherever the log is."""

    async def transact(
        self, thread: ThreadKey, expected: Position, work: Callable[[Any], Append]
    ) -> Append | None:
        append = work(self)
        await self.append([replace(append, expected=self.at(thread))])
        return append
