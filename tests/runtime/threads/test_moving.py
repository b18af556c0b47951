"""Threads that are copied, or taken as one file from one storage to another."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from durable_graph import Command, InMemorySaver, interrupt
from durable_graph.errors import (
    CheckpointNotFoundError,
    ConfigError,
    IntegrityError,
    ThreadBusyError,
    ThreadExistsError,
    ThreadNotFoundError,
)
from durable_graph.log.records import Answers, Mark, ThreadKey, encode_body
from durable_graph.log.seal import Draft, seal
from durable_graph.ports.backend import Append, Message, Outcome, Position
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.ports.threadfile import read_thread, write_thread
from durable_graph.saver import Saver
from durable_graph.testing.crash import Crash, CrashingBackend
from durable_graph.threads import Retention
from durable_graph_sqlite import SqliteSaver
from tests.conftest import SAVERS
from tests.conftest import thread as named
from tests.runtime.encryption.kit import encrypted
from tests.runtime.kit import Items, chain, collect, fan, history, reached, says


@pytest_asyncio.fixture(params=["memory", "sqlite", "encrypted"])
async def other(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Saver]:
    """A second saver, over storage of its own."""
    (tmp_path / "other").mkdir()
    if request.param == "encrypted":
        made: Saver = SqliteSaver(tmp_path / "other" / "threads.db", encryption=encrypted())
    else:
        made = SAVERS[request.param](tmp_path / "other")
    yield made
    await made.aclose()


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


def graph(saver: Saver) -> Any:
    return chain(("a", says("x" * 10_000)), ("ask", ask), ("b", says("b")), saver=saver)


async def a_life(saver: Saver) -> None:
    """A thread with branches, an edit, an answer, large values and an open question."""
    made = graph(saver)
    await saver.threads.create("t", owner="ann", tags=["a"], metadata={"n": 1}, ttl=3600)
    await made.ainvoke({}, named("t"), by="ann")
    await made.ainvoke(Command(resume="yes"), named("t"), by="bob")
    await made.aupdate_state(named("t"), {"last": 7}, as_node="b")
    past = await history(made, named("t"))
    await made.ainvoke({"items": ["again"]}, past[2].config)
    await made.ainvoke(None, past[3].config)


async def test_a_thread_moves_with_its_whole_history(saver: Saver, other: Saver) -> None:
    """Checkpoints, branches, questions and what is known of it are the same there, and it goes on
    as it would have here; what was moved verifies."""
    await a_life(saver)
    info = await other.threads.import_(await saver.threads.export("t"), by="root")
    here, there = graph(saver), graph(other)
    assert await history(there, named("t")) == await history(here, named("t"))
    state = await there.aget_state(named("t"))
    assert state == await here.aget_state(named("t"))
    assert await other.threads.verify("t") == []
    before = await saver.threads.get("t")
    assert (info.owner, info.tags, dict(info.metadata), info.ttl) == ("ann", ("a",), {"n": 1}, 3600)
    assert (info.records, info.size, info.created_at) == (
        before.records,
        before.size,
        before.created_at,
    )
    for snapshot in await history(here, named("t")):
        assert await there.aget_state(snapshot.config) == await here.aget_state(snapshot.config)
    answer: Command[Any] = Command(resume={state.interrupts[0].id: "moved"})
    assert await there.ainvoke(answer, named("t")) == await here.ainvoke(answer, named("t"))


async def test_who_did_what_moves_with_the_thread(saver: Saver, other: Saver) -> None:
    """And who has moved it is told behind that."""
    await a_life(saver)
    await other.threads.import_(await saver.threads.export("t"), "u", by="root")
    here, there = await collect(saver.audit("t")), await collect(other.audit("u"))
    assert there[:-1] == here
    assert (there[-1].what, there[-1].by, there[-1].detail) == ("imported", "root", "was t")


async def test_a_thread_comes_back_as_it_went(saver: Saver, other: Saver) -> None:
    """Record for record, whatever kept it meanwhile; and can be audited and pruned there."""
    await a_life(saver)
    await other.threads.import_(await saver.threads.export("t"))
    await saver.threads.import_(await other.threads.export("t"), "back")
    old, new = [read_thread(await saver.threads.export(name)) for name in ("t", "back")]
    assert (old.records, old.blobs) == (new.records, new.blobs)
    told = await collect(other.audit("t"))
    assert [entry for entry in await collect(saver.audit("back")) if entry.record] == [
        entry for entry in told if entry.record
    ]
    await other.threads.sweep(Retention(keep_last=1))
    assert await other.threads.verify("t") == []
    await other.threads.delete("t", by="root")
    assert [info async for info in other.threads.list()] == []


async def test_a_thread_that_nothing_is_known_of_gets_no_card(saver: Saver, other: Saver) -> None:
    """Unless somebody says who moves it."""
    await graph(saver).ainvoke({}, named("t"))
    data = await saver.threads.export("t")
    await other.threads.import_(data, "quiet")
    await other.threads.import_(data, "told", by="root")
    quiet, told = [await other.backend.thread(other.key(name)) for name in ("quiet", "told")]
    assert quiet is not None
    assert quiet.card is None
    assert told is not None
    assert told.card is not None


async def test_a_name_is_taken_once(saver: Saver, other: Saver) -> None:
    """A thread that was run, created, or imported before is not written over; a trace of a
    deletion is in nobody's way, and stays."""
    await a_life(saver)
    data = await saver.threads.export("t")
    await graph(other).ainvoke({"items": ["mine"]}, named("t"))
    await other.threads.create("new")
    for name in (None, "t", "new"):
        with pytest.raises(ThreadExistsError):
            await other.threads.import_(data, name)
    assert (await graph(other).aget_state(named("t"))).values["items"][0] == "mine"
    await other.threads.import_(data, "free")
    with pytest.raises(ThreadExistsError):
        await other.threads.import_(data, "free")
    with pytest.raises(ThreadExistsError):
        await saver.threads.copy("t", "t")
    await other.threads.delete("free", by="root")
    await other.threads.import_(data, "free", by="ann")
    told = [(entry.what, entry.by) for entry in await collect(other.audit("free"))]
    assert ("deleted", "root") in told
    assert told[-1] == ("imported", "ann")
    assert (await other.threads.get("free")).owner == "ann"


