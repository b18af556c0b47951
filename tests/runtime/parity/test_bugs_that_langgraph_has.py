"""Bugs that were reproduced in LangGraph 1.2, each of which must not exist here.

They are numbered as they were found; docs/PARITY.md says what each comes to here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from durable_graph import (
    START,
    Command,
    InMemorySaver,
    InMemoryStore,
    RetryPolicy,
    Runtime,
    StateGraph,
    interrupt,
    task,
)
from durable_graph.errors import (
    AlreadyAnsweredError,
    DurableGraphError,
    InvalidAnswerError,
    InvalidUpdateError,
    StorageFullError,
    ThreadBusyError,
    UnknownKeyWarning,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig, StreamMode
from tests.runtime.backends import failing
from tests.runtime.kit import Items, chain, collect, says


def _asking(saver: Saver, *questions: str) -> CompiledGraph:
    """A node that asks these, one after the other, and keeps the answers in `items`."""

    async def ask(state: Items) -> Items:
        return {"items": [interrupt(question) for question in questions]}

    return chain(("ask", ask), saver=saver)


async def test_b1_a_node_that_emitted_and_then_raised_has_not_finished(
    saver: Saver, config: RunnableConfig
) -> None:
    """What a node emitted before it raised is no result: going on runs the node again."""
    calls = 0

    async def node(state: Items, runtime: Runtime) -> Items:
        nonlocal calls
        calls += 1
        runtime.emit_message("half a sentence")
        runtime.stream_writer("half a result")
        if calls == 1:
            raise ValueError("in the middle")
        return {"items": ["whole"]}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ValueError, match="in the middle"):
        await collect(graph.astream({"items": []}, config, stream_mode=["messages", "custom"]))
    assert (await graph.aget_state(config)).next == ("node",)
    assert (await graph.ainvoke(None, config))["items"] == ["whole"]
    assert calls == 2


async def test_b2_a_task_is_not_started_again_while_it_runs(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node that fails and is tried again finds its task still running, and waits for that one."""
    starts, attempts, go = 0, 0, asyncio.Event()

    @task
    async def slow() -> str:
        nonlocal starts
        starts += 1
        await go.wait()
        return "done"

    async def node(state: Items) -> Items:
        nonlocal attempts
        attempts += 1
        running = slow()
        if attempts == 1:
            while not starts:
                await asyncio.sleep(0)
            raise ConnectionError("lost")
        go.set()
        return {"items": [await running]}

    again = RetryPolicy(initial_interval=0, jitter=False)
    graph = StateGraph(Items).add_node("node", node, retry_policy=again).add_edge(START, "node")
    assert (await graph.compile(saver).ainvoke({"items": []}, config))["items"] == ["done"]
    assert (attempts, starts) == (2, 1)


async def test_b3_an_empty_command_is_refused_in_words(
    saver: Saver, config: RunnableConfig
) -> None:
    """A command that says nothing is no crash of the library's own."""
    graph = _asking(saver, "really?")
    await graph.ainvoke({"items": []}, config)
    with pytest.raises(DurableGraphError):
        await graph.ainvoke(Command(), config)


async def test_b3_none_is_an_answer(saver: Saver, config: RunnableConfig) -> None:
    """`Command(resume=None)` answers with ``None``."""
    graph = _asking(saver, "really?")
    await graph.ainvoke({"items": []}, config)
    assert (await graph.ainvoke(Command(resume=None), config))["items"] == [None]


async def test_b4_an_answer_that_is_refused_is_not_kept(
    saver: Saver, config: RunnableConfig
) -> None:
    """One that breaks the response's schema answers nothing, now or later."""

    async def ask(state: Items) -> Items:
        first = interrupt("how many?", response_schema=int)
        return {"items": [first, interrupt("what?")]}

    graph = chain(("ask", ask), saver=saver)
    (first,) = (await graph.ainvoke({"items": []}, config))["__interrupt__"]
    before = await graph.aget_state(config)
    with pytest.raises(InvalidAnswerError):
        await graph.ainvoke(Command(resume="garbage"), config)
    assert await graph.aget_state(config) == before
    (second,) = (await graph.ainvoke(Command(resume={first.id: 3}), config))["__interrupt__"]
    assert second.value == "what?"
    assert (await graph.ainvoke(Command(resume="apples"), config))["items"] == [3, "apples"]


async def test_b5_a_late_answer_answers_no_other_question(
    saver: Saver, config: RunnableConfig
) -> None:
    """An answer to the first question, given twice, is refused the second time."""
    graph = _asking(saver, "first", "second")
    (first,) = (await graph.ainvoke({"items": []}, config))["__interrupt__"]
    await graph.ainvoke(Command(resume={first.id: "A"}), config)
    with pytest.raises(AlreadyAnsweredError):
        await graph.ainvoke(Command(resume={first.id: "A"}), config)
    assert (await graph.ainvoke(Command(resume="B"), config))["items"] == ["A", "B"]


