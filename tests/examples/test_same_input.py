"""Running a script again after a crash, with inputs as scripts have them."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Overwrite, StateGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig


class Batch(TypedDict, total=False):
    items: list[str]
    done: Annotated[list[str], operator.add]


class PowerFailureError(Exception):
    """What ends the first run."""


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"done": Overwrite([])},
    ],
)
async def test_the_same_input_after_a_failure_goes_on(
    more: dict[str, Any], saver: Saver, config: RunnableConfig
) -> None:
    """The first node is not run again, whatever the input is made of."""
    ran: list[str] = []

    async def first(batch: Batch) -> Batch:
        ran.append("first")
        return {"done": ["first"]}

    async def second(batch: Batch) -> Batch:
        ran.append("second")
        if ran.count("second") == 1:
            raise PowerFailureError
        return {"done": ["second"]}

    graph = StateGraph(Batch).add_sequence([first, second]).add_edge(START, "first").compile(saver)
    given = {"items": ["a"], **more}
    with pytest.raises(PowerFailureError):
        await graph.ainvoke(given, config)
    assert await graph.ainvoke(given, config) == {"items": ["a"], "done": ["first", "second"]}
    assert ran == ["first", "second", "second"]
