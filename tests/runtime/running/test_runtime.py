"""`Runtime`: the caller's context, where the execution is, and trying a node without a graph."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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
    get_runtime,
    interrupt,
)
from durable_graph.errors import ConfigError
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.types import ExecutionInfo, RunnableConfig
from tests.runtime.kit import Items, chain, collect


@dataclass
class Who:
    user: str
    limit: int = 3


def graph_of(node: Callable[..., Any], saver: Saver | None = None) -> Any:
    graph = StateGraph(Items, Who).add_node("node", node).add_edge(START, "node")
    return graph.compile(saver)


@pytest.mark.parametrize("given", [{"user": "u"}, Who("u")])
async def test_nodes_and_routers_get_the_callers_context(
    given: Any, saver: Saver, config: RunnableConfig
) -> None:
    """As what the schema says, under any name, on the loop, in threads and in routers."""
    seen: list[Who] = []

    async def one(state: Items, rt: Runtime[Who]) -> None:
        seen.append(rt.context)

    def two(state: Items) -> None:
        seen.append(get_runtime(Who).context)

    def router(state: Items, runtime: Runtime[Who]) -> list[str]:
        seen.append(runtime.context)
        return []

    graph = StateGraph(Items, context_schema=Who).add_sequence([one, two]).add_edge(START, "one")
    compiled = graph.add_conditional_edges("two", router).compile(saver)
    await compiled.ainvoke({}, config, context=given)
    await collect(compiled.astream({}, config, context=given))
    assert seen == [Who("u")] * 6


async def test_a_context_is_of_the_call_alone(saver: Saver, config: RunnableConfig) -> None:
    """It is not stored: a call that goes on brings its own, or has none."""
    seen: list[Any] = []

    async def ask(state: Items, runtime: Runtime[Who]) -> None:
        seen.append(runtime.context)
        interrupt("?")

    graph = graph_of(ask, saver)
    await graph.ainvoke({}, config, context={"user": "u"})
    await graph.ainvoke(Command(resume="!"), config)
    assert seen == [Who("u"), None]


async def test_a_context_that_does_not_fit_is_refused_at_the_call(config: RunnableConfig) -> None:
    """Before anything is stored; a stream says so as it is made."""

    async def node(state: Items) -> None:
        raise AssertionError

    saver = InMemorySaver()
    graph = graph_of(node, saver)
    with pytest.raises(ConfigError, match="no field of Who"):
        await graph.ainvoke({}, config, context={"name": "u"})
    with pytest.raises(ConfigError, match="no field of Who"):
        graph.astream({}, config, context={"name": "u"})
    assert await collect(saver.alist_threads()) == []


def test_the_synchronous_face_takes_a_context(config: RunnableConfig) -> None:
    """In `invoke` and `stream` alike."""

    def node(state: Items, runtime: Runtime[Who]) -> Items:
        return {"items": [runtime.context.user]}

    graph = graph_of(node, InMemorySaver())
    assert graph.invoke({}, config, context=Who("u"))["items"] == ["u"]
    assert list(graph.stream({}, config, context=Who("v"))) == [{"node": {"items": ["v"]}}]


async def test_the_execution_info_says_where_it_is(saver: Saver, config: RunnableConfig) -> None:
    """Checkpoint, place, task, thread, run and attempt; the checkpoint is in the history."""
    seen: list[tuple[ExecutionInfo, str]] = []

    async def node(state: Items, runtime: Runtime) -> None:
        seen.append((runtime.execution_info, runtime.task_id))

    graph = chain(("first", node), ("second", node), saver=saver)
    await graph.ainvoke({}, {**config, "run_id": "run"})
    checkpoints = [s.checkpoint_id async for s in graph.aget_state_history(config) if s.next]
    for (info, task), name in zip(seen, ("first", "second"), strict=True):
        assert info.checkpoint_id == checkpoints.pop(-2 if name == "first" else 0)
        assert info.checkpoint_ns == f"{name}:{task}"
        assert (info.task_id, info.thread_id) == (task, config["configurable"]["thread_id"])
        assert (info.run_id, info.node_attempt) == ("run", 1)


async def test_the_first_attempts_time_stays_while_a_node_is_tried_again() -> None:
    """Each attempt has its number, and the time at which the first began."""
    clock = FakeClock(jump=True)
    seen: list[tuple[int, float]] = []

    async def node(state: Items, runtime: Runtime) -> None:
        info = runtime.execution_info
        seen.append((info.node_attempt, (info.node_first_attempt_time or 0) - began))
        if len(seen) < 3:
            raise ConnectionError

    policy = RetryPolicy(initial_interval=10, jitter=False)
    graph = StateGraph(Items).add_node("node", node, retry_policy=policy).add_edge(START, "node")
    compiled = graph.compile(InMemorySaver(clock=clock))
    began = clock.time()
    await compiled.ainvoke({}, {"configurable": {"thread_id": "1"}})
    assert clock.time() >= began + 20
    assert seen == [(1, 0.0), (2, 0.0), (3, 0.0)]


async def test_a_node_can_be_tried_with_a_runtime_made_by_hand() -> None:
    """It has what it is given, and no run: it says nothing, and asks nobody."""
    said: list[Any] = []

    async def node(state: Items, runtime: Runtime[Who]) -> Items:
        runtime.stream_writer(runtime.context.user)
        runtime.emit_message("token")
        runtime.heartbeat()
        assert runtime.store is store
        assert not runtime.drain_requested
        return {"items": [runtime.previous, runtime.thread_id, runtime.attempt]}

    store = InMemoryStore()
    runtime = Runtime(context=Who("u"), store=store, stream_writer=said.append, previous="p")
    assert await node({}, runtime) == {"items": ["p", None, 1]}
    assert said == ["u", "token"]
    assert repr(runtime) == "<Runtime of node 'no node', attempt 1>"
    assert await node({}, Runtime(context=Who("u"), store=store)) == {"items": [None, None, 1]}
    for call in (
        lambda: runtime._task.host.questions,
        lambda: runtime._task.host.calls(runtime._task),
    ):
        with pytest.raises(RuntimeError, match="made by hand"):
            call()


async def test_a_heartbeat_without_a_watchman_is_harmless(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node may say that it is getting on, whether or not that matters to anyone."""
    beats: list[Callable[[], Awaitable[None] | None]] = []

    async def node(state: Items, runtime: Runtime) -> None:
        runtime.heartbeat()
        assert (runtime.control, runtime.drain_requested, runtime.drain_reason) == (
            None,
            False,
            None,
        )

    await chain(("node", node), saver=saver).ainvoke({}, config)
    assert beats == []