@pytest.mark.parametrize("by", [None, "ann"])
async def test_one_of_those_who_import_at_once_succeeds(saver: Saver, by: str | None) -> None:
    """The others are told that the thread exists, as they would be a moment later; and so it is
    with copies."""
    made = graph(saver)
    await made.ainvoke({}, named("t"))
    data = await saver.threads.export("t")
    for calls in (
        [saver.threads.import_(data, "u", by=by) for _ in range(5)],
        [saver.threads.copy("t", "v", by=by) for _ in range(5)],
    ):
        results = await asyncio.gather(*calls, return_exceptions=True)
        failed = [result for result in results if isinstance(result, BaseException)]
        assert [type(error) for error in failed] == [ThreadExistsError] * 4
    for name in ("u", "v"):
        assert (await made.ainvoke(Command(resume="yes"), named(name)))["items"][-1] == "b"


async def test_whoever_has_imported_a_thread_may_find_it_gone_on(saver: Saver) -> None:
    """It is theirs, though others have run it, or removed it, before that was looked at."""
    made = graph(saver)
    await made.ainvoke({}, named("t"))
    data = await saver.threads.export("t")

    class Slow(InMemoryBackend):
        async def append(self, batch: Any, beat: Any = None) -> Any:
            outcomes = await super().append(batch, beat)
            if batch[0].head.key.thread in meanwhile:
                await meanwhile.pop(batch[0].head.key.thread)()
            return outcomes

    async def run() -> None:
        await graph(other).ainvoke(Command(resume="yes"), named("runs"))

    async def delete() -> None:
        await other.threads.delete("gone")

    meanwhile = {"runs": run, "gone": delete}
    async with Saver(Slow()) as other:
        for name in ("runs", "gone"):
            assert (await other.threads.import_(data, name)).thread_id == name
    assert not meanwhile


async def test_answers_that_wait_move_too(saver: Saver, other: Saver) -> None:
    """They are taken up where the thread goes on; in a copy likewise."""
    made = fan(("ask", ask), ("too", ask), saver=saver)
    await made.ainvoke({}, named("t"))
    asked = (await made.aget_state(named("t"))).interrupts
    await _leave(saver, "t", asked[0].id, "waited")
    await other.threads.import_(await saver.threads.export("t"))
    await saver.threads.copy("t", "copy")
    for where, name in ((other, "t"), (saver, "copy"), (saver, "t")):
        there = fan(("ask", ask), ("too", ask), saver=where)
        assert len((await there.ainvoke(None, named(name)))["__interrupt__"]) == 1
        result = await there.ainvoke(Command(resume="now"), named(name))
        assert sorted(result["items"]) == ["now", "waited"]


