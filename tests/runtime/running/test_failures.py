"""A node that raises: what becomes of its siblings, of the thread, and of the error."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from durable_graph import START, Interrupt, StateGraph
from durable_graph.errors import GraphInterrupt, NodeCancelledError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, fan, says


class BrokenError(Exception):
    pass


def fails_once(runs: list[str], name: str = "bad") -> Any:
    """A node that raises the first time it runs."""

    async def node(state: Items) -> Items:
        runs.append(name)
        if runs.count(name) == 1:
            raise BrokenError(name)
        return {"items": [name]}

    return node


async def test_the_first_failure_cancels_the_siblings_that_still_run(
    saver: Saver, config: RunnableConfig
) -> None:
    """A sibling that waits is cancelled and cleans up before the error is raised."""
    waiting, cleaned = asyncio.Event(), []

    async def wait(state: Items) -> None:
        try:
            waiting.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    async def bad(state: Items) -> None:
        await waiting.wait()
        raise BrokenError

    with pytest.raises(BrokenError):
        await fan(("wait", wait), ("bad", bad), saver=saver).ainvoke({}, config)
    assert cleaned == [True]


async def test_finished_siblings_of_a_failure_do_not_run_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """Their results are in the live state at once, and in the log when the thread goes on."""
    runs: list[str] = []

    async def good(state: Items) -> Items:
        runs.append("good")
        return {"items": ["good"]}

    graph = fan(("bad", fails_once(runs)), ("good", good), saver=saver)
    with pytest.raises(BrokenError):
        await graph.ainvoke({}, {**config, "max_concurrency": 1})
    # "bad" is first by name and alone: "good" has not begun.
    assert runs == ["bad"]
    runs.clear()
    graph = fan(("a", good), ("bad", fails_once(runs)), saver=saver)
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    with pytest.raises(BrokenError):
        await graph.ainvoke({}, {**other, "max_concurrency": 1})
    state = await graph.aget_state(other)
    assert (state.values["items"], state.next) == (["good"], ("bad",))
    assert (await graph.ainvoke(None, other))["items"] == ["good", "bad"]
    assert runs == ["good", "bad", "bad"]


async def test_several_failures_at_once_raise_the_first(
    saver: Saver, config: RunnableConfig
) -> None:
    """One error comes out, not a group; it is that of the node that failed first."""
    barrier = asyncio.Barrier(2)

    async def bad(state: Items) -> None:
        await barrier.wait()
        raise BrokenError

    with pytest.raises(BrokenError):
        await fan(("a", bad), ("b", bad), saver=saver).ainvoke({}, config)


async def test_a_failed_thread_lists_its_error(saver: Saver, config: RunnableConfig) -> None:
    """The snapshot's task has the error as text, the list of threads the kind of error."""

    async def bad(state: Items) -> None:
        raise BrokenError("what went wrong")

    graph = chain(("a", says("a")), ("bad", bad), saver=saver)
    with pytest.raises(BrokenError):
        await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    assert [(task.name, task.error) for task in state.tasks] == [
        ("bad", "BrokenError: what went wrong")
    ]
    (info,) = await collect(saver.alist_threads(status="failed"))
    assert info.reason == "BrokenError"


async def test_an_error_from_a_sync_node_comes_out_as_it_is(
    saver: Saver, config: RunnableConfig
) -> None:
    """The very object that the worker thread raised, with a note on where."""
    error = BrokenError("from a thread")

    def bad(state: Items) -> None:
        raise error

    with pytest.raises(BrokenError) as caught:
        await chain(("bad", bad), saver=saver).ainvoke({}, config)
    assert caught.value is error
    assert any("node 'bad'" in note for note in error.__notes__)


async def test_a_stop_iteration_from_a_sync_node_is_an_error(
    saver: Saver, config: RunnableConfig
) -> None:
    """`StopIteration`, which a coroutine cannot raise, comes out as a RuntimeError."""

    def bad(state: Items) -> Any:
        return next(iter(()))

    with pytest.raises(RuntimeError, match="StopIteration"):
        await chain(("bad", bad), saver=saver).ainvoke({}, config)


async def test_an_error_without_text_is_kept_all_the_same(
    saver: Saver, config: RunnableConfig
) -> None:
    """An error whose `str` fails is stored by the name of its class."""

    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    async def bad(state: Items) -> None:
        raise MuteError

    graph = chain(("bad", bad), saver=saver)
    with pytest.raises(MuteError):
        await graph.ainvoke({}, config)
    assert (await graph.aget_state(config)).tasks[0].error == "MuteError"


async def test_a_failing_router_fails_its_node(saver: Saver, config: RunnableConfig) -> None:
    """The node runs again with its router when the thread goes on."""
    runs: list[str] = []

    async def node(state: Items) -> Items:
        runs.append("node")
        return {"items": ["node"]}

    def router(state: Items) -> str:
        if len(runs) == 1:
            raise BrokenError("router")
        return "end"

    graph = StateGraph(Items).add_node("node", node).add_node("end", says("end"))
    compiled = (
        graph.add_edge(START, "node").add_conditional_edges("node", router, ["end"]).compile(saver)
    )
    with pytest.raises(BrokenError, match="router"):
        await compiled.ainvoke({}, config)
    assert (await compiled.aget_state(config)).next == ("node",)
    assert (await compiled.ainvoke(None, config))["items"] == ["node", "end"]


