"""Threads as things: created, found by what is known of them, and labelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from durable_graph import Command, InMemorySaver, interrupt
from durable_graph.errors import (
    ConfigError,
    IntegrityError,
    OutcomeUnknownError,
    ThreadBusyError,
    ThreadExistsError,
    ThreadNotFoundError,
)
from durable_graph.log.records import ThreadKey
from durable_graph.ports.backend import Card
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.saver import Saver
from durable_graph.testing.clock import FakeClock
from durable_graph.threads import Retention
from tests.conftest import thread as named
from tests.runtime.kit import Items, chain, collect, reached, says


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test turns."""
    return FakeClock()


@pytest_asyncio.fixture
async def timed(saver: Saver, clock: FakeClock) -> AsyncIterator[Saver]:
    """A saver over each backend, by that clock."""
    saver.clock = clock
    yield saver


async def names(saver: Saver, **wanted: Any) -> list[str]:
    return [info.thread_id async for info in saver.threads.list(**wanted)]


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


async def test_a_thread_is_known_before_its_first_run(timed: Saver, clock: FakeClock) -> None:
    """It is new, has what it was given, and keeps that as it is run."""
    made = await timed.threads.create(
        "t", owner="ann", tags=["b", "a", "b"], metadata={"n": 1, "x": None}, ttl=60
    )
    assert made == await timed.threads.get("t")
    assert (made.status, made.checkpoint_id, made.step, made.records) == ("new", None, None, 0)
    assert (made.owner, made.tags, made.metadata) == ("ann", ("a", "b"), {"n": 1, "x": None})
    assert (made.created_at, made.ttl, made.expires_at) == (clock.time(), 60, clock.time() + 60)
    await clock.advance(50)
    state = await chain(("a", says("a")), saver=timed).ainvoke({}, named("t"))
    assert state["items"] == ["a"]
    run = await timed.threads.get("t")
    assert (run.status, run.owner, run.tags, run.metadata) == (
        "finished",
        "ann",
        ("a", "b"),
        {"n": 1, "x": None},
    )
    assert (run.created_at, run.expires_at) == (made.created_at, clock.time() + 60)


async def test_an_id_is_made_up_where_none_is_given(saver: Saver) -> None:
    """Another one each time."""
    one, other = await saver.threads.create(), await saver.threads.create()
    assert one.thread_id != other.thread_id
    assert await names(saver) == [other.thread_id, one.thread_id]


async def test_a_name_is_given_once(saver: Saver) -> None:
    """Whether the thread was created or just run; unless that is fine with whoever creates it."""
    await saver.threads.create("made", owner="ann")
    await chain(("a", says("a")), saver=saver).ainvoke({}, named("run"))
    for name in ("made", "run"):
        with pytest.raises(ThreadExistsError, match="do_nothing"):
            await saver.threads.create(name, owner="bob")
        there = await saver.threads.create(name, owner="bob", if_exists="do_nothing")
        assert there == await saver.threads.get(name)
        assert there.owner != "bob"


async def test_of_many_who_create_a_thread_at_once_one_has(timed: Saver) -> None:
    """Also in the very same moment and with the very same words."""
    made = await asyncio.gather(
        *(timed.threads.create("t", owner="ann") for _ in range(5)), return_exceptions=True
    )
    assert sum(not isinstance(one, BaseException) for one in made) == 1
    assert all(isinstance(one, ThreadExistsError) for one in made if isinstance(one, Exception))


async def test_threads_are_found_by_what_is_known_of_them(timed: Saver, clock: FakeClock) -> None:
    """By owner, tags, metadata, status and time, and by several of these at once."""
    create = timed.threads.create
    await create("1", owner="ann", tags=["red", "big"], metadata={"n": 1, "s": "x"})
    await clock.advance(10)
    await create("2", owner="ann", tags=["red"], metadata={"n": 2})
    await clock.advance(10)
    await create("3", owner="bob", tags=["big"], metadata={"n": 1.0, "s": "y"})
    await clock.advance(10)
    await chain(("ask", ask), saver=timed).ainvoke({}, named("4"))
    await clock.advance(10)
    await chain(("a", says("a")), saver=timed).ainvoke({}, named("3"))
    start = clock.time() - 40
    assert await names(timed) == ["3", "4", "2", "1"]
    assert await names(timed, owner="ann") == ["2", "1"]
    assert await names(timed, tags=["red", "big"]) == ["1"]
    assert await names(timed, metadata={"n": 1}) == ["3", "1"]
    assert await names(timed, metadata={"n": True}) == []
    assert await names(timed, metadata={"n": 1, "s": "y"}) == ["3"]
    assert await names(timed, owner="bob", tags=["red"]) == []
    assert await names(timed, status="new") == ["2", "1"]
    assert await names(timed, status="asking") == ["4"]
    assert await names(timed, status="archived") == []
    assert await names(timed, since=start + 10, until=start + 40) == ["4", "2"]
    assert await names(timed, limit=3) == ["3", "4", "2"]


