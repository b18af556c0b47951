"""Laws of storage: who runs a thread, and how often it is written, leads to the same states."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_graph import InMemorySaver
from durable_graph.log import seal
from durable_graph.saver import Saver
from durable_graph.types import Durability
from tests.pure.test_laws_branches import states_of
from tests.pure.worlds import Spec, Stage, World, branch, drive, specs, thread

INPUT = {"turns": {"the input": 1}}
seeds = st.integers(0, 2**16)
# Each example runs a graph several times.
several_runs = settings(max_examples=settings().max_examples // 2)


@pytest.fixture(autouse=True, scope="module")
def many_snapshots() -> Iterator[None]:
    """Snapshots are due for small states, too, so that short runs have some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seal, "_SMALL_STATE", 0)
        yield


@several_runs
@given(specs, seeds)
def test_a_thread_can_change_hands_at_every_step(spec: Spec, seed: int) -> None:
    """Each superstep run by a process that knows nothing but the log leads to the same states."""

    async def scenario() -> None:
        saver, world = InMemorySaver(), World(spec, seed)
        graph = world.compile(saver)
        await drive(graph, INPUT, thread("whole"))
        state = await drive(graph, INPUT, thread("cut"), interrupt_before="*", once=True)
        while state.next:
            stranger = world.compile(Saver(saver.backend))
            state = await drive(stranger, None, thread("cut"), interrupt_before="*", once=True)
        cut, whole = await branch(graph, "cut"), await branch(graph, "whole")
        assert states_of(cut) == states_of(whole)

    asyncio.run(scenario())


@several_runs
@given(specs, seeds, st.sampled_from(["async", "exit"]))
def test_every_durability_ends_in_the_same_state(
    spec: Spec, seed: int, durability: Durability
) -> None:
    """When a run has ended, what is stored does not depend on how often it was written."""

    async def scenario() -> None:
        saver, world = InMemorySaver(), World(spec, seed)
        graph = world.compile(saver)
        wanted = await drive(graph, INPUT, thread("sync"))
        found = await drive(graph, INPUT, thread("other"), durability=durability)
        read = await world.compile(Saver(saver.backend)).aget_state(thread("other"))
        assert states_of([read]) == states_of([found]) == states_of([wanted])
        assert await saver.averify("other") == []
        # And so does what follows from it.
        again = [await drive(graph, INPUT, thread(name)) for name in ("sync", "other")]
        assert states_of(again[:1]) == states_of(again[1:])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "durability",
    [
        "sync",
        "async",
        pytest.param(
            "exit",
        ),
    ],
)
async def test_the_state_at_hand_is_the_state_that_was_written(durability: Durability) -> None:
    """Who ran a thread and who reads it see the same checkpoint, with the same parent and time."""
    spec = Spec((Stage("node", 2, join=False), Stage("node", 2, join=False)), ("log", "total"))
    saver, world = InMemorySaver(), World(spec, 0)
    found = await drive(world.compile(saver), INPUT, thread("t"), durability=durability)
    assert await world.compile(Saver(saver.backend)).aget_state(thread("t")) == found
