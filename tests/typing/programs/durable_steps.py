"""Steps within nodes, and what nodes go by: retries, timeouts, error handlers."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, TypedDict

from durable_graph import (
    START,
    Command,
    InMemorySaver,
    NodeError,
    RetryPolicy,
    Runtime,
    StateGraph,
    TimeoutPolicy,
    get_runtime,
    step,
)
from durable_graph.types import NOT_DONE, StepClaim


class Order(TypedDict, total=False):
    amount: int
    log: Annotated[list[str], operator.add]


async def charge(amount: int) -> str:
    return f"charged {amount} under {len(get_runtime().idempotency_key)} letters"


def receipt(amount: int, *, currency: str) -> int:
    return amount * (100 if currency == "EUR" else 1)


def was_charged(claim: StepClaim) -> object:
    return NOT_DONE if claim.key == "charge" else claim.args


async def pay(order: Order, runtime: Runtime) -> Order:
    said = await step("charge", charge, order.get("amount", 0), reconcile=was_charged)
    cents = await step("receipt", receipt, 5, currency="EUR", idempotent=True)
    runtime.heartbeat()
    return {"log": [said.upper(), f"{cents + 1}"]}


def fail(order: Order) -> Order:
    raise ConnectionError("down")


def excuse(order: Order, error: NodeError) -> Command[str]:
    return Command(update={"log": [f"{error.node}: {error.error}"]})


async def main() -> None:
    builder = StateGraph(Order)
    builder.add_node(pay, timeout=TimeoutPolicy(run_timeout=30, idle_timeout=10))
    builder.add_node(
        "fail", fail, retry_policy=[RetryPolicy(max_attempts=1)], error_handler=excuse, defer=True
    )
    builder.add_edge(START, "pay").add_edge(START, "fail")
    graph = builder.compile(InMemorySaver())
    result = await graph.ainvoke({"amount": 5}, {"configurable": {"thread_id": "1"}})
    print(*result["log"], sep="\n")


if __name__ == "__main__":
    asyncio.run(main())
