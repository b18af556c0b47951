"""Steps end with their node: awaited, asked about or cancelled, none is left running."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from durable_graph import (
    START,
    Command,
    NodeError,
    RetryPolicy,
    StateGraph,
    get_runtime,
    get_stream_writer,
    interrupt,
    step,
)
from durable_graph.engine.tasks.future import StepFuture
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.functional.kit import Effects, steps_of
from tests.runtime.kit import Items, chain, collect, reached


async def test_a_node_waits_for_the_steps_it_has_started(
    saver: Saver, config: RunnableConfig
) -> None:
    """What nobody awaited is done and on record before the node counts as finished."""
    effects = Effects()

    async def node(state: Items) -> Items:
        step("later", effects.do, "it")
        return {}

    def after(state: Items) -> Items:
        return {"items": list(effects)}

    graph = chain(("node", node), ("after", after), saver=saver)
    assert (await graph.ainvoke({"items": []}, config))["items"] == ["it"]
    assert [entry.state for entry in await steps_of(saver, config)] == ["claimed", "done"]


async def test_a_failure_that_nobody_has_seen_fails_the_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node cannot succeed while something it has started failed without its noticing."""

    def broken() -> None:
        raise ValueError("broken")

    async def node(state: Items) -> Items:
        step("broken", broken)
        return {}

    with pytest.raises(ValueError, match="broken"):
        await chain(("node", node), saver=saver).ainvoke({"items": []}, config)


