"""Stories about steps within nodes: done, failed, and begun without an end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from durable_graph import (
    NOT_DONE,
    CachePolicy,
    Command,
    InMemoryCache,
    StepClaim,
    entrypoint,
    get_stream_writer,
    interrupt,
    step,
    task,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from tests.golden.story import Items, Story, Telling, chain, says

__all__ = ["STORIES"]


async def _double(number: int) -> int:
    return 2 * number


async def _broken() -> None:
    raise ValueError("it does not work")


async def _held(trouble: bool) -> str:
    if trouble:
        get_stream_writer()("held")
        await asyncio.get_running_loop().create_future()
    return "let go"


async def _look(claim: StepClaim) -> Any:
    return NOT_DONE


def _stepping(trouble: bool) -> Callable[[Items], Awaitable[Items]]:
    async def node(state: Items) -> Items:
        doubled = await step("double", _double, 21)
        large = await step("large", lambda: "much " * 1000, idempotent=True)
        with suppress(ValueError):
            await step("broken", _broken)
        # Its arguments tell it apart, and the trouble is none of them.
        held = await step("hold", lambda: _held(trouble), reconcile=_look)
        return {"items": [doubled, len(large), held]}

    return node


def _steps(saver: Saver, trouble: bool) -> CompiledGraph:
    return chain(saver, ("before", says("before")), ("steps", _stepping(trouble)))


async def _tell_steps(story: Telling) -> None:
    await story.later()
    run = story.graph.astream({"items": ["input"]}, story.config(), stream_mode="custom")
    assert await anext(run) == "held"
    await run.aclose()


async def _go_on(story: Telling) -> Any:
    return await story.run(None)


def _flow(saver: Saver, trouble: bool) -> CompiledGraph:
    @task
    async def double(number: int) -> int:
        return 2 * number

    @task(idempotent=False)
    async def add(one: int, other: int) -> int:
        return one + other

    @task(cache_policy=CachePolicy())
    async def kept() -> str:
        return "kept"

    @entrypoint(saver, cache=InMemoryCache())
    async def flow(
        numbers: list[int], *, previous: list[int] | None
    ) -> entrypoint.final[int, list[int]]:
        doubled = [await double(number) for number in numbers]
        total = await add(*doubled)
        await kept()
        if interrupt(f"{total}?") != "yes":
            total = 0
        return entrypoint.final(value=total, save=[*(previous or []), total])

    return flow


async def _tell_flow(story: Telling) -> None:
    await story.run([1, 2])
    await story.run(Command(resume="yes"))
    await story.run([3, 3])


async def _answer(story: Telling) -> Any:
    return await story.run(Command(resume="no"))


STORIES: Final = (
    Story("steps", _steps, _tell_steps, _go_on),
    Story("flow", _flow, _tell_flow, _answer),
)
