"""What nobody needs any more is swept away, and nothing that somebody may go on from."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_graph import Command, InMemorySaver, interrupt
from durable_graph.errors import CheckpointNotFoundError, ConfigError, ThreadBusyError
from durable_graph.log.records import Record, ThreadKey
from durable_graph.ports.backend import Removal
from durable_graph.saver import Saver
from durable_graph.testing.clock import FakeClock
from durable_graph.threads import Retention, Swept
from durable_graph.types import StateSnapshot
from durable_graph_sqlite import SqliteSaver
from tests.conftest import thread as named
from tests.runtime.kit import Items, chain, collect, history, reached, says


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test turns."""
    return FakeClock()


@pytest_asyncio.fixture
async def timed(saver: Saver, clock: FakeClock) -> AsyncIterator[Saver]:
    """A saver over each backend, by that clock."""
    saver.clock = clock
    yield saver


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


async def names(saver: Saver) -> set[str]:
    return {info.thread_id async for info in saver.threads.list()}


async def swept(saver: Saver, *given: Any, **options: Any) -> Swept:
    """Everything, page by page."""
    deleted: list[str] = []
    pruned: list[str] = []
    left: dict[str, Any] = {}
    cursor, pages = None, 0
    while pages == 0 or cursor is not None:
        page = await saver.threads.sweep(*given, after=cursor, **options)
        deleted += page.deleted
        pruned += page.pruned
        left |= page.left
        cursor, pages = page.next, pages + 1
        assert pages < 100
    return Swept(sorted(deleted), sorted(pruned), left)


async def test_threads_go_when_their_time_is_over(timed: Saver, clock: FakeClock) -> None:
    """Each after its own rest, and not before; those without a limit never do."""
    graph = chain(("a", says("a")), saver=timed)
    for name, ttl in (("short", 10.0), ("long", 100.0), ("ever", None)):
        await timed.threads.create(name, ttl=ttl)
        await timed.threads.create(f"new {name}", ttl=ttl)
        await graph.ainvoke({}, named(name))
    await clock.advance(9)
    assert await swept(timed) == Swept([], [], {})
    await clock.advance(1)
    assert await swept(timed) == Swept(["new short", "short"], [], {})
    await clock.advance(1000)
    assert await swept(timed) == Swept(["long", "new long"], [], {})
    assert await names(timed) == {"ever", "new ever"}
    assert await timed.backend.thread(timed.key("short")) is None


async def test_a_thread_that_is_used_stays(timed: Saver, clock: FakeClock) -> None:
    """Its time begins anew with every change, of its log or of what is known of it."""
    graph = chain(("a", says("a")), saver=timed)
    for name in ("run", "tagged", "left"):
        await timed.threads.create(name, ttl=10)
    for _ in range(5):
        await clock.advance(6)
        await graph.ainvoke({}, named("run"))
        if (await timed.threads.get("tagged")).tags == ():
            await timed.threads.tag("tagged", "new")
        else:
            await timed.threads.untag("tagged", "new")
        await swept(timed)
    assert await names(timed) == {"run", "tagged"}
    await clock.advance(10)
    assert await swept(timed) == Swept(["run", "tagged"], [], {})


async def test_being_looked_at_is_no_change(timed: Saver, clock: FakeClock) -> None:
    """A thread whose limit is put off by a sweep goes no later for it."""
    await timed.threads.create("t", ttl=10)
    await clock.advance(5)
    await timed.threads.tag("t", "a")
    for _ in range(9):
        await clock.advance(1)
        assert (await swept(timed)).deleted == []
    await clock.advance(1)
    assert (await swept(timed)).deleted == ["t"]


async def test_threads_that_ask_stay_unless_that_is_said(timed: Saver, clock: FakeClock) -> None:
    """Somebody may still answer."""
    graph = chain(("ask", ask), saver=timed)
    await timed.threads.create("t", ttl=10)
    await graph.ainvoke({}, named("t"))
    await clock.advance(1000)
    assert await swept(timed) == Swept([], [], {})
    assert await swept(timed, unanswered=True) == Swept(["t"], [], {})


