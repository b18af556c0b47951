"""`step` within a node: what is on record is not done again, whatever happens to the node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from durable_graph import (
    START,
    Command,
    RetryPolicy,
    StateGraph,
    get_runtime,
    interrupt,
    step,
)
from durable_graph.errors import InvalidUpdateError, StepConflictError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.backends import counted
from tests.runtime.functional.kit import Effects, steps_of
from tests.runtime.kit import Items, bytes_of, chain, fan, records_of


class Flaky:
    """Fails as often as it is told, then lets pass."""

    def __init__(self, times: int = 1) -> None:
        self.left = times

    def __call__(self) -> None:
        if self.left > 0:
            self.left -= 1
            raise OSError("not yet")


async def test_a_step_that_is_done_is_not_done_again(saver: Saver, config: RunnableConfig) -> None:
    """The node fails behind it and runs again from its first line; the step does not."""
    effects, flaky, runs = Effects(), Flaky(), []

    async def node(state: Items) -> Items:
        runs.append(1)
        done = await step("pay", effects.do, "payment")
        flaky()
        return {"items": [done]}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(OSError, match="not yet"):
        await graph.ainvoke({"items": []}, config)
    assert await graph.ainvoke(None, config) == {"items": ["did payment"], "count": 0}
    assert (effects, len(runs)) == (["payment"], 2)


async def test_code_before_a_question_runs_once(saver: Saver, config: RunnableConfig) -> None:
    """What is wrapped in a step is not repeated by asking and answering."""
    effects = Effects()

    async def node(state: Items) -> Items:
        done = await step("draft", effects.do, "draft")
        answer = interrupt("Is it good?")
        sent = await step("send", effects.do, "sent")
        return {"items": [done, answer, sent]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({"items": []}, config)
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert result["items"] == ["did draft", "yes", "did sent"]
    assert effects == ["draft", "sent"]


async def test_a_retried_node_does_not_repeat_its_steps(
    saver: Saver, config: RunnableConfig
) -> None:
    """An attempt finds what the one before it has done."""
    effects, flaky = Effects(), Flaky(2)

    async def node(state: Items) -> Items:
        done = await step("pay", effects.do, "payment")
        flaky()
        return {"items": [done]}

    graph = StateGraph(Items)
    once_more = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)
    graph.add_node("node", node, retry_policy=once_more).add_edge(START, "node")
    result = await graph.compile(saver).ainvoke({"items": []}, config)
    assert (result["items"], effects) == (["did payment"], ["payment"])


async def test_without_a_checkpointer_an_attempt_still_finds_what_was_done() -> None:
    """What is not stored is known for as long as the run lasts, objects included."""
    effects, flaky = Effects(), Flaky()
    thing = object()

    async def node(state: Items) -> Items:
        await step("pay", effects.do, "payment")
        same = await step("thing", lambda: thing)
        flaky()
        return {"items": [same]}

    graph = StateGraph(Items)
    once_more = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)
    graph.add_node("node", node, retry_policy=once_more).add_edge(START, "node")
    assert (await graph.compile().ainvoke({"items": []}))["items"] == [thing]
    assert effects == ["payment"]


async def test_results_belong_to_keys_and_not_to_the_order_of_calls(
    saver: Saver, config: RunnableConfig
) -> None:
    """When the node runs again it may do other things first: each step gets its own result."""
    effects, flaky = Effects(), Flaky()

    async def node(state: Items) -> Items:
        first = flaky.left > 0
        keys = ["a", "b"] if first else ["new", "b", "a"]
        done = [await step(key, effects.do, key) for key in keys]
        flaky()
        return {"items": done}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(OSError, match="not yet"):
        await graph.ainvoke({"items": []}, config)
    result = await graph.ainvoke(None, config)
    assert result["items"] == ["did new", "did b", "did a"]
    assert effects == ["a", "b", "new"]


async def test_changed_arguments_are_detected(saver: Saver, config: RunnableConfig) -> None:
    """A result on record is not passed off as the result for other arguments."""
    effects, flaky, amount = Effects(), Flaky(), [10]

    async def node(state: Items) -> Items:
        await step("pay", effects.do, amount[0])
        flaky()
        return {}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(OSError, match="not yet"):
        await graph.ainvoke({"items": []}, config)
    amount[0] = 99
    with pytest.raises(StepConflictError, match=r"Step 'pay' of node 'node'.*other arguments"):
        await graph.ainvoke(None, config)
    assert effects == [10]
    amount[0] = 10
    await graph.ainvoke(None, config)
    assert effects == [10]


@pytest.mark.parametrize(
    "change",
    [
        lambda f: step("key", f, 1, 2),
        lambda f: step("key", f, 2, b=1),
        lambda f: step("key", f, "1", b=2),
        lambda f: step("key", f, 1, c=2),
        lambda f: step("key", f, (1,), b=2),
    ],
)
async def test_any_change_of_the_arguments_counts(
    change: Callable[[Any], Any], saver: Saver, config: RunnableConfig
) -> None:
    """Values, types, names and places of arguments are all part of what was called."""
    flaky = Flaky()

    def function(*args: Any, **kwargs: Any) -> None:
        pass

    async def node(state: Items) -> Items:
        if flaky.left:
            await step("key", function, 1, b=2)
        else:
            await change(function)
        flaky()
        return {}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(OSError, match="not yet"):
        await graph.ainvoke({"items": []}, config)
    with pytest.raises(StepConflictError, match="other arguments"):
        await graph.ainvoke(None, config)


async def test_an_argument_that_cannot_be_stored_counts_by_its_type(
    saver: Saver, config: RunnableConfig
) -> None:
    """A client that is made anew in each process is no other argument; a number beside it is."""
    flaky, amount = Flaky(), [1]

    class Client:
        pass

    def pay(client: Client, amount: int) -> int:
        return amount

    async def node(state: Items) -> Items:
        done = await step("pay", pay, Client(), amount[0])
        flaky()
        return {"items": [done]}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(OSError, match="not yet"):
        await graph.ainvoke({"items": []}, config)
    amount[0] = 2
    with pytest.raises(StepConflictError, match="other arguments"):
        await graph.ainvoke(None, config)
    amount[0] = 1
    assert (await graph.ainvoke(None, config))["items"] == [1]


async def test_one_key_is_one_step(saver: Saver, config: RunnableConfig) -> None:
    """A second step of the same key in one execution is refused: whose result would it get?"""
    effects = Effects()

    async def node(state: Items) -> Items:
        for number in range(2):
            await step("same", effects.do, number)
        return {}

    with pytest.raises(StepConflictError, match="a second step 'same'"):
        await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert effects == [0]


async def test_a_step_that_failed_can_be_tried_again_under_its_key(
    saver: Saver, config: RunnableConfig
) -> None:
    """A node may catch what a step raises, and call it once more."""
    flaky = Flaky()

    async def node(state: Items) -> Items:
        with pytest.raises(OSError, match="not yet"):
            await step("flaky", flaky)
        return {"items": [await step("flaky", flaky)]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == [None]
    assert [entry.state for entry in await steps_of(saver, config)] == [
        *("claimed", "failed", "claimed", "done"),
    ]


async def test_steps_have_retry_policies_of_their_own(saver: Saver, config: RunnableConfig) -> None:
    """A step is tried again without running the whole node again, under one claim."""
    flaky, runs, attempts = Flaky(2), [], []
    policy = RetryPolicy(initial_interval=0, jitter=False, retry_on=OSError)

    def work() -> str:
        attempts.append(get_runtime().attempt)
        flaky()
        return "done"

    async def node(state: Items) -> Items:
        runs.append(1)
        return {"items": [await step("work", work, retry_policy=policy)]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert (result["items"], attempts, runs) == (["done"], [1, 2, 3], [1])
    assert [entry.state for entry in await steps_of(saver, config)] == ["claimed", "done"]


async def test_a_synchronous_node_waits_with_result(saver: Saver, config: RunnableConfig) -> None:
    """Sync and async functions, from a node that runs in a thread."""
    effects, flaky = Effects(), Flaky()

    def node(state: Items) -> Items:
        one = step("one", effects.do_in_thread, 1)
        two = step("two", effects.do, 2)
        done = [one.result(), two.result(timeout=60)]
        flaky()
        return {"items": done}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(OSError, match="not yet"):
        await graph.ainvoke({"items": []}, config)
    assert (await graph.ainvoke(None, config))["items"] == ["did 1", "did 2"]
    assert sorted(effects) == [1, 2]


async def test_waiting_with_result_on_the_event_loop_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """It would wait for itself; the error says to await."""
    gate = asyncio.Event()

    async def node(state: Items) -> Items:
        future = step("wait", gate.wait)
        for ask in (future.result, future.exception):
            with pytest.raises(RuntimeError, match="Await it"):
                ask()
        gate.set()
        return {"items": [await future, future.result()]}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == [True, True]


async def test_steps_run_at_once(saver: Saver, config: RunnableConfig) -> None:
    """A step starts when it is called; those that write together share a write."""
    around, barrier = counted(saver), asyncio.Barrier(50)

    async def meet(number: int) -> int:
        await barrier.wait()
        return number

    async def node(state: Items) -> Items:
        return {"items": await asyncio.gather(*(step(f"s{n}", meet, n) for n in range(50)))}

    result = await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert result["items"] == list(range(50))
    kinds = [record.kind for record in await records_of(saver, config)]
    if saver.backend.capabilities.groups:
        assert kinds == ["commit", "commit", "steps", "steps", "commit"]
        assert around.appends == 4  # the input, the claims, the results, the superstep


async def test_a_step_is_on_record_before_the_node_goes_on(
    saver: Saver, config: RunnableConfig
) -> None:
    """The claim before the function begins, the result before the node sees it."""
    seen: list[list[str]] = []

    async def note() -> str:
        seen.append([entry.state for entry in await steps_of(saver, config)])
        return "done"

    async def node(state: Items) -> Items:
        await step("one", note)
        seen.append([entry.state for entry in await steps_of(saver, config)])
        await step("two", note, idempotent=True)
        seen.append([entry.state for entry in await steps_of(saver, config)])
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config, durability="sync")
    assert seen == [
        ["claimed"],
        ["claimed", "done"],
        ["claimed", "done"],
        ["claimed", "done", "done"],
    ]


async def test_a_claim_is_durable_whatever_the_durability(
    saver: Saver, config: RunnableConfig
) -> None:
    """Under "async" results may come later, but nothing happens before its claim is stored."""
    seen: list[list[str]] = []

    async def note() -> None:
        seen.append([entry.state for entry in await steps_of(saver, config)])

    async def node(state: Items) -> Items:
        await step("one", note)
        return {}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config, durability="async")
    assert seen == [["claimed"]]
    assert [entry.state for entry in await steps_of(saver, config)] == ["claimed", "done"]


async def test_an_exit_run_that_asks_keeps_its_steps(saver: Saver, config: RunnableConfig) -> None:
    """In "exit" durability they are stored with the state that the run ends with."""
    effects = Effects()

    async def node(state: Items) -> Items:
        done = await step("draft", effects.do, "draft")
        return {"items": [done, interrupt("Good?")]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({"items": []}, config, durability="exit")
    result = await graph.ainvoke(Command(resume="yes"), config, durability="exit")
    assert (result["items"], effects) == (["did draft", "yes"], ["draft"])


async def test_results_come_back_as_they_were(saver: Saver, config: RunnableConfig) -> None:
    """Exactly: a tuple is a tuple, and changing a result changes nothing on record."""
    flaky, seen = Flaky(), []

    async def node(state: Items) -> Items:
        result: Any = await step("make", lambda: {"t": (1, 2), "s": {3}, "b": b"\x00", "l": [1]})
        seen.append({**result, "l": list(result["l"])})
        result["l"].append("changed")
        flaky()
        return {}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(OSError, match="not yet"):
        await graph.ainvoke({"items": []}, config)
    await graph.ainvoke(None, config)
    assert seen == [{"t": (1, 2), "s": {3}, "b": b"\x00", "l": [1]}] * 2
    assert type(seen[1]["t"]) is tuple


@dataclass
class Receipt:
    """A type that no state mentions."""

    number: int
    lines: list[str]


def make_receipt(number: int) -> Receipt:
    """Mentions it."""
    return Receipt(number, ["line"])


async def test_types_that_a_function_is_annotated_with_can_be_stored(
    saver: Saver, config: RunnableConfig
) -> None:
    """In arguments and results alike, in every process that has the function."""
    flaky, seen = Flaky(), []

    def show(receipt: Receipt) -> int:
        return receipt.number

    show.__annotations__["receipt"] = Receipt

    async def node(state: Items) -> Items:
        receipt = await step("make", make_receipt, 7)
        seen.append(receipt)
        shown = await step("show", show, receipt)
        flaky()
        return {"items": [shown]}

    with pytest.raises(OSError, match="not yet"):
        await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    # A graph made anew knows nothing of what the other has learnt.
    result = await chain(("node", node), saver=saver).ainvoke(None, config)
    assert result["items"] == [7]
    assert seen == [Receipt(7, ["line"])] * 2


async def test_a_result_that_cannot_be_stored_is_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """The error names step and node; that it happened is not forgotten."""

    async def node(state: Items) -> Items:
        await step("make", object)
        return {}

    with pytest.raises(InvalidUpdateError, match="Step 'make' of node 'node' returned cannot be"):
        await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert [entry.state for entry in await steps_of(saver, config)] == ["claimed"]


async def test_large_results_are_stored_once(saver: Saver, config: RunnableConfig) -> None:
    """A large result that the node returns as well is one value in storage."""
    large = "x" * 100_000

    async def node(state: Items) -> Items:
        return {"last": await step("fetch", lambda: large)}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert await bytes_of(saver, config) < 110_000


async def test_steps_within_steps_have_keys_of_their_own(
    saver: Saver, config: RunnableConfig
) -> None:
    """The same key in two steps is two steps; what a step is part of is remembered too."""
    effects, flaky, keys = Effects(), Flaky(), set()

    async def inner(what: str) -> str:
        keys.add(get_runtime().idempotency_key)
        done: str = await step("do", effects.do, what)
        return done

    async def node(state: Items) -> Items:
        keys.add(get_runtime().idempotency_key)
        one, two = step("one", inner, "a"), step("two", inner, "a")
        done = [await one, await two]
        flaky()
        return {"items": done}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(OSError, match="not yet"):
        await graph.ainvoke({"items": []}, config)
    assert (await graph.ainvoke(None, config))["items"] == ["did a", "did a"]
    assert effects == ["a", "a"]
    assert len(keys) == 3


async def test_tasks_of_one_superstep_do_not_share_steps(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each node has its own, under the same keys and at the same time."""
    effects = Effects()

    def doing(name: str) -> Callable[[Items], Any]:
        async def node(state: Items) -> Items:
            return {"items": [await step("do", effects.do, name)]}

        return node

    graph = fan(*((name, doing(name)) for name in "abc"), saver=saver)
    result = await graph.ainvoke({"items": []}, config)
    assert result["items"] == ["did a", "did b", "did c"]
    assert sorted(effects) == ["a", "b", "c"]


