"""A program that holds secrets in every place where they belong, and prints all there is to see.

``python canary.py FILE crash`` is killed in the middle; ``python canary.py FILE`` goes on, asks,
fails, is answered, and comes to its end. `TOKENS` are what nobody may find afterwards in what it
printed or stored.
"""

from __future__ import annotations

import asyncio
import operator
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypedDict

from durable_graph import (
    START,
    Command,
    Runtime,
    Secret,
    StateGraph,
    interrupt,
    step,
    task,
)
from durable_graph.errors import DurableGraphError
from durable_graph.types import RunnableConfig, StreamMode
from durable_graph_sqlite import SqliteSaver

TOKENS: Final = {
    "context": "canary-context-8e1f",
    "config": "canary-config-77ab",
    "header": "canary-header-41cd",
    "environment": "canary-environment-03bb",
    "exception": "canary-exception-90de",
    "tool": "canary-tool-5c2a",
    "task": "canary-task-b61e",
    "update": "canary-update-d04f",
    "question": "canary-question-66aa",
}
VARIABLE: Final = "DURABLE_GRAPH_CANARY"
MODES: Final[list[StreamMode]] = [
    "values",
    "updates",
    "messages",
    "tasks",
    "checkpoints",
    "custom",
    "debug",
]


class State(TypedDict, total=False):
    done: Annotated[list[str], operator.add]
    anything: Any


@dataclass
class Context:
    key: Secret[str]
    exception: Secret[str]
    crash: bool
    failed: bool = False


async def fetch(key: Secret[str], url: str) -> str:
    """A tool that authenticates itself."""
    return f"{url}: {len(key.reveal())} characters were enough"


@task
async def sign(text: str, *, key: Secret[str]) -> int:
    """The same, as a task."""
    return len(text) + len(key.reveal())


async def use(state: State, runtime: Runtime[Context], config: RunnableConfig) -> State:
    """Uses all of them, and tells its watcher about them."""
    held = config["configurable"]
    assert (runtime.context.key.reveal(), held["key"].reveal()) == (
        TOKENS["context"],
        TOKENS["config"],
    )
    assert os.environ[VARIABLE] == TOKENS["environment"]
    runtime.stream_writer({"context": runtime.context, "config": held})
    fetched = await step("fetch", fetch, Secret(TOKENS["tool"]), "https://example.org")
    length = await sign("text", key=Secret(TOKENS["task"]))
    return {"done": [fetched, str(length)]}


async def die(runtime: Runtime[Context]) -> State:
    """Is killed, the first time."""
    if runtime.context.crash:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"done": ["died"]}


async def ask(state: State) -> State:
    """Tries to show a secret to whoever is asked, and asks then without it."""
    try:
        interrupt({"approve": Secret(TOKENS["question"])})
    except Exception:
        traceback.print_exc()
    return {"done": [interrupt("approve?")]}


async def fail(state: State, runtime: Runtime[Context]) -> State:
    """Fails with a secret in the arguments of its error; then tries to keep one."""
    if not runtime.context.failed:
        runtime.context.failed = True
        raise LookupError("refused", runtime.context.exception, {"auth": runtime.context})
    return {"anything": {"auth": Secret(TOKENS["update"])}}


def graph(saver: SqliteSaver) -> Any:
    """The graph that is watched."""
    build: Any = StateGraph(State, context_schema=Context)
    before = START
    for name, node in (("use", use), ("die", die), ("ask", ask), ("fail", fail)):
        build.add_node(name, node).add_edge(before, name)
        before = name
    return build.compile(saver)


async def main(path: str, crash: bool) -> None:
    """Run it, and print everything."""
    config: Any = {
        "configurable": {
            "thread_id": "canary",
            "key": Secret(TOKENS["config"]),
            "headers": {"Authorization": Secret(TOKENS["header"])},
        },
        "metadata": {"purpose": "test"},
    }
    context = Context(Secret(TOKENS["context"]), Secret(TOKENS["exception"]), crash)
    async with SqliteSaver(path) as saver:
        runs = graph(saver)
        inputs: list[Any] = [{"done": ["begun"]}, Command(resume="yes"), None]
        for input in inputs:
            try:
                async for event in runs.astream(
                    input, config, stream_mode=MODES, context=context, version="v2"
                ):
                    print(event, flush=True)
            except (LookupError, DurableGraphError) as error:
                traceback.print_exc()
                print(error, repr(error), flush=True)
        print(await runs.aget_state(config))
        async for snapshot in runs.aget_state_history(config):
            print(snapshot, flush=True)
        async for event in runs.astream_history(config, stream_mode=MODES):
            print(event, flush=True)
        print("to the end", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:] == ["crash"]))
