"""The contract, on appending: compare and set, all or nothing, the very same again."""

from __future__ import annotations

from dataclasses import replace

from durable_graph.log.records import Record
from durable_graph.ports.backend import Append, Backend, Outcome, Position, ThreadKey
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    commit,
    expect,
    expect_equal,
    expect_log,
    mark,
    message,
    process,
    results,
    write,
)

__all__ = ["CHAPTER"]

CHAPTER = Chapter("append")

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED


@CHAPTER.check
async def the_first_append_creates_the_thread(backend: Backend) -> None:
    """An append that expects no thread creates it, with its head and records as they were given."""
    log = Log()
    expect_equal(await backend.read(log.key), None, "Reading a thread nobody wrote")
    await write(backend, log, commit("c1"))
    await expect_log(backend, log)


@CHAPTER.check
async def every_field_of_a_head_is_kept(backend: Backend) -> None:
    """A head is read as it was appended, field by field, whichever of them changed."""
    log = Log()
    await write(backend, log, commit("c1"), status="running", owner="p1", input="digest", at=1.25)
    await expect_log(backend, log)
    await write(backend, log, results(), status="asking", reason="because", at=123456789.000001)
    await expect_log(backend, log)
    await write(backend, log, commit("c2"), status="finished", epoch=7, at=0.5)
    await expect_log(backend, log)


@CHAPTER.check
async def several_records_can_be_appended_at_once(backend: Backend) -> None:
    """An append holds one record or many, of every kind."""
    log = Log()
    await write(backend, log, commit("c1"), results(), mark(), results(), commit("c2"))
    await write(backend, log, *(mark(f"event {n}", by="me") for n in range(300)))
    await expect_log(backend, log)


@CHAPTER.check
async def a_thread_is_not_created_twice(backend: Backend) -> None:
    """An append that expects no thread is refused where there is one, and changes nothing."""
    log, other = Log(), Log()
    await write(backend, log, commit("c1"))
    await _expect_refused(backend, log, other.next(commit("other")))


@CHAPTER.check
async def a_stale_position_is_refused(backend: Backend) -> None:
    """An append at a position that the log has left is refused, and changes nothing."""
    log = Log()
    await write(backend, log, commit("c1"))
    late = log.copy()
    await write(backend, log, results())
    await _expect_refused(backend, log, late.next(commit("late")))


@CHAPTER.check
async def an_earlier_owner_is_fenced(backend: Backend) -> None:
    """Once another owner has raised the epoch, whoever believes in the old one is refused."""
    log = Log()
    await write(backend, log, commit("c1"), status="running", owner="first")
    fenced = log.copy()
    await write(backend, log, mark("taken over"), status="running", owner="second", epoch=2)
    append = fenced.next(commit("fenced"), status="running", owner="first")
    await _expect_refused(backend, log, append)


@CHAPTER.check
async def the_epoch_is_compared(backend: Backend) -> None:
    """An append that expects another epoch is refused, though number and link are right."""
    log = Log()
    await write(backend, log, commit("c1"), epoch=3)
    for epoch in (2, 4):
        append = log.next(commit("c2"))
        wrong = replace(log.position, epoch=epoch)
        await _expect_refused(backend, log, replace(append, expected=wrong))


@CHAPTER.check
async def the_link_is_compared(backend: Backend) -> None:
    """An append that expects another link is refused, though number and epoch are right."""
    log = Log()
    await write(backend, log, commit("c1"))
    for link in (bytes(32), log.position.link[:-1] + b"\0", log.position.link[:-1], b""):
        append = log.next(commit("c2"))
        wrong = replace(log.position, link=link)
        await _expect_refused(backend, log, replace(append, expected=wrong))


@CHAPTER.check
async def the_number_is_compared(backend: Backend) -> None:
    """An append that expects another sequence number is refused, though the rest is right."""
    log = Log()
    await write(backend, log, commit("c1"), results())
    for seq in (1, 3, 0):
        append = log.next(commit("c2"))
        wrong = replace(log.position, seq=seq)
        await _expect_refused(backend, log, replace(append, expected=wrong))