async def test_an_import_that_was_cut_off_is_completed_by_another(saver: Saver) -> None:
    """Wherever the process dies: there is no thread then, or all of it once the same call was
    made again."""
    made = fan(("ask", ask), ("too", ask), saver=saver)
    await made.ainvoke({}, named("t"))
    asked = (await made.aget_state(named("t"))).interrupts
    for question in asked:
        await _leave(saver, "t", question.id, "waited")
    data = await saver.threads.export("t")
    number, crashed = 1, True
    while crashed:
        for when in ("before", "after"):
            storage = InMemoryBackend()
            dying = CrashingBackend(storage, number, "before" if when == "before" else "after")
            with suppress(Crash):
                await Saver(dying).threads.import_(data, by="root")
            crashed = dying.crashed
            whole = Saver(storage)
            with suppress(ThreadExistsError):  # all of it was there
                await whole.threads.import_(data, by="root")
            again = fan(("ask", ask), ("too", ask), saver=whole)
            assert (await again.ainvoke(None, named("t")))["items"] == ["waited", "waited"]
        number += 1
    assert number > 4


async def test_another_tenants_file_becomes_ones_own(saver: Saver) -> None:
    """Whoever has the file may have the thread, for themselves and nobody else."""
    ours, theirs = saver.for_tenant("acme"), saver.for_tenant("globex")
    await a_life(ours)
    await theirs.threads.import_(await ours.threads.export("t"))
    assert await history(graph(theirs), named("t")) == await history(graph(ours), named("t"))
    await theirs.threads.delete("t")
    assert (await ours.threads.get("t")).owner == "ann"
    with pytest.raises(ThreadNotFoundError):
        await saver.threads.get("t")


async def test_a_pruned_thread_moves_as_it_is(saver: Saver, other: Saver) -> None:
    """What is gone is gone there as well; the rest is there."""
    made = chain(*((n, says(n * 5000)) for n in "abc"), saver=saver)
    for _ in range(8):
        await made.ainvoke({}, named("t"))
    assert await saver.threads.prune("t", Retention(keep_last=2))
    await other.threads.import_(await saver.threads.export("t"))
    there = chain(*((n, says(n * 5000)) for n in "abc"), saver=other)
    assert await history(there, named("t")) == await history(made, named("t"))
    assert await other.threads.verify("t") == []
    assert (await there.ainvoke({}, named("t")))["items"][-1] == "c" * 5000


async def test_a_thread_that_is_run_does_not_move(saver: Saver) -> None:
    """One that has never been run has nothing to move."""
    entered, leave = asyncio.Event(), asyncio.Event()

    async def node(state: Items) -> Items:
        entered.set()
        await leave.wait()
        return {"items": ["done"]}

    run = asyncio.create_task(chain(("node", node), saver=saver).ainvoke({}, named("t")))
    await reached(entered, run)
    with pytest.raises(ThreadBusyError):
        await saver.threads.export("t")
    with pytest.raises(ThreadBusyError):
        await saver.threads.copy("t", "copy")
    leave.set()
    await run
    await saver.threads.create("new")
    with pytest.raises(ThreadNotFoundError, match="has been run"):
        await saver.threads.export("new")


async def test_a_damaged_thread_is_not_moved(saver: Saver) -> None:
    """It is told instead: a copy of damage is no copy."""
    storage = InMemoryBackend()
    whole = Saver(storage)
    await a_life(whole)
    stored = storage._threads[whole.key("t")]
    record = next(r for r in stored.records if r.body is not None and len(r.body) > 50)
    stored.records[record.seq - 1] = replace(record, body=b"[]\n" + (record.body or b"")[3:])
    with pytest.raises(IntegrityError):
        await whole.threads.export("t")
    with pytest.raises(IntegrityError):
        await whole.threads.copy("t", "copy")


