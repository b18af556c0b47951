"""The topologies of the specification: a crash in the second of three steps, and an approval."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

import pytest

from durable_graph import END, START, Command, StateGraph, interrupt
from durable_graph.types import RunnableConfig
from tests.seeds.notebook import Notebook, SaverMaker


class Steps(TypedDict, total=False):
    step1: str
    step2: str
    step3: str


class Post(TypedDict, total=False):
    topic: str
    draft: str
    approved: bool
    published: str


class PowerFailureError(Exception):
    """What ends a run in the middle of a step."""


def steps_that_crash_once(ran: list[str]) -> StateGraph:
    """START → step_1 → step_2 (crash) → step_3 → END."""

    def step_1(state: Steps) -> Steps:
        ran.append("step_1")
        return {"step1": "done"}

    def step_2(state: Steps) -> Steps:
        ran.append("step_2")
        if ran.count("step_2") == 1:
            raise PowerFailureError
        return {"step2": "done"}

    def step_3(state: Steps) -> Steps:
        ran.append("step_3")
        return {"step3": "done"}

    builder = StateGraph(Steps)
    builder.add_node("step_1", step_1)
    builder.add_node("step_2", step_2)
    builder.add_node("step_3", step_3)
    builder.add_edge(START, "step_1")
    builder.add_edge("step_1", "step_2")
    builder.add_edge("step_2", "step_3")
    builder.add_edge("step_3", END)
    return builder


@pytest.mark.parametrize(
    ("name", "cell", "thread"),
    [
        ("seed_002_specification", "6 fault tolerance", "fault_demo"),
        ("seed_002_clean_rewrite", "crash behaviour", "thread-1"),
    ],
)
def test_a_run_resumes_at_the_step_that_crashed(
    name: str,
    cell: str,
    thread: str,
    notebook: Callable[..., Notebook],
    make_saver: SaverMaker,
) -> None:
    """Section 6, and the clean version of it: step_2 → step_3 → END, without step_1."""
    ran: list[str] = []
    config: RunnableConfig = {"configurable": {"thread_id": thread}}
    with make_saver() as saver:
        graph = steps_that_crash_once(ran).compile(checkpointer=saver)
        with pytest.raises(PowerFailureError):
            graph.invoke({}, config)
        assert graph.get_state(config).next == ("step_2",)
        final = notebook(name, workflow=graph, graph=graph).run(cell)
    assert final == {"step1": "done", "step2": "done", "step3": "done"}
    assert ran == ["step_1", "step_2", "step_2", "step_3"]


def test_a_thread_waits_for_approval_and_then_publishes(make_saver: SaverMaker) -> None:
    """START → propose_post → await_approval → publish_post → END, with a person in between."""
    ran: list[str] = []

    def propose_post(state: Post) -> Post:
        ran.append("propose_post")
        return {"draft": f"A post about {state['topic']}"}

    def await_approval(state: Post) -> Post:
        return {"approved": interrupt({"draft": state["draft"]}) == "yes"}

    def publish_post(state: Post) -> Post:
        ran.append("publish_post")
        return {"published": state["draft"]}

    builder = StateGraph(Post)
    builder.add_sequence([propose_post, await_approval, publish_post])
    builder.add_edge(START, "propose_post")
    builder.add_edge("publish_post", END)
    config: RunnableConfig = {"configurable": {"thread_id": "post"}}
    with make_saver() as saver:
        workflow = builder.compile(checkpointer=saver)
        asked = workflow.invoke({"topic": "logs"}, config)
        assert [question.value for question in asked["__interrupt__"]] == [
            {"draft": "A post about logs"}
        ]
        assert workflow.get_state(config).next == ("await_approval",)
        assert ran == ["propose_post"]
        final = workflow.invoke(Command(resume="yes"), config)
    assert final == {
        "topic": "logs",
        "draft": "A post about logs",
        "approved": True,
        "published": "A post about logs",
    }
    assert ran == ["propose_post", "publish_post"]