@CHAPTER.check
async def a_missing_thread_is_not_created_by_an_extension(backend: Backend) -> None:
    """An append that expects a position is refused where there is no thread, and makes none."""
    log = Log()
    append = replace(log.next(commit("c1")), expected=Position(1, 1, bytes(32)))
    expect_equal(list(await backend.append([append])), [REFUSED], "Extending no thread")
    expect_equal(await backend.read(log.key), None, "Reading the thread afterwards")


@CHAPTER.check
async def a_refused_append_stores_nothing_of_its_own(backend: Backend) -> None:
    """A refused append leaves no records, no large values and no verdicts behind."""
    log = Log()
    await write(backend, log, commit("c1"))
    late = log.copy()
    await backend.post(log.key, message("question"))
    await write(backend, log, results(), blobs={"kept": b"1"})
    append = late.next(
        *(mark() for _ in range(5)),
        blobs={"kept": b"other", "lost": b"2"},
        settled={"question": "refused"},
        status="finished",
    )
    await _expect_refused(backend, log, append)
    found = dict(await backend.blobs(log.key, ["kept", "lost"]))
    expect_equal(found, {"kept": b"1"}, "The large values after a refused append")
    waiting = await _waiting(backend, log.key)
    expect_equal(waiting, ["question"], "The messages that wait after a refused append")


@CHAPTER.check
async def a_refused_append_burns_no_number(backend: Backend) -> None:
    """After a refusal the log is extended at the very next number, as if nothing had been."""
    log = Log()
    await write(backend, log, commit("c1"))
    late = log.copy()
    await write(backend, log, results())
    for _ in range(3):
        await _expect_refused(backend, log, late.next(commit("late"), results()))
    await write(backend, log, commit("c2"), results())
    await expect_log(backend, log)


@CHAPTER.check
async def the_very_same_append_is_stored_once(backend: Backend) -> None:
    """An append that is stored already is answered as applied, and is not stored again."""
    log = Log()
    first = await write(backend, log, commit("c1"), blobs={"d": b"1"})
    await _expect_applied_before(backend, log, first)
    second = await write(backend, log, commit("c2"), results())
    await _expect_applied_before(backend, log, second)


@CHAPTER.check
async def the_very_same_append_is_known_after_the_log_moved_on(backend: Backend) -> None:
    """An append that is stored is answered as applied also when others were stored after it."""
    log = Log()
    appends = [await write(backend, log, commit("c1"), status="running", owner="p")]
    appends += [await write(backend, log, results(), mark()) for _ in range(4)]
    appends += [await write(backend, log, mark("taken over"), epoch=2)]
    appends += [await write(backend, log, commit("c2"))]
    for append in appends:
        await _expect_applied_before(backend, log, append)


@CHAPTER.check
async def repeating_an_append_undoes_nothing(backend: Backend) -> None:
    """Asking for a stored append again leaves what came after it: pruned stays pruned, and a
    verdict is not given twice."""
    log = Log()
    await write(backend, log, commit("c1"))
    await backend.post(log.key, message("one"))
    append = await write(backend, log, results(), blobs={"d": b"1"}, settled={"one": "no"})
    await write(backend, log, mark(), settled={"one": "changed"})
    await _expect_applied_before(backend, log, append)
    expect_equal((await backend.post(log.key, message("one"))).verdict, "changed", "The verdict")


@CHAPTER.check
async def another_append_at_the_same_place_is_refused(backend: Backend) -> None:
    """An append with other records at a place that is taken is refused, however similar it is."""
    log = Log()
    await write(backend, log, commit("c1"))
    twin = log.copy()
    await write(backend, log, results(b'"a"'))
    await _expect_refused(backend, log, twin.next(results(b'"b"')))
    await _expect_refused(backend, log, twin.next(results(b'"a"'), results(b'"b"')))


