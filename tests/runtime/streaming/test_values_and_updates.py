"""The modes "values" and "updates": what each event holds, and when it comes."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Command, Interrupt, Overwrite, Send, StateGraph, interrupt
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, fan, says


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


async def test_values_shows_the_state_after_the_input_and_after_each_superstep(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each event is the whole state, cut to the output's keys."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    events = await collect(graph.astream({"items": ["in"]}, config, stream_mode="values"))
    assert events == [
        {"items": ["in"], "count": 0},
        {"items": ["in", "a"], "count": 0},
        {"items": ["in", "a", "b"], "count": 0},
    ]


async def test_values_leaves_out_supersteps_that_wrote_nothing(
    saver: Saver, config: RunnableConfig
) -> None:
    """An empty input and a node that returns None have no event of their own."""
    graph = chain(("c", lambda: None), ("a", says("a")), ("d", lambda: None), saver=saver)
    events = await collect(graph.astream({}, config, stream_mode="values"))
    assert events == [{"items": ["a"], "count": 0}]


async def test_updates_shows_what_each_node_wrote(saver: Saver, config: RunnableConfig) -> None:
    """One event a task: the node's name and its update, or None if it wrote nothing."""

    async def empty(state: Items) -> Items:
        return {}

    graph = fan(("a", says("a")), ("b", lambda: None), ("c", empty), saver=saver)
    events = await collect(graph.astream({}, config, stream_mode="updates"))
    assert sorted(events, key=str) == [{"a": {"items": ["a"]}}, {"b": None}, {"c": None}]


async def test_updates_is_what_is_watched_if_nobody_says(
    saver: Saver, config: RunnableConfig
) -> None:
    """The default mode of `astream`."""
    graph = chain(("a", says("a")), saver=saver)
    assert await collect(graph.astream({}, config)) == [{"a": {"items": ["a"]}}]


async def test_several_updates_of_different_keys_are_shown_as_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """A list of commands that write different keys is one dict."""

    async def node(state: Items) -> Any:
        return [Command(update={"items": ["a"]}), {"last": 1}]

    events = await collect(chain(("node", node), saver=saver).astream({}, config))
    assert events == [{"node": {"items": ["a"], "last": 1}}]


async def test_several_updates_of_one_key_are_shown_one_by_one(
    saver: Saver, config: RunnableConfig
) -> None:
    """A key that was written twice makes the event a list."""

    async def node(state: Items) -> Any:
        return [Command(update={"items": ["a"]}), Command(update={"items": ["b"]})]

    events = await collect(chain(("node", node), saver=saver).astream({}, config))
    assert events == [{"node": [{"items": ["a"]}, {"items": ["b"]}]}]


async def test_updates_with_a_repeated_key_have_one_dict_for_each_write(
    saver: Saver, config: RunnableConfig
) -> None:
    """Once a key repeats, every single write is a dict of its own, in order."""

    async def node(state: Items) -> Any:
        return [{"items": ["a"], "last": 1}, Command(update={"items": ["b"]})]

    events = await collect(chain(("node", node), saver=saver).astream({}, config))
    assert events == [{"node": [{"items": ["a"]}, {"last": 1}, {"items": ["b"]}]}]


async def test_a_command_is_shown_by_its_update(saver: Saver, config: RunnableConfig) -> None:
    """Where it leads is not part of the event; without an update it is None."""

    async def node(state: Items) -> Any:
        return Command(update={"last": 1}, goto="other")

    async def other(state: Items) -> Any:
        return Command()

    graph = StateGraph(Items).add_node("node", node, destinations=("other",))
    compiled = graph.add_node("other", other).add_edge(START, "node").compile(saver)
    events = await collect(compiled.astream({}, config))
    assert events == [{"node": {"last": 1}}, {"other": None}]


async def test_an_overwrite_is_shown_by_its_value(saver: Saver, config: RunnableConfig) -> None:
    """The event says what is in the state now."""

    async def node(state: Items) -> Any:
        return {"items": Overwrite(["only"])}

    events = await collect(
        chain(("node", node), saver=saver).astream({"items": ["in"]}, config, stream_mode="updates")
    )
    assert events == [{"node": {"items": ["only"]}}]


