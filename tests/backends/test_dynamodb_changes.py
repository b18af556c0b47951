"""Changes of threads in DynamoDB when they are large, cut off, or made over a bad wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from durable_graph.errors import OutcomeUnknownError, StorageBusyError, StorageError
from durable_graph.ports.backend import Outcome, Removal, Thread, ThreadKey, ThreadQuery
from durable_graph.testing import FakeClock
from durable_graph.testing.contract_kit import (
    Log,
    commit,
    expect_log,
    mark,
    message,
    process,
    results,
    write,
)
from durable_graph_aws import AwsOptions
from durable_graph_dynamodb import DynamoDBBackend, listing
from tests.backends.dynamodb_raw import RawDynamoDB
from tests.services import aws
from tests.services.wire import Call, Cut, Hold, Wire, refusal, wire

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

LARGE = b"x" * 900_000
TEN_MINUTES = 601.0


@dataclass
class World:
    """A table, a backend with a wire that may go wrong, and one beside it without."""

    line: Wire
    backend: DynamoDBBackend
    beside: DynamoDBBackend
    raw: RawDynamoDB
    clock: FakeClock

    async def keys(self) -> list[str]:
        """The sort keys of all items, and which intents there are."""
        return [item["sk"]["S"] for item in await self.raw.items()]

    async def left_behind(self) -> list[str]:
        """What only a change needs that is under way."""
        items = await self.raw.items()
        return [
            item["sk"]["S"]
            for item in items
            if item["pk"]["S"] == "intents" or "/s/" in item["sk"]["S"]
        ]

    async def collect(self) -> None:
        """Give signs of life for longer than anything takes."""
        for _ in range(3):
            await self.beside.beat(process("collector"))
            await self.clock.advance(TEN_MINUTES)
        await self.beside.beat(process("collector"))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A fresh table."""
    async with _world() as made:
        yield made


@asynccontextmanager
async def _world() -> AsyncIterator[World]:
    table, options, clock = aws.fresh_name(), AwsOptions(**aws.options()), FakeClock(jump=True)
    async with wire(aws.endpoint()) as line:

        def opened(where: AwsOptions) -> DynamoDBBackend:
            return DynamoDBBackend(table, where, create=True, session=aws.session(), clock=clock)

        made = World(
            line,
            opened(replace(options, endpoint_url=line.endpoint)),
            opened(options),
            RawDynamoDB(table, options),
            clock,
        )
        yield made
        await made.backend.aclose()
        await made.beside.aclose()


async def test_a_superstep_is_one_request(world: World) -> None:
    """What is appended to a thread that was just written to goes out as one transaction."""
    log = Log()
    await write(world.backend, log, commit("c1"), at=60.0)
    world.line.calls.clear()
    await write(world.backend, log, results(), commit("c2"), at=61.0)
    assert [call.name for call in world.line.calls] == ["TransactWriteItems"]
    items = world.line.calls[0].body.count(b'"TableName"')
    assert items == 3  # the thread, its records, and the checkpoint's place


async def test_a_sign_of_life_comes_first(world: World) -> None:
    """Where it is late, so is the append that it came with: others would see the thread as that of
    a process that nobody knows, which is a dead one's."""
    log, late = Log(), asyncio.Event()
    await write(world.backend, log, commit("c1"))
    world.line.once("UpdateItem", Hold(late))
    append = log.next(results(), status="running", owner="process")
    appending = asyncio.ensure_future(world.backend.append([append], process()))
    while not any(call.name == "UpdateItem" for call in world.line.calls):
        await asyncio.sleep(0)
    for _ in range(5):  # requests, in which an append would have been made
        seen = await world.beside.thread(log.key)
        assert seen is not None
        assert seen.head is not None
        assert seen.head.owner is None
    late.set()
    assert await appending == [Outcome.APPLIED]
    assert [known.process.id for known in await world.beside.beat(None)] == ["process"]


@pytest.mark.parametrize("records", [1, 400])
async def test_a_large_append_is_whole(world: World, records: int) -> None:
    """Bodies, headers and values of any size, and any number of them, come back; nothing is
    left behind that is not needed."""
    log = Log()
    await write(world.backend, log, commit("c1"))
    drafts = [commit(f"d{number}", meta={"m": "m" * 40_000}) for number in range(2)]
    values = {f"v{number}": LARGE + b"%d" % number for number in range(2)}
    values |= {f"s{number}": b"%d" % number for number in range(150)}
    await write(
        world.backend,
        log,
        *drafts,
        commit("large", {"key": b'"' + LARGE + b'"'}),
        *(mark(f"event {number}") for number in range(records)),
        blobs=values,
    )
    await expect_log(world.beside, log)
    assert dict(await world.beside.blobs(log.key, list(values))) == values
    assert await world.left_behind() == []
    part = Removal(expected=log.position, bodies=((2, 4),), blobs=list(values))
    assert await world.backend.remove(log.key, part)
    log.prune(part.bodies)
    await expect_log(world.beside, log)
    assert await world.beside.blobs(log.key, list(values)) == {}
    headers = [key for key in await world.keys() if "/c/" in key]
    assert len(headers) == 2  # of which nothing was removed
    assert await world.backend.remove(log.key, Removal(everything=True))
    assert [key for key in await world.keys() if "/" in key] == []


