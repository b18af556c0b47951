"""The contract, on what may go in time: threads whose cards say so, and processes not heard of."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from durable_graph.ports.backend import Backend, Card, Removal, Thread, ThreadKey, ThreadQuery
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    commit,
    expect,
    expect_equal,
    look,
    process,
    results,
    write,
)
from durable_graph.testing.contract_paging import follow

__all__ = ["CHAPTER"]

CHAPTER = Chapter("expiry")

_LONG: Final = 3600.0
_SHORT: Final = 0.1


@CHAPTER.check
async def nothing_goes_by_itself(backend: Backend) -> None:
    """A thread whose time is over long ago is there, listed and written like any other, until
    somebody removes it."""
    log = Log()
    await write(backend, log, commit("c1"))
    card = Card(1, expires=1.0, time=0.5)
    expect(await backend.label(log.key, card), "A first card was not stored.")
    await write(backend, log, results())
    expect_equal(await look(backend, log.key), Thread(log.key, log.shown, card), "The thread")
    expect_equal(await _expired(backend, 2.0), [log.key.thread], "What may be deleted")


@CHAPTER.check
async def what_was_renewed_has_not_expired(backend: Backend) -> None:
    """Which threads may be deleted is told by their present cards alone: by the moment, and not
    once a card says later, says nothing, or is gone with its thread."""
    card = Card(1, expires=10.0)
    for name in ("renewed", "kept", "removed", "expired"):
        await write(backend, Log(name), commit("c1"))
        await backend.label(ThreadKey("", name), card)
    expect_equal(len(await _expired(backend, 10.0)), 4, "How many may be deleted at their moment")
    expect_equal(await _expired(backend, 9.999), [], "What may be deleted before it")
    await backend.label(ThreadKey("", "renewed"), replace(card, version=2, expires=20.0))
    await backend.label(ThreadKey("", "kept"), replace(card, version=2, expires=None))
    await backend.remove(ThreadKey("", "removed"), Removal(everything=True))
    expect_equal(await _expired(backend, 10.0), ["expired"], "What may be deleted after changes")
    expect_equal(await _expired(backend, 20.0), ["expired", "renewed"], "And later")
    await write(backend, Log("removed"), commit("another"))
    expect_equal(await _expired(backend, 20.0), ["expired", "renewed"], "And with the name anew")


@CHAPTER.check
async def a_process_is_known_while_its_lease_lasts(backend: Backend) -> None:
    """Whoever has given a sign of life is known for the whole of its lease, however many others
    come and go, and however short theirs are."""
    await backend.beat(process("patient", _LONG))
    for number in range(30):
        told = await backend.beat(process(f"hasty {number}", _SHORT))
        known = {entry.process.id: entry for entry in told}
        expect("patient" in known, "A process is forgotten though its lease is not over.")
        expect_equal(known["patient"].process, process("patient", _LONG), "A patient process")
        expect(f"hasty {number}" in known, "A process is not known that has just been heard of.")


async def _expired(backend: Backend, by: float) -> list[str]:
    found = await follow(backend, ThreadQuery(expired=by, limit=2))
    return sorted(thread.key.thread for thread in found)
