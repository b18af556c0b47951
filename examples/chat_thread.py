"""A chat with memory: what was said on a thread is known on that thread, and on no other."""

import asyncio
import re

from durable_graph import START, InMemorySaver, MessagesState, Runtime, StateGraph
from durable_graph.types import RunnableConfig


async def model(state: MessagesState, runtime: Runtime) -> MessagesState:
    """Stands in for a language model, and answers token by token as they do."""
    said = [message.content for message in state["messages"] if message.type == "human"]
    names = [found[1] for text in said if (found := re.search(r"[Mm]y name is (\w+)", text))]
    if not said[-1].endswith("?"):
        answer = "I will remember that."
    else:
        answer = f"You are {names[-1]}." if names else "You have not told me yet."
    for token in re.findall(r"\S+\s*", answer):
        runtime.emit_message(token)
    # The message has the id of its tokens, so that whoever saw those is not shown it once more.
    return {"messages": [{"role": "assistant", "content": answer}]}


graph = StateGraph(MessagesState).add_node(model).add_edge(START, "model")
chat = graph.compile(InMemorySaver())


async def say(thread: str, text: str) -> None:
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    print(f"{thread} > {text}\n{thread} < ", end="")
    async for chunk, _ in chat.astream({"messages": text}, config, stream_mode="messages"):
        print(chunk.content, end="", flush=True)
    print()


async def main() -> None:
    await say("monday", "My name is Ada.")
    await say("monday", "What is my name?")
    await say("tuesday", "What is my name?")
    kept = await chat.aget_state({"configurable": {"thread_id": "monday"}})
    print(f"monday: {len(kept.values['messages'])} messages")


asyncio.run(main())
