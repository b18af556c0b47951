"""`EffectLog` tells what happened twice, and what never did."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Command, Runtime, Send, StateGraph, interrupt
from durable_graph.saver import Saver
from durable_graph.testing import EffectLog
from durable_graph.types import RetryPolicy, RunnableConfig


class State(TypedDict, total=False):
    done: Annotated[list[str], operator.add]


def graph_of(node: Any) -> StateGraph[State]:
    """One node."""
    return StateGraph(State).add_node("node", node).add_edge(START, "node")


async def asked_in_between(saver: Saver, config: RunnableConfig, node: Any) -> None:
    """Run a node that asks something, and so runs twice."""
    graph = graph_of(node).compile(saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke(Command(resume="yes"), config)


async def test_a_key_makes_it_happen_once(saver: Saver, config: RunnableConfig) -> None:
    """The second execution sends the same key, and is told that it was known."""
    log, told = EffectLog(), []

    def node(state: State, runtime: Runtime) -> State:
        told.append(log.add("pay", key=runtime.idempotency_key))
        return {"done": [interrupt("?")]}

    await asked_in_between(saver, config, node)
    assert told == [True, False]
    assert log.happened == ["pay"]
    assert [call.took_place for call in log.calls] == [True, False]
    log.check(["pay"])


async def test_without_a_key_it_happens_again(saver: Saver, config: RunnableConfig) -> None:
    """A line says which node it was, how often, and what to do about it."""
    log = EffectLog("payments")

    def node(state: State) -> State:
        log.add("pay")
        return {"done": [interrupt("?")]}

    await asked_in_between(saver, config, node)
    with pytest.raises(AssertionError, match="payments:\n  'pay' of node 'node' happened 2 times"):
        log.check()


async def test_the_same_twice_in_one_execution_is_meant(saver: Saver, config: Any) -> None:
    """Only what another execution does in its place is a duplicate."""
    log = EffectLog()

    def node(state: State) -> State:
        log.add("ring")
        log.add("ring")
        return {}

    graph = graph_of(node).compile(saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke({}, config)
    assert log.happened == ["ring"] * 4
    log.check(["ring"] * 4)
    with pytest.raises(AssertionError, match="'ring' is missing"):
        log.check(["ring"] * 5)


async def test_a_key_of_several_swallows(saver: Saver, config: RunnableConfig) -> None:
    """The service takes the second effect for the first one."""
    log = EffectLog()

    def each(state: State) -> list[Send]:
        return [Send("pay", name) for name in ("ada", "bob")]

    async def pay(name: str, runtime: Runtime) -> State:
        log.add(f"pay {name}", key=runtime.run_id)
        return {}

    graph = StateGraph(State).add_node(pay).add_conditional_edges(START, each, ["pay"])
    await graph.compile(saver).ainvoke({}, config)
    assert len(log.happened) == 1
    with pytest.raises(AssertionError, match="'pay bob' of node 'pay' never happened"):
        log.check()
    with pytest.raises(AssertionError, match="'pay bob' is missing"):
        log.check(["pay ada", "pay bob"])
    with pytest.raises(AssertionError, match="'pay ada' was not expected"):
        log.check([])


async def test_a_retry_is_another_execution(saver: Saver, config: RunnableConfig) -> None:
    """What a failed attempt has done is done twice."""
    log = EffectLog()

    async def node(state: State, runtime: Runtime) -> State:
        log.add("pay")
        if runtime.attempt == 1:
            raise ConnectionError
        return {}

    policy = RetryPolicy(initial_interval=0, jitter=False)
    graph = StateGraph(State).add_node("node", node, retry_policy=policy).add_edge(START, "node")
    await graph.compile(saver).ainvoke({}, config)
    assert len(log.duplicates()) == 1


def test_outside_a_node_there_is_nobody_to_tell_apart() -> None:
    """The error says where to call it."""
    with pytest.raises(RuntimeError, match=r"EffectLog.add\(\) works only inside a node"):
        EffectLog().add("pay")
