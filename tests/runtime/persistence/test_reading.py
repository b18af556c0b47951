"""Reading a thread: its state now, as it was at a checkpoint, and its history."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from durable_graph import START, Command, Send, StateGraph, StateSnapshot, interrupt
from durable_graph.errors import CheckpointNotFoundError, ConfigError, IncompatibleGraphError
from durable_graph.saver import Saver
from durable_graph.types import RunnableConfig
from tests.runtime.kit import Items, chain, collect, fan, history, identities, says


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


def names(snapshots: Sequence[StateSnapshot]) -> list[tuple[str, int, tuple[str, ...]]]:
    return [((s.metadata or {})["source"], (s.metadata or {})["step"], s.next) for s in snapshots]


async def test_a_thread_that_does_not_exist_has_an_empty_state(
    saver: Saver, config: RunnableConfig
) -> None:
    """No values, nothing next, no checkpoint, and an empty history."""
    graph = chain(("a", says("a")), saver=saver)
    state = await graph.aget_state(config)
    assert (state.values, state.next, state.tasks, state.interrupts) == ({}, (), (), ())
    assert (state.metadata, state.created_at, state.parent_config) == (None, None, None)
    assert (state.checkpoint_id, state.thread_id) == (None, config["configurable"]["thread_id"])
    assert await history(graph, config) == []


async def test_the_history_has_a_checkpoint_for_input_start_and_each_superstep(
    saver: Saver, config: RunnableConfig
) -> None:
    """Newest first; steps count from -1, and go on over runs."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.ainvoke({"items": ["1"]}, config)
    await graph.ainvoke({"items": ["2"]}, config)
    snapshots = await history(graph, config)
    assert names(snapshots) == [
        ("loop", 6, ()),
        ("loop", 5, ("b",)),
        ("loop", 4, ("a",)),
        ("input", 3, ("__start__",)),
        ("loop", 2, ()),
        ("loop", 1, ("b",)),
        ("loop", 0, ("a",)),
        ("input", -1, ("__start__",)),
    ]
    assert [s.values["items"] for s in snapshots][::-1][:4] == [
        [],
        ["1"],
        ["1", "a"],
        ["1", "a", "b"],
    ]


async def test_each_checkpoint_names_the_one_before_it(
    saver: Saver, config: RunnableConfig
) -> None:
    """Parents form a chain, ids grow with time, and every one can be read by its config."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.ainvoke({}, config)
    snapshots = await history(graph, config)
    assert [s.parent_config for s in snapshots] == [*(s.config for s in snapshots[1:]), None]
    ids = [s.checkpoint_id or "" for s in snapshots]
    assert ids == sorted(ids, reverse=True)
    assert snapshots[1].checkpoint_id == snapshots[1].config["configurable"]["checkpoint_id"]
    for snapshot in snapshots:
        assert await graph.aget_state(snapshot.config) == snapshot


async def test_a_checkpoint_says_when_it_was_made(saver: Saver, config: RunnableConfig) -> None:
    """`created_at` is ISO 8601 in UTC, and does not go backwards."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    before = datetime.now(UTC)
    await graph.ainvoke({}, config)
    times = [datetime.fromisoformat(s.created_at or "") for s in await history(graph, config)]
    assert times == sorted(times, reverse=True)
    assert before <= times[-1] <= times[0] <= datetime.now(UTC)
    assert times[0].tzinfo is UTC


