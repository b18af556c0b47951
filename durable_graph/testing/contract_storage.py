"""The contract, on what outlives an instance, and on several instances on one storage."""

from __future__ import annotations

import asyncio

from durable_graph.errors import StorageClosedError
from durable_graph.ports.backend import Backend, Outcome, Removal, ThreadQuery
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    Storage,
    commit,
    expect,
    expect_equal,
    expect_log,
    mark,
    message,
    process,
    results,
    second_instance,
    write,
)
from durable_graph.testing.contract_races import expect_one_winner
from durable_graph.testing.contract_threads import expect_gone

__all__ = ["DURABLE", "SHARED"]

DURABLE = Chapter("durable")
SHARED = Chapter("shared")

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED


# -- after a close ---------------------------------------------------------------------------------


@DURABLE.durable
async def what_was_acknowledged_survives(storage: Storage) -> None:
    """Heads, records, large values, messages and verdicts are there after a close and a reopen."""
    first = storage.backend
    logs = [Log(f"t{number}", tenant="ab"[number % 2]) for number in range(6)]
    for log in logs:
        await write(first, log, commit("c1"), results(), blobs={"d": log.key.thread.encode()})
        for id in ("settled", "waiting"):
            await first.post(log.key, message(id))
        await write(first, log, commit("c2"), settled={"settled": "no"}, reason="because")
    await first.aclose()
    async with second_instance(storage) as second:
        for log in logs:
            await expect_log(second, log)
            found = dict(await second.blobs(log.key, ["d"]))
            expect_equal(found, {"d": log.key.thread.encode()}, "The large value of a thread")
            reading = await second.read(log.key, "c1")
            waiting = None if reading is None else list(reading.messages)
            expect_equal(waiting, [message("waiting")], "What waits")
            stored = await second.post(log.key, message("settled"))
            expect_equal(stored.verdict, "no", "A verdict")
        page = await second.threads(ThreadQuery(tenant="a"))
        expect_equal(len(page.threads), 3, "How many threads are listed")


@DURABLE.durable
async def a_log_goes_on_after_a_reopen(storage: Storage) -> None:
    """A reopened log is extended at its next number; its positions and repeated appends are known
    as before."""
    log = Log()
    stale = await write(storage.backend, log, commit("c1"))
    late = log.copy()
    append = await write(storage.backend, log, results(), mark())
    await storage.backend.aclose()
    async with second_instance(storage) as second:
        answers = list(await second.append([append, Log("new").next(commit("c1"))]))
        expect_equal(answers, [APPLIED, APPLIED], "The last append once more, and a new thread")
        expect_equal(list(await second.append([stale])), [APPLIED], "The first append once more")
        answers = list(await second.append([late.next(mark("late"))]))
        expect_equal(answers, [REFUSED], "An append at a position from before the close")
        await write(second, log, commit("c2"))
        await expect_log(second, log)


@DURABLE.durable
async def what_was_removed_stays_removed(storage: Storage) -> None:
    """Removed threads, pruned bodies and removed large values do not come back after a reopen."""
    gone, pruned = Log("gone"), Log("pruned")
    for log in (gone, pruned):
        await write(storage.backend, log, commit("c1"), results(), blobs={"d": b"1", "e": b"2"})
    late = gone.next(mark("late"))
    await storage.backend.remove(gone.key, Removal(everything=True))
    part = Removal(expected=pruned.position, bodies=((1, 1),), blobs=("d",))
    await storage.backend.remove(pruned.key, part)
    pruned.prune(part.bodies)
    await storage.backend.aclose()
    async with second_instance(storage) as second:
        await expect_gone(second, gone, ["d", "e"])
        expect_equal(list(await second.append([late])), [REFUSED], "A late writer")
        await expect_log(second, pruned)
        found = dict(await second.blobs(pruned.key, ["d", "e"]))
        expect_equal(found, {"e": b"2"}, "The large values that stay")


@DURABLE.durable
async def what_was_under_way_at_the_close_is_whole(storage: Storage) -> None:
    """Of appends that were under way when the instance was closed, those that were acknowledged
    are there after a reopen, and the others are there as a whole or not at all."""
    logs = [Log(f"thread {number}") for number in range(10)]
    for log in logs:
        await write(storage.backend, log, commit("c1"))
    appends = [log.next(results(), mark(), blobs={"d": b"x"}) for log in logs]
    calls = [asyncio.ensure_future(storage.backend.append([append])) for append in appends]
    await asyncio.sleep(0)
    await storage.backend.aclose()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    async with second_instance(storage) as second:
        for log, append, answer in zip(logs, appends, answers, strict=True):
            found = await second.blobs(log.key, ["d"])
            if isinstance(answer, BaseException):
                if not isinstance(answer, StorageClosedError):
                    raise answer
                if not found:
                    await expect_log(second, log)
                    continue
            log.accept(append)
            await expect_log(second, log)
            expect_equal(dict(found), {"d": b"x"}, "The large values of an append")


# -- beside one another ----------------------------------------------------------------------------


@SHARED.shared
async def what_one_writes_the_other_reads(storage: Storage) -> None:
    """What one instance has acknowledged is what another reads at once."""
    log, other = Log(), Log("other")
    async with second_instance(storage) as second:
        for number in range(5):
            await write(storage.backend, log, commit(f"c{number}"), blobs={f"d{number}": b"x"})
            await expect_log(second, log)
            await write(second, other, commit(f"c{number}"), results())
            await expect_log(storage.backend, other)
            found = dict(await second.blobs(log.key, [f"d{number}"]))
            expect_equal(found, {f"d{number}": b"x"}, "The other's large value")
            reading = await second.read(log.key, unless=log.position)
            records = None if reading is None else list(reading.records)
            expect_equal(records, [], "Reading a head that is known from the other instance")


