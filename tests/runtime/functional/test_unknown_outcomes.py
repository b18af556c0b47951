"""A step that was begun and whose outcome nobody knows: it is never guessed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import NOT_DONE, Command, StepClaim, get_runtime, interrupt, step
from durable_graph.errors import (
    OutcomeUnknownError,
    StepConflictError,
    StepOutcomeUnknownError,
    StorageFullError,
)
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.backends import failing
from tests.runtime.functional.kit import Effects, steps_of
from tests.runtime.kit import Items, chain, reached


class Bank:
    """Takes payments, and dies (or rather is cancelled) in the middle of the first.

    Attributes:
        effects: what was paid.
        keys: the idempotency keys it was given.
        claims: what it was asked about.
    """

    def __init__(self, *, early: bool = False) -> None:
        self.effects = Effects()
        self.keys: list[str] = []
        self.claims: list[StepClaim] = []
        self.begun = asyncio.Event()
        self._early = early

    async def pay(self, amount: int, *, to: str) -> str:
        self.keys.append(get_runtime().idempotency_key)
        first = not self.begun.is_set()
        if not (first and self._early):
            self.effects.append((amount, to))
        if first:
            self.begun.set()
            await asyncio.get_running_loop().create_future()
        return "paid"

    async def look(self, claim: StepClaim) -> Any:
        self.claims.append(claim)
        return "had been paid" if self.effects else NOT_DONE

    def look_in_thread(self, claim: StepClaim) -> Any:
        self.claims.append(claim)
        return "had been paid" if self.effects else NOT_DONE


def paying(saver: Saver, bank: Bank, **options: Any) -> CompiledGraph:
    """A node that pays."""

    async def node(state: Items) -> Items:
        return {"items": [await step("pay", bank.pay, 10, to="ann", **options)]}

    return chain(("node", node), saver=saver)


async def cancelled(graph: CompiledGraph, config: RunnableConfig, begun: asyncio.Event) -> None:
    """A run that is cancelled in the middle of its step."""
    run = asyncio.create_task(graph.ainvoke({"items": []}, config))
    await reached(begun, run)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


async def test_without_a_way_to_find_out_the_node_fails(
    saver: Saver, config: RunnableConfig
) -> None:
    """The error names step, node and thread, and says what to do; nothing is run."""
    bank = Bank()
    graph = paying(saver, bank)
    await cancelled(graph, config, bank.begun)
    for _ in range(2):
        with pytest.raises(StepOutcomeUnknownError) as caught:
            await graph.ainvoke(None, config)
        assert isinstance(caught.value, OutcomeUnknownError)
        for word in ("'pay'", "'node'", config["configurable"]["thread_id"], "reconcile=", "idem"):
            assert word in str(caught.value)
    assert bank.effects == [(10, "ann")]


@pytest.mark.parametrize("look", ["look", "look_in_thread"])
async def test_what_has_happened_is_not_done_again(
    look: str, saver: Saver, config: RunnableConfig
) -> None:
    """The result that `reconcile` finds is the step's result, and is on record from then on."""
    bank = Bank()
    graph = paying(saver, bank, reconcile=getattr(bank, look))
    await cancelled(graph, config, bank.begun)
    assert (await graph.ainvoke(None, config))["items"] == ["had been paid"]
    assert bank.effects == [(10, "ann")]
    (claim,) = bank.claims
    assert (claim.key, claim.args, claim.kwargs) == ("pay", (10,), {"to": "ann"})
    assert (claim.node, claim.thread_id) == ("node", config["configurable"]["thread_id"])
    assert [claim.idempotency_key] == bank.keys
    assert [entry.state for entry in await steps_of(saver, config)] == ["claimed", "done"]


async def test_what_has_not_happened_is_done(saver: Saver, config: RunnableConfig) -> None:
    """Under the same idempotency key as before."""
    bank = Bank(early=True)
    graph = paying(saver, bank, reconcile=bank.look)
    await cancelled(graph, config, bank.begun)
    assert (await graph.ainvoke(None, config))["items"] == ["paid"]
    assert bank.effects == [(10, "ann")]
    assert len(bank.claims) == 1
    assert len(bank.keys) == 2
    assert len(set(bank.keys)) == 1


async def test_an_idempotent_step_is_done_again(saver: Saver, config: RunnableConfig) -> None:
    """Nothing is stored before it begins, nobody is asked."""
    bank = Bank()
    graph = paying(saver, bank, idempotent=True, reconcile=bank.look)
    await cancelled(graph, config, bank.begun)
    assert await steps_of(saver, config) == []
    assert (await graph.ainvoke(None, config))["items"] == ["paid"]
    assert (len(bank.effects), bank.claims) == (2, [])


async def test_a_step_can_be_declared_idempotent_afterwards(
    saver: Saver, config: RunnableConfig
) -> None:
    """Which is what the error proposes."""
    bank = Bank()
    await cancelled(paying(saver, bank), config, bank.begun)
    graph = paying(saver, bank, idempotent=True)
    assert (await graph.ainvoke(None, config))["items"] == ["paid"]


async def test_a_reconcile_that_fails_leaves_the_claim(
    saver: Saver, config: RunnableConfig
) -> None:
    """The bank cannot be reached: that says nothing about the payment."""
    bank, down = Bank(), [True]

    async def look(claim: StepClaim) -> Any:
        if down:
            down.clear()
            raise ConnectionError("no bank")
        return await bank.look(claim)

    graph = paying(saver, bank, reconcile=look)
    await cancelled(graph, config, bank.begun)
    with pytest.raises(ConnectionError, match="no bank"):
        await graph.ainvoke(None, config)
    assert (await graph.ainvoke(None, config))["items"] == ["had been paid"]
    assert bank.effects == [(10, "ann")]


