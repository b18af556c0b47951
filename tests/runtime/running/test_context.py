"""What a node is given beside the state, and what its context variables see."""

from __future__ import annotations

import asyncio
import threading
import uuid
from contextvars import ContextVar
from typing import Any

import pytest

from durable_graph import (
    START,
    Command,
    Runtime,
    Send,
    StateGraph,
    get_config,
    get_runtime,
    get_stream_writer,
    interrupt,
)
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig, StreamWriter
from tests.runtime.kit import Items, chain, collect, fan


async def test_parameters_are_injected_by_name(saver: Saver, config: RunnableConfig) -> None:
    """`config`, `runtime` and `writer` in any combination, beside the state or without it."""
    seen: dict[str, Any] = {}

    async def all_of_them(
        state: Items, config: RunnableConfig, *, runtime: Runtime, writer: StreamWriter
    ) -> None:
        seen["all"] = (config["configurable"]["thread_id"], runtime.node, writer)

    async def no_state(runtime: Runtime) -> None:
        seen["none"] = runtime.node

    async def nothing() -> None:
        seen["nothing"] = True

    graph = chain(("a", all_of_them), ("b", no_state), ("c", nothing), saver=saver)
    await graph.ainvoke({}, config)
    thread, node, writer = seen.pop("all")
    assert (thread, node, callable(writer)) == (config["configurable"]["thread_id"], "a", True)
    assert seen == {"none": "b", "nothing": True}


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_accessors_say_the_same_as_the_parameters(
    kind: str, saver: Saver, config: RunnableConfig
) -> None:
    """`get_runtime`, `get_config` and `get_stream_writer`, on the loop and in worker threads."""
    seen: list[Any] = []

    def look(runtime: Runtime) -> None:
        mine = get_runtime()
        seen.append((mine.task_id == runtime.task_id, mine.node, mine.step, mine.attempt))
        seen.append(get_config()["configurable"]["thread_id"])
        get_stream_writer()("hello")

    async def look_async(runtime: Runtime) -> None:
        look(runtime)

    graph = chain(("look", look_async if kind == "async" else look), saver=saver)
    events = await collect(graph.astream({}, config, stream_mode="custom"))
    assert events == ["hello"]
    assert seen == [(True, "look", 1, 1), config["configurable"]["thread_id"]]


@pytest.mark.parametrize(
    "accessor", [get_runtime, get_config, get_stream_writer, lambda: interrupt("?")]
)
def test_accessors_outside_a_node_are_an_error(accessor: Any) -> None:
    """The message says where they work."""
    with pytest.raises(RuntimeError, match="works only inside a node that is being run"):
        accessor()


async def test_routers_are_given_the_same(saver: Saver, config: RunnableConfig) -> None:
    """A router can ask for the runtime and the config, and its step is that of its node."""
    seen: list[Any] = []

    async def node(runtime: Runtime) -> None:
        seen.append((runtime.node, runtime.step))

    def router(state: Items, runtime: Runtime, config: RunnableConfig) -> list[str]:
        seen.append((runtime.node, runtime.step, get_runtime().node))
        return []

    graph = StateGraph(Items).add_node("node", node).add_edge(START, "node")
    await graph.add_conditional_edges("node", router).compile(saver).ainvoke({}, config)
    assert seen == [("node", 1), ("node", 1, "node")]


async def test_the_runtime_knows_thread_run_and_step(saver: Saver, config: RunnableConfig) -> None:
    """The run id is the one the caller chose, and is in every checkpoint's metadata."""
    run_id, seen = uuid.uuid4(), []

    async def look(runtime: Runtime) -> None:
        seen.append((runtime.thread_id, runtime.run_id, runtime.step))

    graph = chain(("a", look), ("b", look), saver=saver)
    await graph.ainvoke({}, {**config, "run_id": run_id})
    thread = config["configurable"]["thread_id"]
    assert seen == [(thread, str(run_id), 1), (thread, str(run_id), 2)]
    state = await graph.aget_state(config)
    assert (state.metadata or {})["run_id"] == str(run_id)


async def test_a_node_gets_the_config_of_its_call(saver: Saver, config: RunnableConfig) -> None:
    """What else the caller put in is there; changing it leaves the caller's own as it is."""
    seen: list[Any] = []

    async def look(config: RunnableConfig) -> None:
        metadata = dict(config["metadata"])
        seen.append((config["configurable"].get("user"), metadata, config.get("tags")))
        config["configurable"]["user"] = "changed"
        config["metadata"]["more"] = True

    given: RunnableConfig = {
        "configurable": {**config["configurable"], "user": "u"},
        "metadata": {"m": 1},
        "tags": ["t"],
    }
    await chain(("a", look), ("b", look), saver=saver).ainvoke({}, given)
    assert seen[0] == ("u", {"m": 1}, ["t"])
    assert given["configurable"]["user"] == "u"
    assert given["metadata"] == {"m": 1}