async def test_a_large_head_and_a_large_message_are_kept(world: World) -> None:
    """A head that does not fit into its thread's item lies beside it, until there is a next one."""
    log = Log()
    noise = "".join(chr(0x4E00 + (number * 7919) % 20_000) for number in range(150_000))
    await write(world.backend, log, commit("c1"), reason=noise)
    await expect_log(world.beside, log)
    sent = message("id", LARGE)
    assert await world.backend.post(log.key, sent) == sent
    reading = await world.beside.read(log.key)
    assert reading is not None
    assert list(reading.messages) == [sent]
    page = await world.beside.threads(ThreadQuery())
    assert list(page.threads) == [Thread(log.key, log.now, None)]
    assert any("/h/" in key for key in await world.keys())
    await write(world.backend, log, mark(), settled={"id": "no"})
    await expect_log(world.beside, log)
    assert not any("/h/" in key for key in await world.keys())
    assert await world.left_behind() == []
    assert await world.beside.post(log.key, sent) == replace(sent, verdict="no")


@pytest.mark.parametrize("name", ["PutItem", "BatchWriteItem"])
async def test_what_an_interrupted_append_leaves_is_collected(world: World, name: str) -> None:
    """Who dies before the transaction has changed nothing; what it has written is found, and
    deleted once nobody can be at work on it any more."""
    log = Log()
    await write(world.backend, log, commit("c1"))
    keys = sorted(await world.keys())
    down = refusal("InternalServerError", 500, after=True)
    world.line.fault = lambda call: down if call.name in (name, "TransactWriteItems") else None
    append = log.next(results(), blobs={f"v{number}": LARGE for number in range(3)})
    with pytest.raises(StorageError):
        await world.backend.append([append])
    assert await world.left_behind() != []
    await expect_log(world.beside, log)
    await world.beside.beat(process("collector"))
    assert await world.left_behind() != []  # it may be at work yet
    await world.collect()
    items = await world.raw.items()
    left = sorted(item["sk"]["S"] for item in items if item["pk"]["S"] != "processes")
    assert left == keys
    assert (world.beside.statistics()["collected"] > 0) == (name == "BatchWriteItem")


async def test_who_was_taken_for_dead_changes_nothing(world: World) -> None:
    """A change whose parts were collected while it stood still is made anew, whole."""
    log = Log()
    await write(world.backend, log, commit("c1"))
    held = asyncio.Event()
    waits = asyncio.Event()

    def rule(call: Call) -> Any:
        if call.name != "TransactWriteItems" or waits.is_set():
            return None
        waits.set()
        return Hold(held)

    world.line.fault = rule
    append = log.next(results(), blobs={f"v{number}": LARGE for number in range(3)})
    appending = asyncio.ensure_future(world.backend.append([append]))
    await asyncio.wait_for(waits.wait(), 30)
    await world.collect()
    assert await world.left_behind() == []
    held.set()
    assert list(await appending) == [Outcome.APPLIED]
    log.accept(append)
    await expect_log(world.beside, log)
    assert len(await world.beside.blobs(log.key, list(append.blobs))) == 3


async def test_what_is_pending_is_finished_by_whoever_comes(world: World) -> None:
    """Who dies after the transaction has changed everything, though much of it is not in its
    place yet: readers and writers put it there first."""
    log = Log()
    await write(world.backend, log, commit("c1"))
    values = {f"s{number}": b"%d" % number for number in range(150)}
    append = log.next(results(), blobs=values)
    down = refusal("InternalServerError", 500)
    made = 0

    def rule(call: Call) -> Any:
        nonlocal made
        made += call.name == "TransactWriteItems"
        return down if made > 1 or (made == 1 and call.name != "TransactWriteItems") else None

    world.line.fault = rule
    assert list(await world.backend.append([append])) == [Outcome.APPLIED]
    assert await world.left_behind() != []
    log.accept(append)
    assert dict(await world.beside.blobs(log.key, list(values))) == values
    await expect_log(world.beside, log)
    await world.collect()
    assert await world.left_behind() == []


