"""`IsLastStep` and `RemainingSteps`: how far a run may go, as keys of its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import pydantic
import pytest

from durable_graph import END, START, IsLastStep, RemainingSteps, StateGraph
from durable_graph.errors import GraphDefinitionError, GraphRecursionError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import collect, records_of


class Dict(TypedDict, total=False):
    n: int
    last: IsLastStep
    left: RemainingSteps


@dataclass
class Data:
    n: int
    last: IsLastStep
    left: RemainingSteps


class Model(pydantic.BaseModel):
    n: int
    last: IsLastStep
    left: RemainingSteps


class Plain(TypedDict):
    n: int


def read(state: Any) -> tuple[Any, ...]:
    get = state.get if isinstance(state, dict) else lambda name: getattr(state, name)
    return get("n"), get("last"), get("left")


@pytest.mark.parametrize("schema", [Dict, Data, Model])
async def test_nodes_and_routers_see_how_far_a_run_may_go(
    schema: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Counted down to 1, in which the run has to end; anew for each call."""
    seen: list[Any] = []

    def node(state: Any) -> Any:
        seen.append(read(state))
        return {"n": read(state)[0] + 1}

    def route(state: Any) -> str:
        seen.append(read(state))
        return END if read(state)[1] else "node"

    graph = StateGraph(schema).add_node("node", node).add_edge(START, "node")
    compiled = graph.add_conditional_edges("node", route, ["node", END]).compile(saver)
    for _ in range(2):
        assert await compiled.ainvoke({"n": 0}, {**config, "recursion_limit": 3}) == {"n": 3}
        assert seen == [
            *((0, False, 3), (1, False, 3)),
            *((1, False, 2), (2, False, 2)),
            *((2, True, 1), (3, True, 1)),
        ]
        seen.clear()


async def test_a_run_that_does_not_heed_them_reaches_the_limit(
    saver: Saver, config: RunnableConfig
) -> None:
    """What they say is what the limit does; a call that goes on counts anew."""
    seen: list[Any] = []

    def node(state: Dict) -> Dict:
        seen.append((state["last"], state["left"]))
        return {"n": state["n"] + 1}

    graph = StateGraph(Dict).add_node("node", node).add_edge(START, "node")
    compiled = graph.add_edge("node", "node").compile(saver)
    for given in ({"n": 0}, None):
        with pytest.raises(GraphRecursionError):
            await compiled.ainvoke(given, {**config, "recursion_limit": 2})
    assert seen == [(False, 2), (True, 1)] * 2


async def test_they_are_neither_stored_nor_shown(saver: Saver, config: RunnableConfig) -> None:
    """A node may return the whole state it was given; what it has of them is left out."""

    def node(state: Dict) -> Dict:
        return {**state, "n": 1}

    graph = StateGraph(Dict).add_node("node", node).add_edge(START, "node").compile(saver)
    events = await collect(
        graph.astream({"n": 0, "left": 7}, config, stream_mode=["values", "updates"])
    )
    assert [event for _, event in events] == [{"n": 0}, {"node": {"n": 1}}, {"n": 1}]
    assert (await graph.aget_state(config)).values == {"n": 1}
    bodies = b"".join(record.body or b"" for record in await records_of(saver, config))
    assert b"left" not in bodies


def test_inputs_and_outputs_have_none() -> None:
    """Nobody gives them, and nobody gets them back."""
    for schemas in ({"input_schema": Dict}, {"output_schema": Dict}):
        graph = StateGraph(Plain, **schemas)
        graph.add_node("n", lambda s: None).add_edge(START, "n")
        with pytest.raises(GraphDefinitionError, match="'last', 'left', which the engine supplies"):
            graph.compile()
