"""Nothing that a node does to its objects reaches others, or what is stored."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from durable_graph import START, Command, Send, StateGraph, interrupt
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, fan, history, says


async def test_changing_the_input_is_no_update(saver: Saver, config: RunnableConfig) -> None:
    """What a node appends to the list it was given is not in the state."""

    async def spoil(state: Items) -> None:
        state["items"].append("spoilt")
        state["last"]["deep"] = "spoilt"

    graph = chain(("spoil", spoil), ("end", says("end")), saver=saver)
    result = await graph.ainvoke({"items": ["in"], "last": {"deep": 1}}, config)
    assert result == {"items": ["in", "end"], "count": 0, "last": {"deep": 1}}


async def test_siblings_do_not_see_each_others_changes(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each node of a superstep has objects of its own, however deep."""
    barrier = asyncio.Barrier(2)
    seen: list[Any] = []

    async def node(state: Items) -> None:
        state["items"][0]["n"] += 1
        await barrier.wait()
        seen.append(state["items"])

    await fan(("a", node), ("b", node), saver=saver).ainvoke({"items": [{"n": 0}]}, config)
    assert seen == [[{"n": 1}], [{"n": 1}]]


async def test_an_update_is_fixed_when_the_node_returns(
    saver: Saver, config: RunnableConfig
) -> None:
    """Changing the returned object later, from whoever kept it, changes no history."""
    kept: list[Any] = []
    go = asyncio.Event()

    async def returns(state: Items) -> Items:
        update = {"deep": ["returned"]}
        kept.append(update)
        asyncio.get_running_loop().call_soon(update["deep"].append, "late")
        return {"items": [update], "last": update}

    async def sibling(state: Items) -> None:
        await go.wait()

    async def check(state: Items) -> Items:
        kept[0]["deep"].append("later")
        return {"items": [state["last"]]}

    graph = StateGraph(Items)
    for name, node in (("returns", returns), ("sibling", sibling), ("check", check)):
        graph.add_node(name, node)
    graph.add_edge(START, "returns").add_edge(START, "sibling")
    compiled = graph.add_edge(["returns", "sibling"], "check").compile(saver)
    run = asyncio.create_task(compiled.ainvoke({}, config))
    while not kept or "late" not in kept[0]["deep"]:
        await asyncio.sleep(0)
    go.set()
    result = await run
    assert result["items"] == [{"deep": ["returned"]}, {"deep": ["returned"]}]
    kept[0]["deep"].clear()
    assert [s.values.get("last") for s in await history(compiled, config)] == [
        {"deep": ["returned"]},
        {"deep": ["returned"]},
        None,
        None,
    ]


async def test_the_callers_input_is_not_kept(saver: Saver, config: RunnableConfig) -> None:
    """What the caller does to its input after the call, or a node during it, stays apart."""
    given: Any = {"items": [["in"]], "last": {"a": 1}}

    async def spoil(state: Items) -> None:
        state["items"][0].append("spoilt")
        given["items"][0].append("outside")

    result = await chain(("spoil", spoil), saver=saver).ainvoke(given, config)
    assert result["items"] == [["in"]]
    assert given["items"] == [["in", "outside"]]


async def test_a_result_is_the_callers_own(saver: Saver, config: RunnableConfig) -> None:
    """Changing what a call, a snapshot or an event gave changes nothing for the next reader."""
    graph = chain(("a", says(["deep"])), saver=saver)
    result = await graph.ainvoke({}, config)
    result["items"][0].append("spoilt")
    (await graph.aget_state(config)).values["items"][0].append("spoilt")
    (await history(graph, config))[0].values["items"].clear()
    assert (await graph.aget_state(config)).values["items"] == [["deep"]]
    modes: list[Any] = ["values", "updates", "tasks", "debug", "checkpoints"]
    for mode in modes:
        async for event in graph.astream({}, config, stream_mode=[mode]):
            spoil_everything(event)
    assert (await graph.aget_state(config)).values["items"] == [["deep"]] * 6


def spoil_everything(value: Any) -> None:
    """Empty every list and dict there is in a value."""
    for part in value.values() if isinstance(value, dict) else value:
        if isinstance(part, (dict, list, tuple)):
            spoil_everything(part)
    if isinstance(value, (dict, list)):
        value.clear()


async def test_several_modes_share_no_objects(saver: Saver, config: RunnableConfig) -> None:
    """Emptying one mode's event leaves those of the other modes as they are."""
    graph = chain(("a", says(["deep"])), saver=saver)
    events = []
    modes: Any = ["tasks", "debug", "updates", "checkpoints", "values"]
    async for mode, event in graph.astream({}, config, stream_mode=modes):
        events.append((mode, repr(event)))
        spoil_everything(event)
    shown = [text for mode, text in events if mode == "debug" and "'task_result'" in text]
    assert len(shown) == 1
    assert "['deep']" in shown[0]


async def test_a_router_may_spoil_its_state(saver: Saver, config: RunnableConfig) -> None:
    """A router that changes what it sees changes neither the update nor another router's view."""
    seen: list[Any] = []

    def first(state: Items) -> list[str]:
        state["items"].append("spoilt")
        return []

    def second(state: Items) -> list[str]:
        seen.append(list(state["items"]))
        return []

    graph = StateGraph(Items).add_node("a", says("a")).add_edge(START, "a")
    graph.add_conditional_edges("a", first).add_conditional_edges("a", second)
    result = await graph.compile(saver).ainvoke({"items": ["in"]}, config)
    assert result["items"] == ["in", "a"]


async def test_a_question_and_its_answer_are_fixed_when_given(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each execution gets a fresh copy of the answer; the asker's object is not kept."""
    question, answer = {"q": [1]}, {"a": [1]}
    seen: list[Any] = []

    async def ask(state: Items) -> Items:
        got = interrupt(question)
        seen.append(got)
        got["a"].append("spoilt")
        again = interrupt("again")
        return {"items": [again]}

    graph = chain(("ask", ask), saver=saver)
    asked = await graph.ainvoke({}, config)
    question["q"].append(2)
    assert asked["__interrupt__"][0].value == {"q": [1]}
    question["q"].pop()
    await graph.ainvoke(Command(resume=answer), config)
    answer["a"].append(2)
    await graph.ainvoke(Command(resume="end"), config)
    assert seen == [{"a": [1, "spoilt"]}, {"a": [1, "spoilt"]}]
    assert answer == {"a": [1, 2]}


@pytest.mark.parametrize("value", [{"nested": [1, {"x": (1, 2)}]}, {1, 2}, b"bytes", 1.5, None])
async def test_packets_of_one_object_are_copies(
    value: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Two packets with the same object arrive as two equal objects of the same types."""
    seen: list[Any] = []

    async def take(state: Any) -> None:
        seen.append(state)

    graph = StateGraph(Items).add_node("take", take)
    graph.add_conditional_edges(START, lambda s: [Send("take", {"v": value})] * 2)
    await graph.compile(saver).ainvoke({}, config)
    one, two = seen
    assert one == two == {"v": value}
    assert one is not two
    assert type(one["v"]) is type(value)


async def test_events_show_what_a_task_was_given_not_what_it_made_of_it(
    saver: Saver, config: RunnableConfig
) -> None:
    """The input in a `tasks` event is from before the node changed its copy."""

    async def spoil(state: Items) -> None:
        state["items"].append("spoilt")

    graph = chain(("spoil", spoil), saver=saver)
    events = await collect(graph.astream({"items": ["in"]}, config, stream_mode="tasks"))
    assert events[0]["input"] == {"items": ["in"], "count": 0}
