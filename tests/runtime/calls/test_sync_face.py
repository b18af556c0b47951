"""The synchronous calls: in scripts, beside a running loop, nested in nodes, and left early."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from durable_graph import START, Command, InMemorySaver, StateGraph, interrupt
from durable_graph.errors import (
    MissingCheckpointerError,
    NothingToResumeError,
    StorageClosedError,
    ThreadBusyError,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver
from tests.runtime.kit import Items, chain, fan, says


@pytest.fixture(params=["memory", "sqlite"])
def plain(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Saver]:
    """A saver for tests that have no event loop of their own, closed as a script does."""
    made: Saver = (
        InMemorySaver() if request.param == "memory" else SqliteSaver(tmp_path / "threads.db")
    )
    with made:
        yield made


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


def abc(saver: Saver | None) -> CompiledGraph:
    return chain(*((name, says(name)) for name in "abc"), saver=saver)


def test_a_script_can_do_everything_without_async(plain: Saver, config: RunnableConfig) -> None:
    """Invoke, stream, answer, read, edit, go on from an earlier checkpoint."""
    graph = chain(("a", says("a")), ("ask", ask), saver=plain)
    first, asked = graph.stream({"items": ["in"]}, config, stream_mode="updates")
    assert (first, list(asked)) == ({"a": {"items": ["a"]}}, ["__interrupt__"])
    (question,) = graph.get_state(config).interrupts
    result = graph.invoke(Command(resume={question.id: "!"}), config)
    assert result["items"] == ["in", "a", "!"]
    snapshots = list(graph.get_state_history(config))
    assert [s.next for s in snapshots] == [(), ("ask",), ("a",), ("__start__",)]
    assert list(graph.get_state_history(config, limit=1)) == snapshots[:1]
    written = graph.update_state(snapshots[1].config, {"items": ["edit"]}, as_node="a")
    assert graph.get_state(config).config == written
    assert "__interrupt__" in graph.invoke(None, config)
    with pytest.raises(NothingToResumeError):
        graph.invoke(Command(resume=1), {"configurable": {"thread_id": "other"}})


def test_a_script_can_manage_threads(plain: Saver) -> None:
    """List, copy, prune, verify, delete."""
    plain.setup()
    graph = abc(plain)
    graph.invoke({}, {"configurable": {"thread_id": "one"}})
    plain.copy_thread("one", "two")
    plain.prune(["two"], keep=1)
    assert plain.verify("two") == []
    assert {info.thread_id for info in plain.list_threads()} == {"one", "two"}
    plain.delete_thread("one")
    assert [info.thread_id for info in plain.list_threads(limit=5)] == ["two"]


def test_a_closed_saver_says_so(tmp_path: Path, config: RunnableConfig) -> None:
    """After its block, or `close`, a saver is not used by mistake; closing twice is harmless."""
    with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = abc(saver)
        graph.invoke({}, config)
    with pytest.raises(StorageClosedError):
        graph.invoke(None, config)
    saver.close()
    with SqliteSaver(tmp_path / "threads.db") as again:
        assert abc(again).get_state(config).values["items"] == ["a", "b", "c"]


def test_a_graph_without_a_checkpointer_can_be_invoked(config: RunnableConfig) -> None:
    """Invoke and stream work, reading state does not."""
    graph = abc(None)
    assert graph.invoke({})["items"] == ["a", "b", "c"]
    assert len(list(graph.stream({}))) == 3
    with pytest.raises(MissingCheckpointerError):
        graph.get_state(config)


async def test_sync_calls_work_beside_a_running_loop(saver: Saver, config: RunnableConfig) -> None:
    """As in a notebook: the calling loop waits, and the call runs on a loop of its own."""
    graph = abc(saver)
    assert graph.invoke({}, config)["items"] == ["a", "b", "c"]
    assert [next(iter(event)) for event in graph.stream({}, config)] == ["a", "b", "c"]
    assert graph.get_state(config).values == (await graph.aget_state(config)).values
    assert (await graph.ainvoke({}, config))["items"] == ["a", "b", "c"] * 3


async def test_sync_and_async_calls_meet_on_one_thread(
    saver: Saver, config: RunnableConfig
) -> None:
    """A thread that a sync call runs is busy for an async one, and the other way round."""
    entered, leave = threading.Event(), threading.Event()

    def block(state: Items) -> Items:
        entered.set()
        assert leave.wait(20)
        return {"items": ["done"]}

    graph = chain(("block", block), saver=saver)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(graph.invoke, {}, config)
        while not entered.is_set():
            await asyncio.sleep(0)
        with pytest.raises(ThreadBusyError):
            await graph.ainvoke({"items": ["other"]}, config)
        leave.set()
        assert running.result(20)["items"] == ["done"]


def test_many_threads_can_call_at_once(plain: Saver) -> None:
    """Calls from a pool of threads run side by side, and each gets its own result."""
    graph = abc(plain)

    def call(number: int) -> Any:
        config: RunnableConfig = {"configurable": {"thread_id": str(number)}}
        return graph.invoke({"items": [number]}, config)["items"]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(40))) == [[n, "a", "b", "c"] for n in range(40)]


def test_a_sync_node_may_invoke_another_graph(plain: Saver, config: RunnableConfig) -> None:
    """Nested at any depth, since nodes run in threads of their own."""
    inner = abc(plain)

    def middle(state: Items) -> Items:
        own: RunnableConfig = {"configurable": {"thread_id": "inner"}}
        return {"items": [inner.invoke(state, own)["items"], len(list(inner.stream({}, own)))]}

    outer = chain(("middle", middle), saver=plain)

    def top(state: Items) -> Items:
        own: RunnableConfig = {"configurable": {"thread_id": "outer"}}
        return {"items": [outer.invoke({"items": ["in"]}, own)["items"]]}

    result = chain(("top", top), saver=plain).invoke({}, config)
    assert result["items"] == [["in", ["in", "a", "b", "c"], 3]]


def test_an_async_node_of_a_sync_call_must_not_call_synchronously(
    plain: Saver, config: RunnableConfig
) -> None:
    """It would wait for its own loop; the error says what to await instead."""
    inner = abc(None)

    async def node(state: Items) -> Items:
        return {"items": inner.invoke({})["items"]}

    graph = chain(("node", node), saver=plain)
    with pytest.raises(RuntimeError, match="Await the async method instead"):
        graph.invoke({}, config)


async def test_an_async_node_of_an_async_call_may_call_synchronously(
    saver: Saver, config: RunnableConfig
) -> None:
    """It blocks its own loop, as any blocking call would, and gets its result."""
    inner = abc(None)

    async def node(state: Items) -> Items:
        return {"items": inner.invoke({})["items"]}

    graph = chain(("node", node), saver=saver)
    assert (await graph.ainvoke({}, config))["items"] == ["a", "b", "c"]


def noting(begun: list[str], name: str) -> Any:
    async def node(state: Items) -> Items:
        begun.append(name)
        return {"items": [name]}

    return node


@pytest.mark.parametrize("leave", ["break", "close", "drop", "error"])
def test_leaving_a_sync_stream_early_stops_its_run(
    leave: str, plain: Saver, config: RunnableConfig
) -> None:
    """The run has ended when the generator is closed, and the thread goes on from there."""
    begun: list[str] = []
    graph = chain(*((name, noting(begun, name)) for name in "abc"), saver=plain)
    stream = graph.stream({}, config)
    if leave == "break":
        for _ in stream:
            break
        del stream
    elif leave == "error":
        with pytest.raises(KeyError):
            fail_at(stream)
        del stream
    else:
        next(stream)
        if leave == "close":
            stream.close()  # type: ignore[attr-defined]
        del stream
    assert begun == ["a"]
    (info,) = plain.list_threads()
    assert (info.status, info.reason) == ("stopped", "cancelled")
    assert graph.invoke(None, config)["items"] == ["a", "b", "c"]


def fail_at(stream: Iterator[Any]) -> None:
    for _ in stream:
        raise KeyError


def test_a_sync_stream_is_paced_by_its_reader(plain: Saver, config: RunnableConfig) -> None:
    """No superstep begins before the next event is asked for."""
    begun: list[str] = []
    graph = chain(*((name, noting(begun, name)) for name in "abc"), saver=plain)
    stream = graph.stream({}, config)
    seen = []
    for event in stream:
        seen += list(event)
        plain.verify(config["configurable"]["thread_id"])  # a turn or more of the loop
        assert begun == seen


VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.mark.parametrize("how", ["invoke", "stream"])
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_nodes_see_the_callers_context_variables(
    how: str, kind: str, plain: Saver, config: RunnableConfig
) -> None:
    """What is set where the call is made is seen by nodes, and not changed by them."""
    seen: list[str] = []

    def look(state: Items) -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("leaked")

    async def look_async(state: Items) -> None:
        look(state)

    node = look if kind == "sync" else look_async
    graph = chain(("a", node), ("b", node), saver=plain)
    token = VARIABLE.set("caller's")
    try:
        if how == "invoke":
            graph.invoke({}, config)
        else:
            list(graph.stream({}, config))
        assert seen == ["caller's"] * 2
        assert VARIABLE.get() == "caller's"
    finally:
        VARIABLE.reset(token)


def test_a_nodes_error_comes_out_of_a_sync_call_as_it_is(
    plain: Saver, config: RunnableConfig
) -> None:
    """The very object, from `invoke` and from the middle of a stream."""
    error = KeyError("bad")

    async def bad(state: Items) -> None:
        raise error

    graph = chain(("a", says("a")), ("bad", bad), saver=plain)
    with pytest.raises(KeyError) as caught:
        graph.invoke({}, config)
    assert caught.value is error
    stream = graph.stream({}, {"configurable": {"thread_id": "other"}})
    assert next(stream) == {"a": {"items": ["a"]}}
    with pytest.raises(KeyError):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)


def test_asyncio_errors_of_a_call_are_told_apart_from_cancellation(
    plain: Saver, config: RunnableConfig
) -> None:
    """A TimeoutError that a node raises is a node's error."""

    async def late(state: Items) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        chain(("late", late), saver=plain).invoke({}, config)
    (info,) = plain.list_threads()
    assert (info.status, info.reason) == ("failed", "TimeoutError")