@pytest.mark.parametrize("look", ["await", "gather", "exception"])
async def test_a_failure_that_was_seen_is_the_nodes_affair(
    look: str, saver: Saver, config: RunnableConfig
) -> None:
    """Awaited, gathered or asked for: a node that has dealt with it goes on."""

    async def broken() -> None:
        raise ValueError("broken")

    async def node(state: Items) -> Items:
        future = step("broken", broken)
        if look == "await":
            with pytest.raises(ValueError, match="broken"):
                await future
        elif look == "gather":
            (error,) = await asyncio.gather(future, return_exceptions=True)
            assert isinstance(error, ValueError)
        else:
            await asyncio.wait([asyncio.wrap_future(future)])
            assert isinstance(future.exception(), ValueError)
        return {"items": ["went on"]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == ["went on"]


async def test_a_cancelled_run_leaves_no_step(saver: Saver, config: RunnableConfig) -> None:
    """Cancelling the run ends its steps before the call returns, awaited or not."""
    begun, ended = asyncio.Event(), []

    async def hold() -> None:
        try:
            begun.set()
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    async def node(state: Items) -> Items:
        step("one", hold)
        await step("two", hold)
        return {}

    graph = chain(("node", node), saver=saver)
    run = asyncio.create_task(graph.ainvoke({"items": []}, config))
    await reached(begun, run)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert ended == [1, 1]


async def test_a_failed_node_ends_its_steps(saver: Saver, config: RunnableConfig) -> None:
    """What a node has started and not awaited is cancelled when it fails for good."""
    begun, ended = asyncio.Event(), []

    async def hold() -> None:
        try:
            begun.set()
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(1)

    async def node(state: Items) -> Items:
        step("hold", hold)
        await begun.wait()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert ended == [1]


async def test_an_error_handler_has_steps_of_its_own(saver: Saver, config: RunnableConfig) -> None:
    """Under the same keys as the node's, which have ended before it begins."""
    effects, begun, ended = Effects(), asyncio.Event(), []

    async def hold() -> None:
        try:
            begun.set()
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(1)

    async def node(state: Items) -> Items:
        await step("do", effects.do, "in the node")
        step("hold", hold)
        await begun.wait()
        raise ValueError("no")

    async def handler(state: Items, error: NodeError) -> Items:
        assert ended == [1]
        return {"items": [await step("do", effects.do, "in the handler")]}

    graph = StateGraph(Items).add_node("node", node, error_handler=handler)
    result = await graph.add_edge(START, "node").compile(saver).ainvoke({"items": []}, config)
    assert result["items"] == ["did in the handler"]
    assert effects == ["in the node", "in the handler"]


async def test_whoever_stops_waiting_cancels_the_step(saver: Saver, config: RunnableConfig) -> None:
    """As with a coroutine that is awaited; so a timeout around it means what it says."""
    begun: list[int] = []
    ended: list[int] = []

    async def hold() -> None:
        begun.append(1)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(1)

    async def node(state: Items) -> Items:
        future = step("hold", hold, idempotent=True)
        while not begun:
            await asyncio.sleep(0)
        waiter = asyncio.ensure_future(future)
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
        assert future.cancelled()
        other = step("other", hold, idempotent=True)
        while len(begun) < 2:
            await asyncio.sleep(0)
        assert other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        assert not other.cancel()
        return {"items": ["went on"]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert (result["items"], ended) == (["went on"], [1, 1])


async def test_a_step_is_cancelled_from_a_thread(saver: Saver, config: RunnableConfig) -> None:
    """A synchronous node can do so as well."""
    begun = threading.Event()

    async def hold() -> None:
        begun.set()
        await asyncio.get_running_loop().create_future()

    def node(state: Items) -> Items:
        future = step("hold", hold)
        assert begun.wait(60)
        assert future.cancel()
        with pytest.raises(BaseException) as caught:
            future.result(60)
        return {"items": [type(caught.value).__name__]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == ["CancelledError"]


async def test_a_running_step_is_not_started_again_by_a_retry(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node that fails while a step of it is running finds that very step when it is retried."""
    effects, gate, attempts = Effects(), asyncio.Event(), []
    begun = asyncio.Event()

    async def slow() -> str:
        effects.append("begun")
        begun.set()
        await gate.wait()
        return "done"

    async def node(state: Items) -> Items:
        attempts.append(get_runtime().attempt)
        future = step("slow", slow)
        await begun.wait()
        if len(attempts) == 1:
            raise OSError("not yet")
        gate.set()
        return {"items": [await future]}

    graph = StateGraph(Items)
    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)
    graph.add_node("node", node, retry_policy=policy).add_edge(START, "node")
    result = await graph.compile(saver).ainvoke({"items": []}, config)
    assert (result["items"], effects, attempts) == (["done"], ["begun"], [1, 2])
    assert [entry.state for entry in await steps_of(saver, config)] == ["claimed", "done"]


def _asking(question: str) -> Callable[[], Awaitable[Any]]:
    async def ask() -> Any:
        return interrupt(question)

    return ask


@pytest.mark.parametrize("how", ["gather", "one", "none"])
async def test_steps_that_ask_ask_together(how: str, saver: Saver, config: RunnableConfig) -> None:
    """Every question of the node's steps is asked, whether the node waits for all, one or none."""

    async def node(state: Items) -> Items:
        one = step("one", _asking("one?"), idempotent=True)
        two = step("two", _asking("two?"), idempotent=True)
        if how == "gather":
            await asyncio.gather(one, two)
        elif how == "one":
            await two
        return {"items": [one, two]} if how == "none" else {"items": [await one, await two]}

    async def unwrapped(state: Items) -> Items:
        result = await node(state)
        return {
            "items": [await r if isinstance(r, StepFuture) else r for r in result["items"]]
            if how != "none"
            else ["none"]
        }

    graph = chain(("node", unwrapped), saver=saver)
    asked = await graph.ainvoke({"items": []}, config)
    questions = {question.value: question.id for question in asked["__interrupt__"]}
    assert sorted(questions) == ["one?", "two?"]
    answers = {id: value.upper() for value, id in questions.items()}
    result = await graph.ainvoke(Command(resume=answers), config)
    assert result["items"] == (["none"] if how == "none" else ["ONE?", "TWO?"])


async def test_the_same_question_in_two_steps_is_two_questions(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each step asks for itself, whichever comes first when the node runs again."""
    turns = [["one", "two"], ["two", "one"]]

    async def node(state: Items) -> Items:
        order = turns.pop(0)
        futures = {key: step(key, _asking("Sure?"), idempotent=True) for key in order}
        await asyncio.gather(*futures.values())
        return {"items": [await futures["one"], await futures["two"]]}

    graph = chain(("node", node), saver=saver)
    asked = await graph.ainvoke({"items": []}, config)
    ids = [question.id for question in asked["__interrupt__"]]
    assert len(set(ids)) == 2
    state = await graph.aget_state(config)
    answers = {question.id: str(place) for place, question in enumerate(state.interrupts)}
    result = await graph.ainvoke(Command(resume=answers), config)
    assert sorted(result["items"]) == ["0", "1"]


async def test_a_question_of_a_step_waits_for_its_siblings(
    saver: Saver, config: RunnableConfig
) -> None:
    """What else the node has started is done and on record before the question is asked."""
    effects, gate = Effects(), asyncio.Event()

    async def slow() -> None:
        await gate.wait()
        effects.append("slow")

    async def ask() -> Any:
        asyncio.get_running_loop().call_soon(gate.set)
        return interrupt("?")

    async def node(state: Items) -> Items:
        step("slow", slow)
        return {"items": [await step("ask", ask, idempotent=True)]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({"items": []}, config)
    assert effects == ["slow"]
    assert (await graph.ainvoke(Command(resume="!"), config))["items"] == ["!"]
    assert effects == ["slow"]


async def test_a_failure_beside_a_question_is_told(saver: Saver, config: RunnableConfig) -> None:
    """Somebody would answer in vain: the node fails first, and asks when it runs again."""
    broken = [True]

    def work() -> None:
        if broken:
            broken.clear()
            raise ValueError("broken")

    async def node(state: Items) -> Items:
        step("work", work)
        return {"items": [interrupt("?")]}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ValueError, match="broken"):
        await graph.ainvoke({"items": []}, config)
    assert (await graph.ainvoke(None, config))["__interrupt__"]


async def test_an_execution_that_is_over_starts_no_more_steps(
    saver: Saver, config: RunnableConfig
) -> None:
    """What a node leaves behind cannot add to a thread that has moved on."""
    left: list[Callable[[], Any]] = []
    gate, told = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    def late() -> None:
        gate.wait(60)
        try:
            left[0]()
        except RuntimeError as error:
            errors.append(error)
        told.set()

    def node(state: Items) -> Items:
        import contextvars

        context = contextvars.copy_context()
        left.append(lambda: context.run(step, "late", print))
        threading.Thread(target=late, daemon=True).start()
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    gate.set()
    assert await asyncio.to_thread(told.wait, 60)
    assert "that is over" in str(errors[0])


async def test_what_steps_emit_is_streamed(saver: Saver, config: RunnableConfig) -> None:
    """Custom events and messages come from steps as from the node."""

    async def work() -> str:
        get_stream_writer()("from a step")
        get_runtime().emit_message("token")
        return "done"

    def in_thread() -> None:
        get_stream_writer()("from a thread")

    async def node(state: Items) -> Items:
        await step("thread", in_thread)
        return {"items": [await step("work", work)]}

    graph = chain(("node", node), saver=saver)
    events = await collect(
        graph.astream({"items": []}, config, stream_mode=["custom", "messages", "updates"])
    )
    shown = [(mode, e[0].content if mode == "messages" else e) for mode, e in events]
    assert shown == [
        ("custom", "from a thread"),
        ("custom", "from a step"),
        ("messages", "token"),
        ("updates", {"node": {"items": ["done"]}}),
    ]


async def test_a_step_can_be_shown(saver: Saver, config: RunnableConfig) -> None:
    """In a debugger one sees which step it is and how it stands."""
    gate = asyncio.Event()

    async def node(state: Items) -> Items:
        future = step("wait", gate.wait)
        shown = [repr(future)]
        gate.set()
        await future
        return {"items": [*shown, repr(future)]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == [
        "<StepFuture of Step 'wait', running>",
        "<StepFuture of Step 'wait', done>",
    ]
