"""`output_keys=`: some keys of the state only."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import Command, interrupt
from durable_graph.errors import ConfigError
from durable_graph.saver import Saver
from durable_graph.types import GraphOutput, RunnableConfig
from tests.runtime.kit import Items, chain, collect, says


async def both(state: Items) -> Items:
    return {"items": ["both"], "count": 1}


async def test_only_some_keys_are_shown(saver: Saver, config: RunnableConfig) -> None:
    """In what is returned, in "values" and in "updates"; other modes are as they are."""
    graph = chain(("a", says("a")), ("both", both), saver=saver)
    assert await graph.ainvoke({"last": 1}, config, output_keys=["count", "last"]) == {
        "count": 1,
        "last": 1,
    }
    modes: Any = ["values", "updates", "checkpoints"]
    events = await collect(graph.astream({}, config, stream_mode=modes, output_keys=["count"]))
    assert [data for mode, data in events if mode == "updates"] == [
        {"a": None},
        {"both": {"count": 1}},
    ]
    assert [data for mode, data in events if mode == "values"] == [{"count": 1}, {"count": 2}]
    assert events[-1][1]["values"]["items"] == ["a", "both"] * 2


async def test_of_a_single_key_its_value_is_shown(saver: Saver, config: RunnableConfig) -> None:
    """In either version."""
    graph = chain(("a", says("a")), saver=saver)
    assert await graph.ainvoke({}, config, output_keys="items") == ["a"]
    output = await graph.ainvoke({}, config, output_keys="items", version="v2")
    assert output == GraphOutput(["a", "a"])
    stream = graph.astream({}, config, stream_mode="updates", output_keys="items")
    assert await collect(stream) == [{"a": ["a"]}]


async def test_questions_are_shown_with_whatever_keys(saver: Saver, config: RunnableConfig) -> None:
    """They would be overlooked otherwise."""

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = chain(("ask", ask), saver=saver)
    for keys in ("count", ["count"]):
        result = await graph.ainvoke({}, config, output_keys=keys, on_pending="supersede")
        assert [question.value for question in result["__interrupt__"]] == ["?"]
        stream = graph.astream(None, config, stream_mode="values", output_keys=keys)
        assert "__interrupt__" in (await collect(stream))[-1]
    assert await graph.ainvoke(Command(resume="!"), config, output_keys="items") == ["!"]


@pytest.mark.parametrize("keys", ["itens", ["items", "itens"]])
async def test_a_key_that_is_none_is_refused(
    keys: Any, saver: Saver, config: RunnableConfig
) -> None:
    """With the key that may be meant."""
    graph = chain(("a", says("a")), saver=saver)
    with pytest.raises(ConfigError, match=r"output_keys has 'itens'.*Did you mean 'items'"):
        await graph.ainvoke({}, config, output_keys=keys)
    with pytest.raises(ConfigError, match="output_keys has 'itens'"):
        graph.astream({}, config, output_keys=keys)
