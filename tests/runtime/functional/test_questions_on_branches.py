"""Questions of steps and of error handlers, answered once more on a branch of their own."""

from __future__ import annotations

from typing import Any

from durable_graph import START, Command, StateGraph, entrypoint, interrupt, step, task
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain


async def _fail(state: Items) -> Items:
    raise ValueError("broken")


def _handled(handler: Any, saver: Saver) -> CompiledGraph:
    graph = StateGraph(Items).add_node("bad", _fail, error_handler=handler)
    return graph.add_edge(START, "bad").compile(saver)


async def test_the_question_of_a_task_can_be_answered_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """The branch's task finds the answer that the branch was given."""

    @task
    def ask(question: str) -> str:
        return f"{question} {interrupt(question)}"

    @entrypoint(checkpointer=saver)
    async def flow(question: str) -> str:
        return await ask(question)

    await flow.ainvoke("who?", config)
    asked = (await flow.aget_state(config)).config
    assert await flow.ainvoke(Command(resume="ann"), config) == "who? ann"
    assert await flow.ainvoke(Command(resume="bob"), asked) == "who? bob"


async def test_steps_that_ask_the_same_are_told_apart(saver: Saver, config: RunnableConfig) -> None:
    """The node and two of its steps ask one and the same question; each gets its own answer."""

    def ask() -> Any:
        return interrupt("?")

    async def node(state: Items) -> Items:
        return {"items": [await step("one", ask), await step("two", ask), interrupt("?")]}

    graph = chain(("node", node), saver=saver)
    await graph.ainvoke({}, config)
    for answer in (1, 2):
        await graph.ainvoke(Command(resume=answer), config)
    asked = (await graph.aget_state(config)).config
    before = [entry.id for entry in (await graph.aget_state(asked)).tasks[0].interrupts]
    assert (await graph.ainvoke(Command(resume=3), config))["items"] == [1, 2, 3]
    again = dict(zip(before, (4, 5, 6), strict=True))
    assert (await graph.ainvoke(Command(resume=again), asked))["items"] == [4, 5, 6]


async def test_an_error_handlers_question_can_be_answered_again(
    saver: Saver, config: RunnableConfig
) -> None:
    """The branch goes on with the handler: that the node has failed is why it asks."""

    async def handler(state: Items) -> Items:
        return {"items": [interrupt("what now?")]}

    graph = _handled(handler, saver)
    await graph.ainvoke({}, config)
    asked = (await graph.aget_state(config)).config
    assert (await graph.ainvoke(Command(resume="stop"), config))["items"] == ["stop"]
    assert (await graph.ainvoke(Command(resume="go"), asked))["items"] == ["go"]


async def test_the_graph_that_an_error_handler_calls_goes_to_the_branch(
    saver: Saver, config: RunnableConfig
) -> None:
    """What the graph had done before it asked is there on the branch, and not done again."""
    ran: list[str] = []

    async def look(state: Items) -> Items:
        ran.append("look")
        return {"items": ["seen"]}

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("what now?")]}

    child = chain(("look", look), ("ask", ask))

    async def handler(state: Items) -> Items:
        return {"items": (await child.ainvoke({}))["items"]}

    graph = _handled(handler, saver)
    await graph.ainvoke({}, config)
    asked = (await graph.aget_state(config)).config
    assert (await graph.ainvoke(Command(resume="stop"), config))["items"] == ["seen", "stop"]
    assert (await graph.ainvoke(Command(resume="go"), asked))["items"] == ["seen", "go"]
    assert ran == ["look"]


async def test_an_update_beside_an_answer_leaves_the_handlers_graph_alone(
    saver: Saver, config: RunnableConfig
) -> None:
    """The handler's task is not the node's; its graph waits on through the update's commit."""
    ran: list[str] = []

    async def look(state: Items) -> Items:
        ran.append("look")
        return {"items": ["seen"]}

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("first?"), interrupt("second?")]}

    child = chain(("look", look), ("ask", ask))

    async def handler(state: Items) -> Items:
        return {"items": (await child.ainvoke({}))["items"]}

    graph = _handled(handler, saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke(Command(resume="a", update={"last": 1}), config)
    result = await graph.ainvoke(Command(resume="b"), config)
    assert (result["items"], result["last"], ran) == (["seen", "a", "b"], 1, ["look"])
