"""The contract, on following a list of threads from page to page."""

from __future__ import annotations

from dataclasses import replace

from durable_graph.ports.backend import Backend, Card, Removal, Thread, ThreadKey, ThreadQuery
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    Storage,
    commit,
    expect,
    expect_equal,
    second_instance,
    write,
)

__all__ = ["CHAPTER", "follow"]

CHAPTER = Chapter("paging")

_PAGES = 1000


async def follow(backend: Backend, query: ThreadQuery) -> list[Thread]:
    """All threads that a query asks for, page by page."""
    found: list[Thread] = []
    for _ in range(_PAGES):
        page = await backend.threads(query)
        found += page.threads
        if page.next is None:
            return found
        query = replace(query, after=page.next)
    raise AssertionError("Following the pages does not end.")


async def _threads(backend: Backend, count: int, tenant: str = "") -> list[Log]:
    """Threads, the one that changed last first."""
    logs = [Log(f"t{number:02}", tenant=tenant) for number in range(count)]
    for number, log in enumerate(logs):
        await write(backend, log, commit("c1"), at=float(100 + number))
    return logs[::-1]


@CHAPTER.check
async def threads_that_go_hide_nobody(backend: Backend) -> None:
    """Threads that stay while the pages are followed are told once each, also if others go, and
    also if it is the very one that a page ended with."""
    logs = await _threads(backend, 12)
    query, found = ThreadQuery(limit=2), list[str]()
    for _ in range(_PAGES):
        page = await backend.threads(query)
        names = [thread.key.thread for thread in page.threads]
        found += names
        if page.next is None:
            break
        await backend.remove(ThreadKey("", names[-1]), Removal(everything=True))
        query = replace(query, after=page.next)
    expect_equal(found, [log.key.thread for log in logs], "The threads that were told")


@CHAPTER.check
async def threads_with_and_without_a_log_are_one_list(backend: Backend) -> None:
    """Threads that have only a card stand between the others, by the time of their card, and are
    told once each on pages of any size."""
    wanted = []
    for number in range(12):
        key, at = ThreadKey("", f"t{(5 * number) % 12:02}"), float(100 + number // 3)
        if number % 2:
            await backend.label(key, Card(1, time=at))
        else:
            await write(backend, Log(key.thread), commit("c1"), at=at)
        wanted.append((at, key.thread))
    for limit in (1, 2, 5, 12, 13):
        found = await follow(backend, ThreadQuery(limit=limit))
        places = [(thread.updated, thread.key.thread) for thread in found]
        expect_equal(places, sorted(wanted, reverse=True), f"The threads on pages of {limit}")


@CHAPTER.check
async def a_cursor_leads_to_no_other_tenant(backend: Backend) -> None:
    """A cursor of one tenant's list, given for another's, tells threads of that other only."""
    await _threads(backend, 6, "a")
    await _threads(backend, 6, "b")
    page = await backend.threads(ThreadQuery(tenant="a", limit=3))
    for tenant in ("b", "none", ""):
        query = ThreadQuery(tenant=tenant, after=page.next)
        try:
            found = await follow(backend, query)
        except ValueError:
            continue  # refused
        tenants = {thread.key.tenant for thread in found}
        expect(tenants <= {tenant}, f"Threads of {tenants} were told to {tenant!r}.")


@CHAPTER.check
async def what_is_no_cursor_is_refused(backend: Backend) -> None:
    """What was never a cursor is refused with a `ValueError`, or tells threads of its list; the
    next call is answered as ever."""
    logs = await _threads(backend, 3)
    await _threads(backend, 1, "other")
    wanted = {log.key for log in logs}
    for text in ("", "x", "1", "1 ", "nan t", "inf t", "1e999 t", "' OR 1=1 --", "\0", "é" * 500):
        try:
            found = await follow(backend, ThreadQuery(after=text))
        except ValueError:
            continue
        keys = {thread.key for thread in found}
        expect(keys <= wanted, f"After the cursor {text!r}, {keys - wanted} were told.")
    found = await follow(backend, ThreadQuery())
    expect_equal([thread.key for thread in found], [log.key for log in logs], "The threads")


@CHAPTER.shared
async def a_cursor_is_good_in_another_instance(storage: Storage) -> None:
    """A list is followed on in another instance from where the first had got."""
    logs = await _threads(storage.backend, 7)
    page = await storage.backend.threads(ThreadQuery(limit=3))
    async with second_instance(storage) as second:
        rest = await follow(second, ThreadQuery(limit=3, after=page.next))
    names = [thread.key.thread for thread in (*page.threads, *rest)]
    expect_equal(names, [log.key.thread for log in logs], "The threads of both instances")