async def test_a_thread_that_is_run_is_left_alone(timed: Saver, clock: FakeClock) -> None:
    """And said to be; the others of its page go."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["done"]}

    await timed.threads.create("busy", ttl=10)
    await timed.threads.create("idle", ttl=10)
    run = asyncio.create_task(chain(("node", node), saver=timed).ainvoke({}, named("busy")))
    await reached(entered, run)
    await clock.advance(20)
    found = await swept(timed)
    assert found.deleted == ["idle"]
    assert isinstance(found.left["busy"], ThreadBusyError)
    leave.set()
    assert (await run)["items"] == ["done"]
    assert await names(timed) == {"busy"}


async def test_who_sweeps_leaves_traces_that_are_not_swept(timed: Saver, clock: FakeClock) -> None:
    """They are no threads, and no sweep finds them again."""
    await timed.threads.create("t", ttl=10)
    await clock.advance(20)
    assert (await swept(timed, by="janitor")).deleted == ["t"]
    assert await swept(timed, by="janitor") == Swept([], [], {})
    assert [entry.by for entry in await collect(timed.audit("t"))] == [None, "janitor"]


async def test_a_sweep_goes_through_all_pages(timed: Saver, clock: FakeClock) -> None:
    """Though what it deletes moves the rest; and only through threads that are meant."""
    for number in range(23):
        await timed.threads.create(
            f"{number}", owner="ann" if number % 2 else "bob", ttl=10 if number % 3 else None
        )
    await clock.advance(20)
    mine = await swept(timed, owner="ann", limit=2)
    assert set(mine.deleted) == {f"{n}" for n in range(23) if n % 2 and n % 3}
    rest = await swept(timed, Retention(keep_last=1), limit=2)
    assert set(rest.deleted) == {f"{n}" for n in range(23) if not n % 2 and n % 3}
    assert await names(timed) == {f"{n}" for n in range(23) if not n % 3}


async def test_two_may_sweep_at_once(tmp_path: Path, clock: FakeClock) -> None:
    """Each thread is deleted by one of them, and a thread that one of them runs by neither."""
    savers = [SqliteSaver(tmp_path / "threads.db", clock=clock) for _ in range(2)]
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["done"]}

    for number in range(12):
        await savers[0].threads.create(f"{number}", ttl=10)
        await chain(("a", says("a")), saver=savers[0]).ainvoke({}, named(f"{number}"))
    await savers[0].threads.create("busy", ttl=10)
    run = asyncio.create_task(chain(("node", node), saver=savers[0]).ainvoke({}, named("busy")))
    await reached(entered, run)
    await clock.advance(11)
    found = await asyncio.gather(*(swept(saver, limit=3, by="ann") for saver in savers))
    gone = [name for one in found for name in one.deleted]
    assert sorted(gone, key=int) == [f"{number}" for number in range(12)]
    leave.set()
    assert (await run)["items"] == ["done"]
    assert await names(savers[1]) == {"busy"}
    for saver in savers:
        await saver.aclose()


async def test_old_checkpoints_go_and_the_last_stay(timed: Saver, clock: FakeClock) -> None:
    """By number or by age; what is kept reads as before, and the thread goes on."""
    graph = chain(*((n, says(n * 5000)) for n in "abc"), saver=timed)
    for _ in range(10):
        await clock.advance(60)
        await graph.ainvoke({"last": "y" * 5000}, named("t"))
    before = await history(graph, named("t"))
    assert await swept(timed, Retention(keep_last=200)) == Swept([], [], {})
    assert await swept(timed, Retention(keep_for=130)) == Swept([], ["t"], {})
    after = await history(graph, named("t"))
    assert after[:15] == before[:15]
    assert len(after) < len(before)
    assert await swept(timed, Retention(keep_for=130)) == Swept([], [], {})
    assert await swept(timed, Retention(keep_last=2), by="janitor") == Swept([], ["t"], {})
    assert (await history(graph, named("t")))[:2] == before[:2]
    with pytest.raises(CheckpointNotFoundError):
        await graph.aget_state(before[-1].config)
    assert await timed.threads.verify("t") == []
    assert [e.by for e in await collect(timed.audit("t")) if e.what == "pruned"] == ["janitor"]
    assert len((await graph.ainvoke({}, named("t")))["items"]) == 33


async def test_a_damaged_thread_is_in_nobodys_way(timed: Saver) -> None:
    """The sweep says which, and goes on."""
    saver = InMemorySaver(clock=timed.clock)
    graph = chain(*((n, says(n * 5000)) for n in "abc"), saver=saver)
    for name in ("sound", "broken"):
        for _ in range(5):
            await graph.ainvoke({}, named(name))
    storage: Any = saver.backend
    records: list[Record] = storage._threads[saver.key("broken")].records
    records[3].header = b"{}"
    found = await swept(saver, Retention(keep_last=1))
    assert (found.pruned, list(found.left)) == (["sound"], ["broken"])


@pytest.mark.parametrize("given", [{"limit": 0}, {"limit": 5000}, {"retention": 5}])
async def test_a_sweep_that_makes_no_sense_is_refused(given: dict[str, Any], saver: Saver) -> None:
    """Before anything goes."""
    with pytest.raises(ConfigError):
        await saver.threads.sweep(**given)


# What is done to a thread, one thing after the other; numbers choose among what there is.
_DONE = st.lists(
    st.tuples(st.sampled_from(["input", "answer", "on", "fork", "edit", "prune"]), st.integers(0)),
    min_size=1,
    max_size=9,
)


@settings(
    max_examples=1000 if "DURABLE_GRAPH_TORTURE" in os.environ else 60,
    deadline=None,
    derandomize="DURABLE_GRAPH_TORTURE" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(_DONE, st.integers(1, 3), st.sampled_from([None, 0.0, 3.0]))
async def test_nothing_is_cut_that_somebody_may_go_on_from(
    done: list[tuple[str, int]], last: int, seconds: float | None
) -> None:
    """Whatever has happened to a thread: its state, its questions and the ends of its branches
    read the same when it was pruned, and an answer leads to the same in each of them."""
    clock = FakeClock()
    saver = InMemorySaver(clock=clock)
    words = "word " * 400
    graph = chain(("a", says(words)), ("ask", ask), ("b", says("b")), saver=saver)
    retention = Retention(keep_last=last, keep_for=seconds)
    for what, number in done:
        await clock.advance(1)
        await _do(saver, graph, what, number, retention)
    if not (before := await history(graph, named("t"))):
        return
    state = await graph.aget_state(named("t"))
    await saver.threads.copy("t", "before")
    followed = {s.parent_config["configurable"]["checkpoint_id"] for s in before if s.parent_config}
    ends = [s for s in before if s.checkpoint_id not in followed]
    read = [await graph.aget_state(s.config) for s in ends]
    await swept(saver, retention)
    saver.hot.take(saver.key("t"))
    assert await graph.aget_state(named("t")) == state
    assert [await graph.aget_state(s.config) for s in ends] == read
    left = await history(graph, named("t"))
    assert left[: min(last, len(left))] == before[: min(last, len(left))]
    states = {s.checkpoint_id: s.values for s in before}
    assert all(states[s.checkpoint_id] == s.values for s in left)
    assert await saver.threads.verify("t") == []
    for end in read:
        if end.interrupts:
            answers = [await _answered(graph, name, end) for name in ("t", "before")]
            assert answers[0] == answers[1]


async def _do(saver: Saver, graph: Any, what: str, number: int, retention: Retention) -> None:
    past = await history(graph, named("t"))
    some = past[number % len(past)] if past else None
    asks = bool(past) and bool((await graph.aget_state(named("t"))).interrupts)
    match what:
        case "input":
            await graph.ainvoke({"items": [number]}, named("t"), on_pending="supersede")
        case "answer" if asks:
            await graph.ainvoke(Command(resume=number), named("t"))
        case "on" if past:
            await graph.ainvoke(None, named("t"))
        case "fork" if some is not None:
            await _unless_pruned(graph.ainvoke(None, some.config))
        case "edit" if some is not None:
            await _unless_pruned(graph.aupdate_state(some.config, {"items": ["e"]}, as_node="a"))
        case "prune":
            await saver.threads.sweep(retention)


async def _unless_pruned(call: Any) -> None:
    with contextlib.suppress(CheckpointNotFoundError):
        await call


async def _answered(graph: Any, name: str, end: StateSnapshot) -> Any:
    config = named(name, end.checkpoint_id)
    (question,) = end.interrupts
    result = await graph.ainvoke(Command(resume={question.id: "late"}), config)
    return result["items"]


@pytest.mark.parametrize("by", [None, "cron"])
async def test_a_thread_that_somebody_just_begins_to_run_is_left(
    timed: Saver, clock: FakeClock, by: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its time was over when it was looked at; what has been acknowledged since is not lost."""
    made = chain(("a", says("a")), saver=timed)
    await timed.threads.create("t", ttl=10)
    await clock.advance(20)
    remove = timed.backend.remove

    async def too_late(*given: Any) -> bool:
        monkeypatch.undo()
        await made.ainvoke({}, named("t"))
        return await remove(*given)

    monkeypatch.setattr(timed.backend, "remove", too_late)
    assert (await timed.threads.sweep(by=by)).deleted == []
    assert (await made.aget_state(named("t"))).values["items"] == ["a"]


@pytest.mark.parametrize("by", [None, "cron"])
async def test_a_thread_that_is_just_given_more_time_is_left(
    timed: Saver, clock: FakeClock, by: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not it was ever run, and whoever sweeps: to change it is to keep it."""
    await chain(("a", says("a")), saver=timed).ainvoke({}, named("run"))
    await timed.threads.create("new", ttl=10)
    await timed.threads.update("run", ttl=10)
    await clock.advance(20)
    remove = timed.backend.remove

    async def too_late(thread: ThreadKey, what: Removal) -> bool:
        await timed.threads.update(thread.thread, ttl=1000)
        return await remove(thread, what)

    monkeypatch.setattr(timed.backend, "remove", too_late)
    assert (await timed.threads.sweep(by=by)).deleted == []
    assert [(await timed.threads.get(name)).ttl for name in ("run", "new")] == [1000, 1000]
