"""What happened in graphs within is read back from the log as it was told."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import START, Command, Send, StateGraph, interrupt
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.inner.nests import Count, nest
from tests.runtime.kit import Items, chain, collect, says

MODES: Any = ["updates", "values", "tasks", "checkpoints"]


def graphs() -> dict[str, Any]:
    """Graphs with graphs within: one in the other, called, side by side, and kept."""
    count = Count()

    def asks(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    inner = chain(("a", says("a")), ("asks", asks), ("b", says("b")))
    kept = chain(("a", says("a")), saver=True)

    async def calls(state: Items) -> Items:
        one = await kept.ainvoke({"items": ["one"]})
        two = await inner.ainvoke({"items": ["two"]})
        return {"items": [one["items"], two["items"]]}

    wide = StateGraph(Items).add_node("many", inner)
    wide.add_conditional_edges(
        START, lambda state: [Send("many", {"count": n}) for n in range(3)], ["many"]
    )
    return {
        "nested": nest(2, [count.node("a"), ("asks", asks), ("b", says("b"))]),
        "called": chain(("calls", calls)),
        "wide": wide.compile(),
    }


@pytest.mark.parametrize("name", ["nested", "called", "wide"])
async def test_it_is_told_as_it_was(name: str, saver: Saver, config: RunnableConfig) -> None:
    """Each event that has a cursor: the same data, in the same order, from the same graph."""
    around = StateGraph(Items).add_node("graph", graphs()[name]).add_edge(START, "graph")
    graph = around.compile(saver)
    told: list[Any] = []
    inputs: list[Any] = [{"last": 1}, {"last": 0}]
    while inputs:
        given = inputs.pop()
        told += await collect(
            graph.astream(given, config, stream_mode=MODES, version="v2", subgraphs=True)
        )
        asks = (await graph.aget_state(config)).interrupts
        if asks:
            inputs.append(Command(resume={ask.id: "yes" for ask in asks}))
    kept = [p for p in told if p["cursor"] is not None and not _begins(p)]
    back = await collect(graph.astream_history(config, stream_mode=MODES, subgraphs=True))
    assert {p["ns"] for p in back} == {p["ns"] for p in kept}
    shown = [(p["cursor"], p["ns"], p["type"]) for p in kept]
    assert [(p["cursor"], p["ns"], p["type"]) for p in back] == sorted(shown, key=_place)
    assert [p for p in back if p["type"] != "checkpoints"] == sorted(
        (p for p in kept if p["type"] != "checkpoints"), key=lambda p: _place((p["cursor"],))
    )
    for place in range(0, len(back), 7):
        after = back[place]["cursor"]
        rest = graph.astream_history(config, after=after, stream_mode=MODES, subgraphs=True)
        assert await collect(rest) == back[place + 1 :]
    assert all(not p["ns"] for p in await collect(graph.astream_history(config)))


def _begins(part: Any) -> bool:
    return part["type"] == "tasks" and "input" in part["data"]


def _place(shown: Any) -> tuple[int, ...]:
    return tuple(map(int, shown[0].split(".")))
