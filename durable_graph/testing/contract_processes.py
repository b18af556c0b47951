"""The contract, on several processes on one storage: one winner, and news of one another."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from durable_graph.ports.backend import Append, Backend, Outcome, Position, ThreadKey
from durable_graph.testing.contract_elsewhere import Parent, other_process
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    Storage,
    commit,
    expect,
    expect_equal,
    expect_log,
    process,
    results,
    write,
)
from durable_graph.testing.contract_races import expect_one_winner

__all__ = ["CHAPTER"]

CHAPTER = Chapter("processes")

_ROUNDS = 10


@CHAPTER.hooked("elsewhere")
async def one_of_two_processes_wins(storage: Storage) -> None:
    """Of two processes that append at one position exactly one is applied, round after round, and
    what it stored is seen here at once."""
    async with AsyncExitStack() as stack:
        rivals = [
            await stack.enter_async_context(other_process(storage, _append_on_demand))
            for _ in range(2)
        ]
        for rival in rivals:
            await rival.hear()
        log = Log()
        for number in range(_ROUNDS):
            drafts = [commit("c1")] if log.head is None else [results(b"%d" % number)]
            appends = [log.next(*drafts, results(b"%d" % place)) for place in range(2)]
            for rival, append in zip(rivals, appends, strict=True):
                rival.tell(append)
            answers = [await rival.hear() for rival in rivals]
            expect_one_winner(log, appends, answers)
            await expect_log(storage.backend, log)


@CHAPTER.hooked("elsewhere")
async def several_processes_open_new_storage_at_once(storage: Storage) -> None:
    """Processes that find storage without anything in it make it ready together, and all of them
    can write."""
    logs = [Log(f"thread {place}") for place in range(4)]
    async with AsyncExitStack() as stack:
        others = [
            await stack.enter_async_context(other_process(storage, _append_on_demand)) for _ in logs
        ]
        for other in others:
            await other.hear()
        for other, log in zip(others, logs, strict=True):
            append = log.next(commit("c1"))
            other.tell(append)
            log.accept(append)
        answers = [await other.hear() for other in others]
    expect_equal(answers, [Outcome.APPLIED] * len(logs), "The first appends of all")
    for log in logs:
        await expect_log(storage.backend, log)


@CHAPTER.hooked("elsewhere")
async def a_change_is_told_to_another_process(storage: Storage) -> None:
    """Whoever waits for a change in another process is told of it."""
    log = Log()
    await write(storage.backend, log, commit("c1"))
    async with other_process(storage, _wait_for_a_change, log.key, log.position) as other:
        expect_equal(await other.hear(), "waiting", "What the other process says first")
        await write(storage.backend, log, results())
        expect_equal(await other.hear(), "changed", "What it says after a change")


@CHAPTER.hooked("elsewhere")
async def a_sign_of_life_is_known_in_other_processes(storage: Storage) -> None:
    """A process that gave signs of life is known to others, with their age, also after it was
    killed; how long ago they were grows, and begins anew with the next."""
    async with other_process(storage, _beat) as other:
        expect_equal(await other.hear(), "beaten", "What the other process says")
    ages = [await _age(storage.backend)]
    while ages[-1] <= ages[0]:  # until time has passed; a check has its limit
        ages.append(await _age(storage.backend))
    expect(0.0 <= ages[0] < 60.0, f"A sign of life just given is {ages[0]} s old.")
    while await _age(storage.backend) < 0.05:
        pass
    await storage.backend.beat(process("other", 100.0))
    expect(await _age(storage.backend) < 0.05, "A sign of life just given is as old as before.")


async def _age(backend: Backend) -> float:
    (entry,) = [entry for entry in await backend.beat(None) if entry.process.id == "other"]
    expect_equal(entry.process, process("other", 100.0), "A process of which others know")
    return entry.age


# -- what the other processes do -------------------------------------------------------------------


async def _append_on_demand(backend: Backend, parent: Parent) -> None:
    parent.say("ready")
    while True:
        append: Append = await parent.heard()
        (answer,) = await backend.append([append])
        parent.say(answer)


async def _wait_for_a_change(
    backend: Backend, parent: Parent, key: ThreadKey, seen: Position
) -> None:
    parent.say("waiting")
    await backend.changed(key, seen)
    parent.say("changed")


async def _beat(backend: Backend, parent: Parent, *_: Any) -> None:
    await backend.beat(process("other", 100.0))
    parent.say("beaten")
    await parent.heard()
