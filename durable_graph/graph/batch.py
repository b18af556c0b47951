"""Several calls at once: each with a config of its own, and ended together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from durable_graph.errors import ConfigError, GraphInterrupt
from durable_graph.types import RunnableConfig

__all__ = ["all_of", "concurrency_of", "configs_of"]


def configs_of(given: Any, count: int, *, stored: bool) -> list[RunnableConfig]:
    """The config of each call.

    Args:
        given: one for all, or one for each.
        count: how many calls there are.
        stored: whether a call is for a thread.

    Raises:
        ConfigError: there are not as many as calls, or two name one thread.
    """
    each = isinstance(given, Sequence) and not isinstance(given, (str, bytes))
    configs: list[Any] = list(given) if each else [given if given is not None else {}] * count
    if len(configs) != count:
        raise ConfigError(
            f"There are {count} inputs and {len(configs)} configs; give one config for all, or as "
            f"many as inputs."
        )
    for config in configs:
        if not isinstance(config, Mapping):
            raise ConfigError(f"The config is a dict, not {type(config).__name__}.")
    threads = [_thread(config) for config in configs] if stored else []
    twice = next((t for t in threads if t is not None and threads.count(t) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"Several inputs are for thread {twice!r}, which has one run at a time. Give each "
            f"input a config with a thread_id of its own, or call one after the other."
        )
    return configs


def concurrency_of(configs: Sequence[RunnableConfig]) -> int | None:
    """How many calls may run at once; ``None`` for all. Each call checks its own."""
    numbers = [config.get("max_concurrency") for config in configs]
    return min((n for n in numbers if isinstance(n, int) and n > 0), default=None)


async def all_of(
    calls: Sequence[Callable[[], Awaitable[Any]]], at_once: int | None, *, collect: bool
) -> list[Any]:
    """Make calls at once, and wait until all have ended. What some of them ask, within a node, is
    asked together once the others have finished.

    Args:
        calls: the calls.
        at_once: how many of them run at once; ``None`` for all.
        collect: whether an error is a result. If not, the first one cancels the others.
    """
    free = asyncio.Semaphore(at_once or len(calls))

    asked: list[GraphInterrupt] = []

    async def make(call: Callable[[], Awaitable[Any]]) -> Any:
        async with free:
            try:
                return await call()
            except GraphInterrupt as question:
                asked.append(question)
            except Exception as error:
                if collect:
                    return error
                raise

    tasks: list[asyncio.Task[Any]] = []
    failed: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(make(call)) for call in calls)
    except BaseExceptionGroup as several:
        failed = several.exceptions[0]
    if failed is not None:
        raise failed  # out here, so that it keeps the context it has
    if asked:
        raise asked[0] if len(asked) == 1 else BaseExceptionGroup("several runs ask", asked)
    return [task.result() for task in tasks]


def _thread(config: Mapping[str, Any]) -> str | None:
    thread = (config.get("configurable") or {}).get("thread_id")
    return None if thread is None else str(thread)