async def test_the_next_superstep_has_steps_of_its_own(
    saver: Saver, config: RunnableConfig
) -> None:
    """A loop that calls the same step does it each time round."""
    effects = Effects()

    async def node(state: Items) -> Items:
        await step("do", effects.do, "it")
        return {"count": 1}

    graph = StateGraph(Items).add_node("node", node).add_edge(START, "node")
    graph.add_conditional_edges("node", lambda s: "node" if s["count"] < 3 else "__end__")
    await graph.compile(saver).ainvoke({"items": []}, config)
    assert effects == ["it"] * 3


async def test_a_branch_does_its_steps_itself(saver: Saver, config: RunnableConfig) -> None:
    """What is run again from an earlier checkpoint is another task: it has other steps."""
    effects = Effects()

    async def node(state: Items) -> Items:
        return {"items": [await step("do", effects.do, "it"), interrupt("?")]}

    graph = chain(("before", lambda s: {"count": 1}), ("node", node), saver=saver)
    await graph.ainvoke({"items": []}, config)
    states = [state async for state in graph.aget_state_history(config)]
    before = next(state for state in states if state.next == ("before",))
    await graph.ainvoke(None, before.config)
    assert effects == ["it", "it"]


async def test_outside_a_node_there_are_no_steps() -> None:
    """Neither elsewhere nor in what leads to the first node."""
    with pytest.raises(RuntimeError, match="only inside a node"):
        step("key", print)

    async def route(state: Items) -> str:
        await step("key", print)
        return "node"

    graph = StateGraph(Items).add_node("node", lambda s: {})
    graph.add_conditional_edges(START, route)
    with pytest.raises(RuntimeError, match="only inside a node"):
        await graph.compile().ainvoke({"items": []})


@pytest.mark.parametrize("arguments", [("", print), (7, print), ("key", 7)])
async def test_a_step_needs_a_key_and_a_function(arguments: Any) -> None:
    """What is neither is refused where it is called."""
    with pytest.raises(TypeError, match="step"):
        step(*arguments)


async def test_a_node_without_steps_writes_nothing_for_them(
    saver: Saver, config: RunnableConfig
) -> None:
    """No record, and nothing in the records there are."""

    async def node(state: Items) -> Items:
        return {"items": [1]}

    await chain(("node", node), saver=saver).ainvoke({"items": []}, config)
    assert [record.kind for record in await records_of(saver, config)] == ["commit"] * 3
    assert await steps_of(saver, config) == []
