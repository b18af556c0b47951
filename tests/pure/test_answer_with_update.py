"""An answer that comes with an update of the state."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from durable_graph import START, Command, InMemorySaver, StateGraph, interrupt
from tests.pure.worlds import thread


class State(TypedDict, total=False):
    doc: dict[str, Any]
    pages: list[str]
    answer: str


@pytest.mark.parametrize(
    "update",
    [
        {"doc": {"member 1": "replaced"}},
        {"pages": ["replaced"]},
        {"doc": {}, "pages": []},
    ],
)
async def test_a_finished_result_is_what_its_node_wrote(update: Any) -> None:
    """A sibling's result that waits for the answer counts as a whole value, whatever came between.

    Without a reducer the last value holds, and a node's own is later than the update.
    """
    doc = {f"member {n}": "a value, and not a short one" for n in range(10)}
    pages = [f"page {n} of the book, and not a short one" for n in range(10)]

    async def write(state: State) -> State:
        return {"doc": {**state["doc"], "member 0": "written"}, "pages": [*state["pages"], "more"]}

    async def ask(state: State) -> State:
        return {"answer": interrupt("which?")}

    graph = StateGraph(State).add_node("write", write).add_node("ask", ask)
    graph.add_edge(START, "write").add_edge(START, "ask")
    compiled = graph.compile(InMemorySaver())
    await compiled.ainvoke({"doc": doc, "pages": pages}, thread("t"))
    done = await compiled.ainvoke(Command(resume="this", update=update), thread("t"))
    assert done["answer"] == "this"
    assert done["doc"] == {**doc, "member 0": "written"}
    assert done["pages"] == [*pages, "more"]
