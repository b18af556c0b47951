"""The contract, on processes that are killed: what was acknowledged is there, and all is whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from durable_graph.ports.backend import Append, Backend, Outcome, Removal
from durable_graph.testing.contract_elsewhere import Parent, other_process
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
    results,
    write,
)
from durable_graph.testing.contract_threads import expect_gone

__all__ = ["CHAPTER"]

CHAPTER = Chapter("crash")

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED

_KILLED_AFTER: Final = (1, 2, 5)  # acknowledgements
_MOST: Final = 100_000  # of what a process does until it is killed
_DIGESTS: Final = tuple(f"d{number}" for number in range(5))


@CHAPTER.hooked("elsewhere")
async def what_a_killed_process_was_told_is_there(storage: Storage) -> None:
    """After a writer was killed, all that was acknowledged to it is stored, and at most the one
    append more that it was about, with its large values and verdicts or not at all."""
    backend = storage.backend
    for name, acknowledged in await _killed(storage, _write_on):
        log, stored = await _taken_over(backend, name, acknowledged)
        await expect_log(backend, log)
        digests = [f"d{number}" for number in range(stored + 1)]
        found = dict(await backend.blobs(log.key, digests))
        expect_equal(found, dict.fromkeys(digests[:stored], b"x"), "The large values")
        for number in range(stored):
            verdict = (await backend.post(log.key, message(f"m{number}"))).verdict
            wanted = "no" if number < stored - 1 else None
            expect_equal(verdict, wanted, f"The verdict on message {number} of {stored}")


@CHAPTER.hooked("elsewhere")
async def a_killed_process_holds_nothing_up(storage: Storage) -> None:
    """After a writer was killed, others write at once, to its thread and to others; what it was
    about to write is refused once another has gone on."""
    backend = storage.backend
    for name, acknowledged in await _killed(storage, _write_on):
        await write(backend, Log(f"beside {name}"), commit("c1"))
        log, stored = await _taken_over(backend, name, acknowledged)
        late = _append(_written(name, stored), stored)
        expect_equal(list(await backend.append([late])), [REFUSED], "What the killed one would")
        await expect_log(backend, log)


@CHAPTER.hooked("elsewhere")
async def a_removal_that_was_cut_off_can_be_finished(storage: Storage) -> None:
    """After a process was killed that removes threads, each is there as a whole or not at all;
    removing it again leaves nothing of it, also to a thread that takes its name."""
    backend = storage.backend
    for name, acknowledged in await _killed(storage, _remove_on):
        for number in range(acknowledged + 2):
            log, _ = _doomed(name, number)
            # One look: what was in flight when its sender was killed may still arrive.
            reading = await backend.read(log.key)
            if reading is not None:
                expect(number >= acknowledged, "A thread is there whose removal was acknowledged.")
                expect_equal(reading.head, log.now, "The head of a thread that is still there")
                expect_equal(list(reading.records), log.records, "Its records")
            await backend.remove(log.key, Removal(everything=True))
            await expect_gone(backend, log, _DIGESTS)
            again = Log(log.key.thread)
            await write(backend, again, commit("another"))
            await expect_log(backend, again)
            left = dict(await backend.blobs(log.key, _DIGESTS))
            expect_equal(left, {}, "The large values of another thread of that name")


async def _killed(
    storage: Storage, job: Callable[[Backend, Parent, str], Awaitable[None]]
) -> list[tuple[str, int]]:
    """Let processes do a job until they are killed: the name of each, and what it was told."""

    async def one(after: int) -> tuple[str, int]:
        name = f"killed after {after}"
        async with other_process(storage, job, name) as other:
            for _ in range(after):
                await other.hear()
            other.kill()
            told = after
            while await other.hear() is not None:
                told += 1
        return name, told

    async with asyncio.TaskGroup() as group:
        killed = [group.create_task(one(after)) for after in _KILLED_AFTER]
    return [task.result() for task in killed]


async def _taken_over(backend: Backend, name: str, acknowledged: int) -> tuple[Log, int]:
    """The log that a killed writer left, after another went on, and how many of its appends are
    stored."""
    for stored in (acknowledged, acknowledged + 1):
        log = _written(name, stored)
        append = log.next(mark("taken over"), epoch=2)
        if list(await backend.append([append])) == [APPLIED]:
            log.accept(append)
            return log, stored
    raise AssertionError(
        f"To a killed writer {acknowledged} appends were acknowledged; its log is neither there "
        f"nor one append further."
    )


def _written(name: str, stored: int) -> Log:
    """The log of a writer after so many appends."""
    log = Log(name)
    for number in range(stored):
        log.accept(_append(log, number))
    return log


# -- what the other processes do -------------------------------------------------------------------


async def _write_on(backend: Backend, parent: Parent, name: str) -> None:
    log = Log(name)
    for number in range(_MOST):
        append = _append(log, number)
        expect_equal(list(await backend.append([append])), [APPLIED], "An append")
        log.accept(append)
        parent.say(number)
        await backend.post(log.key, message(f"m{number}"))


def _append(log: Log, number: int) -> Append:
    """The append number n of a log, the same in whatever process it is made; it settles the
    message that was left after the one before it."""
    return log.next(
        results() if number else commit("c0"),
        *(mark(f"event {number}.{place}") for place in range(5)),
        blobs={f"d{number}": b"x"},
        settled={f"m{number - 1}": "no"} if number else {},
    )


async def _remove_on(backend: Backend, parent: Parent, name: str) -> None:
    # The next thread is there before this one goes.
    await backend.append([_doomed(name, 0)[1]])
    for number in range(_MOST):
        log, append = _doomed(name, number + 1)
        await backend.append([append])
        log, _ = _doomed(name, number)
        await backend.remove(log.key, Removal(everything=True))
        parent.say(number)


def _doomed(name: str, number: int) -> tuple[Log, Append]:
    """A thread that is to be removed, as it is after its only append."""
    log = Log(f"{name}, {number}")
    append = log.next(
        commit("c1"), *(mark() for _ in range(20)), blobs=dict.fromkeys(_DIGESTS, b"x")
    )
    log.accept(append)
    return log, append
