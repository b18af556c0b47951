"""The contract, on calls at the same time: one winner, whole appends, several event loops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from durable_graph.ports.backend import (
    Append,
    Backend,
    Outcome,
    Removal,
)
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
from durable_graph.testing.contract_threads import expect_gone

__all__ = ["CHAPTER", "expect_one_winner"]

T = TypeVar("T")

CHAPTER = Chapter("races")

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED
_RACERS = 8


# -- at the same time ------------------------------------------------------------------------------


@CHAPTER.check
async def one_of_many_racers_wins(backend: Backend) -> None:
    """Of many appends at one position exactly one is applied, round after round."""
    log = Log()
    await write(backend, log, commit("c1"))
    for _ in range(10):
        appends = [log.next(results(b"%d" % n)) for n in range(_RACERS)]
        answers = await asyncio.gather(*(backend.append([append]) for append in appends))
        expect_one_winner(log, appends, [answer[0] for answer in answers])
        await expect_log(backend, log)


@CHAPTER.check
async def one_of_many_creators_wins(backend: Backend) -> None:
    """Of many appends that create one thread exactly one is applied."""
    for number in range(5):
        log = Log(f"thread {number}")
        appends = [log.next(commit(f"c{n}"), results()) for n in range(_RACERS)]
        answers = await asyncio.gather(*(backend.append([append]) for append in appends))
        expect_one_winner(log, appends, [answer[0] for answer in answers])
        await expect_log(backend, log)


@CHAPTER.check
async def racers_for_different_threads_all_win(backend: Backend) -> None:
    """Appends to different threads do not stand in each other's way."""
    logs = [Log(f"thread {number}") for number in range(_RACERS)]

    async def grow(log: Log) -> None:
        for number in range(10):
            await write(backend, log, commit(f"c{number}"), blobs={f"d{number}": b"x"})

    await asyncio.gather(*map(grow, logs))
    for log in logs:
        await expect_log(backend, log)


@CHAPTER.check
async def the_very_same_append_at_the_same_time_is_stored_once(backend: Backend) -> None:
    """Of an append that is asked for twice at the same time, both are applied and one stored."""
    log = Log()
    for number in range(5):
        append = log.next(commit(f"c{number}"), results())
        answers = await asyncio.gather(*(backend.append([append]) for _ in range(4)))
        expect_equal([list(a) for a in answers], [[APPLIED]] * 4, "The answers to one append")
        log.accept(append)
        await expect_log(backend, log)


@CHAPTER.check
async def a_reader_sees_whole_appends(backend: Backend) -> None:
    """Whoever reads while others append sees head, records, messages and large values of one
    moment."""
    log = Log()
    await write(backend, log, commit("c1"))
    await backend.post(log.key, message("m1"))
    over = asyncio.Event()

    async def look() -> None:
        while not over.is_set():
            reading = await backend.read(log.key)
            if reading is None:
                raise AssertionError("A thread was not there while it was appended to.")
            seen = [record.seq for record in reading.records]
            wanted = list(range(1, reading.head.seq + 1))
            expect_equal(seen, wanted, f"The records beside a head at {reading.head.seq}")
            expect_equal(reading.records[-1].link, reading.head.link, "The last record's link")
            waiting = [waiting.id for waiting in reading.messages]
            allowed = [f"m{(reading.head.seq + 1) // 2}"]
            expect(
                waiting in (allowed, []),
                f"Beside a head at {reading.head.seq}, {waiting} wait instead of {allowed}.",
            )
            digest = f"d{reading.head.seq}"
            if reading.head.seq > 1:
                found = await backend.blobs(log.key, [digest])
                expect_equal(dict(found), {digest: b"x"}, "The large value of a head")
            await asyncio.sleep(0)

    readers = [asyncio.ensure_future(look()) for _ in range(2)]
    try:
        for number in range(1, 20):
            seq = log.now.seq + 2
            await write(
                backend,
                log,
                results(),
                mark(),
                blobs={f"d{seq}": b"x"},
                settled={f"m{number}": ""},
            )
            await backend.post(log.key, message(f"m{number + 1}"))
    finally:
        over.set()
        await asyncio.gather(*readers)
    await expect_log(backend, log)