@SHARED.shared
async def one_instance_fences_the_other(storage: Storage) -> None:
    """An instance whose thread another has taken over is refused, and changes nothing."""
    log = Log()
    async with second_instance(storage) as second:
        await write(storage.backend, log, commit("c1"), status="running", owner="first")
        fenced = log.copy()
        await write(second, log, mark("taken over"), status="running", owner="second", epoch=2)
        append = fenced.next(commit("fenced"), status="running", owner="first")
        answers = list(await storage.backend.append([append]))
        expect_equal(answers, [REFUSED], "The answer to a fenced owner")
        await write(second, log, commit("c2"))
        for backend in (storage.backend, second):
            await expect_log(backend, log)


@SHARED.shared
async def an_append_is_known_to_the_other(storage: Storage) -> None:
    """A caller who lost the answer of one instance may ask another."""
    log = Log()
    async with second_instance(storage) as second:
        for number in range(3):
            append = await write(storage.backend, log, commit(f"c{number}"))
            expect_equal(list(await second.append([append])), [APPLIED], "The very same append")
            await expect_log(second, log)


@SHARED.shared
async def one_of_many_racers_wins_across_instances(storage: Storage) -> None:
    """Of many appends at one position, over several instances, exactly one is applied."""
    log = Log()
    async with second_instance(storage) as second, second_instance(storage) as third:
        backends = [storage.backend, second, third]
        for number in range(10):
            appends = [log.next(commit(f"c{number} {n}")) for n in range(9)]
            calls = [backends[n % 3].append([appends[n]]) for n in range(9)]
            answers = await asyncio.gather(*calls)
            expect_one_winner(log, appends, [answer[0] for answer in answers])
            await expect_log(backends[number % 3], log)


@SHARED.shared
async def instances_open_fresh_storage_at_the_same_time(storage: Storage) -> None:
    """Several instances may use storage for the first time at once: none fails, nothing is lost."""
    if storage.reopen is None:
        return
    logs = [Log(f"thread {number}") for number in range(4)]
    backends: list[Backend] = [storage.backend, *[await storage.reopen() for _ in range(3)]]
    try:
        async with asyncio.TaskGroup() as group:
            for backend, log in zip(backends, logs, strict=True):
                group.create_task(write(backend, log, commit("c1")))
        for backend in backends:
            for log in logs:
                await expect_log(backend, log)
    finally:
        for backend in backends[1:]:
            await backend.aclose()


@SHARED.shared
async def a_message_reaches_the_owner_elsewhere(storage: Storage) -> None:
    """A message that one instance leaves is read and settled by another, and the sender is told."""
    log = Log()
    async with second_instance(storage) as second:
        await write(storage.backend, log, commit("c1"), status="running", owner="first")
        await second.post(log.key, message("question", by="sender"))
        reading = await storage.backend.read(log.key, unless=log.position)
        waiting = None if reading is None else list(reading.messages)
        expect_equal(waiting, [message("question", by="sender")], "What waits for the owner")
        await write(storage.backend, log, results(), settled={"question": "no"})
        stored = await second.post(log.key, message("question"))
        expect_equal(stored.verdict, "no", "What the sender is told")


@SHARED.shared
async def a_change_by_the_other_is_told(storage: Storage) -> None:
    """Who waits for a thread to move is woken when another instance appends to it or removes
    it."""
    log = Log()
    async with second_instance(storage) as second:
        await write(storage.backend, log, commit("c1"))
        waiting = asyncio.ensure_future(second.changed(log.key, log.position))
        await asyncio.sleep(0)
        await write(storage.backend, log, results())
        await waiting
        waiting = asyncio.ensure_future(second.changed(log.key, log.position))
        await asyncio.sleep(0)
        await storage.backend.remove(log.key, Removal(everything=True))
        await waiting


@SHARED.shared
async def a_removal_by_the_other_is_seen(storage: Storage) -> None:
    """A thread that one instance removed is gone for the other, whose late writes are refused."""
    log = Log()
    async with second_instance(storage) as second:
        await write(storage.backend, log, commit("c1"), blobs={"d": b"x"})
        await expect_log(second, log)
        await second.remove(log.key, Removal(everything=True))
        await expect_gone(storage.backend, log, ["d"])
        answers = list(await storage.backend.append([log.next(mark())]))
        expect_equal(answers, [REFUSED], "A late writer")


@SHARED.shared
async def signs_of_life_are_seen_by_the_other(storage: Storage) -> None:
    """A process that beats in one instance is known in the other."""
    async with second_instance(storage) as second:
        await storage.backend.beat(process("first"))
        told = {entry.process.id for entry in await second.beat(process("second"))}
        expect_equal(told, {"first", "second"}, "Who is known")
        ages = [entry.age for entry in await second.beat(None)]
        expect(all(0.0 <= age < 60.0 for age in ages), f"Fresh signs of life are {ages} s old.")


@SHARED.shared
async def closing_one_instance_leaves_the_other(storage: Storage) -> None:
    """Closing an instance does not disturb those beside it."""
    log = Log()
    async with second_instance(storage) as second:
        await write(second, log, commit("c1"))
        await storage.backend.aclose()
        await write(second, log, results())
        await expect_log(second, log)
