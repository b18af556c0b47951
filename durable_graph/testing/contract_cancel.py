"""The contract, on calls that are cancelled, and on the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from durable_graph.errors import StorageClosedError
from durable_graph.ports.backend import (
    Append,
    Backend,
    Message,
    Outcome,
    Removal,
    ThreadQuery,
)
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    cancel_everywhere,
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
from durable_graph.testing.contract_threads import expect_gone

__all__ = ["CANCEL", "CLOSE"]

CANCEL = Chapter("cancel")
CLOSE = Chapter("close")

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED


# -- cancelled -------------------------------------------------------------------------------------


@CANCEL.check
async def a_cancelled_append_is_whole(backend: Backend) -> None:
    """Wherever an append is cancelled, it is stored as a whole or not at all, and asking for the
    very same again finds it stored or stores it."""
    log = Log()
    await write(backend, log, commit("c1"))
    other = Log("other")
    await write(backend, other, commit("c1"))
    appends: list[Append] = []

    async def append(number: int) -> None:
        values = {f"d{number}": b"x" * 1000, f"e{number}": b"y"}
        appends.append(
            log.next(
                results(), *(mark() for _ in range(20)), blobs=values, settled={f"m{number}": "v"}
            )
        )
        await backend.append([appends[-1]])

    async def check(number: int, ended: bool) -> None:
        # Others go on at once.
        await write(backend, other, results())
        reading = await backend.read(log.key)
        seq = 0 if reading is None else reading.head.seq - log.now.seq
        expect(seq in (0, 21), f"Of an append of 21 records that was cancelled, {seq} are there.")
        if seq:
            found = await backend.blobs(log.key, list(appends[number].blobs))
            expect_equal(dict(found), dict(appends[number].blobs), "The large values beside them")
            waiting = [] if reading is None else [waiting.id for waiting in reading.messages]
            expect(f"m{number}" not in waiting, "A message waits that an append has settled.")
        if len(appends) <= number:  # it had not even begun
            await backend.post(log.key, message(f"m{number + 1}"))
            appends.append(log.next(mark()))
        answers = list(await backend.append([appends[number]]))
        expect_equal(answers, [APPLIED], "The very same append, after it was cancelled")
        log.accept(appends[number])
        await expect_log(backend, log)
        digests = list(appends[number].blobs)
        found = await backend.blobs(log.key, digests)
        expect_equal(dict(found), dict(appends[number].blobs), "The large values of the append")
        if appends[number].settled:
            stored = await backend.post(log.key, message(f"m{number}"))
            expect_equal(stored.verdict, "v", "The verdict of the append")
            await backend.post(log.key, message(f"m{number + 1}"))

    await backend.post(log.key, message("m0"))
    await cancel_everywhere(append, check)
    await expect_log(backend, other)


@CANCEL.check
async def a_cancelled_post_is_whole(backend: Backend) -> None:
    """Wherever leaving a message is cancelled, it is there once after it was left again."""
    log = Log()
    await write(backend, log, commit("c1"))
    sent: list[Message] = []

    async def post(number: int) -> None:
        await backend.post(log.key, message(f"m{number}", b"x" * 1000))

    async def check(number: int, ended: bool) -> None:
        await write(backend, log, mark())
        sent.append(message(f"m{number}", b"x" * 1000))
        stored = await backend.post(log.key, sent[-1])
        expect_equal(stored, sent[-1], "A message that is left again")
        reading = await backend.read(log.key)
        waiting = None if reading is None else list(reading.messages)
        expect_equal(waiting, sent, "What waits")

    await cancel_everywhere(post, check)


@CANCEL.check
async def a_cancelled_removal_is_whole(backend: Backend) -> None:
    """Wherever removing a thread is cancelled, all of it is there or nothing."""
    logs: list[Log] = []

    async def prepare() -> None:
        log = Log(f"thread {len(logs)}")
        await write(backend, log, commit("c1"), *(mark() for _ in range(20)), blobs={"d": b"x"})
        logs.append(log)

    async def remove(number: int) -> None:
        await backend.remove(logs[number].key, Removal(everything=True))

    async def check(number: int, ended: bool) -> None:
        log = logs[number]
        await prepare()
        if await backend.remove(log.key, Removal(everything=True)):
            expect(not ended, "A removal that had ended had not removed the thread.")
        await expect_gone(backend, log, ["d"])
        await expect_log(backend, logs[-1])

    await prepare()
    await cancel_everywhere(remove, check)


@CANCEL.check
async def a_cancelled_pruning_is_whole(backend: Backend) -> None:
    """Wherever removing a part is cancelled, the part is there or not, and the rest stays."""
    log = Log()
    await write(backend, log, commit("c1"), *(mark() for _ in range(20)), blobs={"d": b"x"})
    whole = list(log.records)

    async def prune(number: int) -> None:
        part = Removal(expected=log.position, bodies=((1, 20),), blobs=("d",))
        await backend.remove(log.key, part)

    async def check(number: int, ended: bool) -> None:
        # A write behind it, so that what was under way is over.
        await backend.post(log.key, message(f"behind {number}"))
        reading = await backend.read(log.key)
        log.head = reading.head if reading is not None else None
        found = list(await backend.scan(log.key, ((1, 20),)))
        pruned = [record.body is None for record in found]
        blobs = dict(await backend.blobs(log.key, ["d"]))
        expect(
            (all(pruned) and not blobs) or (not any(pruned) and bool(blobs)),
            f"Of 20 bodies {sum(pruned)} are pruned, and of 1 large value {1 - len(blobs)}.",
        )
        expect(all(pruned) or not ended, "A pruning that had ended had pruned nothing.")

    await cancel_everywhere(prune, check)
    expect_equal(len(whole), 21, "The check itself")


@CANCEL.check
async def cancelled_reads_leave_nothing_behind(backend: Backend) -> None:
    """Wherever reading, listing, waiting or beating is cancelled, the next call is answered, and
    writers are not held up."""
    log = Log()
    await write(backend, log, commit("c1"), results(), blobs={"d": b"x"})
    still = Log("still")
    await write(backend, still, commit("c1"))
    calls: list[Callable[[int], Coroutine[Any, Any, object]]] = [
        lambda _: backend.read(log.key),
        lambda _: backend.read(log.key, "c1"),
        lambda _: backend.scan(log.key, ((1, 10),)),
        lambda _: backend.blobs(log.key, ["d"]),
        lambda _: backend.thread(log.key),
        lambda _: backend.threads(ThreadQuery()),
        lambda _: backend.beat(None),
        lambda _: backend.beat(process()),
    ]

    async def check(number: int, ended: bool) -> None:
        await write(backend, log, mark())
        await expect_log(backend, log)

    for call in calls:
        await cancel_everywhere(call, check)
    for turns in (0, 1, 10, 100):
        waiting = asyncio.ensure_future(backend.changed(still.key, still.position))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        expect(waiting.cancelled(), "Waiting for a change ended although nothing changed.")
    await write(backend, still, mark())


# -- the end ---------------------------------------------------------------------------------------


@CLOSE.check
async def closing_twice_is_harmless(backend: Backend) -> None:
    """A backend may be closed twice, one call after the other or both at once."""
    await write(backend, Log(), commit("c1"))
    await backend.aclose()
    await backend.aclose()
    await asyncio.gather(backend.aclose(), backend.aclose())


@CLOSE.check
async def closing_what_was_never_used_is_harmless(backend: Backend) -> None:
    """A backend that nothing was asked of can be closed."""
    await asyncio.gather(backend.aclose(), backend.aclose())
    await backend.aclose()


@CLOSE.check
async def a_cancelled_close_can_be_finished(backend: Backend) -> None:
    """Wherever closing is cancelled, closing again finishes it."""
    await write(backend, Log(), commit("c1"))
    for turns in (0, 1, 2):
        closing = asyncio.ensure_future(backend.aclose())
        for _ in range(turns):
            await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
    await backend.aclose()


@CLOSE.check
async def closing_ends_what_waits(backend: Backend) -> None:
    """Whoever waits for a change when the backend is closed does not wait for ever: the call
    returns, or raises `StorageClosedError`."""
    log = Log()
    await write(backend, log, commit("c1"))
    waiting = [asyncio.ensure_future(backend.changed(log.key, log.position)) for _ in range(2)]
    await asyncio.wait(waiting, timeout=0.01)
    await backend.aclose()
    for answer in await asyncio.gather(*waiting, return_exceptions=True):
        if isinstance(answer, BaseException) and not isinstance(answer, StorageClosedError):
            raise answer


@CLOSE.check
async def what_is_under_way_is_finished(backend: Backend) -> None:
    """Calls that are under way when the backend is closed are answered, or refused with
    `StorageClosedError`; none of them is lost."""
    logs = [Log(f"thread {number}") for number in range(10)]
    for log in logs:
        await write(backend, log, commit("c1"))
    calls = [asyncio.ensure_future(backend.append([log.next(results())])) for log in logs]
    await asyncio.sleep(0)
    await backend.aclose()
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(answer, BaseException):
            if not isinstance(answer, StorageClosedError):
                raise answer
            continue
        expect_equal(list(answer), [APPLIED], "An append that was under way")
