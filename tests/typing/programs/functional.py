"""Functions as graphs, tasks and steps."""

from __future__ import annotations

import asyncio
from typing import Any, assert_type

from durable_graph import (
    NOT_DONE,
    Command,
    InMemorySaver,
    RetryPolicy,
    Runtime,
    StepClaim,
    entrypoint,
    interrupt,
    step,
    task,
)
from durable_graph.engine.tasks.future import StepFuture
from durable_graph.graph.compiled import CompiledGraph


@task
async def fetch(url: str, *, times: int = 1) -> str:
    return url * times


@task
def count(text: str) -> int:
    return len(text)


@task(name="pay", retry_policy=RetryPolicy(max_attempts=2), idempotent=False)
async def pay(amount: float) -> tuple[str, float]:
    return ("paid", amount)


def send(to: str, *, subject: str) -> bool:
    return to != subject


async def post(text: str) -> int:
    return len(text)


def look(claim: StepClaim) -> object:
    return NOT_DONE if claim.args else True


@entrypoint(InMemorySaver())
async def flow(url: str, *, previous: int | None = None) -> int:
    assert_type(fetch(url, times=2), StepFuture[str])
    text = await fetch(url)
    assert_type(text, str)
    lengths = await asyncio.gather(*(count(part) for part in text.split()))
    assert_type(lengths, list[int])
    assert_type(await pay(1.5), tuple[str, float])
    sent = await step("send", send, "ann", subject="hello", reconcile=look)
    assert_type(sent, bool)
    assert_type(await step("post", post, text, idempotent=True), int)
    if interrupt("Go on?"):
        return sum(lengths) + (previous or 0)
    return 0


@entrypoint()
def plain(number: int, runtime: Runtime[None]) -> entrypoint.final[str, list[int]]:
    assert_type(count("text").result(timeout=5), int)
    return entrypoint.final(value=str(number), save=[number, runtime.step])


@entrypoint()
async def saving(number: int) -> entrypoint.final[str, int]:
    return entrypoint.final(value=str(number), save=number)


async def main() -> None:
    assert_type(flow, CompiledGraph[int, Any, str, int])
    assert_type(plain, CompiledGraph[str, Any, int, str])
    assert_type(saving, CompiledGraph[str, Any, int, str])
    print(await flow.ainvoke("a b", {"configurable": {"thread_id": "1"}}))
    print(await flow.ainvoke(Command(resume=True), {"configurable": {"thread_id": "1"}}))
    print(plain.invoke(5), await saving.ainvoke(3))


if __name__ == "__main__":
    asyncio.run(main())