async def test_pages_hold_every_thread_once(saver: Saver) -> None:
    """From cursor to cursor to the end, whatever has a card, a log, or both."""
    graph = chain(("a", says("a")), saver=saver)
    for number in range(25):
        if number % 3:
            await saver.threads.create(str(number), tags=["mine"])
        if number % 2:
            await graph.ainvoke({}, named(str(number)))
    seen: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor is not None:
        page = await saver.threads.search(limit=4, after=cursor)
        seen += [info.thread_id for info in page.threads]
        cursor, pages = page.next, pages + 1
    wanted = {str(number) for number in range(25) if number % 3 or number % 2}
    assert sorted(seen) == sorted(wanted)
    assert pages == -(-len(wanted) // 4)
    found = await names(saver, tags=["mine"])
    assert set(found) == {name for name in wanted if int(name) % 3}


@pytest.mark.parametrize("cursor", ["", "x", "1.0.0 t", 5, {"$gt": ""}, b"1 t"])
async def test_a_cursor_is_one_of_a_page(cursor: Any, saver: Saver) -> None:
    """Anything else is refused, and never taken for the beginning."""
    await saver.threads.create("t")
    with pytest.raises(ConfigError, match="after="):
        await saver.threads.search(after=cursor)
    with pytest.raises(ConfigError, match="after="):
        await saver.threads.sweep(after=cursor)


async def test_what_is_known_of_a_thread_can_be_changed(timed: Saver, clock: FakeClock) -> None:
    """Owner, metadata and limit; the rest stays."""
    await timed.threads.create("t", owner="ann", tags=["a"], metadata={"n": 1, "m": 2}, ttl=60)
    await clock.advance(5)
    now = await timed.threads.update("t", metadata={"n": 3, "k": "v"}, without=["m", "gone"])
    assert (now.owner, now.tags, now.metadata) == ("ann", ("a",), {"n": 3, "k": "v"})
    assert now.updated_at == clock.time()
    assert (await timed.threads.update("t", owner=None)).owner is None
    assert (await timed.threads.update("t", ttl=10)).expires_at == clock.time() + 10
    kept = await timed.threads.update("t", ttl=None)
    assert (kept.ttl, kept.expires_at, kept.metadata) == (None, None, {"n": 3, "k": "v"})
    assert kept == await timed.threads.get("t")


async def test_tags_come_and_go(saver: Saver) -> None:
    """Each is there once; taking one away that is not there is harmless."""
    await chain(("a", says("a")), saver=saver).ainvoke({}, named("t"))
    assert (await saver.threads.tag("t", "b", "a")).tags == ("a", "b")
    assert (await saver.threads.tag("t", "b", "c")).tags == ("a", "b", "c")
    assert (await saver.threads.untag("t", "a", "x")).tags == ("b", "c")
    assert await names(saver, tags=["c"]) == ["t"]
    assert await names(saver, tags=["a"]) == []


async def test_none_of_many_who_tag_at_once_is_lost(saver: Saver) -> None:
    """Each has its tag there afterwards."""
    await saver.threads.create("t")
    wanted = [f"tag {number}" for number in range(8)]
    await asyncio.gather(*(saver.threads.tag("t", tag) for tag in wanted))
    assert (await saver.threads.get("t")).tags == tuple(wanted)


async def test_a_label_whose_answer_was_lost_is_asked_for_again() -> None:
    """And is there once; of a creation the one who asked is the one who has created it."""

    class Lossy(InMemoryBackend):
        async def label(self, thread: ThreadKey, card: Card) -> bool:
            stored = await super().label(thread, card)
            if card.version not in self.lost:
                self.lost.add(card.version)
                raise OutcomeUnknownError("The answer was lost.")
            return stored

        lost: ClassVar[set[int]] = set()

    saver = Saver(Lossy())
    assert (await saver.threads.create("t", owner="ann")).owner == "ann"
    assert (await saver.threads.tag("t", "a")).tags == ("a",)
    assert [entry.what for entry in await collect(saver.audit("t"))] == ["created", "changed"]


async def test_a_thread_is_labelled_while_it_is_run(saver: Saver) -> None:
    """The run does not notice, and what it writes does not undo it."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["done"]}

    run = asyncio.create_task(chain(("node", node), saver=saver).ainvoke({}, named("t")))
    await reached(entered, run)
    assert (await saver.threads.tag("t", "hot")).status == "running"
    leave.set()
    assert (await run)["items"] == ["done"]
    assert (await saver.threads.get("t")).tags == ("hot",)


async def test_what_is_not_there_cannot_be_labelled(saver: Saver) -> None:
    """Nor is it created by that."""
    for call in (
        saver.threads.tag("t", "a"),
        saver.threads.untag("t", "a"),
        saver.threads.update("t", owner="ann"),
        saver.threads.get("t"),
        saver.threads.export("t"),
        saver.threads.copy("t"),
        saver.threads.verify("t"),
        collect(saver.audit("t")),
    ):
        with pytest.raises(ThreadNotFoundError):
            await call
    assert await names(saver) == []


@pytest.mark.parametrize(
    "given",
    [
        {"owner": ""},
        {"owner": "a\nb"},
        {"owner": ["ann"]},
        {"tags": "red"},
        {"tags": ["x" * 256]},
        {"tags": [{"$ne": 1}]},
        {"tags": [str(number) for number in range(65)]},
        {"metadata": [("a", 1)]},
        {"metadata": {"": 1}},
        {"metadata": {"a": [1]}},
        {"metadata": {"a": {"$gt": 0}}},
        {"metadata": {"a": float("nan")}},
        {"metadata": {"a": 2**63}},
        {"metadata": {"a": "x" * 1025}},
        {"metadata": {"a": "\x00"}},
        {"metadata": {str(number): 1 for number in range(65)}},
    ],
)
async def test_what_is_known_of_a_thread_is_plain(given: dict[str, Any], saver: Saver) -> None:
    """Anything else is refused before it gets anywhere, when it is stored and when it is sought."""
    with pytest.raises(ConfigError):
        await saver.threads.create("t", **given)
    with pytest.raises(ConfigError):
        await saver.threads.search(**given)
    assert await names(saver) == []


@pytest.mark.parametrize(
    "given",
    [
        {"ttl": 0},
        {"ttl": -1.0},
        {"ttl": float("inf")},
        {"ttl": "60"},
        {"by": ""},
        {"if_exists": "replace"},
        {"thread_id": "a\x00b"},
        {"thread_id": {"$gt": ""}},
    ],
)
async def test_arguments_that_make_no_sense_are_refused(
    given: dict[str, Any], saver: Saver
) -> None:
    """With nothing stored."""
    with pytest.raises(ConfigError):
        await saver.threads.create(**given)
    assert await names(saver) == []


@pytest.mark.parametrize(
    "given",
    [
        {"status": "sleeping"},
        {"limit": 0},
        {"limit": 1001},
        {"limit": 2.5},
        {"since": "yesterday"},
        {"until": float("nan")},
    ],
)
async def test_searches_that_make_no_sense_are_refused(given: dict[str, Any], saver: Saver) -> None:
    """Rather than finding nothing, or everything."""
    with pytest.raises(ConfigError):
        await saver.threads.search(**given)


async def test_a_deleted_thread_leaves_nothing(saver: Saver) -> None:
    """Neither its log nor what was known of it; its name is free."""
    await saver.threads.create("t", owner="ann", tags=["a"], metadata={"n": 1})
    await chain(("a", says("a")), saver=saver).ainvoke({}, named("t"))
    await saver.threads.create("new")
    await saver.threads.delete("t")
    await saver.threads.delete("new")
    await saver.threads.delete("nobody")
    assert await names(saver) == []
    assert await saver.backend.thread(saver.key("t")) is None
    assert (await saver.threads.create("t")).owner is None


async def test_who_deletes_a_thread_leaves_a_trace_that_is_no_thread(saver: Saver) -> None:
    """It is in no list and answers like nothing; what the thread was known by is gone."""
    await saver.threads.create("t", owner="ann", tags=["a"], metadata={"n": 1}, ttl=5)
    await saver.threads.tag("t", "anniversary", by="bob")
    await chain(("a", says("a")), saver=saver).ainvoke({}, named("t"))
    await saver.threads.delete("t", by="root")
    await saver.threads.delete("t", by="somebody else")
    trace = await saver.backend.thread(saver.key("t"))
    assert trace is not None
    assert trace.head is None
    assert trace.card is not None
    assert (trace.card.owner, trace.card.tags, dict(trace.card.metadata)) == (None, (), {})
    assert trace.card.expires is None
    assert b"ann" not in trace.card.body
    assert await names(saver) == await names(saver, status="new") == []
    with pytest.raises(ThreadNotFoundError):
        await saver.threads.get("t")
    with pytest.raises(ThreadNotFoundError):
        await saver.threads.tag("t", "a")
    told = [(entry.what, entry.by) for entry in await collect(saver.audit("t"))]
    assert told == [("created", None), ("changed", "bob"), ("deleted", "root")]
    again = await saver.threads.create("t", by="bob")
    assert (again.status, again.owner) == ("new", None)
    told = [(entry.what, entry.by) for entry in await collect(saver.audit("t"))]
    assert told[-2:] == [("deleted", "root"), ("created", "bob")]


async def test_a_trace_goes_with_a_deletion_that_leaves_none(saver: Saver) -> None:
    """So that nothing need be kept for ever; and a run may begin in its place."""
    await saver.threads.create("t")
    await saver.threads.delete("t", by="root")
    graph = chain(("a", says("a")), saver=saver)
    assert (await graph.ainvoke({}, named("t")))["items"] == ["a"]
    assert await names(saver) == ["t"]
    await saver.threads.delete("t", by="root")
    await saver.threads.delete("t")
    assert await saver.backend.thread(saver.key("t")) is None


async def test_a_thread_that_is_run_is_not_deleted(saver: Saver) -> None:
    """With or without a trace; no trace is left of the attempt."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["done"]}

    run = asyncio.create_task(chain(("node", node), saver=saver).ainvoke({}, named("t")))
    await reached(entered, run)
    for by in (None, "root"):
        with pytest.raises(ThreadBusyError):
            await saver.threads.delete("t", by=by)
    leave.set()
    await run
    assert (await saver.threads.get("t")).status == "finished"


async def test_a_damaged_card_is_told_and_hides_no_thread(saver: Saver) -> None:
    """Its thread can be run all the same."""
    graph = chain(("ask", ask), saver=saver)
    await graph.ainvoke({}, named("t"))
    assert await saver.backend.label(saver.key("t"), Card(1, body=b'{"acts": 5}'))
    with pytest.raises(IntegrityError, match="card of thread 't'"):
        await saver.threads.get("t")
    assert (await graph.ainvoke(Command(resume="yes"), named("t")))["items"] == ["yes"]


def test_scripts_have_threads_too() -> None:
    """The same calls without async, each waiting for its end."""
    with InMemorySaver() as saver:
        threads = saver.sync_threads
        made = threads.create("t", owner="ann")
        assert made == threads.get("t")
        chain(("a", says("a")), saver=saver).invoke({}, named("t"))
        assert threads.tag("t", "a").tags == threads.untag("t", "b").tags == ("a",)
        assert threads.update("t", metadata={"n": 1}).metadata == {"n": 1}
        assert [info.thread_id for info in threads.list(tags=["a"])] == ["t"]
        assert threads.search(owner="ann").threads == [threads.get("t")]
        assert threads.copy("t", "u").thread_id == "u"
        assert threads.import_(threads.export("t"), "v").thread_id == "v"
        assert threads.verify("v") == []
        assert threads.prune("v", Retention(keep_last=1)) is False
        assert threads.sweep(Retention(keep_last=1)).next is None
        assert [entry.what for entry in threads.audit("u")][-1] == "copied"
        for name in "tuv":
            threads.delete(name)
        assert list(threads.list()) == []
