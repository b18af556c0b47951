"""The modes "tasks", "checkpoints" and "debug", in the shapes that LangGraph has."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest

from durable_graph import START, Command, Send, StateGraph, interrupt
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, fan, history, says


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


async def test_tasks_shows_begin_and_end_of_each_task(saver: Saver, config: RunnableConfig) -> None:
    """Two events a task, under the id that the snapshot shows."""
    graph = chain(("a", says("a")), saver=saver, interrupt_before=["a"])
    await graph.ainvoke({"items": ["in"]}, config)
    (task,) = (await graph.aget_state(config)).tasks
    events = await collect(graph.astream(None, config, stream_mode="tasks", interrupt_before=[]))
    assert events == [
        {
            "id": task.id,
            "name": "a",
            "input": {"items": ["in"], "count": 0},
            "triggers": ("branch:to:a",),
        },
        {
            "id": task.id,
            "name": "a",
            "error": None,
            "result": {"items": ["a"]},
            "interrupts": [],
        },
    ]


async def test_a_packets_task_shows_its_argument_and_metadata(
    saver: Saver, config: RunnableConfig
) -> None:
    """Input is the packet's argument; the node's metadata is in the first event."""

    async def take(state: Any) -> None: ...

    graph = StateGraph(Items).add_node("take", take, metadata={"kind": "worker"})
    graph.add_conditional_edges(START, lambda s: [Send("take", {"n": 1})])
    begin, end = await collect(graph.compile(saver).astream({}, config, stream_mode="tasks"))
    assert {**begin, "id": ""} == {
        "id": "",
        "name": "take",
        "input": {"n": 1},
        "triggers": ("__pregel_push",),
        "metadata": {"kind": "worker"},
    }
    assert (end["result"], end["id"]) == ({}, begin["id"])


async def test_a_tasks_metadata_is_the_callers_and_its_nodes(
    saver: Saver, config: RunnableConfig
) -> None:
    """Both together, the node's counting first, and the call's tags."""
    graph = StateGraph(Items).add_node("a", says("a"), metadata={"kind": "worker", "who": "node"})
    given: RunnableConfig = {**config, "metadata": {"user": "Ada", "who": "call"}, "tags": ["x"]}
    stream = graph.add_edge(START, "a").compile(saver).astream({}, given, stream_mode="tasks")
    begin, end = await collect(stream)
    assert begin["metadata"] == {"user": "Ada", "kind": "worker", "who": "node", "tags": ["x"]}
    assert "metadata" not in end


async def test_a_tasks_triggers_are_the_ways_that_lead_to_its_node(
    saver: Saver, config: RunnableConfig
) -> None:
    """Edges, routers and commands are one way; each join that ends there is one more."""
    builder = StateGraph(Items)
    for name in ("a", "b", "c"):
        builder.add_node(name, says(name))
    builder.add_edge(START, "a").add_edge("a", "b").add_edge(["b", "a"], "c")
    events = await collect(builder.compile(saver).astream({}, config, stream_mode="tasks"))
    assert {event["name"]: event["triggers"] for event in events if "triggers" in event} == {
        "a": ("branch:to:a",),
        "b": ("branch:to:b",),
        "c": ("branch:to:c", "join:a+b:c"),
    }


async def test_a_task_that_asks_ends_with_its_question(
    saver: Saver, config: RunnableConfig
) -> None:
    """Questions are plain dicts here; the task begins again with the answer."""
    graph = chain(("ask", ask), saver=saver)
    _, end = await collect(graph.astream({}, config, stream_mode="tasks"))
    (question,) = (await graph.aget_state(config)).interrupts
    assert end["interrupts"] == [{"value": "?", "id": question.id, "response_schema": None}]
    assert (end["error"], end["result"]) == (None, {})
    begin, end = await collect(graph.astream(Command(resume="!"), config, stream_mode="tasks"))
    assert (begin["name"], end["result"]) == ("ask", {"items": ["!"]})


async def test_a_task_that_fails_ends_with_the_error_itself(
    saver: Saver, config: RunnableConfig
) -> None:
    """The live event holds the exception; then the iterator raises it."""
    error = KeyError("bad")

    async def bad(state: Items) -> None:
        raise error

    stream = chain(("bad", bad), saver=saver).astream({}, config, stream_mode="tasks")
    begin, end = await anext(stream), await anext(stream)
    assert (begin["name"], end["error"], end["result"], end["interrupts"]) == ("bad", error, {}, [])
    with pytest.raises(KeyError):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_task_that_wrote_a_key_twice_lists_the_writes(
    saver: Saver, config: RunnableConfig
) -> None:
    """The result of such a key is marked as several writes."""

    async def node(state: Items) -> Any:
        return [{"items": ["a"], "last": 1}, {"items": ["b"]}, Command()]

    events = await collect(chain(("n", node), saver=saver).astream({}, config, stream_mode="tasks"))
    assert events[1]["result"] == {"items": {"$writes": [["a"], ["b"]]}, "last": 1}


async def test_checkpoints_shows_every_checkpoint_as_the_history_has_it(
    saver: Saver, config: RunnableConfig
) -> None:
    """Config, parent, values, metadata and what is next agree with the snapshots."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    events = await collect(graph.astream({"items": ["in"]}, config, stream_mode="checkpoints"))
    snapshots = (await history(graph, config))[::-1]
    assert [event["config"] for event in events] == [s.config for s in snapshots]
    assert [event["parent_config"] for event in events] == [s.parent_config for s in snapshots]
    assert [event["values"] for event in events] == [s.values for s in snapshots]
    assert [event["metadata"] for event in events] == [s.metadata for s in snapshots]
    assert [tuple(event["next"]) for event in events] == [s.next for s in snapshots]
    assert [[t["name"] for t in event["tasks"]] for event in events] == [
        ["__start__"],
        ["a"],
        ["b"],
        [],
    ]
    assert events[1]["tasks"] == [
        {"id": snapshots[1].tasks[0].id, "name": "a", "interrupts": (), "state": None}
    ]


