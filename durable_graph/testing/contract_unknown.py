"""The contract, on answers that get lost: nobody guesses, and asking again finds out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Literal, TypeVar

from durable_graph.errors import OutcomeUnknownError, StorageError
from durable_graph.ports.backend import (
    Backend,
    Card,
    Message,
    Outcome,
    Removal,
    Thread,
    ThreadKey,
    ThreadQuery,
)
from durable_graph.testing.contract_hooks import Line, When
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
    write,
)
from durable_graph.testing.contract_threads import expect_gone

__all__ = ["CHAPTER"]

T = TypeVar("T")

CHAPTER = Chapter("unknown")

APPLIED, REFUSED = Outcome.APPLIED, Outcome.REFUSED

_WHENS: Final[tuple[When, ...]] = ("before", "after")
_MOST: Final = 200  # requests of one call


@dataclass(slots=True)
class _Attempt:
    """A call under which the connection may break.

    Attributes:
        line: the connection.
        request: at which request it is to break.
        when: before or after that.
        broke: whether it did.
        said: what the caller was told: that it is done, that nothing was done, or that nobody
            knows.
    """

    line: Line
    request: int
    when: When
    broke: bool = False
    said: Literal["done", "failed", "unknown"] = "done"

    @property
    def backend(self) -> Backend:
        """The backend at the end of the line."""
        return self.line.backend

    async def call(self, made: Callable[[], Awaitable[T]]) -> T | None:
        """Make the call; returns its answer, if there was one."""
        self.line.cut(self.request, self.when)
        try:
            return await made()
        except OutcomeUnknownError:
            self.said = "unknown"
        except StorageError:
            self.said = "failed"
        finally:
            self.broke = self.line.mend()
        expect(self.broke, f"There was an error ({self.said}) over a connection that held.")
        return None

    def expect_truth(self, *, stored: bool) -> None:
        """Expect that what was told fits what is to be found."""
        wrong = {"done": not stored, "failed": stored, "unknown": False}[self.said]
        found = "stored" if stored else "not stored"
        expect(not wrong, f"What was told to be {self.said!r} is {found}.")


@CHAPTER.hooked("line")
async def an_append_is_asked_for_again(storage: Storage) -> None:
    """Wherever the connection breaks under an append, the caller is told that it is applied, that
    nothing was stored, or that nobody knows; asking again for the very same applies it once."""
    log = Log()
    await write(storage.backend, log, commit("c1"))
    await storage.backend.post(log.key, message(f"m{log.now.seq}"))

    async def one(attempt: _Attempt) -> None:
        blobs, settled = {f"d{log.now.seq}": b"x" * 2000}, {f"m{log.now.seq}": "no"}
        append = log.next(results(), *(mark() for _ in range(9)), blobs=blobs, settled=settled)
        answers = await attempt.call(lambda: attempt.backend.append([append]))
        expect(answers is None or list(answers) == [APPLIED], "An append is refused in vain.")
        reading = await storage.backend.read(log.key)
        attempt.expect_truth(stored=reading is not None and reading.head.seq == append.head.seq)
        expect_equal(list(await attempt.backend.append([append])), [APPLIED], "Asking again")
        log.accept(append)
        await expect_log(storage.backend, log)
        found = dict(await storage.backend.blobs(log.key, list(blobs)))
        expect_equal(found, blobs, "The large values of an append that was asked for again")
        (id,) = settled
        expect_equal((await storage.backend.post(log.key, message(id))).verdict, "no", "A verdict")
        await storage.backend.post(log.key, message(f"m{log.now.seq}"))

    await _broken_everywhere(storage, one)


@CHAPTER.hooked("line")
async def a_new_thread_is_asked_for_again(storage: Storage) -> None:
    """The same for appends that create threads, several in one call: each is stored once."""
    created = 0

    async def one(attempt: _Attempt) -> None:
        nonlocal created
        logs = [Log(f"thread {created}.{place}") for place in range(3)]
        created += 1
        appends = [log.next(commit("c1"), results(), blobs={"d": b"x"}) for log in logs]
        answers = await attempt.call(lambda: attempt.backend.append(appends))
        expect(answers is None or set(answers) == {APPLIED}, "A new thread is refused in vain.")
        again = list(await attempt.backend.append(appends))
        expect_equal(again, [APPLIED] * len(logs), "Asking again for several threads")
        for log, append in zip(logs, appends, strict=True):
            log.accept(append)
            await expect_log(storage.backend, log)

    await _broken_everywhere(storage, one)


@CHAPTER.hooked("line")
async def an_append_that_was_overtaken_is_refused(storage: Storage) -> None:
    """If another goes on where an append was lost, asking again for it is refused; if it was
    stored, it is known as such also after others went on."""
    log = Log()
    await write(storage.backend, log, commit("c1"))

    async def one(attempt: _Attempt) -> None:
        append = log.next(results(b"1"))
        await attempt.call(lambda: attempt.backend.append([append]))
        overtaking = log.next(results(b"2"))
        (answer,) = await storage.backend.append([overtaking])
        if answer is APPLIED:
            expect(attempt.said != "done", "An append is gone that was told to be applied.")
            log.accept(overtaking)
        else:
            log.accept(append)
            await write(storage.backend, log, results(b"3"))
        wanted = REFUSED if answer is APPLIED else APPLIED
        expect_equal(list(await attempt.backend.append([append])), [wanted], "Asking again")
        await expect_log(storage.backend, log)

    await _broken_everywhere(storage, one)


@CHAPTER.hooked("line")
async def a_message_is_left_once(storage: Storage) -> None:
    """Wherever the connection breaks under a message, leaving it again leaves it once."""
    log = Log()
    await write(storage.backend, log, commit("c1"))
    sent: list[Message] = []

    async def one(attempt: _Attempt) -> None:
        left = message(f"m{len(sent)}", b"x" * 2000)
        sent.append(left)
        await attempt.call(lambda: attempt.backend.post(log.key, left))
        reading = await storage.backend.read(log.key)
        waiting = [] if reading is None else list(reading.messages)
        expect(waiting in (sent, sent[:-1]), "Another message waits than was left.")
        attempt.expect_truth(stored=waiting == sent)
        expect_equal(await attempt.backend.post(log.key, left), left, "Leaving it again")
        reading = await storage.backend.read(log.key)
        expect_equal([] if reading is None else list(reading.messages), sent, "What waits")

    await _broken_everywhere(storage, one)


@CHAPTER.hooked("line")
async def a_card_is_asked_for_again(storage: Storage) -> None:
    """Wherever the connection breaks under a card, asking again for the very same stores it once,
    unless another has taken its place."""
    key = ThreadKey("", "thread")
    stored: Card | None = None

    async def one(attempt: _Attempt) -> None:
        nonlocal stored
        version = 1 if stored is None else stored.version + 1
        card = Card(version, "ann", ("tag",), {"n": version}, body=b'{"x":"%s"}' % (b"x" * 2000))
        told = await attempt.call(lambda: attempt.backend.label(key, card))
        expect(told is not False, "A card is refused in vain.")
        thread = await storage.backend.thread(key)
        found = None if thread is None else thread.card
        expect(found in (stored, card), "Another card is there than was stored.")
        attempt.expect_truth(stored=found == card)
        expect(await attempt.backend.label(key, card), "A card is refused that was asked again.")
        expect_equal(await storage.backend.thread(key), Thread(key, None, card), "The thread")
        stored = replace(card, version=version + 1, owner="bob")
        expect(await storage.backend.label(key, stored), "The next card was not stored.")
        expect(not await attempt.backend.label(key, card), "An earlier card was stored.")

    await _broken_everywhere(storage, one)


@CHAPTER.hooked("line")
async def a_removal_is_asked_for_again(storage: Storage) -> None:
    """Wherever the connection breaks while a thread is removed, it is there as a whole or not at
    all, and removing it again leaves nothing."""
    removed = 0

    async def one(attempt: _Attempt) -> None:
        nonlocal removed
        log = Log(f"thread {removed}")
        removed += 1
        await write(storage.backend, log, commit("c1"), results(), blobs={"d": b"x"})
        everything = Removal(everything=True)
        await attempt.call(lambda: attempt.backend.remove(log.key, everything))
        there = await storage.backend.read(log.key) is not None
        attempt.expect_truth(stored=not there)
        if there:
            await expect_log(storage.backend, log)
        await attempt.backend.remove(log.key, everything)
        await expect_gone(storage.backend, log, ["d"])

    await _broken_everywhere(storage, one)


@CHAPTER.hooked("line")
async def a_pruning_is_whole(storage: Storage) -> None:
    """Wherever the connection breaks while a part is removed, it is there or not, and the epoch
    says which; the part of a log that has moved on since is not removed."""
    pruned = 0

    async def one(attempt: _Attempt) -> None:
        nonlocal pruned
        log = Log(f"thread {pruned}")
        pruned += 1
        await write(storage.backend, log, commit("c1"), *(mark() for _ in range(9)))
        part = Removal(expected=log.position, bodies=((1, 5),))
        await attempt.call(lambda: attempt.backend.remove(log.key, part))
        reading = await storage.backend.read(log.key)
        gone = reading is not None and reading.head.epoch == 2
        attempt.expect_truth(stored=gone)
        again = await attempt.backend.remove(log.key, part)
        expect_equal(again, not gone, "Whether a part was there to be removed")
        log.prune(((1, 5),))
        await expect_log(storage.backend, log)

    await _broken_everywhere(storage, one)


@CHAPTER.hooked("line")
async def a_broken_connection_is_replaced(storage: Storage) -> None:
    """Wherever the connection breaks under a call that stores nothing or a sign of life, the
    next one is answered, and right."""
    log = Log()
    await write(storage.backend, log, commit("c1"), results(), blobs={"d": b"x"})

    async def check(call: Callable[[Backend], Awaitable[object]], attempt: _Attempt) -> None:
        await attempt.call(lambda: call(attempt.backend))
        await expect_log(attempt.backend, log)
        expect_equal(dict(await attempt.backend.blobs(log.key, ["d"])), {"d": b"x"}, "Blobs")
        await attempt.backend.beat(process())
        known = [entry.process for entry in await attempt.backend.beat(None)]
        expect_equal(known, [process()], "The processes that are known")

    calls: list[Callable[[Backend], Awaitable[object]]] = [
        lambda backend: backend.read(log.key),
        lambda backend: backend.read(log.key, "c1"),
        lambda backend: backend.scan(log.key, ((1, 2),)),
        lambda backend: backend.blobs(log.key, ["d"]),
        lambda backend: backend.thread(log.key),
        lambda backend: backend.threads(ThreadQuery()),
        lambda backend: backend.beat(None),
        lambda backend: backend.beat(process()),
    ]
    for call in calls:
        await _broken_everywhere(storage, partial(check, call))


async def _broken_everywhere(storage: Storage, one: Callable[[_Attempt], Awaitable[None]]) -> None:
    """Make a call again and again, over a connection that breaks one request later each time,
    until the call has come through."""
    if storage.line is None:
        raise ValueError("The factory gives no way to break a connection.")
    async with storage.line() as line:
        for when in _WHENS:
            for request in range(1, _MOST):
                attempt = _Attempt(line, request, when)
                try:
                    await one(attempt)
                except Exception as error:
                    error.add_note(f"The connection broke {when} request {request} of the call.")
                    raise
                if not attempt.broke:
                    expect(request > 1, "The line has not broken: the call does not go over it.")
                    break
            else:
                raise AssertionError(f"A call makes more than {_MOST} requests.")
