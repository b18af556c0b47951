"""Error handlers: what runs in a node's place once it has failed for good."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest

from durable_graph import (
    START,
    Command,
    NodeError,
    RetryPolicy,
    Runtime,
    Send,
    StateGraph,
    interrupt,
    step,
)
from durable_graph.errors import NodeFailedError, StorageFullError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.backends import failing
from tests.runtime.kit import Items, collect, history, reached, says

AGAIN = RetryPolicy(initial_interval=0.0, jitter=False, max_attempts=2, retry_on=ValueError)


def broken(seen: list[Any] | None = None) -> Callable[[Items], Any]:
    """A node that fails, and notes that it ran."""

    async def node(state: Items) -> Items:
        if seen is not None:
            seen.append("node")
        raise ValueError("boom")

    return node


async def note(state: Items, error: NodeError) -> Items:
    """A handler that says what it was told."""
    return {"items": [f"{error.node}: {error.kind}: {error.error}"]}


def handled(
    saver: Saver | None, handler: Callable[..., Any], *, action: Any = None, **options: Any
) -> CompiledGraph:
    """A node that fails, with this handler; `after` is behind the node, `other` behind nothing."""
    graph = StateGraph(Items)
    graph.add_node(
        "node", action or broken(), error_handler=handler, destinations=["other"], **options
    )
    graph.add_node("after", says("after")).add_node("other", says("other"))
    return graph.add_edge(START, "node").add_edge("node", "after").compile(saver)


async def test_a_handler_runs_in_the_place_of_a_node_that_has_failed(
    saver: Saver, config: RunnableConfig
) -> None:
    """Its update is the result; the node has none, so its edges are not followed."""
    graph = handled(saver, note, action=broken())
    assert (await graph.ainvoke({}, config))["items"] == ["node: ValueError: boom"]
    state = await graph.aget_state(config)
    assert state.next == ()
    before = (await history(graph, config))[1]
    assert before.tasks[0].error == "ValueError: boom"
    assert before.tasks[0].result == {"items": ["node: ValueError: boom"]}
    assert state.metadata is not None
    assert state.metadata["step"] == 1  # in the same superstep


async def test_a_handler_says_where_to_go(saver: Saver, config: RunnableConfig) -> None:
    """With a command, like a node."""

    def handler(state: Items, error: NodeError) -> Command[Literal["other"]]:
        return Command(update={"items": ["handled"]}, goto="other")

    graph = StateGraph(Items).add_node("node", broken(), error_handler=handler)
    graph.add_node("other", says("other")).add_edge(START, "node")  # reached by the handler alone
    result = await graph.compile(saver).ainvoke({}, config)
    assert result["items"] == ["handled", "other"]


async def test_a_handler_comes_after_the_last_attempt(saver: Saver, config: RunnableConfig) -> None:
    """As long as the node is tried again, it is not asked; it is given the error itself."""
    seen: list[Any] = []

    def handler(state: Items, error: NodeError, runtime: Runtime) -> None:
        seen.append((type(error.error), error.text, runtime.attempt))

    graph = handled(saver, handler, action=broken(seen), retry_policy=AGAIN)
    await graph.ainvoke({}, config)
    assert seen == ["node", "node", (ValueError, "ValueError: boom", 1)]


async def test_a_handler_gets_the_input_of_its_node(saver: Saver, config: RunnableConfig) -> None:
    """A fresh copy of it, whatever the node has done to its own; of a `Send`, the packet."""

    async def node(part: dict[str, Any]) -> None:
        part["n"] = "spoilt"
        raise ValueError

    def handler(part: dict[str, Any], error: NodeError) -> Items:
        return {"items": [part["n"]]}

    graph = StateGraph(Items).add_node("node", node, error_handler=handler)
    graph.add_conditional_edges(
        START, lambda state: [Send("node", {"n": n}) for n in (1, 2)], ["node"]
    )
    assert (await graph.compile(saver).ainvoke({}, config))["items"] == [1, 2]


@pytest.mark.parametrize("siblings", [1, 2, 4])
@pytest.mark.parametrize("retried", [False, True])
@pytest.mark.parametrize("mode", ["values", "updates", "tasks"])
async def test_siblings_go_on_beside_a_handler(
    siblings: int, retried: bool, mode: Any, saver: Saver, config: RunnableConfig
) -> None:
    """A failure that is handled ends nobody else, whatever is watched: no error comes out."""
    graph = StateGraph(Items)
    graph.add_node(
        "bad", broken(), error_handler=note, retry_policy=AGAIN if retried else None
    ).add_edge(START, "bad")

    async def slow(state: Items) -> Items:
        for _ in range(20):
            await asyncio.sleep(0)
        return {"items": ["slow"]}

    for number in range(siblings):
        graph.add_node(f"slow {number}", slow).add_edge(START, f"slow {number}")
    compiled = graph.compile(saver)
    await collect(compiled.astream({}, config, stream_mode=mode))
    items = (await compiled.aget_state(config)).values["items"]
    assert items == ["bad: ValueError: boom", *["slow"] * siblings]


async def test_what_a_watcher_sees_of_a_handler(saver: Saver, config: RunnableConfig) -> None:
    """The node's failure, and then the handler's result under its own name and id."""
    graph = handled(saver, note)
    events = await collect(graph.astream({}, config, stream_mode=["updates", "tasks"]))
    (_, begun), (_, failed), *rest = events
    assert (begun["name"], failed["name"]) == ("node", "node")
    assert begun["id"] == failed["id"]
    assert isinstance(failed["error"], ValueError)
    (_, update), (_, ended) = rest
    assert update == {"__error_handler__node": {"items": ["node: ValueError: boom"]}}
    assert (ended["name"], ended["error"]) == ("__error_handler__node", None)
    assert ended["id"] != begun["id"]


async def test_a_crash_resumes_at_the_handler(saver: Saver, config: RunnableConfig) -> None:
    """The failure is stored before the handler runs, so the node does not run once more."""
    seen: list[Any] = []

    async def handler(state: Items, error: NodeError) -> Items:
        seen.append(error)
        return {"items": ["handled"]}

    around = failing(saver, 2)  # the input, the failure; the handler's result is lost
    graph = handled(saver, handler, action=broken(seen))
    with pytest.raises(StorageFullError):
        await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    assert (state.next, state.tasks[0].error) == (("node",), "ValueError: boom")
    around.good = around.appends + 100
    assert (await graph.ainvoke(None, config))["items"] == ["handled"]
    first, before, after = seen
    assert (first, before.text, after.text) == ("node", "ValueError: boom", "ValueError: boom")
    assert isinstance(before.error, ValueError)
    assert isinstance(after.error, NodeFailedError)
    assert before.kind == after.kind == "ValueError"


async def test_a_handler_that_is_gone_leaves_the_failed_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """Whoever goes on with a version of the graph without it runs the node again."""
    around = failing(saver, 2)
    with pytest.raises(StorageFullError):
        await handled(saver, note).ainvoke({}, config)
    around.good = around.appends + 100
    graph = StateGraph(Items).add_node("node", says("mended")).add_edge(START, "node")
    assert (await graph.compile(saver).ainvoke(None, config))["items"] == ["mended"]


async def test_an_error_of_a_handler_fails_the_run(saver: Saver, config: RunnableConfig) -> None:
    """It is not handled itself; going on runs the node again."""
    seen: list[Any] = []

    def handler(state: Items, error: NodeError) -> None:
        raise KeyError("in the handler") from error.error

    graph = handled(saver, handler, action=broken(seen))
    with pytest.raises(KeyError) as caught:
        await graph.ainvoke({}, config)
    assert isinstance(caught.value.__cause__, ValueError)
    state = await graph.aget_state(config)
    assert (state.next, state.tasks[0].error) == (("node",), "KeyError: 'in the handler'")
    with pytest.raises(KeyError):
        await graph.ainvoke(None, config)
    assert seen == ["node", "node"]


async def test_a_handler_may_ask(saver: Saver, config: RunnableConfig) -> None:
    """Its question is its own, and the answer goes to it: the node does not run again."""
    seen: list[Any] = []

    async def node(state: Items) -> None:
        seen.append("node")
        interrupt("which?")  # answered below, and no answer to the handler's
        raise ValueError("boom")

    def handler(state: Items, error: NodeError) -> Items:
        return {"items": [f"{error.text} {interrupt('which?')}"]}

    graph = handled(saver, handler, action=node)
    await graph.ainvoke({}, config)
    asked = await graph.ainvoke(Command(resume="for the node"), config)
    assert [ask.value for ask in asked["__interrupt__"]] == ["which?"]
    assert seen == ["node", "node"]
    result = await graph.ainvoke(Command(resume="for the handler"), config)
    assert result["items"] == ["ValueError: boom for the handler"]
    assert seen == ["node", "node"]


async def test_a_handler_gets_no_questions(saver: Saver, config: RunnableConfig) -> None:
    """A node that asks has not failed."""

    async def node(state: Items) -> Items:
        return {"items": [interrupt("which?")]}

    graph = handled(saver, note, action=node)
    assert "__interrupt__" in await graph.ainvoke({}, config)
    assert (await graph.ainvoke(Command(resume="this"), config))["items"] == ["this", "after"]


async def test_a_handler_gets_no_cancellation(saver: Saver, config: RunnableConfig) -> None:
    """A run that is cancelled is stopped, and the node has not failed."""
    there = asyncio.Event()

    async def node(state: Items) -> None:
        there.set()
        await asyncio.get_running_loop().create_future()

    graph = handled(saver, note, action=node)
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(there, run)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (await graph.aget_state(config)).next == ("node",)


async def test_cancelled_in_its_handler_a_run_goes_on_with_the_handler(
    saver: Saver, config: RunnableConfig
) -> None:
    """The node has failed for good, and that stays so."""
    there, seen = asyncio.Event(), list[Any]()

    async def handler(state: Items, error: NodeError) -> Items:
        if not there.is_set():
            there.set()
            await asyncio.get_running_loop().create_future()
        return {"items": ["handled"]}

    graph = handled(saver, handler, action=broken(seen))
    run = asyncio.create_task(graph.ainvoke({}, config))
    await reached(there, run)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert (await graph.ainvoke(None, config))["items"] == ["handled"]
    assert seen == ["node"]


async def test_an_update_that_is_refused_is_handled_too(
    saver: Saver, config: RunnableConfig
) -> None:
    """What a node returns and cannot be stored is its failure like any other."""

    async def node(state: Items) -> Items:
        return {"items": [object()]}

    graph = handled(saver, lambda state, error: {"items": [error.kind]}, action=node)
    assert (await graph.ainvoke({}, config))["items"] == ["InvalidUpdateError"]


async def test_a_node_and_its_handler_have_keys_of_their_own(
    saver: Saver, config: RunnableConfig
) -> None:
    """An effect of the handler's is not taken for the node's, which may have happened."""
    keys: list[str] = []

    async def node(state: Items, runtime: Runtime) -> None:
        keys.append(runtime.idempotency_key)
        raise ValueError

    def handler(state: Items, error: NodeError, runtime: Runtime) -> None:
        keys.append(runtime.idempotency_key)

    await handled(saver, handler, action=node).ainvoke({}, config)
    assert len(set(keys)) == 2


async def test_a_failing_sibling_ends_the_run_and_keeps_what_was_handled(
    saver: Saver, config: RunnableConfig
) -> None:
    """Only the one that has no handler runs again."""
    seen: list[Any] = []
    done = asyncio.Event()

    async def handler(state: Items, error: NodeError) -> Items:
        done.set()
        return {"items": ["handled"]}

    async def bad(state: Items) -> Items:
        await done.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        if "bad" not in seen:
            seen.append("bad")
            raise KeyError
        return {"items": ["bad"]}

    graph = StateGraph(Items).add_node("node", broken(seen), error_handler=handler)
    graph.add_node("bad", bad).add_edge(START, "node").add_edge(START, "bad")
    compiled = graph.compile(saver)
    with pytest.raises(KeyError):
        await compiled.ainvoke({}, config)
    assert (await compiled.ainvoke(None, config))["items"] == ["bad", "handled"]
    assert seen == ["node", "bad"]


async def test_a_handler_works_without_a_checkpointer() -> None:
    """A run that is not stored has them as well."""
    assert (await handled(None, note).ainvoke({}))["items"] == ["node: ValueError: boom"]


async def test_a_join_does_not_count_a_node_that_was_handled(
    saver: Saver, config: RunnableConfig
) -> None:
    """The node has not finished; where it goes on is for the handler to say."""
    graph = StateGraph(Items).add_node("bad", broken(), error_handler=note)
    graph.add_node("good", says("good")).add_node("join", says("join"))
    graph.add_edge(START, "bad").add_edge(START, "good").add_edge(["bad", "good"], "join")
    assert (await graph.compile(saver).ainvoke({}, config))["items"] == [
        "bad: ValueError: boom",
        "good",
    ]


async def test_a_node_and_its_handler_have_steps_of_their_own(
    saver: Saver, config: RunnableConfig
) -> None:
    """One key in both is two steps; each is done once, whatever happens."""
    done: list[str] = []

    async def charge(what: str) -> str:
        done.append(what)
        return what

    async def node(state: Items) -> None:
        await step("charge", charge, "the node's")
        raise ValueError

    async def handler(state: Items, error: NodeError) -> Items:
        charged = await step("charge", charge, "the handler's")
        return {"items": [charged, interrupt("enough?")]}

    graph = handled(saver, handler, action=node)
    await graph.ainvoke({}, config)
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["items"] == ["the handler's", "yes"]
    assert done == ["the node's", "the handler's"]
