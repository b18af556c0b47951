"""Who did what with a thread, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from durable_graph import Command, InMemorySaver, StateGraph, interrupt
from durable_graph.errors import IntegrityError, ThreadNotFoundError
from durable_graph.saver import Saver
from durable_graph.testing.clock import FakeClock
from durable_graph.threads import AuditEntry, Retention
from durable_graph.types import START, Durability
from tests.conftest import thread as named
from tests.runtime.kit import Items, chain, collect, fan, history, says


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


async def told(saver: Saver, name: str = "t") -> list[tuple[str, str | None, str | None]]:
    return [(e.what, e.by, e.detail) for e in await collect(saver.audit(name))]


async def test_a_life_is_told_in_order(timed: Saver, clock: FakeClock) -> None:
    """Inputs, questions, answers, edits, branches, and what was done with the thread as a whole,
    each with its author and its time."""
    graph = chain(("a", says("a")), ("ask", ask), saver=timed)
    start = clock.time()
    await timed.threads.create("t", owner="ann", by="ann")
    await clock.advance(1)
    await graph.ainvoke({}, named("t"), by="ann")
    (question,) = (await graph.aget_state(named("t"))).interrupts
    await clock.advance(1)
    await timed.threads.tag("t", "urgent", by="bob")
    await clock.advance(1)
    await graph.ainvoke(Command(resume="yes"), named("t"), by="carl")
    await clock.advance(1)
    await graph.aupdate_state(named("t"), {"items": ["edit"]}, as_node="a", by="dora")
    past = await history(graph, named("t"))
    await clock.advance(1)
    await graph.ainvoke(None, past[-2].config, by="emil")
    await clock.advance(1)
    await timed.threads.delete("nobody", by="root")
    entries = await collect(timed.audit("t"))
    assert [(e.what, e.by, e.detail, e.time - start) for e in entries] == [
        ("created", "ann", None, 0),
        ("input", "ann", None, 1),
        ("ended", None, "asking", 1),
        ("changed", "bob", "tagged urgent", 2),
        ("answer", "carl", question.id, 3),
        ("ended", None, "finished", 3),
        ("edit", "dora", None, 4),
        ("fork", "emil", None, 5),
        ("ended", None, "asking", 5),
    ]
    runs = [e.run_id for e in entries if e.what in ("input", "answer", "edit", "fork")]
    assert len(set(runs)) == 4
    assert entries[6].checkpoint_id == past[0].checkpoint_id
    assert entries[7].checkpoint_id == past[-2].checkpoint_id


async def test_how_runs_end_is_told(saver: Saver) -> None:
    """Failed, stopped, finished; and that one went on."""
    attempts: list[int] = []

    async def shaky(state: Items) -> Items:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("no")
        return {"items": ["b"]}

    graph = chain(("a", says("a")), ("b", shaky), ("c", says("c")), saver=saver)
    await graph.ainvoke({}, named("t"), by="ann", interrupt_before=["b"])
    with pytest.raises(ValueError, match="no"):
        await graph.ainvoke(None, named("t"), by="bob")
    await graph.ainvoke(None, named("t"), by="carl")
    assert await told(saver) == [
        ("input", "ann", None),
        ("ended", None, "stopped: breakpoint"),
        ("resumed", "bob", None),
        ("ended", None, "failed: ValueError"),
        ("resumed", "carl", None),
        ("ended", None, "finished"),
    ]


@pytest.mark.parametrize("call", [None, {"items": ["other"]}])
async def test_a_takeover_is_told(call: Any, saver: Saver) -> None:
    """A run that never came to its end has no end; whoever goes on from there took the thread
    over, with or without an input of their own."""
    begun: list[str] = []

    async def hang(state: Items) -> Items:
        begun.append("hang")
        if len(begun) == 1:
            asyncio.get_running_loop().stop()
            await asyncio.Event().wait()
        return {"items": ["done"]}

    graph = chain(("a", says("a")), ("hang", hang), saver=saver)

    def crash() -> None:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda loop, context: None)
        run = loop.create_task(graph.ainvoke({}, named("t"), by="ann"))
        loop.run_forever()
        loop.close()
        del run

    await asyncio.to_thread(crash)
    assert await told(saver) == [("input", "ann", None)]
    await graph.ainvoke(call, named("t"), by="bob")
    given = [("input", "bob", None)] if call is not None else []
    assert await told(saver) == [
        ("input", "ann", None),
        ("takeover", "bob", None),
        *given,
        ("ended", None, "finished"),
    ]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_every_durability_is_told_alike(durability: Durability, saver: Saver) -> None:
    """As far as it has records: an "exit" run has no input in the log, but its end."""
    graph = fan(("ask", ask), ("b", says("b")), saver=saver)
    await graph.ainvoke({}, named("t"), by="ann", durability=durability)
    await graph.ainvoke(Command(resume="yes"), named("t"), by="bob", durability=durability)
    found = await told(saver)
    assert [what for what, _, _ in found if what == "ended"] == ["ended", "ended"]
    assert [detail for what, _, detail in found if what == "ended"] == ["asking", "finished"]
    assert "takeover" not in {what for what, _, _ in found}
    if durability != "exit":
        assert [by for what, by, _ in found if what in ("input", "answer")] == ["ann", "bob"]


async def test_graphs_within_are_part_of_their_callers_run(saver: Saver) -> None:
    """Their steps are nobody's acts; what is asked in them is answered, and edits are told."""
    outer = StateGraph(Items)
    outer.add_node("inner", chain(("a", says("a")), ("ask", ask)))
    outer.add_edge(START, "inner")
    graph = outer.compile(saver)
    await graph.ainvoke({}, named("t"), by="ann")
    state = await graph.aget_state(named("t"), subgraphs=True)
    within = state.tasks[0].state
    assert within is not None
    await graph.aupdate_state(within.config, {"items": ["edit"]}, by="bob")
    await graph.ainvoke(Command(resume="yes"), named("t"), by="carl")
    found = await told(saver)
    assert [(what, by) for what, by, _ in found] == [
        ("input", "ann"),
        ("ended", None),
        ("edit", "bob"),
        ("answer", "carl"),
        ("ended", None),
    ]