def test_a_saver_works_under_one_loop_after_another(tmp_path: Path, config: RunnableConfig) -> None:
    """`asyncio.run` twice, then sync calls, then another loop, all on one saver."""
    with SqliteSaver(tmp_path / "threads.db") as saver:
        graph = chain(("a", says("a")), saver=saver)
        for _ in range(2):
            asyncio.run(graph.ainvoke({}, config))
        graph.invoke({}, config)
        result = asyncio.run(graph.ainvoke({}, config))
        assert result["items"] == ["a"] * 4
        assert saver.verify(config["configurable"]["thread_id"]) == []


def test_a_blocking_node_does_not_hold_up_other_sync_calls(
    plain: Saver, config: RunnableConfig
) -> None:
    """All sync calls share a loop, which no node may block."""
    entered, leave = threading.Event(), threading.Event()

    def block(state: Items) -> None:
        entered.set()
        assert leave.wait(20)

    graph = chain(("block", block), saver=plain)
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(graph.invoke, {}, config)
        assert entered.wait(20)
        other: RunnableConfig = {"configurable": {"thread_id": "other"}}
        assert abc(plain).invoke({}, other)["items"] == ["a", "b", "c"]
        leave.set()
        blocked.result(20)


def leaves(state: Items) -> None:
    sys.exit(3)


