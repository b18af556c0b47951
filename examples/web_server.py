"""A graph in a web server: runs are streamed as they go, and end when their watcher leaves.

    python examples/web_server.py
    curl -N --json '{"text": "the weather"}' localhost:8000/threads/1/start
    curl -N --json '{"answer": "yes"}' localhost:8000/threads/1/answer

A client that leaves stops its run; `/threads/1/continue` goes on where it was.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import Body, FastAPI, Request
from fastapi.encoders import jsonable_encoder
from sse_starlette import EventSourceResponse, JSONServerSentEvent

from durable_graph import START, Command, MessagesState, Runtime, StateGraph, interrupt
from durable_graph.errors import DurableGraphError
from durable_graph.types import RunnableConfig
from durable_graph_sqlite import SqliteSaver


async def write(state: MessagesState, runtime: Runtime) -> MessagesState:
    """Stands in for a language model, and takes its time over each token."""
    words = f"Dear friend, on {state['messages'][-1].content} nothing is known yet.".split()
    for word in words:
        runtime.emit_message(word + " ")
        await asyncio.sleep(float(os.environ.get("PACE", "0.2")))
    return {"messages": [("assistant", " ".join(words))]}


def send(state: MessagesState) -> MessagesState:
    sent = interrupt("Send this letter?") == "yes"
    return {"messages": [("assistant", "It is sent." if sent else "It is torn up.")]}


builder = StateGraph(MessagesState).add_sequence([write, send]).add_edge(START, "write")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with SqliteSaver("server.db") as saver:  # one for the whole server
        app.state.graph = builder.compile(saver)
        yield


app = FastAPI(lifespan=lifespan)


def streamed(request: Request, thread: str, input: Any) -> EventSourceResponse:
    config: RunnableConfig = {"configurable": {"thread_id": thread}}

    async def events() -> AsyncIterator[JSONServerSentEvent]:
        try:
            # If the client leaves, this loop is cancelled, and with it the run.
            async for part in request.app.state.graph.astream(
                input, config, stream_mode=["messages", "updates"], version="v2"
            ):
                data = jsonable_encoder(part["data"])
                yield JSONServerSentEvent(data, event=part["type"], id=part["cursor"])
        except DurableGraphError as error:
            yield JSONServerSentEvent(str(error), event=type(error).__name__)

    return EventSourceResponse(events())


@app.post("/threads/{thread}/start")
async def start(request: Request, thread: str, text: str = Body(embed=True)) -> Any:
    return streamed(request, thread, {"messages": text})


@app.post("/threads/{thread}/continue")
async def go_on(request: Request, thread: str) -> Any:
    return streamed(request, thread, None)


@app.post("/threads/{thread}/answer")
async def answer(request: Request, thread: str, answer: str = Body(embed=True)) -> Any:
    return streamed(request, thread, Command(resume=answer))


@app.get("/threads/{thread}")
async def look(request: Request, thread: str) -> Any:
    state = await request.app.state.graph.aget_state({"configurable": {"thread_id": thread}})
    asked = [question.value for question in state.interrupts]
    return {"messages": state.values.get("messages", []), "next": state.next, "asks": asked}


@app.get("/health")
async def health(request: Request) -> Any:
    return {"saver": repr(request.app.state.graph.checkpointer), "tasks": len(asyncio.all_tasks())}


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
