"""S3 over a wire that goes wrong: what was done is found out, and what was not is done once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from durable_graph.errors import OutcomeUnknownError, StorageBusyError
from durable_graph.ports.backend import Append, Card, Outcome, Removal, Thread
from durable_graph.testing.contract_kit import (
    Log,
    commit,
    expect_log,
    message,
    results,
    write,
)
from durable_graph_s3 import S3Backend
from durable_graph_s3.keys import manifest_key
from tests.backends.s3_kit import opened
from tests.services import aws
from tests.services.wire import Call, Cut, Fault, Say, Wire, wire

pytestmark = pytest.mark.services


@asynccontextmanager
async def wired() -> AsyncIterator[tuple[S3Backend, Wire, Log]]:
    """A backend on a wire, and a thread that was begun."""
    async with wire(aws.endpoint()) as line:
        bucket = await aws.fresh_bucket()
        async with opened(bucket, endpoint=line.endpoint) as backend:
            log = Log()
            await write(backend, log, commit("c1"))
            yield backend, line, log


def said(code: str, status: int, *, after: bool = False) -> Say:
    """S3's answer that says why it did not do something."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>"
    return Say(status, body.encode(), "application/xml", after=after)


def once_at_head(line: Wire, fault: Fault) -> None:
    """The next write of a manifest goes wrong; if it is cut off, also when the client sends it
    again by itself, as it does on a connection that it had before."""
    left = [fault] * (2 if isinstance(fault, Cut) else 1)

    def rule(call: Call) -> Fault | None:
        hit = left and call.name == "PUT" and "/heads/" in call.path
        return left.pop() if hit else None

    line.fault = rule


def writes(line: Wire) -> int:
    """How many manifests were sent so far."""
    return sum(call.name == "PUT" and "/heads/" in call.path for call in line.calls)


@pytest.mark.parametrize(
    "fault",
    [
        said("ConditionalRequestConflict", 409),
        said("SlowDown", 503),
        said("PreconditionFailed", 412),
    ],
    ids=["conflict", "slow", "refused by mistake"],
)
async def test_what_was_surely_not_done_is_done_again(fault: Say) -> None:
    """A refusal that nobody's write is the reason of does not become the caller's."""
    async with wired() as (backend, line, log):
        once_at_head(line, fault)
        await write(backend, log, results())
        await expect_log(backend, log)


async def test_a_write_that_somebody_has_repeated_is_known_as_ours() -> None:
    """Whoever repeats a request on the way is told that the condition does not hold any more: the
    link of the last record says that it was this very append."""
    async with wired() as (backend, line, log):
        once_at_head(line, said("PreconditionFailed", 412, after=True))
        before = writes(line)
        await write(backend, log, results())
        assert writes(line) - before == 1
        await expect_log(backend, log)


async def test_whether_it_was_ours_may_stay_unknown() -> None:
    """Where that cannot be looked up, nobody is told that nothing was written."""
    async with wired() as (backend, line, log):
        append, refused = log.next(results()), said("PreconditionFailed", 412, after=True)
        once_at_head(line, refused)
        first = line.fault
        line.fault = lambda call: said("InternalError", 500) if call.name == "GET" else first(call)
        with pytest.raises(OutcomeUnknownError):
            await backend.append([append])
        line.fault = lambda call: None
        assert list(await backend.append([append])) == [Outcome.APPLIED]
        log.accept(append)
        await expect_log(backend, log)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", ["cut", "500"])
async def test_what_nobody_knows_is_told_and_found_out(kind: str, after: bool) -> None:
    """No answer, or one that says nothing: the caller asks for the same again, and it is stored
    once."""
    async with wired() as (backend, line, log):
        fault = Cut(after) if kind == "cut" else said("InternalError", 500, after=after)
        append = log.next(results(), blobs={"d": b"large"})
        once_at_head(line, fault)
        with pytest.raises(OutcomeUnknownError):
            await backend.append([append])
        assert list(await backend.append([append])) == [Outcome.APPLIED]
        log.accept(append)
        await expect_log(backend, log)
        await write(backend, log, commit("c2"))
        await expect_log(backend, log)


async def test_a_batch_of_which_nothing_is_known_to_be_stored_is_unknown() -> None:
    """One append is refused, and what became of the other nobody knows: it is not told that
    nothing was written."""
    async with wired() as (backend, line, log):
        other = Log("other")
        await write(backend, other, commit("c1"))
        refused = manifest_key(log.key)

        def rule(call: Call) -> Fault | None:
            if call.name != "PUT" or "/heads/" not in call.path:
                return None
            return said("AccessDenied", 403) if refused in call.path else Cut(after=True)

        line.fault = rule
        batch = [log.next(results()), other.next(results())]
        with pytest.raises(OutcomeUnknownError):
            await backend.append(batch)
        line.fault = lambda call: None
        assert list(await backend.append(batch)) == [Outcome.APPLIED] * 2


