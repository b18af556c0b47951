"""Threads in an archive, as things: still listed, labelled, audited and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from durable_graph import Command, FolderArchive, InMemorySaver, interrupt
from durable_graph.saver import Saver
from durable_graph.testing.clock import FakeClock
from durable_graph.threads import Retention, Swept
from tests.conftest import thread as named
from tests.runtime.kit import Items, chain, collect


@pytest_asyncio.fixture
async def cold(tmp_path: Path) -> AsyncIterator[Saver]:
    """A saver with an archive, by a clock that the test turns."""
    async with InMemorySaver(archive=FolderArchive(tmp_path), clock=FakeClock()) as made:
        yield made


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


async def test_an_archived_thread_is_found_by_what_is_known_of_it(cold: Saver) -> None:
    """It stands as archived, keeps its card, can be labelled, and comes back with all of it."""
    graph = chain(("ask", ask), saver=cold)
    await cold.threads.create("t", owner="ann", tags=["a"])
    await cold.threads.create("new")
    await graph.ainvoke({}, named("t"))
    await cold.threads.archive("t", by="root")
    await cold.threads.archive("t", by="somebody else")
    found = [info async for info in cold.threads.list(status="archived")]
    assert [(info.thread_id, info.owner, info.checkpoint_id) for info in found] == [
        ("t", "ann", None)
    ]
    assert found[0].archived is not None
    assert [info.thread_id async for info in cold.threads.list(status="new")] == ["new"]
    assert (await cold.threads.tag("t", "b")).status == "archived"
    assert (await graph.ainvoke(Command(resume="yes"), named("t")))["items"] == ["yes"]
    back = await cold.threads.get("t")
    assert (back.status, back.tags, back.archived) == ("finished", ("a", "b"), None)


async def test_going_and_coming_back_is_audited(cold: Saver) -> None:
    """Who has sent it away; and looking for that brings it back."""
    clock = cold.clock
    assert isinstance(clock, FakeClock)
    graph = chain(("ask", ask), saver=cold)
    await graph.ainvoke({}, named("t"), by="ann")
    await clock.advance(1)
    await cold.threads.archive("t", by="root")
    await clock.advance(1)
    told = [(e.what, e.by) for e in await collect(cold.audit("t"))]
    assert told == [("input", "ann"), ("ended", None), ("archived", "root"), ("restored", None)]


async def test_an_archived_thread_is_copied_and_exported(cold: Saver) -> None:
    """As if it had never been away."""
    graph = chain(("ask", ask), saver=cold)
    await graph.ainvoke({}, named("t"))
    await cold.threads.archive("t")
    await cold.threads.copy("t", "u")
    assert (await graph.ainvoke(Command(resume="yes"), named("u")))["items"] == ["yes"]
    await cold.threads.archive("t")
    data = await cold.threads.export("t")
    assert (await cold.threads.import_(data, "v")).archived is None
    assert (await graph.ainvoke(Command(resume="no"), named("v")))["items"] == ["no"]


async def test_an_archived_thread_is_deleted_with_its_file(cold: Saver, tmp_path: Path) -> None:
    """By hand, or by a sweep when its time is over; a sweep of checkpoints lets it sleep."""
    clock = cold.clock
    assert isinstance(clock, FakeClock)
    graph = chain(("ask", ask), saver=cold)
    for name in ("one", "two"):
        await cold.threads.create(name, ttl=10)
        await graph.ainvoke({}, named(name))
        await cold.threads.archive(name)
    await cold.threads.delete("one", by="root")
    assert await cold.threads.sweep(Retention(keep_last=1)) == Swept([], [], {}, None)
    assert (await cold.threads.get("two")).status == "archived"
    await clock.advance(10)
    assert (await cold.threads.sweep()).deleted == ["two"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