async def test_the_same_node_sent_to_twice_is_shown_twice(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each task has its event, under the same name."""

    async def take(state: Any) -> Items:
        return {"items": [state]}

    graph = StateGraph(Items).add_node("take", take)
    graph.add_conditional_edges(START, lambda s: [Send("take", 1), Send("take", 2)])
    events = await collect(graph.compile(saver).astream({}, config))
    assert sorted(events, key=str) == [{"take": {"items": [1]}}, {"take": {"items": [2]}}]


async def test_a_single_valued_state_is_shown_as_its_value(
    saver: Saver, config: RunnableConfig
) -> None:
    """Values are the value, updates the node's value."""

    async def a(state: list[str]) -> list[str]:
        return ["a"]

    graph = StateGraph(Annotated[list[str], operator.add]).add_node("a", a).add_edge(START, "a")
    modes: Any = ["values", "updates"]
    events = await collect(graph.compile(saver).astream(["in"], config, stream_mode=modes))
    assert events == [("values", ["in"]), ("updates", {"a": ["a"]}), ("values", ["in", "a"])]


class Hidden(TypedDict, total=False):
    secret: int


async def test_private_keys_are_shown_by_updates_and_values_alike(
    saver: Saver, config: RunnableConfig
) -> None:
    """What LangGraph shows: all channels in `values`, all written keys in `updates`."""

    async def a(state: Items) -> Any:
        return {"secret": 1}

    async def b(state: Hidden) -> Items:
        return {"last": state["secret"]}

    graph = StateGraph(Items, output_schema=Items).add_node("a", a)
    graph.add_node("b", b, input_schema=Hidden).add_edge(START, "a").add_edge("a", "b")
    modes: Any = ["values", "updates"]
    events = await collect(graph.compile(saver).astream({}, config, stream_mode=modes))
    assert events[0] == ("updates", {"a": {"secret": 1}})
    assert events[-1][1]["last"] == 1


async def test_a_question_is_the_last_event_of_both_modes(
    saver: Saver, config: RunnableConfig
) -> None:
    """Updates shows each question as it is asked; values the state with all of them."""
    graph = fan(("a", ask), ("b", ask), ("c", says("c")), saver=saver)
    modes: Any = ["updates", "values"]
    events = await collect(graph.astream({"items": ["in"]}, config, stream_mode=modes))
    updates = [event for mode, event in events if mode == "updates"]
    assert {"c": {"items": ["c"]}} in updates
    asked = [event["__interrupt__"] for event in updates if "__interrupt__" in event]
    assert [len(questions) for questions in asked] == [1, 1]
    mode, last = events[-1]
    assert (mode, last["items"]) == ("values", ["in", "c"])
    assert all(type(question) is Interrupt for question in last["__interrupt__"])
    assert sorted(q.id for q in last["__interrupt__"]) == sorted(q.id for (q,) in asked)
    state = await graph.aget_state(config)
    assert {q.id for q in state.interrupts} == {q.id for (q,) in asked}


async def test_going_on_begins_with_the_values_there_are(
    saver: Saver, config: RunnableConfig
) -> None:
    """After an answer, or with None, the first values event is the present state."""
    graph = chain(("a", says("a")), ("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    events = await collect(graph.astream(Command(resume="!"), config, stream_mode="values"))
    assert events == [{"items": ["a"], "count": 0}, {"items": ["a", "!"], "count": 0}]


@pytest.mark.parametrize("given", [None, {"items": ["in"]}], ids=["None", "same input"])
async def test_a_call_that_changes_nothing_still_shows_the_question(
    given: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Who runs a script again sees in the stream what a call returns: the open question."""
    graph = chain(("ask", ask), saver=saver)
    modes: Any = ["updates", "values"]
    first = await collect(graph.astream({"items": ["in"]}, config, stream_mode=modes))
    again = await collect(graph.astream(given, config, stream_mode=modes))
    assert again[-2:] == first[-2:]


async def test_a_call_on_a_finished_thread_shows_its_state(
    saver: Saver, config: RunnableConfig
) -> None:
    """None on a thread with nothing to do: one values event, as `ainvoke` returns the state."""
    graph = chain(("a", says("a")), saver=saver)
    result = await graph.ainvoke({}, config)
    assert await graph.ainvoke(None, config) == result
    assert await collect(graph.astream(None, config, stream_mode="values")) == [result]


async def test_a_breakpoint_is_shown_as_an_interrupt_without_questions(
    saver: Saver, config: RunnableConfig
) -> None:
    """In `updates`, a stop at a breakpoint is an empty `__interrupt__`."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver, interrupt_before=["b"])
    events = await collect(graph.astream({}, config))
    assert events == [{"a": {"items": ["a"]}}, {"__interrupt__": ()}]


async def test_an_update_by_command_is_shown_like_an_input(
    saver: Saver, config: RunnableConfig
) -> None:
    """The values after `Command(update=...)` come before its nodes run."""
    graph = chain(("a", says("a")), saver=saver)
    events = await collect(
        graph.astream(Command(update={"items": ["u"]}, goto="a"), config, stream_mode="values")
    )
    assert events == [{"items": ["u"], "count": 0}, {"items": ["u", "a"], "count": 0}]


async def test_a_replayed_input_is_shown_once(saver: Saver, config: RunnableConfig) -> None:
    """Going on from an input's checkpoint shows each state once: before it, then after it."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({"items": ["in"]}, config)
    begin = [s async for s in graph.aget_state_history(config)][-1]
    events = await collect(graph.astream(None, begin.config, stream_mode="values"))
    assert events == [
        {"items": [], "count": 0},
        {"items": ["in"], "count": 0},
        {"items": ["in", "a"], "count": 0},
    ]
