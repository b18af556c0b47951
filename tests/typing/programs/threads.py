"""Threads: state, history, questions and answers, editing, savers."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TypedDict

from durable_graph import (
    START,
    Command,
    InMemorySaver,
    Interrupt,
    Runtime,
    StateGraph,
    StateSnapshot,
    get_config,
    get_runtime,
    interrupt,
)
from durable_graph.errors import NothingToResumeError, ThreadBusyError
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver


class Refund(TypedDict, total=False):
    amount: int
    answer: str


def ask(refund: Refund, config: RunnableConfig) -> Refund:
    answer: str = interrupt({"question": f"Pay {refund.get('amount', 0)}?"})
    print(config.get("configurable", {})["thread_id"], get_config().get("tags"))
    return {"answer": answer}


async def pay(refund: Refund, runtime: Runtime) -> None:
    print(runtime.attempt, runtime.step, len(runtime.idempotency_key), get_runtime().node)


builder = StateGraph(Refund).add_sequence([ask, pay]).add_edge(START, "ask")


def questions(snapshot: StateSnapshot) -> list[Interrupt]:
    return [question for task in snapshot.tasks for question in task.interrupts]


async def main() -> None:
    config: RunnableConfig = {"configurable": {"thread_id": "order"}, "tags": ["refund"]}
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteSaver(Path(folder) / "refunds.db") as saver:
            graph = builder.compile(checkpointer=saver, interrupt_before=["pay"])
            await graph.ainvoke({"amount": 5}, config, durability="async", by="ada")
            state = await graph.aget_state(config)
            print(state.next, questions(state)[0].value)
            await graph.ainvoke(Command(resume="yes"), config)
            written = await graph.aupdate_state(config, {"amount": 4}, as_node="ask", by="bob")
            result = await graph.ainvoke(None, written)
            print(result["amount"], result.get("answer"))
            async for snapshot in graph.aget_state_history(config, limit=3):
                parent = snapshot.parent_config
                print(snapshot.checkpoint_id, snapshot.created_at, parent is None)
            print([info.status async for info in saver.alist_threads()])
    sync = builder.compile(InMemorySaver()).with_config({"configurable": {"thread_id": "1"}})
    try:
        sync.invoke(Command(resume="too early"))
    except (NothingToResumeError, ThreadBusyError) as error:
        print(type(error).__name__)
    first = sync.invoke({"amount": 3}, stream_mode="values", on_pending="reject")
    print(first["__interrupt__"][0].id != "")
    print(sync.get_state(config).values, [*sync.get_state_history(config)])


if __name__ == "__main__":
    asyncio.run(main())
