"""A node may fail with any text, and its thread can be gone on with."""

from __future__ import annotations

from typing import TypedDict

import pytest

from durable_graph import START, InMemorySaver, StateGraph
from tests.pure.worlds import thread


class State(TypedDict, total=False):
    done: bool


@pytest.mark.parametrize(
    "text",
    [
        "",
        "two\nlines",
        "x" * 100_000,
        "\0",
        "no such file: caf\udce9",
    ],
    ids=["empty", "lines", "long", "zero", "surrogate"],
)
async def test_a_node_may_fail_with_any_text(text: str) -> None:
    """The caller gets the node's own error; called again, the thread runs the node again."""
    errors = [ValueError(text)]

    async def fails_once(state: State) -> State:
        if errors:
            raise errors.pop()
        return {"done": True}

    graph = StateGraph(State).add_node("n", fails_once).add_edge(START, "n")
    compiled = graph.compile(InMemorySaver())
    with pytest.raises(ValueError) as caught:
        await compiled.ainvoke({}, thread("t"))
    assert str(caught.value) == text
    assert await compiled.ainvoke(None, thread("t")) == {"done": True}
