"""One call for each of several inputs: `abatch` and `batch`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import Command, interrupt
from durable_graph.errors import ConfigError, EmptyInputError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.conftest import thread
from tests.runtime.kit import Items, chain, says


async def test_each_input_has_its_result_in_its_place(saver: Saver) -> None:
    """Each in a thread of its own, all at once."""
    there, go = [], asyncio.Event()

    async def meet(state: Items) -> Items:
        there.append(state["items"])
        if len(there) == 3:
            go.set()
        await go.wait()
        return {"items": ["met"]}

    graph = chain(("meet", meet), saver=saver)
    configs = [thread(name) for name in "abc"]
    inputs: list[Items] = [{"items": [name]} for name in "abc"]
    results = await graph.abatch(inputs, configs)
    assert [result["items"] for result in results] == [["a", "met"], ["b", "met"], ["c", "met"]]
    assert (await graph.aget_state(configs[1])).values["items"] == ["b", "met"]


async def test_without_a_checkpointer_one_config_will_do() -> None:
    """There are no threads that could meet."""
    inputs: list[Items] = [{"items": []}, {"items": [1]}]
    results = await chain(("one", says("x"))).abatch(inputs, {"tags": ["all"]})
    assert [result["items"] for result in results] == [["x"], [1, "x"]]
    assert await chain(("one", says("x"))).abatch([]) == []


async def test_so_many_runs_at_once() -> None:
    """`max_concurrency` counts runs as well."""
    now, most = 0, 0

    async def count(state: Items) -> Items:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        now -= 1
        return {}

    await chain(("count", count)).abatch([{"items": []}] * 9, {"max_concurrency": 2})
    assert most == 2


async def test_the_first_error_cancels_the_others_and_is_raised(saver: Saver) -> None:
    """As it was raised, with the cause it has; the other threads can be gone on with."""
    waiting = asyncio.Event()

    async def node(state: Items) -> Items:
        if state["items"] == ["bad"]:
            await waiting.wait()
            raise ValueError("bad") from KeyError("why")
        waiting.set()
        await asyncio.Event().wait()
        return {}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ValueError, match="bad") as caught:
        await graph.abatch([{"items": ["bad"]}, {"items": ["ok"]}], [thread("b"), thread("o")])
    assert isinstance(caught.value.__cause__, KeyError)
    assert (await graph.aget_state(thread("o"))).next == ("node",)


async def test_errors_can_be_results() -> None:
    """`return_exceptions` lets the others finish."""

    async def node(state: Items) -> Items:
        if state["items"] == ["bad"]:
            raise ValueError("bad")
        return {"items": ["fine"]}

    inputs: list[Items] = [{"items": ["bad"]}, {"items": []}]
    error, result = await chain(("node", node)).abatch(inputs, return_exceptions=True)
    assert isinstance(error, ValueError)
    assert result["items"] == ["fine"]


@pytest.mark.parametrize(
    ("configs", "says_what"),
    [
        (thread("same"), "Several inputs are for thread 'same'"),
        ([thread("1"), {"configurable": {"thread_id": 1}}], "Several inputs are for thread '1'"),
        ([thread("one")], "2 inputs and 1 configs"),
        (["one", "two"], "The config is a dict, not str"),
    ],
)
async def test_configs_that_cannot_be_are_refused(
    configs: Any, says_what: str, saver: Saver
) -> None:
    """Before anything runs."""
    ran = []

    async def node(state: Items) -> Items:
        ran.append(1)
        return {}

    with pytest.raises(ConfigError, match=says_what):
        await chain(("node", node), saver=saver).abatch([{"items": []}, {"items": []}], configs)
    assert not ran


async def test_graphs_that_are_called_in_a_batch_ask_together(
    saver: Saver, config: RunnableConfig
) -> None:
    """A batch within a node: the questions of its runs are all asked, and all answered."""

    async def ask(state: Items) -> Items:
        if state["last"] == "two?":
            await asyncio.sleep(0)  # the other has asked by then
        return {"items": [interrupt(state["last"])]}

    inner = chain(("ask", ask))

    async def node(state: Items) -> Items:
        results = await inner.abatch([{"last": "one?"}, {"last": "two?"}])
        return {"items": [item for result in results for item in result["items"]]}

    graph = chain(("node", node), saver=saver)
    questions = (await graph.ainvoke({"items": []}, config))["__interrupt__"]
    assert [question.value for question in questions] == ["one?", "two?"]
    answers = {question.id: f"to {question.value}" for question in questions}
    result = await graph.ainvoke(Command(resume=answers), config)
    assert result["items"] == ["to one?", "to two?"]


def test_synchronous_code_has_batches() -> None:
    """With the same results and errors."""
    graph = chain(("one", says("x")))
    assert [result["items"] for result in graph.batch([{"items": []}] * 2)] == [["x"], ["x"]]
    with pytest.raises(EmptyInputError):
        graph.batch([None])
