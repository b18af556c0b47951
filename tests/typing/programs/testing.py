"""Testing one's own graph, with what the library has for that."""

from __future__ import annotations

import asyncio

from durable_graph import START, InMemorySaver, MessagesState, Runtime, StateGraph
from durable_graph.testing import EffectLog, FakeClock, ScriptedModel, crash_sweep

model = ScriptedModel("Hello", ["Good", "bye"], ConnectionError("down"), by="turn")
mails = EffectLog("mails")


async def speak(state: MessagesState, runtime: Runtime) -> MessagesState:
    mails.add("send", key=runtime.idempotency_key)
    async for chunk in model.astream(state["messages"]):
        runtime.emit_message(chunk)
    return {"messages": [await model.ainvoke(state["messages"])]}


async def main() -> None:
    builder = StateGraph(MessagesState).add_node(speak).add_edge(START, "speak")
    swept = await crash_sweep(
        builder.compile, {"messages": "Hi"}, effects=mails, answers=lambda question: question.value
    )
    print(swept.values["messages"][-1]["content"], swept.points[0].when, swept.points[0].call)
    mails.check(["send"])
    clock = FakeClock()
    graph = builder.compile(InMemorySaver(clock=clock))
    await graph.ainvoke({"messages": "Hi"}, {"configurable": {"thread_id": "1"}})
    await clock.advance(60)
    print(len(model.calls), [effect.node for effect in mails.calls])


if __name__ == "__main__":
    asyncio.run(main())
