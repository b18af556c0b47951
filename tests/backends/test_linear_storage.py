"""What is really stored grows with what was said, counted in the stored bytes of each backend."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

import pytest

from durable_graph import START, StateGraph
from durable_graph.graph.compiled import CompiledGraph
from durable_graph.saver import Saver
from durable_graph.testing import Storage
from durable_graph.types import RunnableConfig
from tests.backends.storages import SERVICES, STORAGES

MEGABYTE = 2**20
TEXT = "x" * 1000
CONFIG: RunnableConfig = {"configurable": {"thread_id": "thread"}}


class State(TypedDict, total=False):
    """A conversation beside a document."""

    said: Annotated[list[str], operator.add]
    whole: list[str]
    document: str


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.services] if name in SERVICES else [])
        for name in ("sqlite", "postgres", "redis", "dynamodb", "s3")
    ]
)
def kind(request: pytest.FixtureRequest) -> str:
    """A kind of storage whose bytes can be counted."""
    return str(request.param)


@asynccontextmanager
async def opened(kind: str) -> AsyncIterator[tuple[Saver, Storage]]:
    """A saver on fresh storage, and a way to its bytes."""
    async with STORAGES[kind]() as storage:
        assert isinstance(storage, Storage)
        saver = Saver(storage.backend)
        yield saver, storage
        await saver.aclose()


async def size(storage: Storage) -> int:
    """How many bytes are stored."""
    assert storage.raw is not None
    return sum(map(len, (await storage.raw.pieces()).values()))


def chat(saver: Saver) -> CompiledGraph:
    """Answers as much as it is told."""

    async def answer(state: State) -> State:
        return {"said": [TEXT]}

    return StateGraph(State).add_node(answer).add_edge(START, "answer").compile(saver)


async def talk(graph: CompiledGraph, turns: int) -> None:
    """So many turns of a conversation."""
    for _ in range(turns):
        await graph.ainvoke({"said": [TEXT]}, CONFIG)


async def test_twice_the_turns_take_twice_the_bytes(kind: str) -> None:
    """A conversation costs what was said in it, with snapshots and all that stands around it."""
    async with opened(kind) as (saver, storage):
        graph = chat(saver)
        await talk(graph, 15)
        half = await size(storage)
        await talk(graph, 15)
        whole = await size(storage)
    assert 30 * 2 * len(TEXT) < whole < 2.5 * half


async def test_a_large_value_that_stays_is_stored_once(kind: str) -> None:
    """A document of a megabyte that every turn has in its state takes a megabyte."""
    async with opened(kind) as (saver, storage):
        graph = chat(saver)
        await graph.ainvoke({"document": "d" * MEGABYTE}, CONFIG)
        await talk(graph, 10)
        state = await graph.aget_state(CONFIG)
        stored = await size(storage)
    assert len(state.values["document"]) == MEGABYTE
    assert stored < 1.2 * MEGABYTE


async def test_returning_everything_costs_what_is_new(kind: str) -> None:
    """A node that returns the whole list each time stores what it has added to it."""

    async def grow(state: State) -> State:
        return {"whole": [*state.get("whole", []), f"{len(state.get('whole', []))} {TEXT}"]}

    async with opened(kind) as (saver, storage):
        graph = StateGraph(State).add_node(grow).add_edge(START, "grow").compile(saver)
        for _ in range(20):
            await graph.ainvoke({"document": "d"}, CONFIG)
        state = await graph.aget_state(CONFIG)
        stored = await size(storage)
    assert len(state.values["whole"]) == 20
    assert stored < 4 * 20 * len(TEXT)  # in full each time, it would be ten times that


async def test_pruning_frees_bytes_and_changes_nothing_that_is_left(kind: str) -> None:
    """What the present state needs stays: it is the same, verifies, and goes on."""
    async with opened(kind) as (saver, storage):
        graph = chat(saver)
        await talk(graph, 30)
        before, values = await size(storage), (await graph.aget_state(CONFIG)).values
        await saver.aprune(["thread"])
        assert await size(storage) < before
        assert (await graph.aget_state(CONFIG)).values == values
        assert await saver.averify("thread") == []
        await talk(graph, 1)
        assert len((await graph.aget_state(CONFIG)).values["said"]) == 62