@CHAPTER.check
async def each_append_of_a_batch_stands_by_itself(backend: Backend) -> None:
    """Of a batch, those at their position are applied and the others refused, in their order."""
    logs = [Log(f"thread {n}") for n in range(6)]
    for log in logs[:3]:
        await write(backend, log, commit("c1"))
    stale = logs[1].copy()
    await write(backend, logs[1], results())
    gone = Log("never written")
    again = await write(backend, logs[2], results())
    batch = [
        logs[0].next(commit("c2"), blobs={"zero": b"0"}),
        stale.next(commit("stale"), blobs={"one": b"1"}),
        again,
        logs[3].next(commit("c1")),
        replace(gone.next(commit("c1")), expected=Position(1, 1, b"link")),
        logs[4].next(commit("c1"), results()),
    ]
    answers = list(await backend.append(batch))
    wanted = [APPLIED, REFUSED, APPLIED, APPLIED, REFUSED, APPLIED]
    expect_equal(answers, wanted, "The answers to a batch")
    for log, append in ((logs[0], batch[0]), (logs[3], batch[3]), (logs[4], batch[5])):
        log.accept(append)
    for log in logs[:5]:
        await expect_log(backend, log)
    expect_equal(await backend.read(gone.key), None, "A thread that a batch must not create")
    found = await backend.blobs(logs[1].key, ["one"])
    expect_equal(dict(found), {}, "Large values of the refused append")


@CHAPTER.check
async def a_large_batch_is_answered_in_order(backend: Backend) -> None:
    """A batch of a hundred appends gets a hundred answers, each in its place."""
    logs = [Log(f"thread {n:03}", tenant=f"tenant {n % 3}") for n in range(100)]
    for log in logs[::2]:
        await write(backend, log, commit("c1"))
    stale = [log.copy() for log in logs]
    for log in logs[::4]:
        await write(backend, log, mark())
    batch = [log.next(results()) for log in stale]
    answers = list(await backend.append(batch))
    wanted = [REFUSED if n % 4 == 0 else APPLIED for n in range(100)]
    expect_equal(answers, wanted, "The answers to a large batch")
    for log, append, answer in zip(logs, batch, answers, strict=True):
        if answer is APPLIED:
            log.accept(append)
        await expect_log(backend, log)


@CHAPTER.check
async def a_sign_of_life_rides_in_an_append(backend: Backend) -> None:
    """The process that comes with a batch is known afterwards, also if an append was refused."""
    log = Log()
    await backend.append([log.next(commit("c1"))], process("rider", lease=30.0))
    known = {entry.process.id: entry for entry in await backend.beat(None)}
    expect("rider" in known, "The process that came with an append is not known.")
    expect_equal(known["rider"].process, process("rider", lease=30.0), "The process")
    await backend.append([Log().next(commit("twice"))], process("second"))
    known = {entry.process.id: entry for entry in await backend.beat(None)}
    expect("second" in known, "The process that came with a refused append is not known.")


@CHAPTER.check
async def threads_do_not_share_positions(backend: Backend) -> None:
    """The same append under another thread's or tenant's name is that thread's own."""
    logs = [Log("a"), Log("b"), Log("a", tenant="other")]
    for log in logs:
        await write(backend, log, commit("c1"))
    await write(backend, logs[0], commit("c2"), results())
    for log in logs:
        await expect_log(backend, log)


async def _expect_refused(backend: Backend, log: Log, append: Append) -> None:
    answers = list(await backend.append([append]))
    expect_equal(answers, [REFUSED], f"The answer to an append that expects {append.expected}")
    await expect_log(backend, log)


async def _expect_applied_before(backend: Backend, log: Log, append: Append) -> None:
    answers = list(await backend.append([append]))
    seqs = [record.seq for record in append.records]
    expect_equal(answers, [APPLIED], f"The answer to the append of records {seqs} once more")
    await expect_log(backend, log)
    stored: list[Record] = list(await backend.scan(log.key, ((1, log.now.seq + 100),)))
    expect_equal(len(stored), log.now.seq, "How many records there are after a repeated append")


async def _waiting(backend: Backend, key: ThreadKey) -> list[str]:
    reading = await backend.read(key)
    return [] if reading is None else [waiting.id for waiting in reading.messages]
