"""LangChain's runnables as functions. They are known by their `ainvoke`, so nothing is imported."""

from __future__ import annotations

import sys
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
        return await runnable.ainvoke(state, _with_listeners(given))

    run.__name__ = name_of_runnable(runnable)
    return run


def _with_listeners(given: dict[str, Any]) -> dict[str, Any]:
    """The caller's callbacks with those that listen here: LangChain takes the ones that it is
    given in the place of the ones around."""
    config = sys.modules.get("langchain_core.runnables.config")
    around = config.var_child_runnable_config.get(None) if config is not None else None
    if config is None or not around or not given.get("callbacks"):
        return given
    merged: dict[str, Any] = config.merge_configs({"callbacks": around.get("callbacks")}, given)
    return merged