@pytest.mark.parametrize(
    "fault", [Cut(after=True), refusal("InternalServerError", 500, after=True)]
)
async def test_an_append_whose_answer_is_lost_is_known_again(world: World, fault: Any) -> None:
    """It may have happened; asked for again it is applied, and stored once."""
    log = Log()
    await write(world.backend, log, commit("c1"))
    world.line.once("TransactWriteItems", fault)
    append = log.next(results())
    with pytest.raises(OutcomeUnknownError):
        await world.backend.append([append])
    assert list(await world.backend.append([append])) == [Outcome.APPLIED]
    log.accept(append)
    await expect_log(world.beside, log)


@pytest.mark.parametrize(
    "code",
    ["ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"],
)
async def test_throttling_is_waited_for(world: World, code: str) -> None:
    """What DynamoDB refuses for its load is asked for again, and told after a time."""
    log = Log()
    await write(world.backend, log, commit("c1"))
    world.line.times(3, "TransactWriteItems", refusal(code))
    await write(world.backend, log, results())
    world.line.times(1000, "TransactWriteItems", refusal(code))
    with pytest.raises(StorageBusyError):
        await world.backend.append([log.next(results())])
    await expect_log(world.beside, log)


async def test_a_transaction_in_anothers_way_is_made_again(world: World) -> None:
    """One that was cancelled for a conflict, though all is as it must be, is asked for again."""
    body = (
        b'{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException",'
        b'"CancellationReasons":[{"Code":"TransactionConflict"},{"Code":"None"}]}'
    )
    log = Log()
    await write(world.backend, log, commit("c1"))
    world.line.times(2, "TransactWriteItems", replace(refusal("x"), body=body))
    await write(world.backend, log, results())
    await expect_log(world.beside, log)


async def test_unanswered_reads_are_made_again(world: World) -> None:
    """Reading survives a cut line, and says so if it stays cut."""
    log = Log()
    await write(world.backend, log, commit("c1"))
    world.line.times(2, "GetItem", Cut())
    assert await world.backend.thread(log.key) == Thread(log.key, log.now, None)
    world.line.times(100, "GetItem", Cut())
    with pytest.raises(StorageError, match="no answer"):
        await world.backend.thread(log.key)


async def test_a_removal_that_was_cut_off_is_finished(world: World) -> None:
    """The thread is gone at once, and what it held is deleted by whoever collects."""
    log = Log()
    await write(world.backend, log, commit("c1"), blobs={"d": b"x"})
    world.line.fault = lambda call: Cut() if call.name == "BatchWriteItem" else None
    with pytest.raises(OutcomeUnknownError, match="not all is deleted"):
        await world.backend.remove(log.key, Removal(everything=True))
    assert await world.beside.thread(log.key) is None
    fresh = Log()
    await write(world.beside, fresh, commit("c1"))
    assert await world.beside.blobs(log.key, ["d"]) == {}
    await world.collect()
    await expect_log(world.beside, fresh)
    assert len([key for key in await world.keys() if "/r/" in key]) == 1
    assert await world.left_behind() == []


async def test_a_process_is_dead_once_it_was_seen_to_be_silent(world: World) -> None:
    """No clocks are compared: what is seen for the first time is fresh, and ages from then on."""
    await world.backend.beat(process("other"))
    await world.clock.advance(100.0)
    ages = [entry.age for entry in await world.beside.beat(None)]
    assert ages == [0.0]
    await world.clock.advance(7.0)
    ages = [entry.age for entry in await world.beside.beat(None)]
    assert ages == [7.0]
    await world.backend.beat(process("other"))
    ages = [entry.age for entry in await world.beside.beat(None)]
    assert ages == [0.0]
    await world.clock.advance(1001.0)
    assert list(await world.beside.beat(None)) == []
    assert "processes" not in [item["pk"]["S"] for item in await world.raw.items()]


async def test_threads_are_listed_across_minutes_with_few_that_are_wanted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page ends early rather than read on for ever; following the pages tells all of them."""
    for number in range(12):
        status: Any = "failed" if number == 0 else "stopped"
        await write(world.backend, Log(f"t{number}"), commit("c"), at=60.0 * number, status=status)
    monkeypatch.setattr(listing, "_MOST", 3)
    query, found = ThreadQuery(status="failed", limit=5), list[Thread]()
    pages = 0
    while pages < 20:
        page = await world.backend.threads(query)
        found += page.threads
        pages += 1
        if page.next is None:
            break
        query = replace(query, after=page.next)
    assert [thread.key for thread in found] == [ThreadKey("", "t0")]
    assert pages == 4
