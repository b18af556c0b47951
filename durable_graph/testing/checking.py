"""Checks of a contract, whichever it is: each has a time to answer, and all are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

__all__ = ["answered_within", "check_all"]

FactoryT_contra = TypeVar("FactoryT_contra", contravariant=True)


class OneCheck(Protocol[FactoryT_contra]):
    """A rule that can be checked on fresh storage."""

    @property
    def name(self) -> str:
        """Chapter and rule."""
        ...

    @property
    def rule(self) -> str:
        """The rule in a sentence."""
        ...

    async def run(self, factory: FactoryT_contra, *, timeout: float) -> bool:
        """Check it; returns whether it applies."""
        ...


async def check_all(
    checks: Sequence[OneCheck[FactoryT_contra]], factory: FactoryT_contra, timeout: float
) -> None:
    """Make all checks, also those after one that fails.

    Raises:
        ExceptionGroup: what failed; its message names the checks, and each error in it has a note
            with the rule.
    """
    failures: list[Exception] = []
    names: list[str] = []
    for check in checks:
        try:
            await check.run(factory, timeout=timeout)
        except Exception as error:  # whatever it is, this check has failed
            error.add_note(f"{check.name}: {check.rule}")
            failures.append(error)
            names.append(check.name)
    if failures:
        raise ExceptionGroup(
            f"{len(failures)} of {len(checks)} checks failed: {', '.join(names)}", failures
        )


@asynccontextmanager
async def answered_within(timeout: float) -> AsyncIterator[None]:
    """Let what is checked take so many seconds.

    Raises:
        AssertionError: it has taken longer.
    """
    try:
        async with asyncio.timeout(timeout) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise AssertionError(f"There was no answer for {timeout} s.") from error