async def test_b6_calls_at_once_lose_nothing(saver: Saver, config: RunnableConfig) -> None:
    """Of five calls on one thread at once, those that are taken are all in the state, and the
    others are told."""
    graph = chain(("one", says("one")), ("two", says("two")), saver=saver)
    calls = [graph.ainvoke({"items": [number]}, config) for number in range(5)]
    ends = await asyncio.gather(*calls, return_exceptions=True)
    taken = [number for number, end in enumerate(ends) if not isinstance(end, BaseException)]
    assert taken
    assert all(isinstance(ends[number], ThreadBusyError) for number in set(range(5)) - {*taken})
    items = (await graph.aget_state(config)).values["items"]
    assert sorted(item for item in items if isinstance(item, int)) == taken
    assert len(items) == 3 * len(taken)


@pytest.mark.parametrize("modes", [["values", "updates"], ("values", "updates")])
async def test_b7_a_tuple_of_modes_names_the_mode_of_each_event(
    modes: Sequence[StreamMode], config: RunnableConfig
) -> None:
    """As a list does."""
    graph = chain(("one", says("one")), saver=InMemorySaver())
    events = await collect(graph.astream({"items": []}, config, stream_mode=modes))
    assert {mode for mode, _ in events} == {"values", "updates"}


async def test_b8_nothing_unknown_is_ignored(saver: Saver, config: RunnableConfig) -> None:
    """Unknown nodes are errors; unknown keys warn, in the input and in what nodes write."""

    async def lost(state: Items) -> Command[str]:
        return Command(goto="nowhere")

    with pytest.raises(InvalidUpdateError, match="nowhere"):
        await chain(("lost", lost), saver=saver).ainvoke({"items": []}, config)

    async def astray(state: Items) -> str:
        return "nowhere"

    graph = StateGraph(Items).add_node("one", says("one")).add_edge(START, "one")
    compiled = graph.add_conditional_edges("one", astray).compile(saver)
    with pytest.raises(InvalidUpdateError, match="nowhere"):
        await compiled.ainvoke({"items": []}, {"configurable": {"thread_id": "branch"}})

    async def misspelt(state: Items) -> Any:
        return {"itms": ["lost"]}

    compiled = chain(("misspelt", misspelt), saver=saver)
    with pytest.warns(UnknownKeyWarning, match="'itms'.*Did you mean 'items'"):
        await compiled.ainvoke({"items": []}, {"configurable": {"thread_id": "key"}})
    with pytest.warns(UnknownKeyWarning, match="'itms'"):
        await chain(("one", says()), saver=saver).ainvoke(
            {"items": [], "itms": []}, {"configurable": {"thread_id": "input"}}
        )


async def test_b9_a_run_does_not_go_on_over_storage_that_fails(config: RunnableConfig) -> None:
    """In "async" durability the run stops at a superstep soon after a write has failed."""
    ran = []

    def node(number: int) -> Any:
        async def run(state: Items) -> Items:
            ran.append(number)
            return {"items": [number]}

        return (f"node{number}", run)

    saver = InMemorySaver()
    failing(saver, 2)
    graph = chain(*map(node, range(100)), saver=saver)
    with pytest.raises(StorageFullError):
        await graph.ainvoke({"items": []}, config, durability="async")
    assert len(ran) < 50


async def test_b11_filters_and_times_of_a_store() -> None:
    """A comparison with a key that an item lacks is false, numbers compare as numbers, and an
    update keeps the time an item was made."""
    store = InMemoryStore()
    await store.aput(("n",), "nine", {"rank": 9})
    await store.aput(("n",), "ten", {"rank": 10})
    await store.aput(("n",), "none", {})
    found = await store.asearch(("n",), filter={"rank": {"$gt": 9}})
    assert [item.key for item in found] == ["ten"]
    before = await store.aget(("n",), "ten")
    await store.aput(("n",), "ten", {"rank": 11})
    after = await store.aget(("n",), "ten")
    assert before is not None
    assert after is not None
    assert after.created_at == before.created_at


def test_b12_unknown_breakpoints_are_found_when_compiling() -> None:
    """Whatever the other list of breakpoints is."""
    graph = StateGraph(Items).add_node("one", says("one")).add_edge(START, "one")
    with pytest.raises(DurableGraphError, match="nowhere"):
        graph.compile(interrupt_before=["nowhere"], interrupt_after="*")


async def test_b13_a_node_cannot_take_its_question_for_an_error(
    saver: Saver, config: RunnableConfig
) -> None:
    """``except Exception`` around `interrupt` catches nothing."""

    async def careful(state: Items) -> Items:
        try:
            return {"items": [interrupt("really?")]}
        except Exception:
            return {"items": ["swallowed"]}

    graph = chain(("careful", careful), saver=saver)
    assert (await graph.ainvoke({"items": []}, config))["__interrupt__"][0].value == "really?"
    assert (await graph.ainvoke(Command(resume="yes"), config))["items"] == ["yes"]