async def test_a_failing_router_at_the_start_leaves_the_input_to_go_on_with(
    saver: Saver, config: RunnableConfig
) -> None:
    """The input is accepted before it is routed, so None routes it again."""
    calls: list[Any] = []

    def router(state: Items) -> str:
        calls.append(dict(state))
        if len(calls) == 1:
            raise BrokenError("router")
        return "a"

    graph = StateGraph(Items).add_node("a", says("a"))
    compiled = graph.add_conditional_edges(START, router, ["a"]).compile(saver)
    with pytest.raises(BrokenError):
        await compiled.ainvoke({"items": ["in"]}, config)
    assert (await compiled.ainvoke(None, config))["items"] == ["in", "a"]
    assert calls == [{"items": ["in"], "count": 0}] * 2


async def test_a_node_that_cancels_itself_fails_as_that(
    saver: Saver, config: RunnableConfig
) -> None:
    """A `CancelledError` that nobody asked for is the node's mistake, not the run's end."""

    async def bad(state: Items) -> None:
        raise asyncio.CancelledError("by myself")

    graph = chain(("bad", bad), saver=saver)
    with pytest.raises(NodeCancelledError, match="Node 'bad' raised CancelledError") as caught:
        await graph.ainvoke({}, config)
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert (await graph.aget_state(config)).next == ("bad",)


async def test_a_node_whose_own_task_was_cancelled_fails_as_that(
    saver: Saver, config: RunnableConfig
) -> None:
    """Awaiting a cancelled task of the node's own is no cancellation of the run."""

    async def bad(state: Items) -> None:
        inner = asyncio.create_task(asyncio.Event().wait())
        inner.cancel()
        await inner

    graph = fan(("a", says("a")), ("bad", bad), saver=saver)
    with pytest.raises(NodeCancelledError):
        await graph.ainvoke({}, config)


async def test_a_base_exception_ends_the_run_and_leaves_the_thread_valid(
    saver: Saver, config: RunnableConfig
) -> None:
    """What is no `Exception` comes out as well; the finished part is kept."""

    class Stop(BaseException):
        pass

    runs: list[str] = []

    async def bad(state: Items) -> Items:
        runs.append("bad")
        if len(runs) == 1:
            raise Stop
        return {"items": ["bad"]}

    graph = chain(("a", says("a")), ("bad", bad), saver=saver)
    with pytest.raises(Stop):
        await graph.ainvoke({}, config)
    assert (await graph.ainvoke(None, config))["items"] == ["a", "bad"]


async def test_a_late_result_of_an_abandoned_sync_node_is_dropped(
    saver: Saver, config: RunnableConfig
) -> None:
    """A worker thread that is left behind by a failure changes nothing when it returns."""
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(state: Items) -> Items:
        entered.set()
        leave.wait(20)
        loop.call_soon_threadsafe(left.set)
        return {"items": ["late"]}

    async def bad(state: Items) -> None:
        while not entered.is_set():
            await asyncio.sleep(0)
        raise BrokenError

    graph = fan(("bad", bad), ("slow", slow), saver=saver)
    with pytest.raises(BrokenError):
        await graph.ainvoke({}, config)
    before = await graph.aget_state(config)
    leave.set()
    while not left.is_set():
        await asyncio.sleep(0)
    assert await graph.aget_state(config) == before
    assert before.next == ("bad", "slow")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_node_that_raises_generator_exit_fails(
    kind: str, saver: Saver, config: RunnableConfig
) -> None:
    """It is not taken for a run that is thrown away, which would leave the thread running."""
    runs: list[str] = []

    def bad(state: Items) -> Items:
        runs.append("bad")
        if len(runs) == 1:
            raise GeneratorExit
        return {"items": ["bad"]}

    async def bad_too(state: Items) -> Items:
        return bad(state)

    graph = chain(("bad", bad if kind == "sync" else bad_too), saver=saver)
    with pytest.raises(RuntimeError, match="raised GeneratorExit"):
        await graph.ainvoke({}, config)
    (info,) = await collect(saver.alist_threads())
    assert info.status == "failed"
    assert (await graph.ainvoke(None, config))["items"] == ["bad"]


@pytest.mark.parametrize("interrupts", [(), (Interrupt("?", "a" * 32),)])
@pytest.mark.parametrize("grouped", [False, True])
async def test_a_question_that_was_not_asked_is_a_failure(
    interrupts: Any, grouped: bool, saver: Saver, config: RunnableConfig
) -> None:
    """What looks like a question, and is none of this execution, is neither one nor a result."""

    async def raises(state: Items) -> Items:
        stop = GraphInterrupt(interrupts)
        raise BaseExceptionGroup("several", [stop]) if grouped else stop

    with pytest.raises(RuntimeError, match=r"'raises' raised a GraphInterrupt .* Ask with inter"):
        await chain(("raises", raises), saver=saver).ainvoke({}, config)
    (info,) = await collect(saver.alist_threads())
    assert info.status == "failed"
    assert (await chain(("raises", says("a")), saver=saver).ainvoke(None, config))["items"] == ["a"]
