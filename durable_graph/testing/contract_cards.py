"""The contract, on cards: what is known of a thread beside its log."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from durable_graph.errors import ThreadArchivedError
from durable_graph.ports.backend import (
    Backend,
    Card,
    Outcome,
    Position,
    Removal,
    Thread,
    ThreadKey,
    ThreadQuery,
)
from durable_graph.testing.contract_kit import (
    Chapter,
    Log,
    Storage,
    as_shown,
    commit,
    expect,
    expect_equal,
    expect_log,
    look,
    mark,
    message,
    results,
    second_instance,
    shown,
    write,
)

__all__ = ["CHAPTER"]

CHAPTER = Chapter("cards")

_FULL = Card(
    version=1,
    owner="ann",
    tags=("a", "b"),
    metadata={"n": 1, "x": 0.5, "yes": True, "none": None, "text": "1"},
    expires=2e6,
    time=5e5,
    body=b'{"kept":[1,{"a":"b"}]}',
)
_KEY = ThreadKey("", "thread")


@CHAPTER.check
async def a_card_needs_no_log(backend: Backend) -> None:
    """A thread may have a card before it has a log: it is told and listed, and has no log."""
    expect_equal(await look(backend, _KEY), None, "A thread of which nothing is known")
    expect(await backend.label(_KEY, _FULL), "A first card was not stored.")
    wanted = Thread(_KEY, None, _FULL)
    expect_equal(await look(backend, _KEY), wanted, "A thread that has a card only")
    expect_equal(await _list(backend), [wanted], "The threads")
    expect_equal(await backend.read(_KEY), None, "Reading a thread that has a card only")
    other = ThreadKey("other", "thread")
    expect_equal(await look(backend, other), None, "The same name of another tenant")


@CHAPTER.check
async def a_card_takes_the_place_of_the_one_before(backend: Backend) -> None:
    """A card is stored only if the one that is there is of the version before; asking for the
    very same again is harmless."""
    second, third = replace(_FULL, version=2, owner="bob"), replace(_FULL, version=3, tags=())
    expect(not await backend.label(_KEY, second), "A second card was stored where none is.")
    expect(await backend.label(_KEY, _FULL), "A first card was not stored.")
    expect(await backend.label(_KEY, _FULL), "A card that is stored was refused.")
    for wrong in (replace(_FULL, owner="eve"), third):
        expect(not await backend.label(_KEY, wrong), "A card of another version was stored.")
    expect_equal(await _card(backend), _FULL, "The card")
    expect(await backend.label(_KEY, second), "The next card was not stored.")
    expect(not await backend.label(_KEY, _FULL), "An earlier card was stored.")
    expect(await backend.label(_KEY, third), "The next card was not stored.")
    expect_equal(await _card(backend), third, "The card")


@CHAPTER.check
async def one_of_two_cards_is_stored(backend: Backend) -> None:
    """Of cards of one version that come at the same time, exactly one is stored."""
    for version in range(1, 6):
        cards = [replace(_FULL, version=version, owner=f"o{number}") for number in range(5)]
        done = await asyncio.gather(*(backend.label(_KEY, card) for card in cards))
        expect_equal(sum(done), 1, "How many of five cards of one version were stored")
        expect_equal(await _card(backend), cards[done.index(True)], "The card")


@CHAPTER.check
async def card_and_log_are_apart(backend: Backend) -> None:
    """What is appended leaves the card as it is, and a card leaves the log as it is."""
    log = Log()
    await write(backend, log, commit("c1"))
    expect(await backend.label(log.key, _FULL), "A first card was not stored.")
    await expect_log(backend, log)
    await write(backend, log, results())
    expect_equal(await look(backend, log.key), Thread(log.key, log.shown, _FULL), "The thread")
    expect_equal(await _list(backend), [Thread(log.key, log.shown, _FULL)], "The threads")
    expect_equal([t.key for t in await _list(backend, status="new")], [], "Threads without a log")
    await backend.remove(log.key, Removal(expected=log.position, bodies=((2, 2),)))
    log.prune(((2, 2),))
    expect_equal(await look(backend, log.key), Thread(log.key, log.shown, _FULL), "The thread")


@CHAPTER.check
async def threads_are_found_by_their_cards(backend: Backend) -> None:
    """A listing by owner, tags, metadata, time or expiry has the threads whose cards say so, with
    and without a log, on as many pages as it takes."""
    cards = [
        Card(1, "ann", ("a",), {"n": 1}, 10.0, None, 1.0),
        Card(1, "ann", ("a", "b"), {"n": 2, "s": "x"}, None, None, 2.0),
        Card(1, "bob", ("b",), {"n": True}, 20.0, None, 3.0),
        Card(1, None, (), {"n": "1"}, None, None, 4.0),
        Card(1, "bob", ("a", "b", "c"), {"n": 1.0, "s": None}, 30.0, None, 5.0),
    ]
    threads = []
    for place, card in enumerate(cards):
        log = Log(f"t{place}")
        await backend.label(log.key, card)
        if place % 2:
            await write(backend, log, commit("c1"), at=card.time)
        threads.append(Thread(log.key, log.shown if place % 2 else None, card))
    queries: list[dict[str, Any]] = [
        {},
        {"owner": "ann"},
        {"owner": "nobody"},
        {"tags": ("b",)},
        {"tags": ("a", "b")},
        {"metadata": {"n": 1}},
        {"metadata": {"n": True}},
        {"metadata": {"n": "1"}},
        {"metadata": {"n": 1, "s": None}},
        {"metadata": {"s": None}},
        {"owner": "bob", "tags": ("b",), "metadata": {"n": 1}},
        {"since": 2.0},
        {"until": 4.0},
        {"since": 2.0, "until": 4.0, "owner": "bob"},
        {"expired": 20.0},
        {"expired": 9.0},
        {"status": "new"},
        {"status": "new", "tags": ("a",)},
        {"status": "stopped", "owner": "ann"},
    ]
    for parts in queries:
        wanted = [thread for thread in threads[::-1] if ThreadQuery(**parts).wants(thread)]
        for limit in (1, 2, 100):
            found = await _list(backend, limit=limit, **parts)
            expect_equal(found, wanted, f"The threads with {parts} on pages of {limit}")


@CHAPTER.check
async def a_log_that_is_elsewhere_is_not_begun_anew(backend: Backend) -> None:
    """Where a card says that the log is elsewhere, whatever it calls that, reading and posting say
    so, too, and a new log is refused."""
    for version, where in enumerate(("the attic", "", "+"), 1):
        archived = Card(version, archived=where)
        await backend.label(_KEY, archived)
        for call in (backend.read(_KEY), backend.post(_KEY, message())):
            try:
                await call
            except ThreadArchivedError as error:
                expect_equal(error.where, where, "Where the log is said to be")
            else:
                raise AssertionError("A thread that is elsewhere seems to be here, or nowhere.")
        answers = list(await backend.append([Log().next(commit("c1"))]))
        expect_equal(answers, [Outcome.REFUSED], "The answer to a new log")
        expect_equal(await look(backend, _KEY), Thread(_KEY, None, archived), "The thread")


@CHAPTER.check
async def a_log_that_comes_back_brings_its_card(backend: Backend) -> None:
    """A log with the next card is stored with it, all or nothing; asking again is harmless."""
    await backend.label(_KEY, Card(1, archived="the attic"))
    log = Log()
    append = log.next(commit("c1"), results(), mark(), blobs={"d": b"x"})
    for version in (1, 3):
        wrong = replace(append, card=Card(version, owner="ann"))
        answers = list(await backend.append([wrong]))
        expect_equal(answers, [Outcome.REFUSED], f"The answer to a log with card {version}")
    append = replace(append, card=Card(2, owner="ann"))
    for _ in range(2):
        expect_equal(list(await backend.append([append])), [Outcome.APPLIED], "The answer")
    log.accept(append)
    await expect_log(backend, log)
    expect_equal(await look(backend, _KEY), Thread(_KEY, log.shown, append.card), "The thread")
    fresh = Log("fresh")
    append = replace(fresh.next(commit("c1")), card=Card(1, owner="bob"))
    expect_equal(list(await backend.append([append])), [Outcome.APPLIED], "The answer")
    again = replace(Log("fresh").next(commit("c2")), card=Card(2))
    expect_equal(list(await backend.append([again])), [Outcome.REFUSED], "The answer")
    wanted = Thread(fresh.key, shown(append.head), append.card)
    expect_equal(await look(backend, fresh.key), wanted, "A thread that was there already")


@CHAPTER.check
async def a_removal_can_leave_a_card(backend: Backend) -> None:
    """A thread that is removed with a card keeps nothing else; nothing is removed where the log
    has moved on or the card is not the next."""
    log = Log()
    await write(backend, log, commit("c1"), blobs={"d": b"x"})
    await backend.label(log.key, _FULL)
    stays = Card(2, archived="the attic")
    before = log.position
    await write(backend, log, results())
    for expected, card in ((before, stays), (log.position, _FULL), (log.position, Card(3))):
        what = Removal(everything=True, expected=expected, card=card)
        expect(not await backend.remove(log.key, what), f"{what} was done.")
        await expect_log(backend, log)
        expect_equal(await _card(backend), _FULL, "The card")
    what = Removal(everything=True, expected=log.position, card=stays)
    expect(await backend.remove(log.key, what), "A removal was not done.")
    expect_equal(await look(backend, log.key), Thread(log.key, None, stays), "What is left")
    expect_equal(dict(await backend.blobs(log.key, ["d"])), {}, "Large values")
    expect_equal(list(await backend.scan(log.key, ((1, 9),))), [], "Records")


@CHAPTER.check
async def a_removed_thread_has_no_card(backend: Backend) -> None:
    """Removing a thread removes its card; a thread that has nothing else can be removed as well,
    but not at a position."""
    log = Log()
    await write(backend, log, commit("c1"))
    await backend.label(log.key, _FULL)
    expect(await backend.remove(log.key, Removal(everything=True)), "A thread was not removed.")
    expect_equal(await look(backend, log.key), None, "A removed thread")
    await backend.label(log.key, _FULL)
    at = Removal(everything=True, expected=Position(1, 1, b"link"))
    expect(not await backend.remove(log.key, at), "What has no log was removed at a position.")
    bare = Removal(everything=True, without_log=True)
    expect(await backend.remove(log.key, bare), "A card was not removed.")
    expect_equal(await look(backend, log.key), None, "A removed thread")
    expect(await backend.label(log.key, _FULL), "A first card was not stored.")


@CHAPTER.check
async def a_log_that_has_just_begun_is_not_removed(backend: Backend) -> None:
    """Who removes a thread that had no log removes nothing once it has one."""
    log = Log()
    await backend.label(log.key, _FULL)
    await write(backend, log, commit("c1"))
    for stays in (None, Card(2)):
        what = Removal(everything=True, without_log=True, card=stays)
        expect(not await backend.remove(log.key, what), "A log was removed that was not there.")
        await expect_log(backend, log)
        expect_equal(await _card(backend), _FULL, "The card")


@CHAPTER.check
async def a_card_that_was_just_changed_is_not_removed(backend: Backend) -> None:
    """Who removes a thread whose card is to be of a version removes nothing if it is of another,
    or if there is one and there must be none."""
    log, bare = Log(), ThreadKey("", "bare")
    await write(backend, log, commit("c1"))
    for key, known in ((log.key, {"expected": log.position}), (bare, {"without_log": True})):
        for stays in (_FULL, Card(2)):
            await backend.label(key, stays)
            for version in {0, 1, 2, 3} - {stays.version}:
                what = Removal(everything=True, version=version, **known)
                expect(not await backend.remove(key, what), f"{what} was done at {stays}.")
            seen = await look(backend, key)
            expect_equal(seen and seen.card, stays, "The card")
        what = Removal(everything=True, version=2, **known)
        expect(await backend.remove(key, what), "A removal was not done.")
        expect_equal(await look(backend, key), None, "A removed thread")
    await write(backend, again := Log("again"), commit("c1"))
    what = Removal(everything=True, expected=again.position, version=0)
    expect(await backend.remove(again.key, what), "A thread without a card was not removed.")


@CHAPTER.check
async def odd_text_on_cards_is_kept(backend: Backend) -> None:
    """Owners, tags and metadata are any text, found exactly and never taken for anything else."""
    odd = ["", " ", "%", "_", "'", '"', "a'b", "a:b", "a/b", "{}", "$ne", "null", "1", "true"]
    odd += ["é", "e\u0301", "\U0001f600", "*", "[a]", "a\nb", "\\", "../a", "'; DROP TABLE x"]
    for place, text in enumerate(odd):
        card = Card(1, text, (text,), {text: text, "n": place}, None, None, float(place))
        await backend.label(ThreadKey("", f"t{place}"), card)
    for place, text in enumerate(odd):
        wanted = [f"t{place}"]
        parts: list[dict[str, Any]] = [
            {"owner": text},
            {"tags": (text,)},
            {"metadata": {text: text}},
            {"metadata": {"n": place}},
        ]
        for part in parts:
            found = [thread.key.thread for thread in await _list(backend, **part)]
            expect_equal(found, wanted, f"The threads with {part}")


@CHAPTER.shared
async def cards_are_seen_by_the_other(storage: Storage) -> None:
    """A card that was stored in one instance is read, found and followed up in the other."""
    async with second_instance(storage) as second:
        await storage.backend.label(_KEY, _FULL)
        expect_equal(await _card(second), _FULL, "The card")
        expect_equal(await _list(second, owner="ann"), [Thread(_KEY, None, _FULL)], "The threads")
        expect(await second.label(_KEY, Card(2)), "The next card was not stored.")
        expect(not await storage.backend.label(_KEY, Card(2, "ann")), "A late card was stored.")


async def _card(backend: Backend) -> Card | None:
    thread = await look(backend, _KEY)
    return None if thread is None else thread.card


async def _list(backend: Backend, **parts: Any) -> list[Thread]:
    query, found = ThreadQuery(**parts), list[Thread]()
    for _ in range(100):
        page = await backend.threads(query)
        found += map(as_shown, page.threads)
        if page.next is None:
            return found
        query = replace(query, after=page.next)
    raise AssertionError("Following the pages does not end.")
