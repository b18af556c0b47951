"""What is seen of graphs within graphs."""

from __future__ import annotations

from typing import Any

import pytest

from durable_graph import Command, get_runtime, get_stream_writer, interrupt
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.inner.nests import nest
from tests.runtime.kit import Items, chain, collect, says

MODES: Any = ["values", "updates", "custom", "tasks", "checkpoints"]


async def emits(state: Items) -> Items:
    """Emits an event and a token."""
    get_stream_writer()("an event")
    get_runtime().emit_message("a token")
    return {"items": ["emits"]}


def short(ns: tuple[str, ...]) -> str:
    """A namespace without ids."""
    return "/".join(part.partition(":")[0] for part in ns)


async def test_each_event_comes_with_the_way_to_its_graph(
    saver: Saver, config: RunnableConfig
) -> None:
    """In the order in which things happen, as in LangGraph."""
    graph = nest(2, [("a", says("a"))], saver)
    events = await collect(
        graph.astream({"last": 0}, config, stream_mode=["updates", "values"], subgraphs=True)
    )
    start = {"items": [], "count": 0, "last": 0}
    end = {"items": ["a"], "count": 0, "last": 0}
    assert [(short(ns), mode, data) for ns, mode, data in events] == [
        ("", "values", start),
        ("level 1", "values", start),
        ("level 1/level 2", "values", start),
        ("level 1/level 2", "updates", {"a": {"items": ["a"]}}),
        ("level 1/level 2", "values", end),
        ("level 1", "updates", {"level 2": end}),
        ("level 1", "values", end),
        ("", "updates", {"level 1": end}),
        ("", "values", end),
    ]


async def test_one_mode_alone_comes_without_its_name(saver: Saver, config: RunnableConfig) -> None:
    """``(ns, event)``; the namespace is a tuple of node and task."""
    graph = nest(1, [("a", says("a"))], saver)
    (inner, outer) = await collect(graph.astream({}, config, stream_mode="updates", subgraphs=True))
    ns, data = inner
    assert data == {"a": {"items": ["a"]}}
    task = ns[0].partition(":")[2]
    assert ns == (f"level 1:{task}",)
    assert len(task) == 36
    assert outer[0] == ()


async def test_parts_have_their_namespace(saver: Saver, config: RunnableConfig) -> None:
    """In version 2 it is a field, and so are questions."""

    def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = nest(1, [("ask", ask)], saver)
    parts = await collect(
        graph.astream({"last": 0}, config, stream_mode=["values"], subgraphs=True, version="v2")
    )
    asked = [(short(p["ns"]), [i.value for i in p["interrupts"]]) for p in parts]
    assert asked == [("", []), ("level 1", []), ("level 1", ["?"]), ("", ["?"])]


async def test_without_subgraphs_only_the_outermost_graph_is_seen(
    saver: Saver, config: RunnableConfig
) -> None:
    """No event, token or task of a graph within."""
    graph = nest(2, [("emits", emits)], saver)
    modes: Any = [*MODES, "messages", "debug"]
    events = await collect(graph.astream({}, config, stream_mode=modes))
    assert {mode for mode, _ in events} == {"values", "updates", "tasks", "checkpoints", "debug"}
    names = [data["name"] for mode, data in events if mode == "tasks"]
    assert names == ["level 1", "level 1"]


async def test_with_subgraphs_everything_is(saver: Saver, config: RunnableConfig) -> None:
    """Events, tokens, tasks and checkpoints of all levels, each told once."""
    graph = nest(2, [("emits", emits)], saver)
    modes: Any = [*MODES, "messages"]
    events = await collect(graph.astream({}, config, stream_mode=modes, subgraphs=True))
    found = [(short(ns), mode) for ns, mode, _ in events]
    inner = [mode for ns, mode in found if ns == "level 1/level 2"]
    assert sorted(inner) == sorted(
        ["checkpoints"] * 3 + ["values"] * 2 + ["custom", "messages", "updates"] + ["tasks"] * 2
    )
    ((message, metadata),) = [data for _, mode, data in events if mode == "messages"]
    assert message.content == "a token"
    ns = metadata["langgraph_checkpoint_ns"].split("|")
    assert [part.partition(":")[0] for part in ns] == ["level 1", "level 2", "emits"]


