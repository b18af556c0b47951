"""The mode "custom", how several modes are told apart, and the parts of version v2."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from durable_graph import START, Command, MessagesState, StateGraph, get_stream_writer, interrupt
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig, StreamMode, StreamWriter
from tests.runtime.kit import Items, chain, collect, fan, says


async def writes_async(state: Items, writer: StreamWriter) -> None:
    writer(1)
    await asyncio.sleep(0)
    get_stream_writer()({"two": 2})
    writer(None)


def writes_sync(state: Items, writer: StreamWriter) -> None:
    writer(1)
    get_stream_writer()({"two": 2})
    writer(None)


async def writes_from_threads(state: Items, writer: StreamWriter) -> None:
    await asyncio.to_thread(writer, 1)
    thread = threading.Thread(target=writer, args=({"two": 2},))
    thread.start()
    await asyncio.to_thread(thread.join)
    await asyncio.to_thread(get_stream_writer(), None)


@pytest.mark.parametrize("node", [writes_async, writes_sync, writes_from_threads])
async def test_custom_shows_what_a_node_writes(
    node: Any, saver: Saver, config: RunnableConfig
) -> None:
    """In order, as it is, from the loop, from worker threads and from threads of the node's own."""
    graph = chain(("node", node), saver=saver)
    events = await collect(graph.astream({}, config, stream_mode="custom"))
    assert events == [1, {"two": 2}, None]


async def test_a_custom_event_comes_while_the_node_runs(
    saver: Saver, config: RunnableConfig
) -> None:
    """It does not wait for the node to finish, or for anything to be stored."""
    heard = asyncio.Event()

    async def node(state: Items, writer: StreamWriter) -> None:
        writer("working")
        await heard.wait()

    stream = chain(("node", node), saver=saver).astream({}, config, stream_mode="custom")
    assert await anext(stream) == "working"
    heard.set()
    assert await collect(stream) == []


async def test_custom_events_may_be_anything(saver: Saver, config: RunnableConfig) -> None:
    """They are not stored, so they need not be storable."""
    thing = object()

    async def node(state: Items, writer: StreamWriter) -> None:
        writer(thing)

    graph = chain(("node", node), saver=saver)
    (event,) = await collect(graph.astream({}, config, stream_mode="custom"))
    assert event is thing


async def test_without_a_watcher_writing_is_harmless(saver: Saver, config: RunnableConfig) -> None:
    """The writer is there whether or not somebody watches."""
    graph = fan(("a", writes_async), ("b", writes_sync), saver=saver)
    await graph.ainvoke({}, config)
    assert await collect(graph.astream({}, config, stream_mode="values")) == []


@pytest.mark.parametrize("modes", [["updates"], ("updates",), ["values", "updates"]])
async def test_a_list_or_tuple_of_modes_names_the_mode_of_each_event(
    modes: Any, saver: Saver, config: RunnableConfig
) -> None:
    """Even if it has but one; a single word does not."""
    graph = chain(("a", says("a")), saver=saver)
    events = await collect(graph.astream({}, config, stream_mode=modes))
    assert ("updates", {"a": {"items": ["a"]}}) in events
    assert {mode for mode, _ in events} == set(modes)


async def test_parts_name_type_and_namespace(saver: Saver, config: RunnableConfig) -> None:
    """In version v2 every event is a dict of the same four keys, whatever the modes."""
    graph = chain(("node", writes_async), ("a", says("a")), saver=saver)
    modes: Any = ["values", "updates", "custom", "tasks", "checkpoints", "debug"]
    parts = await collect(graph.astream({"last": 1}, config, stream_mode=modes, version="v2"))
    other: RunnableConfig = {"configurable": {"thread_id": "other"}}
    plain = await collect(graph.astream({"last": 1}, other, stream_mode=modes))
    assert [part["type"] for part in parts] == [mode for mode, _ in plain]
    assert all(set(part) >= {"type", "ns", "data", "cursor"} for part in parts)
    assert all(part["ns"] == () for part in parts)
    custom = [part for part in parts if part["type"] == "custom"]
    assert [part["data"] for part in custom] == [1, {"two": 2}, None]


def place(cursor: str) -> tuple[int, ...]:
    return tuple(map(int, cursor.split(".")))


