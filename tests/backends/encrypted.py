"""Storage with everything in it encrypted, over any other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from durable_graph.encryption import Encryption, LocalKeys
from durable_graph.ports.backend import Backend
from durable_graph.testing.contract import Factory, Storage
from durable_graph.testing.contract_hooks import Line, When

__all__ = ["encrypted"]

_Plain = Callable[[], AbstractAsyncContextManager[Storage]]


def encrypted(factory: _Plain) -> Factory:
    """The same storage, in which each instance has a ring of keys of its own."""

    @asynccontextmanager
    async def within() -> AsyncIterator[Storage]:
        async with factory() as plain:
            reopen, elsewhere, line = plain.reopen, plain.elsewhere, plain.line

            async def again() -> Backend:
                assert reopen is not None
                return over(await reopen())

            @asynccontextmanager
            async def encrypted_line() -> AsyncIterator[Line]:
                assert line is not None
                async with line() as found:
                    yield _Line(found)

            yield Storage(
                over(plain.backend),
                again if reopen is not None else None,
                elsewhere=partial(opened, elsewhere) if elsewhere is not None else None,
                raw=plain.raw,
                line=encrypted_line if line is not None else None,
            )

    return within


def over(backend: Backend) -> Backend:
    """An encrypted backend over another one."""
    return Encryption(LocalKeys({"2026": bytes(range(32))})).over(backend)


def opened(elsewhere: Callable[[], Backend]) -> Backend:
    """The same in another process."""
    return over(elsewhere())


class _Line:
    """A line to encrypted storage."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.backend = over(line.backend)

    def cut(self, request: int, when: When) -> None:
        self._line.cut(request, when)

    def mend(self) -> bool:
        return self._line.mend()