async def test_checkpoints_name_the_ones_around(saver: Saver, config: RunnableConfig) -> None:
    """Config and metadata say at which checkpoint of each graph around they were made."""
    graph = nest(2, [("a", says("a"))], saver)
    events = await collect(graph.astream({}, config, stream_mode="checkpoints", subgraphs=True))
    last: dict[str, str] = {}
    for ns, event in events:
        named = event["config"]["configurable"]
        assert named["checkpoint_ns"] == "|".join(ns)
        around = {"": last.get("")} if ns else {}
        if len(ns) == 2:
            around[ns[0]] = last.get(ns[0])
        assert event["metadata"]["parents"] == around
        if ns:
            assert named["checkpoint_map"] == {
                **around,
                named["checkpoint_ns"]: named["checkpoint_id"],
            }
        last["|".join(ns)] = named["checkpoint_id"]


async def test_a_node_can_watch_what_it_calls(saver: Saver, config: RunnableConfig) -> None:
    """And pass on what it likes, while the caller of its own graph sees it too."""
    inner = chain(("emits", emits), ("b", says("b")))

    async def node(state: Items) -> Items:
        seen = await collect(inner.astream({}, stream_mode=["updates", "custom"]))
        assert seen == [
            ("custom", "an event"),
            ("updates", {"emits": {"items": ["emits"]}}),
            ("updates", {"b": {"items": ["b"]}}),
        ]
        seen[1][1]["emits"]["items"].append("changed")  # what one does to it is no other's
        return {}

    graph = chain(("node", node), saver=saver)
    events = await collect(graph.astream({}, config, stream_mode="updates", subgraphs=True))
    assert [data for _, data in events] == [
        {"emits": {"items": ["emits"]}},
        {"b": {"items": ["b"]}},
        {"node": None},
    ]


async def test_leaving_a_stream_within_stops_that_graph_only(
    saver: Saver, config: RunnableConfig
) -> None:
    """The node that watched it goes on."""
    inner = chain(*((name, says(name)) for name in "abc"))

    async def node(state: Items) -> Items:
        stream = inner.astream({}, stream_mode="updates")
        event = await anext(stream)
        await stream.aclose()
        return {"items": list(event)}

    graph = chain(("node", node), ("after", says("after")), saver=saver)
    assert (await graph.ainvoke({}, config))["items"] == ["a", "after"]


async def test_the_first_thing_told_on_resuming_is_where_each_graph_stands(
    saver: Saver, config: RunnableConfig
) -> None:
    """As in LangGraph: the values of each graph that goes on."""

    def ask(state: Items) -> Items:
        return {"items": [interrupt("?")]}

    graph = nest(1, [("a", says("a")), ("ask", ask)], saver)
    await graph.ainvoke({}, config)
    events = await collect(
        graph.astream(Command(resume="yes"), config, stream_mode="values", subgraphs=True)
    )
    assert [(short(ns), data["items"]) for ns, data in events] == [
        ("", []),
        ("level 1", ["a"]),
        ("level 1", ["a", "yes"]),
        ("", ["a", "yes"]),
    ]


@pytest.mark.parametrize("modes", ["updates", ["updates"]])
def test_the_synchronous_stream_shows_them_too(modes: Any, config: RunnableConfig) -> None:
    """In the same shapes."""
    graph = nest(1, [("a", says("a"))])
    events = list(graph.stream({}, config, stream_mode=modes, subgraphs=True))
    assert [short(event[0]) for event in events] == ["level 1", ""]
    assert len(events[0]) == (2 if modes == "updates" else 3)