async def test_a_damaged_file_is_refused_and_nothing_is_stored(saver: Saver, other: Saver) -> None:
    """Cut off anywhere, with any bit turned, and what is no file of a thread at all."""
    await a_life(saver)
    data = await saver.threads.export("t")
    numbers = random.Random(7)
    damaged: list[Any] = [b"", b"\n", b"{}", b"durable_graph", data[:-1], data + b"x", data[1:]]
    damaged += [data[: numbers.randrange(len(data))] for _ in range(20)]
    for _ in range(60):
        place = numbers.randrange(len(data))
        turned = data[place] ^ 1 << numbers.randrange(8)
        damaged.append(data[:place] + bytes([turned]) + data[place + 1 :])
    for one in damaged:
        with pytest.raises(IntegrityError):
            await other.threads.import_(one)
    assert [info async for info in other.threads.list()] == []


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "0"},
        {"step": 99},
        {"path": ((1, 1),)},
        {"path": ()},
        {"seq": 1},
        {"link": b"x" * 32},
        {"secret": b"y" * 16},
        {"epoch": 2**63 - 1},
        {"epoch": 0},
    ],
)
async def test_a_file_made_by_hand_must_be_a_thread(
    change: dict[str, Any], saver: Saver, other: Saver
) -> None:
    """Its head is the one its records lead to, or it is refused: checksums anybody can make."""
    await a_life(saver)
    whole = read_thread(await saver.threads.export("t"))
    made = replace(whole, head=replace(whole.head, **change))
    with pytest.raises(IntegrityError):
        await other.threads.import_(write_thread(made))
    assert [info async for info in other.threads.list()] == []


@pytest.mark.parametrize("given", ["text", None, 5])
async def test_what_is_no_file_is_refused(given: Any) -> None:
    """It says what it should be."""
    async with InMemorySaver() as saver:
        with pytest.raises(ConfigError, match="takes the bytes"):
            await saver.threads.import_(given)


async def test_a_name_that_is_none_is_damage(saver: Saver, other: Saver) -> None:
    """A file cannot bring a thread that nobody could call by its name."""
    await a_life(saver)
    whole = read_thread(await saver.threads.export("t"))
    for name in ("", "a\nb", "x" * 300):
        head = replace(whole.head, key=replace_name(whole.head.key, name))
        with pytest.raises(IntegrityError):
            await other.threads.import_(write_thread(replace(whole, head=head)))
    assert [info async for info in other.threads.list()] == []


async def test_a_moved_crash_goes_on_where_it_was(saver: Saver, other: Saver) -> None:
    """A run whose process died belongs to nobody in its new place."""
    await graph(saver).ainvoke({}, named("t"))
    whole = read_thread(await saver.threads.export("t"))
    running = replace(whole.head, status="running", owner="dead", reason=None)
    info = await other.threads.import_(write_thread(replace(whole, head=running)))
    assert (info.status, info.reason) == ("stopped", "imported")
    assert (await graph(other).ainvoke(None, named("t")))["__interrupt__"]


async def test_a_foreign_checkpoint_stays_foreign(saver: Saver, other: Saver) -> None:
    """Ids of checkpoints are those of the thread that moved, and of no other."""
    await a_life(saver)
    await graph(other).ainvoke({}, named("u"))
    config = (await graph(other).aget_state(named("u"))).config
    await other.threads.import_(await saver.threads.export("t"))
    checkpoint = config["configurable"]["checkpoint_id"]
    with pytest.raises(CheckpointNotFoundError):
        await graph(other).aget_state(named("t", checkpoint))


def replace_name(key: Any, name: str) -> Any:
    return key._replace(thread=name)


async def _leave(saver: Saver, thread: str, question: str, answer: str) -> None:
    """An answer in the inbox of a thread whose owner is gone."""
    body = encode_body(Answers({question: b'"%b"' % answer.encode()}))
    message = Message(f"of {question}", "answer", body, "ann", saver.clock.time())
    await saver.backend.post(saver.key(thread), message)


async def test_who_owned_a_deleted_thread_does_not_own_the_imported_one(saver: Saver) -> None:
    """A writer that was paused finds the same log again, under the same name and at the same
    position, and is refused: the thread was given to nobody since."""
    made = chain(("a", says("a")), ("b", says("b")), saver=saver)
    await made.ainvoke({}, named("t"))
    key = ThreadKey("", "t")
    seen = await saver.backend.read(key)
    assert seen is not None
    head = seen.head
    after, records = seal(
        head,
        [Draft(Mark("late"), head.updated, head.run)],
        key=key,
        secret=head.secret,
        epoch=head.epoch,
        status=head.status,
        owner=head.owner,
        input=head.input,
        reason=head.reason,
        now=head.updated,
    )
    late = Append(Position.of(head), after, records, {}, {})
    file = await saver.threads.export("t")
    await saver.threads.delete("t")
    await saver.threads.import_(file)
    assert list(await saver.backend.append([late])) == [Outcome.REFUSED]
    assert await made.aget_state(named("t")) is not None
    assert await saver.threads.verify("t") == []
