"""A process that dies at any storage call while it does something with a thread as a whole: what
it was doing has happened, or has not, and doing it again comes to the same end."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from durable_graph import Command, interrupt
from durable_graph.errors import ThreadExistsError, ThreadNotFoundError
from durable_graph.ports.memory import InMemoryBackend
from durable_graph.saver import Saver
from durable_graph.testing import FakeClock
from durable_graph.testing.crash import Crash, CrashingBackend, When
from durable_graph.threads import Retention
from tests.conftest import thread as named
from tests.runtime.kit import Items, chain, collect, history, says

WORDS = "word " * 800


async def ask(state: Items) -> Items:
    return {"items": [interrupt("?")]}


def graph(saver: Saver) -> Any:
    return chain(("a", says(WORDS)), ("ask", ask), saver=saver)


async def create(saver: Saver) -> None:
    await saver.threads.create("new", owner="ann", ttl=10, if_exists="do_nothing", by="ann")


async def tag(saver: Saver) -> None:
    await saver.threads.tag("t", "a", by="ann")


async def delete(saver: Saver) -> None:
    await saver.threads.delete("t", by="ann")


async def prune(saver: Saver) -> None:
    await saver.threads.prune("t", Retention(keep_last=1), by="ann")


async def sweep(saver: Saver) -> None:
    await saver.threads.sweep(Retention(keep_last=1), unanswered=True, by="ann")


async def copy(saver: Saver) -> None:
    with contextlib.suppress(ThreadExistsError):
        await saver.threads.copy("t", "copy", by="ann")


DONE: list[Callable[[Saver], Awaitable[None]]] = [create, tag, delete, prune, sweep, copy]


async def begun(storage: InMemoryBackend, clock: FakeClock) -> None:
    """Threads with some history: one that asks, and one whose time is over."""
    saver = Saver(storage, clock=clock)
    for name in ("t", "old"):
        for _ in range(3):
            await graph(saver).ainvoke({}, named(name))
            await graph(saver).ainvoke(Command(resume="yes"), named(name))
    await saver.threads.create("unused", ttl=5)
    await saver.threads.update("old", ttl=5)
    await clock.advance(10)
    await graph(saver).ainvoke({}, named("t"))


async def seen(storage: InMemoryBackend, clock: FakeClock) -> Any:
    """All that can be seen of all threads, but for the times and ids of what was done."""
    saver = Saver(storage, clock=clock)
    found: list[tuple[str, Any]] = []
    for name in ("t", "old", "new", "copy", "unused"):
        try:
            info = await saver.threads.get(name)
        except ThreadNotFoundError:
            found.append((name, None))
            continue
        assert info.checkpoint_id is None or await saver.threads.verify(name) == []
        past = [(s.values, s.next) for s in await history(graph(saver), named(name))]
        found.append((name, (info.status, info.owner, info.tags, info.ttl, past)))
    return found


async def acts(storage: InMemoryBackend, name: str) -> set[tuple[str, str | None]]:
    with contextlib.suppress(ThreadNotFoundError):
        return {(e.what, e.by) for e in await collect(Saver(storage).audit(name))}
    return set()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("done", DONE, ids=lambda done: done.__name__)
async def test_what_was_cut_off_can_be_done_again(
    done: Callable[[Saver], Awaitable[None]], when: When
) -> None:
    """At every call: nothing is damaged in between, and the end is that of an undisturbed one;
    who did it is on record as soon as it has happened."""
    calm, clock = InMemoryBackend(), FakeClock()
    await begun(calm, clock)
    before = await seen(calm, clock)
    await done(Saver(calm, clock=clock))
    after = await seen(calm, clock)
    assert after != before
    number, crashed = 1, True
    while crashed:
        storage, clock = InMemoryBackend(), FakeClock()
        await begun(storage, clock)
        dying = CrashingBackend(storage, number, when)
        with contextlib.suppress(Crash):
            await done(Saver(dying, clock=clock))
        middle = await seen(storage, clock)
        for here, there, now in zip(before, after, middle, strict=True):
            assert now in (here, there)
            if here != there and now == there and here[1] is not None:
                assert any(by == "ann" for _, by in await acts(storage, here[0]))
        await done(Saver(storage, clock=clock))
        assert await seen(storage, clock) == after
        crashed, number = dying.crashed, number + 1
        assert number < 60
    assert number > 3
