"""What the failure of one task is to the others of its superstep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from durable_graph.errors import ConfigError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, fan, says


def fails(error: Exception) -> Callable[[Items], Any]:
    """A node that fails the first time it runs."""
    failed: list[bool] = []

    async def node(state: Items) -> Items:
        if not failed:
            failed.append(True)
            raise error
        return {"items": ["mended"]}

    return node


def slow(word: str, seen: list[str]) -> Callable[[Items], Any]:
    """A node that is still at it when others have failed."""

    async def node(state: Items) -> Items:
        for _ in range(30):
            await asyncio.sleep(0)
        seen.append(word)
        return {"items": [word]}

    return node


def collecting(*nodes: tuple[str, Callable[..., Any]], saver: Saver) -> CompiledGraph:
    return fan(*nodes, saver=saver, step_policy="collect")


async def test_by_default_the_first_failure_ends_the_others(
    saver: Saver, config: RunnableConfig
) -> None:
    """They are cancelled, and run again when the thread is gone on with."""
    seen: list[str] = []
    graph = fan(("bad", fails(ValueError("a"))), ("slow", slow("slow", seen)), saver=saver)
    with pytest.raises(ValueError, match="a"):
        await graph.ainvoke({}, config)
    assert seen == []
    assert (await graph.ainvoke(None, config))["items"] == ["mended", "slow"]


async def test_collected_failures_let_the_others_finish(
    saver: Saver, config: RunnableConfig
) -> None:
    """Their results are stored and shown before the error is raised, and they do not run again."""
    seen: list[str] = []
    graph = collecting(("bad", fails(ValueError("a"))), ("slow", slow("slow", seen)), saver=saver)
    events: list[Any] = []

    async def watch() -> None:
        async for event in graph.astream({}, config, stream_mode=["updates", "tasks"]):
            events.append(event)  # noqa: PERF401 - it does not come to its end

    with pytest.raises(ValueError, match="a"):
        await watch()
    assert ("updates", {"slow": {"items": ["slow"]}}) in events
    ended = [data for mode, data in events if mode == "tasks" and "error" in data]
    assert {data["name"]: type(data["error"]) for data in ended} == {
        "slow": type(None),
        "bad": ValueError,
    }
    state = await graph.aget_state(config)
    assert (state.next, state.values["items"]) == (("bad",), ["slow"])
    assert (await graph.ainvoke(None, config))["items"] == ["mended", "slow"]
    assert seen == ["slow"]


async def test_several_failures_come_out_as_a_group(saver: Saver, config: RunnableConfig) -> None:
    """In the order of the tasks; each is on record, and those that failed run again."""
    seen: list[str] = []
    graph = collecting(
        ("c", fails(KeyError("c"))),
        ("a", fails(ValueError("a"))),
        ("b", slow("b", seen)),
        saver=saver,
    )
    with pytest.raises(ExceptionGroup, match="2 tasks of a superstep failed: a, c") as caught:
        await graph.ainvoke({}, config)
    assert [type(error) for error in caught.value.exceptions] == [ValueError, KeyError]
    state = await graph.aget_state(config)
    assert state.next == ("a", "c")
    assert {task.name: task.error for task in state.tasks} == {
        "a": "ValueError: a",
        "b": None,
        "c": "KeyError: 'c'",
    }
    assert (await graph.ainvoke(None, config))["items"] == ["mended", "b", "mended"]
    assert seen == ["b"]


async def test_collected_failures_with_few_at_once(saver: Saver, config: RunnableConfig) -> None:
    """Whoever waits for its turn still gets it."""
    seen: list[str] = []
    graph = collecting(
        ("a", fails(ValueError("a"))),
        ("b", slow("b", seen)),
        ("c", fails(KeyError("c"))),
        ("d", slow("d", seen)),
        saver=saver,
    )
    with pytest.raises(ExceptionGroup):
        await graph.ainvoke({}, {**config, "max_concurrency": 1})
    assert seen == ["b", "d"]


async def test_a_lone_failure_is_itself(saver: Saver, config: RunnableConfig) -> None:
    """Nothing is wrapped that need not be."""
    graph = chain(("a", fails(ValueError("a"))), saver=saver, step_policy="collect")
    with pytest.raises(ValueError, match="a"):
        await graph.ainvoke({}, config)


async def test_with_config_keeps_the_policy(saver: Saver, config: RunnableConfig) -> None:
    """It belongs to the graph, not to one of its configs."""
    seen: list[str] = []
    graph = collecting(("bad", fails(ValueError())), ("slow", slow("slow", seen)), saver=saver)
    with pytest.raises(ValueError):
        await collect(graph.with_config(config).astream({}))
    assert seen == ["slow"]


def test_an_unknown_policy_is_refused() -> None:
    """At once, naming those there are."""
    with pytest.raises(ConfigError, match="'fail_fast' or 'collect'"):
        fan(("a", says("a")), step_policy="carry on")
