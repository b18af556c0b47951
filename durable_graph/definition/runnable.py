"""LangChain's runnables as functions. They are known by their `ainvoke`, so nothing is imported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

__all__ = ["Runnable", "function_of", "is_runnable", "name_of_runnable"]


class Runnable(Protocol):
    """What is called through `ainvoke`: a prompt, a chain, a model, a `RunnableLambda`."""

    def ainvoke(self, input: Any, config: Any = None, /) -> Awaitable[Any]:
        """Call it, with the config of who calls."""


def is_runnable(thing: Any) -> bool:
    """Whether it is one."""
    return callable(getattr(type(thing), "ainvoke", None))


def name_of_runnable(runnable: Any) -> str:
    """Its name: what it says of itself, or its class."""
    said = getattr(runnable, "get_name", None)
    return str(said()) if callable(said) else type(runnable).__name__


def function_of(runnable: Any) -> Callable[..., Awaitable[Any]]:
    """The function that calls it."""

    async def run(state: Any, config: Any) -> Any:
        # The id is the run's: LangChain takes it for that of the one call, and ids of calls differ.
        given = {key: value for key, value in config.items() if key != "run_id"}
        return await runnable.ainvoke(state, given)

    run.__name__ = name_of_runnable(runnable)
    return run