async def test_a_request_that_was_sent_twice_is_known_as_ours() -> None:
    """The client sends a request again by itself if the connection breaks: what the second one is
    told is no reason to say that somebody else was faster."""
    async with wired() as (backend, line, log):
        for what in (
            Card(1),
            Removal(expected=log.position, bodies=((1, 1),)),
            Removal(everything=True, card=Card(2)),
        ):
            once_at_head(line, said("PreconditionFailed", 412, after=True))
            if isinstance(what, Card):
                assert await backend.label(log.key, what)
            else:
                assert await backend.remove(log.key, what)
        assert await backend.thread(log.key) == Thread(log.key, None, Card(2))


async def test_messages_cards_and_removals_can_be_asked_again() -> None:
    """After a write of any kind whose answer was lost, the same again finds it done."""
    async with wired() as (backend, line, log):
        once_at_head(line, Cut(after=True))
        with pytest.raises(OutcomeUnknownError):
            await backend.post(log.key, message("m"))
        assert await backend.post(log.key, message("m")) == message("m")
        once_at_head(line, Cut(after=True))
        with pytest.raises(OutcomeUnknownError):
            await backend.label(log.key, Card(1))
        assert await backend.label(log.key, Card(1))
        once_at_head(line, Cut(after=True))
        with pytest.raises(OutcomeUnknownError):
            await backend.remove(log.key, Removal(everything=True))
        assert not await backend.remove(log.key, Removal(everything=True))
        assert await backend.thread(log.key) is None
        assert [item.key for item in await backend.bucket.list("logs/")] == []


async def test_reads_are_asked_again() -> None:
    """A read without an answer is made again, and gives up after a few times."""
    async with wired() as (backend, line, log):
        line.times(2, "GET", Cut())
        await expect_log(backend, log)
        line.times(100, "GET", said("InternalError", 500))
        with pytest.raises(StorageBusyError, match="there was no answer"):
            await backend.read(log.key)


async def test_what_interrupted_writes_have_left_is_collected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Segments and whole logs that no manifest came to name are deleted once they are old, and
    nothing else is; neither are they before."""
    async with wired() as (backend, line, log):
        large = log.next(commit("c2", {"key": b'"%b"' % (b"x" * 40_000)}), blobs={"d": b"1"})
        fresh = Log("fresh").next(commit("c", {"key": b'"%b"' % (b"x" * 40_000)}))

        async def interrupted(append: Append) -> None:
            once_at_head(line, Cut())
            with pytest.raises(OutcomeUnknownError):
                await backend.append([append])

        await interrupted(large)
        await interrupted(fresh)
        await write(backend, log, *(commit(f"s{n}", {"k": b'"%b"' % (b"y" * 9000)}) for n in "ab"))
        held = len(await backend.bucket.list("logs/"))
        assert await backend.collect() == 0
        assert len(await backend.bucket.list("logs/")) == held
        monkeypatch.setattr("durable_graph_s3.clearing._OLD", -1.0)
        assert await backend.collect() == 2
        assert await backend.collect() == 0
        await expect_log(backend, log)


async def test_deleting_a_thread_deletes_what_was_left_of_it() -> None:
    """Also what an interrupted write of it has left, at once."""
    async with wired() as (backend, line, log):
        once_at_head(line, Cut())
        append = log.next(commit("c2", {"key": b'"%b"' % (b"x" * 40_000)}), blobs={"d": b"1"})
        with pytest.raises(OutcomeUnknownError):
            await backend.append([append])
        assert len(await backend.bucket.list("logs/")) == 2
        await backend.remove(log.key, Removal(everything=True))
        assert list(await backend.bucket.list("logs/")) == []


async def test_a_damaged_manifest_can_be_removed() -> None:
    """What can be read no more is told as damage, and is gone after a removal."""
    async with wired() as (backend, _, log):
        await write(backend, log, commit("c2", {"key": b'"%b"' % (b"x" * 40_000)}))
        (head,) = await backend.bucket.list("heads/")
        await backend.bucket.put(head.key, b"damaged")
        assert await backend.remove(log.key, Removal(everything=True))
        assert not await backend.remove(log.key, Removal(everything=True))
        assert list(await backend.bucket.list("logs/")) == []
        begun = Log()
        await write(backend, begun, commit("anew"))
        await expect_log(backend, begun)