async def test_going_on_begins_with_the_checkpoint_there_is(
    saver: Saver, config: RunnableConfig
) -> None:
    """Its tasks say what has become of them so far: a result, or an error."""

    runs: list[str] = []

    async def bad(state: Items) -> None:
        runs.append("bad")
        if len(runs) == 1:
            raise KeyError("bad")

    graph = fan(("a", says("a")), ("bad", bad), saver=saver)
    with pytest.raises(KeyError):
        await graph.ainvoke({}, config)
    events = await collect(graph.astream(None, config, stream_mode="checkpoints"))
    first, second = events[0]["tasks"]
    assert (first["name"], first["result"]) == ("a", {"items": ["a"]})
    assert (second["name"], second["error"]) == ("bad", "KeyError: 'bad'")


async def test_a_checkpoint_that_is_gone_on_with_shows_what_was_asked_there(
    saver: Saver, config: RunnableConfig
) -> None:
    """Also the question that this very call answers: the event is that of the checkpoint."""
    graph = chain(("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    (question,) = (await graph.aget_state(config)).interrupts
    answer: Command[Any] = Command(resume="!")
    first, last = await collect(graph.astream(answer, config, stream_mode="checkpoints"))
    (task,) = first["tasks"]
    assert [asked["id"] for asked in task["interrupts"]] == [question.id]
    assert last["tasks"] == []


@pytest.mark.parametrize("last", ["end", "ask"])
async def test_a_call_that_changes_nothing_shows_the_checkpoint_there_is(
    last: str, saver: Saver, config: RunnableConfig
) -> None:
    """None on a finished thread, or on one that asks: where it stands is all there is to see."""
    graph = chain((last, ask if last == "ask" else says("end")), saver=saver)
    await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    modes: Any = ["checkpoints", "debug"]
    (_, checkpoint), (_, debug) = await collect(graph.astream(None, config, stream_mode=modes))
    assert (checkpoint["config"], tuple(checkpoint["next"])) == (state.config, state.next)
    assert (debug["type"], debug["payload"]) == ("checkpoint", checkpoint)


async def test_a_single_valued_states_result_is_the_value_in_checkpoints(
    saver: Saver, config: RunnableConfig
) -> None:
    """As in snapshots; in "tasks", results are by channel, and this one's is named."""

    async def a(state: list[str]) -> list[str]:
        return ["a"]

    async def bad(state: list[str]) -> None:
        raise KeyError("bad")

    graph = StateGraph(Annotated[list[str], operator.add]).add_node(a).add_node(bad)
    compiled = graph.add_edge(START, "a").add_edge(START, "bad").compile(saver)
    with pytest.raises(KeyError):
        await compiled.ainvoke(["in"], config)
    shown = [task.result for task in (await compiled.aget_state(config)).tasks]
    stream = compiled.astream(None, config, stream_mode="checkpoints")
    results = [task.get("result") for task in (await anext(stream))["tasks"]]
    await stream.aclose()
    assert shown == results == [["a"], None]


async def test_a_failed_task_of_a_checkpoint_has_an_error_and_nothing_else(
    saver: Saver, config: RunnableConfig
) -> None:
    """Of `interrupts`, `result` and `error`, a failed task has the last."""

    async def bad(state: Items) -> None:
        raise KeyError("bad")

    graph = chain(("bad", bad), saver=saver)
    with pytest.raises(KeyError):
        await graph.ainvoke({}, config)
    stream = graph.astream(None, config, stream_mode="checkpoints")
    (task,) = (await anext(stream))["tasks"]
    await stream.aclose()
    assert set(task) == {"id", "name", "state", "error"}


async def test_debug_is_tasks_and_checkpoints_with_step_and_time(
    saver: Saver, config: RunnableConfig
) -> None:
    """Each debug event wraps the event of the other mode that comes with it."""
    graph = chain(("a", says("a")), saver=saver)
    modes: Any = ["tasks", "checkpoints", "debug"]
    events = await collect(graph.astream({"items": ["in"]}, config, stream_mode=modes))
    plain = [event for mode, event in events if mode != "debug"]
    debug = [event for mode, event in events if mode == "debug"]
    assert [event["payload"] for event in debug] == plain
    assert [(event["step"], event["type"]) for event in debug] == [
        (-1, "checkpoint"),
        (0, "checkpoint"),
        (1, "task"),
        (1, "task_result"),
        (1, "checkpoint"),
    ]
    assert all(set(event) == {"step", "timestamp", "type", "payload"} for event in debug)
    assert all(datetime.fromisoformat(event["timestamp"]).tzinfo is UTC for event in debug)


async def test_within_a_superstep_events_come_in_order(
    saver: Saver, config: RunnableConfig
) -> None:
    """Task begins, custom events, update, task end, values, then the checkpoint."""

    async def node(state: Items, writer: Any) -> Items:
        writer("custom")
        return {"items": ["a"]}

    modes: Any = ["values", "updates", "tasks", "checkpoints", "custom"]
    graph = chain(("node", node), saver=saver)
    events = await collect(graph.astream({"items": ["in"]}, config, stream_mode=modes))
    assert [mode for mode, _ in events] == [
        "checkpoints",
        "values",
        "checkpoints",
        "tasks",
        "custom",
        "updates",
        "tasks",
        "values",
        "checkpoints",
    ]


async def test_all_updates_of_a_superstep_come_before_its_values(
    saver: Saver, config: RunnableConfig
) -> None:
    """Also of those that finished early."""
    graph = fan(*((name, says(name)) for name in "abc"), saver=saver)
    modes: Any = ["values", "updates"]
    events = await collect(graph.astream({}, config, stream_mode=modes))
    assert [mode for mode, _ in events] == ["updates", "updates", "updates", "values"]