async def test_cursors_of_durable_events_grow_strictly(
    saver: Saver, config: RunnableConfig
) -> None:
    """Updates, results, values and checkpoints have a cursor each; custom events have none."""
    nodes = [(name, says(name)) for name in "abc"]
    graph = fan(*nodes, ("d", writes_async), saver=saver)
    modes: Any = ["values", "updates", "custom", "tasks", "checkpoints"]
    seen: list[tuple[int, ...]] = []
    for _ in range(2):
        parts = await collect(graph.astream({"last": 1}, config, stream_mode=modes, version="v2"))
        for part in parts:
            begins = part["type"] == "tasks" and "input" in part["data"]
            if part["type"] == "custom" or begins:
                assert part["cursor"] is None
            else:
                assert part["cursor"] is not None
                seen.append(place(part["cursor"]))
    assert seen == sorted(set(seen))
    assert len(seen) == 2 * (2 + 8 + 2 + 1)


@pytest.mark.parametrize(
    ("end", "mode"), [("asks", "values"), ("fails", "tasks"), ("stops", "updates")]
)
async def test_how_a_run_ended_has_a_cursor(
    end: str, mode: StreamMode, saver: Saver, config: RunnableConfig
) -> None:
    """Questions, a failure and a stop at a breakpoint are in the log like all else."""

    async def last(state: Items) -> Items:
        if end == "fails":
            raise KeyError("last")
        return {"items": [interrupt("?")]}

    stops = ["last"] if end == "stops" else []
    graph = chain(("first", says("first")), ("last", last), saver=saver, interrupt_before=stops)
    told: Any = None
    with contextlib.suppress(KeyError):
        async for part in graph.astream({}, config, stream_mode=mode, version="v2"):
            told = part
    assert told["cursor"] is not None


async def test_a_fork_has_a_cursor(saver: Saver, config: RunnableConfig) -> None:
    """The checkpoint that begins a branch is a record of its own."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    before = [snapshot.config async for snapshot in graph.aget_state_history(config)][1]
    stream = graph.astream(None, before, stream_mode="checkpoints", version="v2")
    fork, _ = await collect(stream)
    assert fork["data"]["metadata"]["source"] == "fork"
    assert fork["cursor"] is not None


async def test_a_cursor_names_the_record_that_holds_the_event(
    saver: Saver, config: RunnableConfig
) -> None:
    """When an event is delivered under "sync", its record is in storage."""
    graph = chain(*((name, says(name)) for name in "abc"), saver=saver)
    async for part in graph.astream({}, config, version="v2"):
        threads = [info async for info in saver.alist_threads()]
        assert part["cursor"] is not None
        assert threads[0].records >= place(part["cursor"])[0]


async def test_each_message_of_an_update_has_a_cursor_of_its_own(
    saver: Saver, config: RunnableConfig
) -> None:
    """Who reads on after the first of two messages gets the second."""

    async def node(state: MessagesState) -> Any:
        return {"messages": [("ai", "one"), ("ai", "two")]}

    graph = StateGraph(MessagesState).add_node("node", node).add_edge(START, "node").compile(saver)
    modes: Any = ["messages", "updates"]
    parts = await collect(graph.astream({"messages": []}, config, stream_mode=modes, version="v2"))
    cursors = [part["cursor"] for part in parts]
    assert len(set(cursors)) == 3


async def test_a_values_part_keeps_questions_apart(saver: Saver, config: RunnableConfig) -> None:
    """In version v2 the data is the state alone, and `interrupts` a key beside it."""

    async def ask(state: Items) -> None:
        interrupt("?")

    graph = chain(("ask", ask), saver=saver)
    parts = await collect(graph.astream({"last": 1}, config, stream_mode="values", version="v2"))
    assert [len(part["interrupts"]) for part in parts] == [0, 1]
    assert parts[-1]["data"] == {"items": [], "count": 0, "last": 1}


async def test_an_invocation_in_another_mode_returns_its_events(
    saver: Saver, config: RunnableConfig
) -> None:
    """`ainvoke(stream_mode=...)` is the list of what `astream` would have given."""
    graph = chain(("a", says("a")), saver=saver)
    assert await graph.ainvoke({}, config, stream_mode="updates") == [{"a": {"items": ["a"]}}]
    both = await graph.ainvoke({}, config, stream_mode=["updates", "values"])
    assert [mode for mode, _ in both] == ["updates", "values"]


async def test_an_answer_streams_like_an_input(saver: Saver, config: RunnableConfig) -> None:
    """`Command(resume=...)` is given to `astream` as well."""

    async def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = chain(("ask", ask), ("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    events = await collect(graph.astream(Command(resume="!"), config))
    assert events == [{"ask": {"items": ["!"]}}, {"a": {"items": ["a"]}}]