async def test_the_live_state_has_finished_results_in_it(
    saver: Saver, config: RunnableConfig
) -> None:
    """While a sibling runs, and when one asks, what is finished is in the values."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def slow(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["slow"]}

    graph = fan(("a", says("a")), ("ask", ask), ("slow", slow), saver=saver)
    run = asyncio.create_task(graph.ainvoke({"items": ["in"]}, config))
    await entered.wait()
    async with asyncio.timeout(20):
        while not (await graph.aget_state(config)).interrupts:
            await asyncio.sleep(0)
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["in", "a"], ("ask", "slow"))
    leave.set()
    await run
    state = await graph.aget_state(config)
    assert (state.values["items"], state.next) == (["in", "a", "slow"], ("ask",))
    assert [question.value for question in state.interrupts] == ["?"]


async def test_the_record_of_a_checkpoint_shows_what_became_of_its_tasks(
    saver: Saver, config: RunnableConfig
) -> None:
    """By id and in the history: values from before, all tasks with results and questions."""
    graph = fan(("a", says("a")), ("ask", ask), ("none", lambda: None), saver=saver)
    await graph.ainvoke({"items": ["in"]}, config)
    await graph.ainvoke(Command(resume="!"), config)
    _, snapshot, begin = await history(graph, config)
    assert snapshot.values["items"] == ["in"]
    assert snapshot.next == ("a", "ask", "none")
    results = [(task.name, task.result, task.error) for task in snapshot.tasks]
    assert results == [
        ("a", {"items": ["a"]}, None),
        ("ask", {"items": ["!"]}, None),
        ("none", {}, None),
    ]
    assert [[q.value for q in task.interrupts] for task in snapshot.tasks] == [[], ["?"], []]
    assert [question.value for question in snapshot.interrupts] == ["?"]
    assert [(task.name, task.result) for task in begin.tasks] == [("__start__", {"items": ["in"]})]


async def test_tasks_have_ids_and_paths(saver: Saver, config: RunnableConfig) -> None:
    """The path says whether an edge or a packet made the task due."""
    graph = StateGraph(Items).add_node("a", says()).add_edge(START, "a")
    graph.add_conditional_edges(START, lambda s: [Send("a", 1), Send("a", 2)])
    compiled = graph.compile(saver, interrupt_before="*")
    await compiled.ainvoke({}, config)
    tasks = (await compiled.aget_state(config)).tasks
    assert {task.path for task in tasks} == {
        ("__pregel_pull", "a"),
        ("__pregel_push", 0, False),
        ("__pregel_push", 1, False),
    }
    assert len({task.id for task in tasks}) == 3


async def test_the_live_state_shows_finished_tasks_with_their_results(
    saver: Saver, config: RunnableConfig
) -> None:
    """`tasks` are all tasks due at the checkpoint; `next` only those that have not finished."""
    graph = fan(("a", says("a")), ("ask", ask), saver=saver)
    await graph.ainvoke({}, config)
    state = await graph.aget_state(config)
    assert state.next == ("ask",)
    assert {task.name: task.result for task in state.tasks} == {"a": {"items": ["a"]}, "ask": None}


@pytest.mark.parametrize(
    ("filter", "steps"),
    [
        ({"source": "input"}, [2, -1]),
        ({"source": "loop"}, [4, 3, 1, 0]),
        ({"step": 3}, [3]),
        ({"who": "me"}, [4, 3, 2]),
        ({"who": "me", "source": "input"}, [2]),
        ({"who": "nobody"}, []),
        ({"unknown": 1}, []),
        ({}, [4, 3, 2, 1, 0, -1]),
    ],
)
async def test_the_history_can_be_filtered_by_metadata(
    filter: dict[str, Any], steps: list[int], saver: Saver, config: RunnableConfig
) -> None:
    """Equal values of all the keys that are asked for, the caller's own among them."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke({}, {**config, "metadata": {"who": "me"}})
    found = await history(graph, config, filter=filter)
    assert [(s.metadata or {})["step"] for s in found] == steps


