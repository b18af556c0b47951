"""The contract, on transactions: what others write and an append, both or neither.

What others write is SQL or the like, which no general check can speak; a backend's own tests have
to see that it comes and goes with the append.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from durable_graph.ports.backend import Append, Outcome, Transactional
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    Storage,
    cancel_everywhere,
    commit,
    expect,
    expect_equal,
    expect_log,
    mark,
    results,
    write,
)

__all__ = ["CHAPTER"]

CHAPTER = Chapter("transact")


@CHAPTER.transactional
async def an_append_is_stored(storage: Storage) -> None:
    """The append that the work returns is stored, and returned once it is."""
    log, backend = Log(), _of(storage)
    await write(backend, log, commit("c1"), status="running", owner="p1")
    made: list[Append] = []
    stored = await backend.transact(log.key, log.position, _making(log, made))
    expect_equal(len(made), 1, "How often the work was called")
    expect(stored is made[0], "What is returned is not the append that was made.")
    log.accept(made[0])
    await expect_log(backend, log)
    await write(backend, log, commit("c2"))
    await expect_log(backend, log)


@CHAPTER.transactional
async def the_work_gets_a_connection(storage: Storage) -> None:
    """The work is handed something to write with."""
    log, backend = Log(), _of(storage)
    await write(backend, log, commit("c1"))
    given: list[Any] = []

    def work(connection: Any) -> Append:
        given.append(connection)
        return log.next(results())

    await backend.transact(log.key, log.position, work)
    expect(given[0] is not None, "The work was given no connection.")


@CHAPTER.transactional
async def elsewhere_the_work_is_not_called(storage: Storage) -> None:
    """If the log has moved, belongs to another, or is not there, nothing is called or stored."""
    log, backend = Log(), _of(storage)
    made: list[Append] = []
    await write(backend, log, commit("c1"))
    late = log.copy()
    await write(backend, log, mark("taken over"), epoch=2)
    fenced = log.copy()
    await write(backend, log, mark("again"), epoch=3)
    absent = Log("absent")
    absent.accept(absent.next(commit("c1")))
    for other in (late, fenced, absent):
        answer = await backend.transact(other.key, other.position, _making(other, made))
        expect_equal(answer, None, "The answer to a transaction at a position the log has left")
    expect_equal(made, [], "What was made although the log was elsewhere")
    await expect_log(backend, log)
    expect_equal(await backend.read(absent.key), None, "Reading a thread nobody wrote")


class _NoError(Exception):
    pass


@CHAPTER.transactional
async def what_the_work_raises_comes_out(storage: Storage) -> None:
    """An error of the work comes out as it is, whatever its kind, and nothing is stored."""
    log, backend = Log(), _of(storage)
    await write(backend, log, commit("c1"))
    for error in (_NoError("no"), ValueError("no"), TimeoutError("no"), LookupError("no")):

        def work(connection: Any, error: Exception = error) -> Append:
            raise error

        try:
            await backend.transact(log.key, log.position, work)
        except Exception as raised:
            expect(raised is error, f"{raised!r} came out instead of {error!r}.")
        else:
            raise AssertionError(f"{error!r} did not come out.")
        await expect_log(backend, log)
    await write(backend, log, commit("c2"))


@CHAPTER.transactional
async def it_is_compared_with_what_others_append(storage: Storage) -> None:
    """Of a transaction and an append at one position, made at once, one is stored."""
    backend = _of(storage)
    for number in range(20):
        log = Log(f"thread {number}")
        await write(backend, log, commit("c1"))
        made: list[Append] = []
        other = log.next(commit("c2"))
        stored, answers = await asyncio.gather(
            backend.transact(log.key, log.position, _making(log, made)), backend.append([other])
        )
        expect(
            (stored is not None) != (list(answers) == [Outcome.APPLIED]),
            "Of two at one position, not exactly one was stored.",
        )
        log.accept(stored or other)
        await expect_log(backend, log)


@CHAPTER.transactional
async def cancelling_tears_nothing(storage: Storage) -> None:
    """A transaction whose caller is cancelled is stored as a whole or not at all."""
    backend = _of(storage)
    logs: list[Log] = []
    made: list[list[Append]] = []

    async def another() -> None:
        logs.append(Log(f"thread {len(logs)}"))
        made.append([])
        await write(backend, logs[-1], commit("c1"))

    async def call(number: int) -> None:
        log = logs[number]
        await backend.transact(log.key, log.position, _making(log, made[number]))

    async def then(number: int, ended: bool) -> None:
        await another()  # a write, behind which the cancelled one is over
        log = logs[number]
        reading = await backend.read(log.key)
        if reading is not None and reading.head.seq > log.now.seq:
            log.accept(made[number][0])
        await expect_log(backend, log)
        expect(not ended or log.now.seq == 2, "A transaction that has ended was not stored.")

    await another()
    await cancel_everywhere(call, then)


def _of(storage: Storage) -> Transactional:
    return cast("Transactional", storage.backend)


def _making(log: Log, made: list[Append]) -> Callable[[Any], Append]:
    def work(connection: Any) -> Append:
        made.append(log.next(results()))
        return made[-1]

    return work