async def test_other_arguments_than_claimed_are_refused(
    saver: Saver, config: RunnableConfig
) -> None:
    """Before anybody is asked: what was begun is another payment."""
    bank = Bank()
    await cancelled(paying(saver, bank), config, bank.begun)

    async def node(state: Items) -> Items:
        await step("pay", bank.pay, 11, to="ann", reconcile=bank.look)
        return {}

    with pytest.raises(StepConflictError, match="other arguments"):
        await chain(("node", node), saver=saver).ainvoke(None, config)
    assert (len(bank.effects), bank.claims) == (1, [])


async def test_an_error_is_an_outcome(saver: Saver, config: RunnableConfig) -> None:
    """A function that raises has not done it: the claim is given up, and the next run does it."""
    effects, broken = Effects(), [True]

    async def pay() -> str:
        if broken:
            broken.clear()
            raise ValueError("refused")
        effects.append("paid")
        return "paid"

    async def node(state: Items) -> Items:
        return {"items": [await step("pay", pay)]}

    graph = chain(("node", node), saver=saver)
    with pytest.raises(ValueError, match="refused"):
        await graph.ainvoke({"items": []}, config)
    entries = await steps_of(saver, config)
    assert [(e.state, e.error) for e in entries] == [
        ("claimed", None),
        ("failed", "ValueError: refused"),
    ]
    assert (await graph.ainvoke(None, config))["items"] == ["paid"]
    assert effects == ["paid"]


@pytest.mark.parametrize("grouped", [False, True])
async def test_a_function_can_say_that_it_does_not_know(
    grouped: bool, saver: Saver, config: RunnableConfig
) -> None:
    """After a timeout, say: `OutcomeUnknownError` keeps the claim, and the next run asks."""
    effects = Effects()

    async def pay() -> str:
        effects.append("paid")
        error = OutcomeUnknownError("no answer from the bank")
        raise ExceptionGroup("several", [error]) if grouped else error

    async def node(state: Items) -> Items:
        return {"items": [await step("pay", pay, reconcile=lambda claim: "had been paid")]}

    graph = chain(("node", node), saver=saver)
    with pytest.raises((OutcomeUnknownError, ExceptionGroup)):
        await graph.ainvoke({"items": []}, config)
    assert (await graph.ainvoke(None, config))["items"] == ["had been paid"]
    assert effects == ["paid"]


async def test_a_question_within_a_step_is_an_outcome(saver: Saver, config: RunnableConfig) -> None:
    """It stops there to ask, and goes on with the answer; nobody has to find out anything."""
    effects = Effects()

    async def ask_and_pay() -> str:
        answer = interrupt("Pay?")
        effects.append(answer)
        return f"paid: {answer}"

    async def node(state: Items) -> Items:
        return {"items": [await step("pay", ask_and_pay)]}

    graph = chain(("node", node), saver=saver)
    asked = await graph.ainvoke({"items": []}, config)
    assert [question.value for question in asked["__interrupt__"]] == ["Pay?"]
    result = await graph.ainvoke(Command(resume="yes"), config)
    assert (result["items"], effects) == (["paid: yes"], ["yes"])


async def test_a_claim_that_cannot_be_stored_begins_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """The disk is full: the run ends, and the function has not been called."""
    effects = Effects()

    async def node(state: Items) -> Items:
        return {"items": [await step("pay", effects.do, "payment")]}

    graph, around = chain(("node", node), saver=saver), failing(saver, 1)
    with pytest.raises(StorageFullError):
        await graph.ainvoke({"items": []}, config)
    assert effects == []
    around.good = 10**6
    assert (await graph.ainvoke(None, config))["items"] == ["did payment"]


async def test_a_result_that_cannot_be_stored_is_not_seen(
    saver: Saver, config: RunnableConfig
) -> None:
    """The node does not act on what could be forgotten; the next run finds out what happened."""
    effects, seen = Effects(), []

    async def node(state: Items) -> Items:
        seen.append(await step("pay", effects.do, "payment", reconcile=lambda claim: "found"))
        return {"items": seen}

    graph, around = chain(("node", node), saver=saver), failing(saver, 2)
    with pytest.raises(StorageFullError):
        await graph.ainvoke({"items": []}, config)
    assert (effects, seen) == (["payment"], [])
    around.good = 10**6
    assert (await graph.ainvoke(None, config))["items"] == ["found"]
    assert effects == ["payment"]


async def test_a_finished_part_of_an_unknown_whole_is_not_done_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """A step within a step that nobody knows about: once it is run again, its parts are found."""
    effects, begun, gate = Effects(), asyncio.Event(), [True]

    async def whole() -> str:
        done: str = await step("part", effects.do, "part")
        if gate:
            gate.clear()
            begun.set()
            await asyncio.get_running_loop().create_future()
        return done

    async def look(claim: StepClaim) -> Any:
        return NOT_DONE

    async def node(state: Items) -> Items:
        return {"items": [await step("whole", whole, reconcile=look)]}

    graph = chain(("node", node), saver=saver)
    await cancelled(graph, config, begun)
    assert (await graph.ainvoke(None, config))["items"] == ["did part"]
    assert effects == ["part"]
