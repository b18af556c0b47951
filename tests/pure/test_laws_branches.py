"""Laws of branches: a fork is a thread that was cut there, and leaves the old branch alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_graph import InMemorySaver
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.log import seal
from durable_graph.log.records import Record, ThreadKey
from durable_graph.saver import Saver
from durable_graph.types import StateSnapshot
from tests.pure.values import form
from tests.pure.worlds import Spec, World, branch, drive, specs, thread

INPUT = {"turns": {"the input": 1}}
EDIT = {"turns": {"the edit": 5}}
seeds = st.integers(0, 2**16)
# Each example runs a graph several times.
several_runs = settings(max_examples=settings().max_examples // 2)


@pytest.fixture(autouse=True, scope="module")
def many_snapshots() -> Iterator[None]:
    """Snapshots are due for small states, too, so that short runs have some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seal, "_SMALL_STATE", 0)
        yield


async def run_until(graph: CompiledGraph, name: str, step: int) -> None:
    """Run a new thread superstep by superstep until its head is at a step."""
    state = await drive(graph, INPUT, thread(name), interrupt_before="*", once=True)
    for _ in range(40):
        if step_of(state) == step:
            return
        state = await drive(graph, None, thread(name), interrupt_before="*", once=True)
    raise AssertionError("The run does not come so far.")


def step_of(state: StateSnapshot) -> int:
    assert state.metadata is not None
    step: int = state.metadata["step"]
    return step


def states_of(states: list[StateSnapshot]) -> list[Any]:
    """What a branch went through: values and what was due; a fork's own commit adds nothing."""
    return [
        (form(dict(sorted(state.values.items()))), state.next)
        for state in states
        if state.metadata is not None and state.metadata["source"] != "fork"
    ]


async def records(saver: Saver, name: str = "t") -> list[Record]:
    """All records of a thread as they are stored."""
    key = ThreadKey("", name)
    reading = await saver.backend.read(key)
    assert reading is not None
    return list(await saver.backend.scan(key, ((1, reading.head.seq),)))


@several_runs
@given(specs, seeds, st.data())
def test_a_fork_goes_on_like_a_run_that_was_cut_there(
    spec: Spec, seed: int, data: st.DataObject
) -> None:
    """From any checkpoint a fork goes through the states of a thread that stopped there."""

    async def scenario() -> None:
        saver = InMemorySaver()
        graph = World(spec, seed).compile(saver)
        await drive(graph, INPUT, thread("t"))
        states = await branch(graph, "t")
        at = data.draw(st.integers(1, len(states) - 1))
        await drive(graph, None, states[at].config)
        await run_until(graph, "cut", step_of(states[at]))
        await drive(graph, None, thread("cut"))
        forked = states_of(await branch(graph, "t"))
        assert forked == states_of(await branch(graph, "cut")) == states_of(states)

    asyncio.run(scenario())


@several_runs
@given(specs, seeds, st.data())
def test_an_edit_of_the_past_is_an_edit_of_a_run_that_was_cut_there(
    spec: Spec, seed: int, data: st.DataObject
) -> None:
    """Editing an old checkpoint leads where editing a thread that stopped there leads."""

    async def scenario() -> None:
        saver = InMemorySaver()
        graph = World(spec, seed).compile(saver)
        await drive(graph, INPUT, thread("t"))
        states = await branch(graph, "t")
        at = data.draw(st.integers(1, len(states) - 1))
        node = data.draw(st.sampled_from(sorted(graph.definition.nodes)))
        edited = await graph.aupdate_state(states[at].config, EDIT, as_node=node)
        assert (await graph.aget_state(thread("t"))).checkpoint_id == (
            edited["configurable"]["checkpoint_id"]
        )
        await drive(graph, None, thread("t"))
        await run_until(graph, "cut", step_of(states[at]))
        await graph.aupdate_state(thread("cut"), EDIT, as_node=node)
        await drive(graph, None, thread("cut"))
        assert states_of(await branch(graph, "t")) == states_of(await branch(graph, "cut"))

    asyncio.run(scenario())


@several_runs
@given(specs, seeds, st.data())
def test_what_was_written_never_changes(spec: Spec, seed: int, data: st.DataObject) -> None:
    """Forks, edits, replays and new inputs append: every old record stays as it is, bit for bit.

    So every old checkpoint goes on saying what it said.
    """

    async def scenario() -> None:
        saver, world = InMemorySaver(), World(spec, seed)
        graph = world.compile(saver)
        await drive(graph, INPUT, thread("t"))
        known = {state.checkpoint_id: state for state in await branch(graph, "t")}
        for _ in range(data.draw(st.integers(1, 4))):
            before = await records(saver)
            state = known[data.draw(st.sampled_from(sorted(filter(None, known))))]
            node = data.draw(st.sampled_from(sorted(graph.definition.nodes)))
            match data.draw(st.sampled_from(["fork", "replay", "edit", "edit head", "input"])):
                case "fork":
                    await drive(graph, None, state.config)
                case "replay":
                    await drive(graph, INPUT, state.config)
                case "edit":
                    config = await graph.aupdate_state(state.config, EDIT, as_node=node)
                    await drive(graph, None, config)
                case "edit head":
                    await graph.aupdate_state(thread("t"), EDIT, as_node=node)
                case _:
                    await drive(graph, INPUT, thread("t"))
            after = await records(saver)
            assert after[: len(before)] == before
            reader = world.compile(Saver(saver.backend))
            for name, then in known.items():
                now = await reader.aget_state(thread("t", name))
                assert states_of([now]) == states_of([then])
                if name != max(filter(None, known)):
                    assert form([t._asdict() for t in now.tasks]) == form(
                        [t._asdict() for t in then.tasks]
                    )
            known |= {found.checkpoint_id: found for found in await branch(graph, "t")}
        assert await saver.averify("t") == []

    asyncio.run(scenario())
