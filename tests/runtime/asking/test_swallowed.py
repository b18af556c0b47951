"""A node that catches what its question raises fails, and says so: no question is lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from durable_graph import START, Command, RetryPolicy, StateGraph, interrupt, step
from durable_graph.errors import GraphInterrupt, SwallowedInterruptError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, says


async def by_name(state: Items) -> Items:
    try:
        return {"items": [interrupt("?")]}
    except GraphInterrupt:
        return {"items": ["caught"]}


async def bare(state: Items) -> Items:
    try:
        return {"items": [interrupt("?")]}
    except:  # noqa: E722 - what people write
        return {"items": ["caught"]}


async def suppressed(state: Items) -> None:
    with contextlib.suppress(BaseException):
        interrupt("?")


def in_a_thread(state: Items) -> Items:
    try:
        return {"items": [interrupt("?")]}
    except BaseException:
        return {"items": ["caught"]}


async def turned_into_another_error(state: Items) -> Items:
    try:
        return {"items": [interrupt("?")]}
    except BaseException:
        raise ValueError("the answer could not be had") from None


async def lost_in_cleaning_up(state: Items) -> Items:
    try:
        return {"items": [interrupt("?")]}
    finally:
        raise KeyError("while cleaning up")


async def in_a_task_of_its_own(state: Items) -> Items:
    async def ask() -> Any:
        return interrupt("?")

    await asyncio.wait([task := asyncio.ensure_future(ask())])
    return {"items": ["done" if task.exception() else "never"]}


SWALLOWING = [
    by_name,
    bare,
    suppressed,
    in_a_thread,
    turned_into_another_error,
    lost_in_cleaning_up,
    in_a_task_of_its_own,
]


@pytest.mark.parametrize("node", SWALLOWING, ids=[node.__name__ for node in SWALLOWING])
async def test_a_swallowed_question_is_an_error(
    node: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Whether the node then ends well or with another error: it fails, and nothing is written."""
    graph = chain(("node", node), ("next", says("next")), saver=saver)
    with pytest.raises(SwallowedInterruptError, match=r"'node' asked 1 question.*Let it pass"):
        await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    assert (state.next, state.interrupts) == (("node",), ())
    assert "items" not in state.values or state.values["items"] == []


async def test_a_swallowed_question_can_be_mended(saver: Saver, config: RunnableConfig) -> None:
    """With a version of the node that lets it pass, the thread goes on."""
    with pytest.raises(SwallowedInterruptError):
        await chain(("node", bare), saver=saver).ainvoke({}, config)

    async def mended(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = chain(("node", mended), saver=saver)
    assert "__interrupt__" in await graph.ainvoke(None, config)
    assert (await graph.ainvoke(Command(resume="!"), config))["items"] == ["!"]


async def test_the_error_that_hid_a_question_is_its_cause(
    saver: Saver, config: RunnableConfig
) -> None:
    """What the node raised in the question's place is not lost."""
    graph = chain(("node", turned_into_another_error), saver=saver)
    with pytest.raises(SwallowedInterruptError) as caught:
        await graph.ainvoke({}, config)
    assert isinstance(caught.value.__cause__, ValueError)


async def test_a_swallowed_question_is_not_tried_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """It is a mistake of the program: the default policy has no use for another attempt."""
    runs: list[int] = []

    async def node(state: Items) -> None:
        runs.append(1)
        await suppressed(state)

    graph = StateGraph(Items).add_node("node", node, retry_policy=RetryPolicy())
    compiled = graph.add_edge(START, "node").compile(saver)
    with pytest.raises(SwallowedInterruptError):
        await compiled.ainvoke({}, config)
    assert len(runs) == 1


async def test_a_step_that_swallows_its_question_has_no_result(
    saver: Saver, config: RunnableConfig
) -> None:
    """Else the node would find it the next time, and the question would be lost for good."""

    async def node(state: Items) -> Items:
        return {"items": [await step("ask", bare, state)]}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(SwallowedInterruptError):
        await graph.ainvoke({}, config)
    with pytest.raises(SwallowedInterruptError):
        await graph.ainvoke(None, config)


async def test_an_error_from_beside_a_question_is_raised_as_it_is(
    saver: Saver, config: RunnableConfig
) -> None:
    """A sibling's failure says more than the question that it kept from being asked."""

    async def ask() -> Any:
        return interrupt("?")

    async def fails() -> None:
        raise ConnectionError("gone")

    async def node(state: Items) -> None:
        asking = asyncio.ensure_future(ask())
        await asyncio.wait([asking])
        assert isinstance(asking.exception(), GraphInterrupt)
        await fails()

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ConnectionError, match="gone"):
        await graph.ainvoke({}, config)
    assert (await graph.aget_state(config)).interrupts == ()


async def test_a_question_that_was_answered_may_be_caught(
    saver: Saver, config: RunnableConfig
) -> None:
    """Only a question that is lost is an error: cleaning up and raising again is fine."""
    cleaned: list[int] = []

    async def node(state: Items) -> Items:
        try:
            return {"items": [interrupt("?")]}
        except BaseException:
            cleaned.append(1)
            raise

    graph = chain(("node", node), saver=saver)
    assert "__interrupt__" in await graph.ainvoke({}, config)
    assert (await graph.ainvoke(Command(resume="!"), config))["items"] == ["!"]
    assert cleaned == [1]