async def test_a_change_to_the_config_stays_in_its_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """Nodes that run at once or later do not see what another did to its config."""
    seen: list[Any] = []

    async def look(config: RunnableConfig) -> None:
        seen.append(config["configurable"].get("mark"))
        config["configurable"]["mark"] = "changed"

    await chain(("a", look), ("b", look), saver=saver).ainvoke({}, config)
    assert seen == [None, None]


async def test_task_ids_and_keys_are_the_same_for_every_execution_of_a_task(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node that runs again after an answer has the same task id and idempotency key."""
    seen: list[tuple[str, str]] = []

    async def ask(runtime: Runtime) -> None:
        seen.append((runtime.task_id, runtime.idempotency_key))
        interrupt("?")

    graph = chain(("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke(Command(resume="!"), config)
    assert len(seen) == 2
    assert len(set(seen)) == 1


async def test_every_task_has_a_key_of_its_own(saver: Saver) -> None:
    """Keys differ between nodes, packets, steps, runs of a thread and threads."""
    seen: list[str] = []

    async def note(runtime: Runtime) -> None:
        seen.append(runtime.idempotency_key)

    graph = StateGraph(Items).add_node("a", note).add_node("b", note).add_edge("a", "b")
    graph.add_conditional_edges(START, lambda s: ["a", Send("a", 1), Send("a", 1)])
    compiled = graph.compile(saver)
    for name in ("one", "one", "two"):
        await compiled.ainvoke({}, {"configurable": {"thread_id": name}})
    assert len(seen) == len(set(seen)) == 12
    assert all(key.isalnum() and len(key) == 32 for key in seen)


async def test_context_variables_of_the_caller_are_seen(
    saver: Saver, config: RunnableConfig
) -> None:
    """Async nodes, sync nodes and routers see what was set where the call was made."""
    seen: list[str] = []

    async def on_loop() -> None:
        seen.append(VARIABLE.get())

    def in_thread() -> None:
        seen.append(VARIABLE.get())

    VARIABLE.set("caller's")
    await chain(("a", on_loop), ("b", in_thread), saver=saver).ainvoke({}, config)
    assert seen == ["caller's"] * 2


VARIABLE: ContextVar[str] = ContextVar("variable", default="unset")


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_what_a_node_sets_stays_with_it(
    kind: str, saver: Saver, config: RunnableConfig
) -> None:
    """Neither the next node, nor a sibling, nor the caller sees it."""
    seen: list[str] = []
    barrier = asyncio.Barrier(2)
    in_threads = threading.Barrier(2, timeout=20)

    async def on_loop() -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("leaked")
        await barrier.wait()
        assert VARIABLE.get() == "leaked"

    def in_thread() -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("leaked")
        in_threads.wait()
        assert VARIABLE.get() == "leaked"

    node = on_loop if kind == "async" else in_thread
    graph = StateGraph(Items)
    for name in ("a", "b"):
        graph.add_node(name, node).add_edge(START, name)
    graph.add_node("c", lambda: seen.append(VARIABLE.get())).add_edge("a", "c")
    await graph.compile(saver).ainvoke({}, config)
    assert seen == ["unset"] * 3
    assert VARIABLE.get() == "unset"


async def test_a_nodes_own_tasks_see_its_context(saver: Saver, config: RunnableConfig) -> None:
    """Tasks that a node starts can use the writer and the runtime as the node can."""

    async def inner(n: int) -> str:
        await asyncio.sleep(0)
        get_stream_writer()(n)
        return get_runtime().node

    async def node() -> Items:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(inner(n)) for n in range(3)]
        return {"items": [task.result() for task in tasks]}

    events = await collect(
        fan(("node", node), saver=saver).astream({}, config, stream_mode=["custom", "updates"])
    )
    assert events == [
        ("custom", 0),
        ("custom", 1),
        ("custom", 2),
        ("updates", {"node": {"items": ["node"] * 3}}),
    ]


async def test_asyncio_features_work_inside_a_node(saver: Saver, config: RunnableConfig) -> None:
    """Timeouts, nested cancellation and threads behave as in any coroutine."""

    async def node() -> Items:
        found: list[str] = []
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            found.append("timeout")
        task = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(0)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        found.append(type(result).__name__)
        found.append(await asyncio.to_thread(lambda: "thread"))
        return {"items": found}

    result = await chain(("node", node), saver=saver).ainvoke({}, config)
    assert result["items"] == ["timeout", "CancelledError", "thread"]


@pytest.mark.parametrize("name", [7, uuid.UUID("12345678-1234-5678-1234-567812345678")])
async def test_a_thread_named_by_a_number_or_uuid_has_that_as_text(name: Any, saver: Saver) -> None:
    """Nodes and snapshots see the id as it is stored, and an idempotency key can be had."""
    seen: list[Any] = []

    async def look(state: Items, runtime: Runtime) -> None:
        seen.append((runtime.thread_id, len(runtime.idempotency_key)))

    graph = chain(("look", look), saver=saver)
    await graph.ainvoke({}, {"configurable": {"thread_id": name}})
    assert seen == [(str(name), 32)]
    snapshot = await graph.aget_state({"configurable": {"thread_id": str(name)}})
    assert snapshot.thread_id == str(name)
    assert snapshot.metadata is not None
