"""Laws of any graph: what a run sees is what is stored, in whatever order its nodes end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_graph import InMemorySaver
from durable_graph.errors import CheckpointNotFoundError
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.log import seal
from durable_graph.log.delta import flat
from durable_graph.log.fold import Scope
from durable_graph.log.records import ThreadKey
from durable_graph.log.seal import open_record
from durable_graph.saver import Saver
from durable_graph.types import StateSnapshot
from tests.pure.values import form
from tests.pure.worlds import CHANNELS, FADING, Spec, World, branch, counts, drive, specs, thread

INPUT = {"turns": {"the input": 1}}
seeds = st.integers(0, 2**16)


@pytest.fixture(autouse=True, scope="module")
def many_snapshots() -> Iterator[None]:
    """Snapshots are due for small states, too, so that short runs have some."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seal, "_SMALL_STATE", 0)
        yield


async def fold(saver: Saver, graph: CompiledGraph, checkpoint: str) -> dict[str, Any]:
    """The values at a checkpoint from nothing but its records: no engine, no reducer, no cache."""
    key = ThreadKey("", "t")
    reading = await saver.backend.read(key, checkpoint)
    assert reading is not None
    scope = Scope()
    for record in reading.records:
        scope.apply(*open_record(record, reading.head.secret, "t"))
    assert scope.checkpoint == checkpoint
    blobs = await saver.backend.blobs(key, sorted(scope.blobs()))
    initial = {key: graph.definition.codec.decode(v) for key, v in graph.definition.initial.items()}
    decode = graph.definition.codec.decode
    return initial | {key: decode(flat(value), blobs) for key, value in scope.values.items()}


def by_key(values: dict[str, Any]) -> Any:
    """Values to compare; the order of keys in a state means nothing."""
    return form(dict(sorted(values.items())))


def concat(old: list[Any] | None, new: list[Any]) -> list[Any]:
    return [*(old or []), *new]


def latest(old: Any, new: Any) -> Any:
    return new


@given(specs, seeds)
def test_the_live_state_is_the_stored_state(spec: Spec, seed: int) -> None:
    """At each checkpoint the values that the run went on with are those that its log folds to."""

    async def scenario() -> None:
        saver, world = InMemorySaver(), World(spec, seed)
        graph = world.compile(saver)
        live: dict[str, Any] = {}

        def watch(event: Any) -> None:
            live[event["config"]["configurable"]["checkpoint_id"]] = event

        last = await drive(graph, INPUT, thread("t"), watch=watch)
        # Another process, which has seen nothing of the run, reads the same storage.
        reader = world.compile(Saver(saver.backend))
        states = await branch(reader, "t")
        assert [state.checkpoint_id for state in states] == list(live)
        for state in states:
            event = live[str(state.checkpoint_id)]
            folded = await fold(saver, reader, str(state.checkpoint_id))
            assert by_key(state.values) == by_key(folded) == by_key(event["values"])
            assert list(state.next) == event["next"]
        assert by_key(states[-1].values) == by_key(last.values)
        assert await reader.aget_state(thread("t")) == last

    asyncio.run(scenario())


@given(specs, seeds)
def test_each_state_is_what_the_results_make_of_the_one_before(spec: Spec, seed: int) -> None:
    """From checkpoint to checkpoint, plain Python reducers give the values that were stored."""

    async def scenario() -> None:
        saver = InMemorySaver()
        graph = World(spec, seed).compile(saver)
        await drive(graph, INPUT, thread("t"))
        states = await branch(graph, "t")
        reducers: dict[str, Any] = {key: CHANNELS[key][1] for key in spec.keys}
        reducers |= {"turns": counts, "topic": concat, "gossip": concat, "passing": latest}
        for before, after in itertools.pairwise(states):
            expected = {key: v for key, v in before.values.items() if key not in FADING}
            for task in before.tasks:
                for key, update in ({**INPUT} if task.name == "__start__" else task.result).items():
                    if key in reducers:
                        expected[key] = reducers[key](expected.get(key), update)
                    else:
                        expected[key] = update
            assert by_key(after.values) == by_key(expected)

    asyncio.run(scenario())


@given(specs, seeds, seeds)
def test_the_order_in_which_nodes_end_does_not_matter(spec: Spec, one: int, other: int) -> None:
    """Two runs whose nodes end in different orders go through the same states."""

    async def scenario(seed: int) -> list[Any]:
        saver = InMemorySaver()
        graph = World(spec, seed).compile(saver)
        await drive(graph, INPUT, thread("t"))
        return [
            (by_key(state.values), state.next, form([task.result for task in state.tasks]))
            for state in await branch(graph, "t")
        ]

    assert asyncio.run(scenario(one)) == asyncio.run(scenario(other))


@given(specs, seeds, st.integers(1, 6))
def test_what_survives_pruning_is_what_it_was(spec: Spec, seed: int, keep: int) -> None:
    """After `aprune` each kept checkpoint is as before, and any other is gone or says the same."""

    async def scenario() -> None:
        saver, world = InMemorySaver(), World(spec, seed)
        graph = world.compile(saver)
        last = await drive(graph, INPUT, thread("t"))
        before = await branch(graph, "t")
        await saver.aprune(["t"], keep=keep)
        reader = world.compile(Saver(saver.backend))
        survivors: list[StateSnapshot] = []
        for state in before[::-1]:
            try:
                found = await reader.aget_state(state.config)
            except CheckpointNotFoundError:
                assert state not in before[-keep:]
                continue
            survivors.append(found)
            assert by_key(found.values) == by_key(state.values)
            assert found.next == state.next
            if state in before[-keep:]:
                assert repr(form_of(found)) == repr(form_of(state))
        history = [state async for state in reader.aget_state_history(thread("t"))]
        assert [by_key(s.values) for s in history] == [by_key(s.values) for s in survivors]
        assert await reader.aget_state(thread("t")) == last
        assert await saver.averify("t") == []
        # And the thread can be gone on with.
        again = await drive(graph, INPUT, thread("t"))
        assert again.values["turns"]["the input"] == 2

    asyncio.run(scenario())


def form_of(state: StateSnapshot) -> Any:
    """A snapshot in a form that sees types."""
    plain = state._asdict() | {"values": dict(sorted(state.values.items()))}
    plain["tasks"] = [task._asdict() for task in state.tasks]
    return form(plain)