async def test_a_run_can_be_found_by_its_id(saver: Saver, config: RunnableConfig) -> None:
    """`run_id` is metadata like any other, whether the caller chose it or not."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    await graph.ainvoke({}, {**config, "run_id": "the-run"})
    assert len(await history(graph, config, filter={"run_id": "the-run"})) == 3


async def test_the_history_can_be_limited_and_gone_on_with(
    saver: Saver, config: RunnableConfig
) -> None:
    """Pages of `limit` checkpoints, each `before` the last of the page before, are all of it."""
    graph = chain(*((name, says(name)) for name in "abcde"), saver=saver)
    await graph.ainvoke({}, config)
    everything = await history(graph, config)
    pages: list[StateSnapshot] = []
    while page := await history(graph, config, limit=3, before=pages[-1].config if pages else None):
        assert len(page) <= 3
        pages += page
    assert pages == everything


async def test_the_history_of_a_named_checkpoint_is_that_checkpoint(
    saver: Saver, config: RunnableConfig
) -> None:
    """A named checkpoint always means that very one; the other conditions hold as well."""
    graph = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await graph.ainvoke({}, config)
    _, last, middle, _ = whole = await history(graph, config)
    assert [await history(graph, one.config) for one in whole] == [[one] for one in whole]
    assert await history(graph, middle.config, before=last.config) == [middle]
    assert await history(graph, middle.config, before=middle.config) == []
    assert await history(graph, middle.config, filter={"source": "input"}) == []
    assert await history(graph, middle.config, limit=0) == []


async def test_a_long_history_is_read_in_pages_and_whole(
    saver: Saver, config: RunnableConfig
) -> None:
    """More checkpoints than one page of the reader, each with its own values."""
    graph = chain(("a", says("x")), saver=saver)
    for _ in range(60):
        await graph.ainvoke({}, config)
    found = await history(graph, config)
    assert [len(s.values["items"]) for s in found] == [
        n for turn in range(60, 0, -1) for n in (turn, turn - 1, turn - 1)
    ]
    assert len(await history(graph, config, filter={"source": "input"}, limit=50)) == 50


@pytest.mark.parametrize(
    "unknown", ["no-such-checkpoint", "", "00000000-0000-0000-0000-000000000000"]
)
async def test_a_checkpoint_that_is_not_there_is_an_error(
    unknown: str, saver: Saver, config: RunnableConfig
) -> None:
    """Reading it, going on from it, editing it, its history, and the history before it."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    wrong: RunnableConfig = {"configurable": {**config["configurable"], "checkpoint_id": unknown}}
    with pytest.raises(CheckpointNotFoundError):
        await graph.aget_state(wrong)
    with pytest.raises(CheckpointNotFoundError):
        await graph.ainvoke(None, wrong)
    with pytest.raises(CheckpointNotFoundError):
        await graph.aupdate_state(wrong, {"items": ["x"]})
    with pytest.raises(CheckpointNotFoundError):
        await history(graph, config, before=wrong)
    with pytest.raises(CheckpointNotFoundError):
        await history(graph, wrong)
    assert len(await history(graph, config)) == 3


async def test_a_checkpoint_of_a_thread_that_is_not_there_is_an_error(
    saver: Saver, config: RunnableConfig
) -> None:
    """The error is of the same kind, and no thread appears."""
    graph = chain(("a", says("a")), saver=saver)
    wrong: RunnableConfig = {"configurable": {**config["configurable"], "checkpoint_id": "x"}}
    calls: list[Any] = [None, {}, Command(resume=1)]
    for given in calls:
        with pytest.raises(CheckpointNotFoundError):
            await graph.ainvoke(given, wrong)
    with pytest.raises(CheckpointNotFoundError):
        await graph.aget_state(wrong)
    with pytest.raises(CheckpointNotFoundError):
        await history(graph, wrong)
    assert await collect(saver.alist_threads()) == []


async def test_before_needs_a_checkpoint(saver: Saver, config: RunnableConfig) -> None:
    """`before` without a checkpoint id is a mistake."""
    graph = chain(("a", says("a")), saver=saver)
    with pytest.raises(ConfigError, match="`before` is a config with a checkpoint_id"):
        await history(graph, config, before=config)


async def test_reading_writes_nothing(saver: Saver, config: RunnableConfig) -> None:
    """State, history and list leave the thread as it is."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, config)
    before = await identities(saver, config)
    (info,) = await collect(saver.alist_threads())
    await graph.aget_state(config)
    await history(graph, config)
    assert await identities(saver, config) == before
    assert await collect(saver.alist_threads()) == [info]


async def test_a_graph_that_has_lost_a_node_can_still_read_its_threads(
    saver: Saver, config: RunnableConfig
) -> None:
    """State and history need no node; going on with a lost one is refused before anything runs."""
    old = chain(("a", says("a")), ("b", says("b")), saver=saver, interrupt_before=["b"])
    await old.ainvoke({}, config)
    new = chain(("a", says("a")), saver=saver)
    assert (await new.aget_state(config)).next == ("b",)
    assert len(await history(new, config)) == 3
    with pytest.raises(
        IncompatibleGraphError, match="node 'b' is due, and the graph has no such node"
    ):
        await new.ainvoke(None, config)
    assert (await old.ainvoke(None, config))["items"] == ["a", "b"]