async def test_an_update_beside_an_answer_is_an_edit(saver: Saver) -> None:
    """By whoever answered; and it is no end of the run."""
    graph = chain(("ask", ask), ("b", says("b")), saver=saver)
    await graph.ainvoke({}, named("t"), by="ann")
    await graph.ainvoke(Command(resume="yes", update={"last": 1}), named("t"), by="bob")
    assert [(what, by) for what, by, _ in await told(saver)] == [
        ("input", "ann"),
        ("ended", None),
        ("edit", "bob"),
        ("answer", "bob"),
        ("ended", None),
    ]


async def test_what_was_pruned_is_still_told(saver: Saver) -> None:
    """Headers stay: who and when; what only bodies said is left open, and nothing is made up."""
    graph = chain(("a", says("x" * 9000)), ("ask", ask), saver=saver)
    for number in range(6):
        await graph.ainvoke({}, named("t"), by=f"ann {number}")
        await graph.ainvoke(Command(resume="yes"), named("t"), by=f"bob {number}")
    before = await collect(saver.audit("t"))
    assert await saver.threads.prune("t", Retention(keep_last=1), by="janitor")
    *after, pruned = await collect(saver.audit("t"))
    assert (pruned.what, pruned.by) == ("pruned", "janitor")
    who = [(e.what, e.by, e.time, e.record) for e in before if e.what in ("input", "answer")]
    assert [(e.what, e.by, e.time, e.record) for e in after if e.what != "ended"] == who
    assert after[-1] == before[-1]


async def test_a_long_thread_is_told_page_by_page(
    saver: Saver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a page ends, the story is the same."""
    graph = chain(("a", says("a")), ("ask", ask), saver=saver)
    for number in range(4):
        await graph.ainvoke({}, named("t"), by=f"ann {number}")
        await graph.ainvoke(Command(resume="yes"), named("t"))
    whole: list[AuditEntry] = await collect(saver.audit("t"))
    for size in range(1, 8):
        monkeypatch.setattr("durable_graph.engine.history.scanning._PAGE", size)
        assert await collect(saver.audit("t")) == whole


async def test_copies_say_where_they_come_from(saver: Saver) -> None:
    """Behind all that was done with their source."""
    graph = chain(("a", says("a")), saver=saver)
    await graph.ainvoke({}, named("t"), by="ann")
    before = await told(saver)
    await saver.threads.copy("t", "u", by="bob")
    assert await told(saver, "u") == [*before, ("copied", "bob", "from t")]
    assert await told(saver) == before


async def test_a_damaged_record_is_told() -> None:
    """An audit that leaves things out without a word is none."""
    memory = InMemorySaver()
    await chain(("a", says("a")), saver=memory).ainvoke({}, named("t"))
    storage: Any = memory.backend
    storage._threads[memory.key("t")].records[1].header = b"{}"
    with pytest.raises(IntegrityError):
        await told(memory)


async def test_tenants_have_their_own_audits(saver: Saver) -> None:
    """A foreign thread has none."""
    graph = chain(("a", says("a")), saver=saver.for_tenant("acme"))
    await graph.ainvoke({}, named("t"), by="ann")
    assert (await told(saver.for_tenant("acme")))[0] == ("input", "ann", None)
    for other in (saver, saver.for_tenant("globex")):
        with pytest.raises(ThreadNotFoundError):
            await told(other)