@CHAPTER.shared
async def whoever_sees_an_owner_finds_it_alive(storage: Storage) -> None:
    """Who sees that a thread is a process's finds the sign of life that came with that append: a
    process that nobody knows is taken for dead."""
    async with second_instance(storage) as elsewhere:

        async def look(log: Log, owner: str) -> None:
            seen = None
            while seen is None:
                await asyncio.sleep(0)
                seen = await elsewhere.thread(log.key)
            known = {entry.process.id for entry in await elsewhere.beat(None)}
            expect(owner in known, "A thread is seen as a process's that is not known yet.")

        for number in range(10):
            log, owner = Log(f"thread {number}"), f"owner {number}"
            append = log.next(commit("c1"), status="running", owner=owner)
            looking = asyncio.ensure_future(look(log, owner))
            await storage.backend.append([append], process(owner))
            await looking


@CHAPTER.check
async def a_removal_races_with_a_writer(backend: Backend) -> None:
    """Of a writer and whoever removes its thread, either is first; the thread is gone either way,
    and whole until then."""
    for number in range(10):
        log = Log(f"thread {number}")
        await write(backend, log, commit("c1"))
        append = log.next(results(), blobs={"d": b"x"})
        calls: list[Awaitable[Any]] = [
            backend.append([append]),
            backend.remove(log.key, Removal(everything=True)),
        ]
        await asyncio.gather(*(calls if number % 2 else calls[::-1]))
        await expect_gone(backend, log, ["d"])
        expect_equal(list(await backend.append([append])), [REFUSED], "The writer, once more")


@CHAPTER.check
async def posts_at_the_same_time_are_all_kept(backend: Backend) -> None:
    """Of many messages at the same time each is stored once, also while the owner appends."""
    log = Log()
    await write(backend, log, commit("c1"))

    async def post(id: str) -> None:
        stored = await asyncio.gather(*(backend.post(log.key, message(id)) for _ in range(2)))
        expect_equal(stored, [message(id)] * 2, "What two senders of one message are told")

    async def grow() -> None:
        for _ in range(10):
            await write(backend, log, results())

    ids = [f"m{number}" for number in range(20)]
    await asyncio.gather(grow(), *map(post, ids))
    reading = await backend.read(log.key)
    waiting = [] if reading is None else sorted(waiting.id for waiting in reading.messages)
    expect_equal(waiting, sorted(ids), "The messages that wait")
    await expect_log(backend, log)


@CHAPTER.check
async def several_event_loops_use_one_instance(backend: Backend) -> None:
    """An instance serves event loops in several threads at once: one racer of all wins, their own
    threads grow, and a change is told across loops."""
    log = Log()
    await write(backend, log, commit("c1"))
    seen = log.position
    appends = [log.next(results(b"%d" % number)) for number in range(4)]

    async def work(number: int) -> Outcome:
        own = Log(f"own {number}")
        await write(backend, own, commit("c1"))
        (answer,) = await backend.append([appends[number]])
        await write(backend, own, commit("c2"))
        await expect_log(backend, own)
        return answer

    async def wait() -> None:
        await backend.changed(log.key, seen)

    def elsewhere(make: Callable[[], Coroutine[Any, Any, T]]) -> Awaitable[T]:
        return asyncio.to_thread(lambda: asyncio.run(make()))

    waiting = asyncio.gather(elsewhere(wait), backend.changed(log.key, seen))
    answers = await asyncio.gather(*(elsewhere(partial(work, number)) for number in range(4)))
    await waiting
    expect_one_winner(log, appends, answers)
    await expect_log(backend, log)


def expect_one_winner(log: Log, appends: list[Append], answers: list[Outcome]) -> None:
    """Expect that one of several appends was applied, and go on from there."""
    names = [answer.value for answer in answers]
    expect_equal(answers.count(APPLIED), 1, f"How many of the racers won ({names})")
    log.accept(appends[answers.index(APPLIED)])
