"""The contract, on threads as a whole: listing them, removing them, and waiting for a change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from durable_graph.log.records import Status
from durable_graph.ports.backend import (
    Backend,
    Head,
    Outcome,
    Removal,
    ThreadPage,
    ThreadQuery,
)
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    commit,
    expect,
    expect_equal,
    expect_log,
    mark,
    message,
    results,
    shown,
    write,
)

__all__ = ["CHANGED", "HEADS", "REMOVE", "expect_gone"]

HEADS = Chapter("threads")
REMOVE = Chapter("remove")
CHANGED = Chapter("changed")

_STATUSES: tuple[Status, ...] = ("running", "finished", "failed", "asking", "stopped")


# -- listing ---------------------------------------------------------------------------------------


@HEADS.check
async def threads_are_listed_newest_change_first(backend: Backend) -> None:
    """Heads come as they were appended, the one that changed last first."""
    logs = [Log(f"t{number}") for number in range(5)]
    for log, at in zip(logs, (30.0, 10.0, 50.0, 20.0, 40.0), strict=True):
        await write(backend, log, commit("c1"), at=at)
    order = [logs[place] for place in (2, 4, 0, 3, 1)]
    page = await backend.threads(ThreadQuery())
    expect_equal(_heads(page), [log.shown for log in order], "The heads")
    expect_equal(page.next, None, "Where to go on after the last page")
    await write(backend, logs[1], results(), at=60.0)
    page = await backend.threads(ThreadQuery(limit=2))
    expect_equal(_heads(page), [logs[1].shown, logs[2].shown], "The heads after a change")


@HEADS.check
async def no_threads_are_an_empty_page(backend: Backend) -> None:
    """Where there are no threads, a page is empty and the last one."""
    page = await backend.threads(ThreadQuery())
    expect_equal((list(page.threads), page.next), ([], None), "Listing nothing")


@HEADS.check
async def every_thread_is_on_one_page(backend: Backend) -> None:
    """Following the pages tells each thread exactly once, whatever the size of a page, also
    where many changed at the same moment."""
    logs = [Log(f"t{number:02}") for number in range(23)]
    for number, log in enumerate(logs):
        await write(backend, log, commit("c1"), at=float(100 + number // 8))
    wanted = sorted((log.now.updated, log.key.thread) for log in logs)
    for limit in (1, 2, 3, 8, 22, 23, 24, 1000):
        found = await _list(backend, ThreadQuery(limit=limit))
        names = sorted((head.updated, head.key.thread) for head in found)
        expect_equal(names, wanted, f"The threads on pages of {limit}")
        times = [head.updated for head in found]
        expect_equal(times, sorted(times, reverse=True), f"The times on pages of {limit}")


@HEADS.check
async def times_are_told_apart_exactly(backend: Backend) -> None:
    """Threads are in the order of their times however close these lie, and far from today."""
    times = [0.0, 0.5, 1.0, 9.0, 10.0, 1e6, 1e9 + 2**-22, 1e9 + 2**-21, 1.7e9, 1e11, 1e12 + 0.125]
    logs = [Log(f"t{(7 * number) % 11}") for number in range(len(times))]
    for log, at in zip(logs, times, strict=True):
        await write(backend, log, commit("c1"), at=at)
    for limit in (1, 4, 100):
        found = await _list(backend, ThreadQuery(limit=limit))
        listed = [head.updated for head in found]
        expect_equal(listed, times[::-1], f"The times on pages of {limit}")


@HEADS.check
async def threads_of_one_status_are_listed(backend: Backend) -> None:
    """A listing by status has the threads of that status, on as many pages as it takes."""
    logs = [Log(f"t{number:02}") for number in range(20)]
    for number, log in enumerate(logs):
        status = _STATUSES[number % 5]
        owner = "owner" if status == "running" else None
        await write(backend, log, commit("c1"), status=status, owner=owner)
    for place, status in enumerate(_STATUSES):
        wanted = {log.key.thread for log in logs[place::5]}
        for limit in (1, 3, 4, 100):
            found = await _list(backend, ThreadQuery(status=status, limit=limit))
            names = [head.key.thread for head in found]
            expect_equal(sorted(names), sorted(wanted), f"The threads of status {status!r}")
    await write(backend, logs[0], mark("stopped"), status="stopped")
    found = await _list(backend, ThreadQuery(status="running"))
    expect(logs[0].key.thread not in {head.key.thread for head in found}, "A status that changed")


@HEADS.check
async def tenants_see_their_own_threads(backend: Backend) -> None:
    """A listing has the threads of its tenant only."""
    logs = {tenant: Log("same", tenant=tenant) for tenant in ("", "a", "b", "a b", "A")}
    for log in logs.values():
        await write(backend, log, commit("c1"))
    for tenant, log in logs.items():
        found = await _list(backend, ThreadQuery(tenant=tenant, limit=1))
        expect_equal(found, [log.shown], f"The threads of tenant {tenant!r}")
    expect_equal(await _list(backend, ThreadQuery(tenant="none")), [], "The threads of no tenant")


@HEADS.check
async def a_change_between_pages_hides_nobody(backend: Backend) -> None:
    """Threads that rest while the pages are followed are each told exactly once, whatever others
    do meanwhile."""
    logs = [Log(f"t{number:02}") for number in range(12)]
    for number, log in enumerate(logs):
        await write(backend, log, commit("c1"), at=float(100 + number))
    found: list[Head] = []
    query = ThreadQuery(limit=3)
    for turn in range(10):
        page = await backend.threads(query)
        found += _heads(page)
        if page.next is None:
            break
        busy = logs[2 * turn % 12]
        await write(backend, busy, mark(), at=float(1000 + turn))
        query = replace(query, after=page.next)
    else:
        raise AssertionError("Following the pages does not end.")
    listed = [head.key.thread for head in found]
    for log in logs[1::2]:
        times = listed.count(log.key.thread)
        expect_equal(times, 1, f"How often {log.key.thread} was told, which rested")


# -- removing --------------------------------------------------------------------------------------


@REMOVE.check
async def a_removed_thread_is_gone(backend: Backend) -> None:
    """Of a thread that was removed there is nothing left to read, list or write to."""
    log, other = Log(), Log("other")
    for each in (log, other):
        await write(backend, each, commit("c1"), results(), blobs={"d": b"1"})
        await backend.post(each.key, message())
    removed = await backend.remove(log.key, Removal(everything=True))
    expect(removed, "Removing a thread was answered with `False`.")
    await expect_gone(backend, log, ["d"])
    await expect_log(backend, other)
    found = dict(await backend.blobs(other.key, ["d"]))
    expect_equal(found, {"d": b"1"}, "Another thread's large values")
    reading = await backend.read(other.key)
    waiting = None if reading is None else len(reading.messages)
    expect_equal(waiting, 1, "How many messages wait for another thread")


@REMOVE.check
async def what_is_not_there_is_not_removed(backend: Backend) -> None:
    """Removing a thread that does not exist (any more), whole or in part, tells `False`."""
    log = Log()
    await write(backend, log, commit("c1"))
    foreign = Log(tenant="other")
    for key in (foreign.key, Log("missing").key):
        removed = await backend.remove(key, Removal(everything=True))
        expect(not removed, f"{key} was removed, which is not there.")
        part = Removal(expected=log.position, bodies=((1, 1),))
        removed = await backend.remove(key, part)
        expect(not removed, f"A part of {key} was removed, which is not there.")
    await expect_log(backend, log)
    await backend.remove(log.key, Removal(everything=True))
    removed = await backend.remove(log.key, Removal(everything=True))
    expect(not removed, "A thread was removed twice.")


@REMOVE.check
async def a_late_writer_is_refused(backend: Backend) -> None:
    """After a thread was removed, whoever still believes in one of its positions is refused, and
    the thread stays gone."""
    log = Log()
    await write(backend, log, commit("c1"), status="running", owner="late")
    await write(backend, log, results(), status="running", owner="late")
    late = log.next(commit("late"), blobs={"d": b"1"}, status="running", owner="late")
    await backend.remove(log.key, Removal(everything=True))
    for _ in range(2):
        answers = list(await backend.append([late]))
        expect_equal(answers, [Outcome.REFUSED], "The answer to a late writer")
        await expect_gone(backend, log, ["d"])


@REMOVE.check
async def a_name_can_be_used_again(backend: Backend) -> None:
    """A thread that is made under the name of a removed one begins empty, and late writers of
    the old one are refused there too."""
    old = Log()
    await write(backend, old, commit("c1"), results(), results(), blobs={"d": b"old"})
    await backend.post(old.key, message("old"))
    late = old.next(commit("late"))
    await backend.remove(old.key, Removal(everything=True))
    new = Log()
    await write(backend, new, commit("new"))
    await expect_log(backend, new)
    expect_equal(dict(await backend.blobs(new.key, ["d"])), {}, "Large values of the old thread")
    reading = await backend.read(new.key)
    expect(reading is not None and not reading.messages, "Messages of the old thread have stayed.")
    stored = await backend.post(new.key, message("old", b"[1]"))
    expect_equal(stored, message("old", b"[1]"), "A message under an id of the old thread")
    reading = await backend.read(new.key, "c1")
    records = None if reading is None else list(reading.records)
    expect_equal(records, [], "A checkpoint of the old thread")
    expect_equal(list(await backend.append([late])), [Outcome.REFUSED], "A late writer")
    await expect_log(backend, new)


@REMOVE.check
async def a_part_is_removed(backend: Backend) -> None:
    """Removing a part takes the bodies and large values that are named, and nothing else:
    headers, digests and links stay, and of the head all but its epoch, which fences off whoever
    has read the thread before."""
    log = Log()
    for number in range(5):
        values = {f"d{number}": b"x"}
        await write(backend, log, commit(f"c{number}"), results(), blobs=values)
    twin = Log("twin")
    await write(backend, twin, commit("c1"), blobs={"d0": b"x"})
    part = Removal(
        expected=log.position, bodies=((1, 3), (6, 6), (90, 99)), blobs=("d0", "d1", "none")
    )
    expect(await backend.remove(log.key, part), "Removing a part was answered with `False`.")
    before = log.copy()
    log.prune(part.bodies)
    await expect_log(backend, log)
    late = before.next(commit("late"))
    expect_equal(list(await backend.append([late])), [Outcome.REFUSED], "An append from before")
    await expect_log(backend, log)
    found = await backend.blobs(log.key, [f"d{number}" for number in range(5)])
    expect_equal(sorted(found), ["d2", "d3", "d4"], "The large values that stay")
    found = await backend.blobs(twin.key, ["d0"])
    expect_equal(sorted(found), ["d0"], "The same large value of another thread")
    expect(not await backend.remove(log.key, part), "A part was removed from where the log was.")
    part = replace(part, expected=log.position)
    expect(await backend.remove(log.key, part), "Removing a part again was answered `False`.")
    log.prune(part.bodies)
    await write(backend, log, commit("c9"), blobs={"d0": b"back"})
    await expect_log(backend, log)
    found = await backend.blobs(log.key, ["d0"])
    expect_equal(dict(found), {"d0": b"back"}, "A large value that is stored again")


@REMOVE.check
async def a_part_of_a_thread_that_moved_on_stays(backend: Backend) -> None:
    """A part is removed only if the log is still where it was found to be of no use."""
    log = Log()
    await write(backend, log, commit("c1"), blobs={"d": b"1"})
    found_at = log.position
    await write(backend, log, results())
    for position in (
        found_at,
        None,
        replace(log.position, epoch=2),
        replace(log.position, link=bytes(32)),
        replace(log.position, seq=1),
    ):
        part = Removal(expected=position, bodies=((1, 2),), blobs=("d",))
        removed = await backend.remove(log.key, part)
        expect(not removed, f"A part was removed at {position}.")
        await expect_log(backend, log)
        stored = await backend.blobs(log.key, ["d"])
        expect_equal(dict(stored), {"d": b"1"}, "The large values after a refused removal")


@REMOVE.check
async def removing_in_one_tenant_leaves_the_others(backend: Backend) -> None:
    """A thread of the same name that belongs to another tenant is not touched."""
    logs = [Log(tenant=tenant) for tenant in ("", "a", "b")]
    for log in logs:
        await write(backend, log, commit("c1"), blobs={"d": b"1"})
    await backend.remove(logs[1].key, Removal(everything=True))
    await expect_gone(backend, logs[1], ["d"])
    for log in (logs[0], logs[2]):
        await expect_log(backend, log)


# -- waiting for a change --------------------------------------------------------------------------


@CHANGED.check
async def a_change_that_has_been_is_told_at_once(backend: Backend) -> None:
    """Waiting for a thread to leave a position where it is not, or that is gone, takes no time."""
    log = Log()
    await write(backend, log, commit("c1"))
    before = log.position
    await write(backend, log, results())
    for position in (
        before,
        replace(log.position, epoch=9),
        replace(log.position, link=b""),
        replace(log.position, seq=7),
    ):
        await backend.changed(log.key, position)
    await backend.changed(Log("missing").key, log.position)


@CHANGED.check
async def a_change_wakes_everybody(backend: Backend) -> None:
    """All who wait for a thread to move are woken when it does; who waits for another is not."""
    log, still = Log(), Log("still")
    for each in (log, still):
        await write(backend, each, commit("c1"))
    waiting = [asyncio.ensure_future(backend.changed(log.key, log.position)) for _ in range(3)]
    patient = asyncio.ensure_future(backend.changed(still.key, still.position))
    try:
        await _expect_waiting([*waiting, patient])
        await write(backend, log, results())
        await asyncio.gather(*waiting)
        await _expect_waiting([patient])
        await write(backend, still, mark(), epoch=2)
        await patient
    finally:
        await _cancel([*waiting, patient])


@CHANGED.check
async def a_removal_is_a_change(backend: Backend) -> None:
    """Who waits for a thread to move is woken when it is removed."""
    log = Log()
    await write(backend, log, commit("c1"))
    waiting = asyncio.ensure_future(backend.changed(log.key, log.position))
    try:
        await _expect_waiting([waiting])
        await backend.remove(log.key, Removal(everything=True))
        await waiting
    finally:
        await _cancel([waiting])


@CHANGED.check
async def what_moves_no_head_is_no_change(backend: Backend) -> None:
    """Messages and refused appends do not wake those who wait for a thread to move."""
    log = Log()
    await write(backend, log, commit("c1"), results())
    waiting = asyncio.ensure_future(backend.changed(log.key, log.position))
    try:
        await backend.post(log.key, message())
        await backend.append([Log().next(commit("refused"))])
        await _expect_waiting([waiting])
    finally:
        await _cancel([waiting])


async def expect_gone(backend: Backend, log: Log, digests: Sequence[str] = ()) -> None:
    """Expect that nothing of a thread is left."""
    expect_equal(await backend.read(log.key), None, "Reading a removed thread")
    found = list(await backend.scan(log.key, ((1, 1000),)))
    expect_equal(found, [], "The records of a removed thread")
    blobs = dict(await backend.blobs(log.key, digests))
    expect_equal(blobs, {}, "The large values of a removed thread")
    listed = await _list(backend, ThreadQuery(tenant=log.key.tenant))
    expect(log.key not in {head.key for head in listed}, "A removed thread is still listed.")


def _heads(page: ThreadPage) -> list[Head]:
    return [shown(thread.head) for thread in page.threads if thread.head is not None]


async def _list(backend: Backend, query: ThreadQuery) -> list[Head]:
    found: list[Head] = []
    for _ in range(1000):
        page = await backend.threads(query)
        size = len(page.threads)
        expect(size <= query.limit, f"A page of {size} threads, though {query.limit} is the limit.")
        found += _heads(page)
        if page.next is None:
            return found
        query = replace(query, after=page.next)
    raise AssertionError("Following the pages does not end.")


# How long something that must not happen is waited for. Longer finds no more in what is waited
# for here: a wrong waiter returns at once, or at its next look.
_MOMENT = 0.1


async def _expect_waiting(tasks: Sequence[asyncio.Future[None]]) -> None:
    done, _ = await asyncio.wait(tasks, timeout=_MOMENT)
    for task in done:
        task.result()
    expect(not done, "Waiting for a change ended although the thread has not moved.")


async def _cancel(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
