"""Testing one's own graph: a model with a script, a clock, and a crash wherever one can happen.

Copy it beside your own tests, or run it: `pytest -s examples/testing_a_graph.py`.
"""

from collections.abc import Callable
from typing import TypedDict

import pytest

from durable_graph import START, Command, InMemorySaver, Runtime, StateGraph, interrupt
from durable_graph.testing import CrashSweepError, EffectLog, FakeClock, ScriptedModel, crash_sweep
from durable_graph.types import RunnableConfig


class Refund(TypedDict, total=False):
    complaint: str
    letter: str
    paid: bool


def refunds(model: ScriptedModel, bank: EffectLog, *, careful: bool = True) -> StateGraph[Refund]:
    """What is tested; in your program, `model` and `bank` are the real ones."""

    async def draft(refund: Refund) -> Refund:
        return {"letter": (await model.ainvoke(refund["complaint"])).content}

    def approve(refund: Refund) -> Refund:
        return {"paid": interrupt(refund["letter"]) == "yes"}

    def pay(refund: Refund, runtime: Runtime) -> None:
        if refund["paid"]:
            bank.add("refund", key=runtime.idempotency_key if careful else None)

    graph = StateGraph(Refund).add_sequence([draft, approve, pay])
    return graph.add_edge(START, "draft")


CONFIG: RunnableConfig = {"configurable": {"thread_id": "1"}}
COMPLAINT: Refund = {"complaint": "It is broken."}

pytestmark = pytest.mark.asyncio


async def test_the_model_writes_and_a_person_decides(
    durable_model: Callable[..., ScriptedModel],
    durable_saver: InMemorySaver,
    durable_clock: FakeClock,
    durable_effects: EffectLog,
) -> None:
    model = durable_model("We are sorry.")
    graph = refunds(model, durable_effects).compile(durable_saver)
    asked = await graph.ainvoke(COMPLAINT, CONFIG)
    assert asked["__interrupt__"][0].value == "We are sorry."
    assert model.calls[0][0].content == "It is broken."
    await durable_clock.advance(24 * 3600)  # the next day
    assert (await graph.ainvoke(Command(resume="yes"), CONFIG))["paid"]
    durable_effects.check(["refund"])


async def test_a_model_that_is_down_is_asked_again(
    durable_model: Callable[..., ScriptedModel],
    durable_saver: InMemorySaver,
    durable_effects: EffectLog,
) -> None:
    model = durable_model(ConnectionError("down"), "We are sorry.")
    graph = refunds(model, durable_effects).compile(durable_saver)
    with pytest.raises(ConnectionError):
        await graph.ainvoke(COMPLAINT, CONFIG)
    asked = await graph.ainvoke(None, CONFIG)  # goes on where it failed
    assert asked["__interrupt__"]


async def test_nobody_can_tell_a_crash(durable_effects: EffectLog) -> None:
    model = ScriptedModel("We are sorry.", by="turn")  # who runs again is told the same again
    graph = refunds(model, durable_effects)
    await crash_sweep(graph.compile, COMPLAINT, answers=["yes"], effects=durable_effects)


async def test_a_payment_without_a_key_is_found_out(durable_effects: EffectLog) -> None:
    graph = refunds(ScriptedModel("Sorry.", by="turn"), durable_effects, careful=False)
    with pytest.raises(CrashSweepError, match="'refund' of node 'pay' happened 2 times") as found:
        await crash_sweep(graph.compile, COMPLAINT, answers=["yes"], effects=durable_effects)
    print(f"\n{found.value}")