async def leaves_on_the_loop(state: Items) -> None:
    sys.exit(3)


@pytest.mark.parametrize("wire", [chain, fan])
@pytest.mark.parametrize("action", [leaves, leaves_on_the_loop])
def test_a_node_that_exits_ends_its_own_call_alone(
    wire: Any, action: Any, plain: Saver, config: RunnableConfig
) -> None:
    """Whoever called gets the SystemExit; other calls go on, and later ones can be made."""
    entered, leave = threading.Event(), threading.Event()

    def block(state: Items) -> Items:
        entered.set()
        assert leave.wait(20)
        return {"items": ["done"]}

    with ThreadPoolExecutor(1) as pool:
        blocked = chain(("block", block), saver=plain)
        other = pool.submit(blocked.invoke, {}, {"configurable": {"thread_id": "other"}})
        assert entered.wait(20)
        with pytest.raises(SystemExit) as caught:
            wire(("a", action), ("b", says("b")), saver=plain).invoke({}, config)
        assert caught.value.code == 3
        leave.set()
        assert other.result(20)["items"] == ["done"]
    (info,) = plain.list_threads(status="failed")
    assert (info.thread_id, info.reason) == (config["configurable"]["thread_id"], "SystemExit")


def test_the_loop_of_sync_calls_holds_up_no_exit() -> None:
    """Its thread is a daemon, as are those of sync nodes."""
    StateGraph(Items).add_node("a", lambda state: None).add_edge(START, "a").compile().invoke({})
    names = {thread.name: thread.daemon for thread in threading.enumerate()}
    assert names["durable_graph sync"] is True
    assert all(daemon for name, daemon in names.items() if name.startswith("durable_graph"))
