"""A stored value of a type that the reading program does not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypedDict

import pytest

from durable_graph import START, StateGraph
from durable_graph.errors import IncompatibleGraphError, IntegrityError, UnknownTypeError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import history, key_of


@dataclass
class Order:
    number: int


class Known(TypedDict, total=False):
    order: Order
    other: int


class Unknown(TypedDict, total=False):
    order: Any
    other: int


class Other(TypedDict, total=False):
    other: int


def graph_over(schema: Any, saver: Saver, sees: Any = None) -> CompiledGraph:
    async def count(state: Any) -> Any:
        return {"other": state.get("other", 0) + 1}

    graph = StateGraph(schema).add_node("count", count, input_schema=sees or schema)
    return graph.add_edge(START, "count").compile(saver)


@pytest.fixture
async def stored(saver: Saver, config: RunnableConfig) -> str:
    """A thread with an order in its state since its second run; returns its last checkpoint."""
    graph = graph_over(Known, saver)
    await graph.ainvoke({"other": 0}, config)
    await graph.ainvoke({"order": Order(7)}, config)
    saver.hot.take(key_of(config))
    return (await graph.aget_state(config)).checkpoint_id or ""


async def test_the_error_names_tag_thread_and_checkpoint(
    stored: str, saver: Saver, config: RunnableConfig
) -> None:
    """Whoever gets it can find the value and knows what to register."""
    saver.hot.take(key_of(config))
    with pytest.raises(UnknownTypeError) as caught:
        await graph_over(Unknown, saver).aget_state(config)
    text = str(caught.value)
    assert f"Thread {config['configurable']['thread_id']!r}, checkpoint {stored}" in text
    assert "'Order'" in text
    assert "register_type" in text


async def test_a_run_that_would_read_it_is_refused(
    stored: str, saver: Saver, config: RunnableConfig
) -> None:
    """Before anything runs, with the checkpoint's name; the thread is as good as before."""
    graph = graph_over(Unknown, saver)
    with pytest.raises(IncompatibleGraphError, match="'Order'") as caught:
        await graph.ainvoke({"other": 5}, config)
    assert f", checkpoint {stored}: " in str(caught.value)
    saver.hot.take(key_of(config))
    state = await graph_over(Known, saver).aget_state(config)
    assert state.values == {"order": Order(7), "other": 2}
    assert state.checkpoint_id == stored


async def test_history_shows_the_other_checkpoints(
    stored: str, saver: Saver, config: RunnableConfig
) -> None:
    """Each checkpoint that has the value is shown with an error of its own."""
    for shown in await history(graph_over(Unknown, saver), config):
        if isinstance(shown.values, IntegrityError):
            assert f"checkpoint {shown.checkpoint_id}" in str(shown.values)
    values = [one.values for one in await history(graph_over(Unknown, saver), config)]
    assert [isinstance(one, UnknownTypeError) for one in values] == [True] * 3 + [False] * 3


async def test_who_does_not_read_the_value_is_not_held_up(
    stored: str, saver: Saver, config: RunnableConfig
) -> None:
    """A node whose schema leaves the key out runs."""

    async def count(state: Other) -> Other:
        return {"other": 9}

    graph = StateGraph(Unknown, output_schema=Other).add_node("count", count)
    lean = graph.add_edge(START, "count").compile(saver)
    assert await lean.ainvoke({"other": 5}, config) == {"other": 9}
